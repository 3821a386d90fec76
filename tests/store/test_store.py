import sqlite3
from pathlib import Path

import pytest

from crenel.auditor.execute import Result
from crenel.errors import UsageError
from crenel.run import RunInfo, State
from crenel.store import Store, default_url
from tests.helpers import exposure, finding, outcome


@pytest.fixture
def store(tmp_path):
    made = Store(str(tmp_path / "deep" / "runs.db"))
    yield made
    made.close()


def info(id="abc123", created="2026-05-01T10:00:00+00:00"):
    return RunInfo(id=id, created=created, seed=5, digests={"t/model": "sha256:0"})


def test_results_survive_without_an_end(store):
    store.begin(info(), name="mine", job="{}")
    result = Result(outcome=outcome(), exposures=(exposure(),), findings=(finding(),))
    store.add("abc123", result)
    again = Store(store.url)
    assert again.results("abc123") == [result]
    assert again.info("abc123") == info()
    assert again.record("abc123") is None
    assert again.runs()[0].status == "running"
    again.close()


def test_a_result_replaces_an_earlier_one_of_the_same_check(store):
    store.begin(info(), name="mine", job="{}")
    store.add("abc123", Result(outcome=outcome(state=State.ERROR, reason="it broke")))
    store.add("abc123", Result(outcome=outcome()))
    store.add("abc123", Result(outcome=outcome("EVA-103")))
    assert [r.outcome.outcome for r in store.results("abc123")] == ["measured", "measured"]


def test_runs_are_found_by_id_prefix_name_and_last(store):
    store.begin(info("abc123"), name="a", job="{}")
    store.begin(info("abd456", "2026-05-02T10:00:00+00:00"), name="b", job="{}")
    assert store.find("abc") == "abc123"
    assert store.find("last") == "abd456"
    with pytest.raises(UsageError, match="several runs"):
        store.find("ab")
    with pytest.raises(UsageError, match="no run is called"):
        store.find("zzz")
    with pytest.raises(UsageError, match="no run is called"):
        store.find("%")
    store.name_baseline("release", "abc123")
    assert store.find("release") == "abc123"
    store.name_baseline("release", "abd456")
    assert store.find("release") == "abd456"


def test_acceptances_survive_and_a_store_of_the_first_version_is_migrated(tmp_path):
    from datetime import date

    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, text

    import crenel.store as package
    from crenel.register import Acceptance

    path = tmp_path / "old.db"
    config = Config()
    folder = Path(package.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    with create_engine(f"sqlite:///{path}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text("insert into accepted values (1, 'eva-1', 'ana', 'small', '2030-01-01')")
        )
    store = Store(str(path))
    new = Acceptance(
        fingerprint="poi-2", owner="bo", reason="rare", until=date(2031, 2, 3), severity="high"
    )
    store.accept(new)
    old = Acceptance(fingerprint="eva-1", owner="ana", reason="small", until=date(2030, 1, 1))
    assert store.accepted() == [old, new]
    store.close()


def test_a_file_that_is_no_database_is_told_in_one_sentence(tmp_path):
    path = tmp_path / "runs.db"
    path.write_text("this is not a database, and it is longer than a header" * 10)
    with pytest.raises(UsageError, match="cannot be opened"):
        Store(str(path))


def test_migrations_make_what_the_tables_declare(store, tmp_path):
    from sqlalchemy import create_engine

    from crenel.store.tables import Base

    declared = tmp_path / "declared.db"
    Base.metadata.create_all(create_engine(f"sqlite:///{declared}"))

    def columns(path):
        with sqlite3.connect(path) as connection:
            names = connection.execute("select name from sqlite_master where type = 'table'")
            tables = {n for (n,) in names} - {"alembic_version", "sqlite_sequence"}
            return {
                t: {row[1:4] for row in connection.execute(f"pragma table_info({t})")}
                for t in tables
            }

    assert columns(store.url.removeprefix("sqlite:///")) == columns(declared)


def test_the_store_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("CRENEL_STORE", str(tmp_path / "x.db"))
    assert default_url() == f"sqlite:///{tmp_path / 'x.db'}"
    monkeypatch.delenv("CRENEL_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_url() == f"sqlite:///{tmp_path / 'crenel' / 'runs.db'}"
