"""A warehouse with the seeds' crypto instruments, and the loaders as an operator starts them."""

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loaders.streams import Exchange, exchange
from tests.loaders.watching import empty
from tests.machine import ROOT, running_warehouse
from warehouse.connection import connect


@pytest.fixture(scope="module")
def seeded_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A PostgreSQL of the module's own, with the two seeds that loaders read."""
    with running_warehouse(tmp_path_factory.mktemp("seeded")) as state_dir:
        with connect("transformer") as connection:
            for name in ("instruments", "vendor_symbols"):
                with (ROOT / "dbt_project" / "seeds" / f"{name}.csv").open() as file:
                    columns, *rows = list(csv.reader(file))
                typed = ", ".join(f"{column} {'date' if 'valid' in column else 'text'}" for column in columns)
                connection.execute(f"create table reference.{name} ({typed})")
                with connection.cursor() as cursor:
                    places = ", ".join(["%s"] * len(columns))
                    cursor.executemany(
                        f"insert into reference.{name} values ({places})",
                        [[value or None for value in row] for row in rows],
                    )
        yield state_dir


@pytest.fixture
def market(seeded_warehouse: Path) -> Iterator[Exchange]:
    """An exchange, and a warehouse whose rows are gone after the test."""
    with exchange() as running:
        yield running
    empty()


def start_ingest(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "loaders", "ingest", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
