"""A rebuild beside people who read: nobody is ended, and who has forgotten a transaction holds up the rebuild alone."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from flows.dbt_command import run_dbt
from tests.machine import BUILT, as_owner, running_warehouse
from warehouse import sessions
from warehouse.connection import connect
from warehouse.errors import Stop

WAITING = "select count(*) from pg_locks where not granted and locktype = 'relation' and mode = 'AccessExclusiveLock'"


@pytest.fixture(scope="module", autouse=True)
def _built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with running_warehouse(tmp_path_factory.mktemp("in_the_way"), BUILT):
        yield


@contextmanager
def _rebuild() -> Iterator[None]:
    """Rebuild daily bars beside the block; what that raises, the end of the block raises."""
    with ThreadPoolExecutor(1) as beside:
        rebuild = beside.submit(run_dbt, "run", "--full-refresh", "--select", "ohlcv_1d")
        yield
    rebuild.result()


def _until_somebody_waits(watcher: psycopg.Connection) -> None:
    for _ in range(6000):
        if watcher.execute(WAITING).fetchone()[0]:
            return
        time.sleep(0.01)
    raise AssertionError("the rebuild never came to its swap")


@pytest.mark.parametrize(
    ("first", "then"), [("quarantine", "ohlcv_1d"), ("ohlcv_1d", "quarantine"), ("ohlcv_1d", "gaps")]
)
def test_a_reader_of_two_relations_is_not_ended(first: str, then: str) -> None:
    """Whichever of them it reads first, and the rebuild is not ended either."""
    with as_owner() as watcher, connect("analyst") as reader:
        watcher.autocommit = True
        with _rebuild():
            reader.execute(f"select * from canonical.{first}").fetchall()
            _until_somebody_waits(watcher)
            assert reader.execute(f"select * from canonical.{then}").fetchall() == []
            reader.commit()


def test_a_forgotten_transaction_holds_up_no_other_reader() -> None:
    with as_owner() as watcher, connect("analyst") as forgotten, connect("analyst", autocommit=True) as live:
        watcher.autocommit = True
        live.execute("set lock_timeout = '10s'")
        with _rebuild():
            forgotten.execute("select * from canonical.ohlcv_1d").fetchall()
            for _ in range(3):
                _until_somebody_waits(watcher)
                assert live.execute("select * from canonical.ohlcv_1d").fetchall() == []
            forgotten.commit()


def test_a_rebuild_gives_up_and_names_who_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sessions._LIMITS, "lock_timeout", "2s")
    with connect("analyst") as forgotten:
        forgotten.execute("select * from canonical.ohlcv_1d").fetchall()
        with pytest.raises(Stop, match=r"waited in vain for a lock; open transactions have .* of analyst"):
            run_dbt("run", "--full-refresh", "--select", "ohlcv_1d")
        forgotten.commit()
    run_dbt("run", "--full-refresh", "--select", "ohlcv_1d")
