"""The stand-in exchange and the warehouse's relations, fresh for each test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.tape.files import Tape, load
from tests import servers
from tests.execution.spot import write_spot_tape
from tests.execution.world import AFTER_CLOSE, Exchange, SignalPackage, Warehouse, trading_days, write_tape
from tests.machine import MIGRATED, Kind, as_owner, running_warehouse

LEDGER = Kind("ledger", MIGRATED, Warehouse.build)


@pytest.fixture(scope="session")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    folder = tmp_path_factory.mktemp("tape")
    write_tape(folder)
    return load(folder)


@pytest.fixture(scope="session")
def spot_tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spot-tape")
    write_spot_tape(folder)
    return folder


@pytest.fixture
def exchange(tape: Tape, tmp_path: Path) -> Iterator[Exchange]:
    """Its clock stands a quarter of an hour after the first day's close."""
    running = Exchange(tape, tmp_path / "book.sqlite", trading_days()[0].closes + AFTER_CLOSE)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def ledger_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A PostgreSQL of these tests' own, migrated, with the relations that dbt would have built."""
    before = dict(os.environ)
    with running_warehouse(tmp_path_factory.mktemp("execution"), LEDGER) as state_dir:
        # only a test that asks for it is led there
        os.environ.clear()
        os.environ.update(before)
        yield state_dir


@pytest.fixture
def ledger_db(ledger_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For this test the environment leads to that server."""
    _point_to(ledger_server, monkeypatch)


@pytest.fixture
def nobody_else(ledger_db: None) -> None:
    """Models of other tests on this server are retired, and hold nothing."""
    with as_owner(past_triggers=True) as connection:
        connection.execute(
            "insert into research.model_states (model_id, state, reason)"
            " select model_id, 'retired', 'another test' from research.models"
        )
        connection.execute("delete from ledger.fills")
        connection.execute("delete from ledger.shares")


def _point_to(state_dir: Path, patch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG") or name == "DATABASE_URL"]:
        patch.delenv(name)
    for name, value in servers.variables(state_dir).items():
        patch.setenv(name, value)


@pytest.fixture
def warehouse(ledger_db: None) -> Warehouse:
    return Warehouse()


@pytest.fixture
def package(warehouse: Warehouse) -> SignalPackage:
    """A model that may trade on paper."""
    package = SignalPackage()
    warehouse.enter_state(package.model_id, "paper")
    return package
