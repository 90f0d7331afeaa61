"""Queries whose result is columns: the driver learns a database's types once, and keeps no connection."""

from pathlib import Path

import adbc_driver_postgresql
import pyarrow
import pytest

from tests.machine import as_owner
from warehouse.connection import arrow

pytestmark = pytest.mark.database


def test_the_types_of_a_database_are_read_once(warehouse_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the driver ten times as long as a small query."""
    arrow("trainer", "select 1 as x")
    monkeypatch.delattr(adbc_driver_postgresql, "connect")
    found = arrow("trainer", "select $1::text as name, array[1.5::float8] as numbers", ("a",))
    assert found.to_pylist() == [{"name": "a", "numbers": [1.5]}]
    assert found.schema.field("numbers").type == pyarrow.list_(pyarrow.float64())


def test_no_connection_stays(warehouse_db: Path) -> None:
    asked = [arrow("trainer", "select pg_backend_pid() as pid")["pid"][0].as_py() for _ in range(2)]
    assert asked[0] != asked[1]
    with as_owner() as owner:
        owner.autocommit = True
        # a backend ends a moment after its client
        for _ in range(100):
            left = owner.execute("select pid from pg_stat_activity where pid = any(%s)", (asked,)).fetchall()
            if not left:
                break
            owner.execute("select pg_sleep(0.1)")
    assert left == []
