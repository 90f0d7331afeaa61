"""Fixtures that stand for real things: a real PostgreSQL, migrated, private to one test session."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from warehouse import embedded
from warehouse.migrate import bring_up

_DATABASE_VARIABLES = ("DATABASE_URL", "PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE")


@contextmanager
def running_warehouse(state_dir: Path) -> Iterator[Path]:
    """A fresh embedded PostgreSQL with all migrations, which the environment points to until the end of the block."""
    before = dict(os.environ)
    for name in _DATABASE_VARIABLES:
        os.environ.pop(name, None)
    os.environ["TRUEBAR_STATE_DIR"] = str(state_dir)
    os.environ["TRUEBAR_MODELS_DIR"] = str(state_dir / "models")
    try:
        bring_up()
        yield state_dir
    finally:
        embedded.stop(state_dir)
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def warehouse_db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One migrated PostgreSQL for the session; yields its state folder. Nothing of the user's is touched."""
    with running_warehouse(tmp_path_factory.mktemp("state")) as state_dir:
        yield state_dir


@pytest.fixture
def empty_warehouse(tmp_path: Path) -> Iterator[Path]:
    """A PostgreSQL of one test's own, for tests that need all of it."""
    with running_warehouse(tmp_path / "state") as state_dir:
        yield state_dir
