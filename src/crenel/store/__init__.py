"""Where runs are kept: SQLAlchemy over SQLite, or any database that SQLAlchemy reaches."""

from crenel.store.store import Store, StoredRun, default_url

__all__ = ["Store", "StoredRun", "default_url"]
