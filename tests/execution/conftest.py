"""The stand-in exchange and the warehouse's relations, fresh for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from world import AFTER_CLOSE, Exchange, SignalPackage, Warehouse, trading_days, write_tape

from sandbox.tape import Tape, load


@pytest.fixture(scope="session")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    folder = tmp_path_factory.mktemp("tape")
    write_tape(folder)
    return load(folder)


@pytest.fixture
def exchange(tape: Tape, tmp_path: Path) -> Iterator[Exchange]:
    """Its clock stands a quarter of an hour after the first day's close."""
    running = Exchange(tape, tmp_path / "book.sqlite", trading_days()[0].closes + AFTER_CLOSE)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def built_warehouse(warehouse_db: Path) -> None:
    Warehouse.build()


@pytest.fixture
def warehouse(built_warehouse: None) -> Warehouse:
    return Warehouse()


@pytest.fixture
def package(warehouse: Warehouse) -> SignalPackage:
    """A model that may trade on paper."""
    package = SignalPackage()
    warehouse.enter_state(package.model_id, "paper")
    return package
