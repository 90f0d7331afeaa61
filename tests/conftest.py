"""Fixtures that stand for real things: a real PostgreSQL, migrated, private to one test session."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from warehouse import embedded
from warehouse.migrate import bring_up

_DATABASE_VARIABLES = ("DATABASE_URL", "PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE")


@pytest.fixture(scope="session")
def warehouse_db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh embedded PostgreSQL with all migrations; yields its state folder. Nothing of the user's is touched."""
    state_dir = tmp_path_factory.mktemp("state")
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
