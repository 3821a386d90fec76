"""Runs in, runs out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crenel.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import Session

    from crenel.auditor.execute import Result
    from crenel.register import Acceptance
    from crenel.run import Run, RunInfo


@dataclass(frozen=True)
class StoredRun:
    """A run as listed: without its measurements.

    Attributes
    ----------
    id, created, name, status, verdict : str
    """

    id: str
    created: str
    name: str
    status: str
    verdict: str


def default_url() -> str:
    """``$CRENEL_STORE``, or a SQLite file in the user's data folder."""
    given = os.environ.get("CRENEL_STORE")
    if given:
        return given if "://" in given else f"sqlite:///{given}"
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return f"sqlite:///{home / 'crenel' / 'runs.db'}"


class Store:
    """The database of runs.

    Parameters
    ----------
    url : str or None
        Of SQLAlchemy, or a path of a SQLite file; `default_url` where it is None.

    Raises
    ------
    UsageError
        Where the database cannot be opened.
    """

    def __init__(self, url: str | None = None) -> None:
        given = url or default_url()
        self.url = given if "://" in given else f"sqlite:///{given}"
        self._engine = _open(self.url)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        from sqlalchemy.orm import Session

        with Session(self._engine) as session, session.begin():
            yield session

    def begin(self, info: RunInfo, *, name: str, job: str) -> None:
        """Record that a run has started; ``job`` is empty where it cannot be repeated."""
        from crenel.store.tables import RunRow

        with self._session() as session:
            session.add(
                RunRow(
                    id=info.id,
                    created=info.created,
                    name=name,
                    status="running",
                    verdict="",
                    info=info.model_dump_json(),
                    job=job,
                    record="",
                )
            )

    def add(self, run_id: str, result: Result) -> None:
        """Keep one result, in place of an earlier one of the same check and target."""
        from sqlalchemy import delete

        from crenel.store.tables import ResultRow

        outcome = result.outcome
        with self._session() as session:
            session.execute(
                delete(ResultRow).where(
                    ResultRow.run_id == run_id,
                    ResultRow.target == outcome.target,
                    ResultRow.check_id == outcome.check,
                )
            )
            session.add(
                ResultRow(
                    run_id=run_id,
                    target=outcome.target,
                    check_id=outcome.check,
                    body=result.model_dump_json(),
                )
            )

    def end(self, run: Run) -> None:
        """Keep the finished (or interrupted) record."""
        from crenel.store.tables import RunRow

        with self._session() as session:
            row = session.get_one(RunRow, run.run.id)
            row.status, row.verdict = run.run.status, run.verdict.value
            row.record = run.model_dump_json()

    def runs(self, limit: int = 50) -> list[StoredRun]:
        """The latest runs, newest first."""
        from sqlalchemy import select

        from crenel.store.tables import RunRow

        columns = (RunRow.id, RunRow.created, RunRow.name, RunRow.status, RunRow.verdict)
        with self._session() as session:
            rows = session.execute(
                select(*columns).order_by(RunRow.created.desc(), RunRow.id).limit(limit)
            )
            return [StoredRun(*row) for row in rows]

    def find(self, name: str) -> str:
        """Id of the run with this id, beginning of an id, or baseline name; "last" is the latest.

        Raises
        ------
        UsageError
            Where none or several match.
        """
        from sqlalchemy import select

        from crenel.store.tables import BaselineRow, RunRow

        with self._session() as session:
            baseline = session.get(BaselineRow, name)
            if baseline is not None:
                return baseline.run_id
            query = select(RunRow.id).order_by(RunRow.created.desc())
            if name != "last":
                query = query.where(RunRow.id.startswith(name, autoescape=True))
            ids = list(session.scalars(query.limit(2)))
        if not ids:
            raise UsageError(f"no run is called {name!r}; see: crenel runs")
        if len(ids) > 1 and name != "last":
            raise UsageError(f"several runs begin with {name!r}; give more of the id")
        return ids[0]

    def info(self, run_id: str) -> RunInfo:
        """How the run was begun: seed, versions, digests of its inputs."""
        from crenel.run import RunInfo
        from crenel.store.tables import RunRow

        with self._session() as session:
            row = session.get_one(RunRow, run_id)
            record = self.record(run_id)
            return record.run if record is not None else RunInfo.model_validate_json(row.info)

    def job(self, run_id: str) -> str:
        """What the run was to measure, as JSON."""
        from crenel.store.tables import RunRow

        with self._session() as session:
            return session.get_one(RunRow, run_id).job

    def results(self, run_id: str) -> list[Result]:
        """What the run has measured so far, in the order in which it was finished."""
        from sqlalchemy import select

        from crenel.auditor.execute import Result
        from crenel.store.tables import ResultRow

        query = select(ResultRow.body).where(ResultRow.run_id == run_id).order_by(ResultRow.id)
        with self._session() as session:
            return [Result.model_validate_json(body) for body in session.scalars(query)]

    def record(self, run_id: str) -> Run | None:
        """The record of a run, or None while none was written."""
        from crenel.run import Run
        from crenel.store.tables import RunRow

        with self._session() as session:
            text = session.get_one(RunRow, run_id).record
        return Run.model_validate_json(text) if text else None

    def name_baseline(self, name: str, run_id: str) -> None:
        """Give a run a name; the name moves if it was given before."""
        from crenel.store.tables import BaselineRow

        with self._session() as session:
            session.merge(BaselineRow(name=name, run_id=run_id))

    def accept(self, acceptance: Acceptance) -> None:
        """Add an accepted risk to the register."""
        from crenel.store.tables import AcceptedRow

        with self._session() as session:
            session.add(
                AcceptedRow(
                    fingerprint=acceptance.fingerprint,
                    owner=acceptance.owner,
                    reason=acceptance.reason,
                    until=acceptance.until.isoformat(),
                    severity=acceptance.severity or "",
                )
            )

    def accepted(self) -> list[Acceptance]:
        """The register, expired entries included."""
        from datetime import date

        from sqlalchemy import select

        from crenel.finding import Severity
        from crenel.register import Acceptance
        from crenel.store.tables import AcceptedRow

        with self._session() as session:
            return [
                Acceptance(
                    fingerprint=row.fingerprint,
                    owner=row.owner,
                    reason=row.reason,
                    until=date.fromisoformat(row.until),
                    severity=Severity(row.severity) if row.severity else None,
                )
                for row in session.scalars(select(AcceptedRow).order_by(AcceptedRow.id))
            ]

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


def _open(url: str) -> Engine:
    from sqlalchemy import create_engine, event
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed)
        if parsed.get_backend_name() == "sqlite":
            event.listen(engine, "connect", _set_up_sqlite)
        _migrate(engine)
    except (SQLAlchemyError, OSError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(
            f"the store {url} cannot be opened ({first}); set CRENEL_STORE to another file"
        ) from error
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # Write-ahead logging lets `crenel runs` read while an audit writes; a lock is waited for.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA foreign_keys=ON")


def _migrate(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    head = ScriptDirectory.from_config(config).get_current_head()
    with engine.begin() as connection:
        if MigrationContext.configure(connection).get_current_revision() == head:
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
