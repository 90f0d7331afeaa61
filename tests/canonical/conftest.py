"""The market of known minutes, landed and built once, and copied for each module."""

from collections.abc import Iterator
from datetime import date, timedelta

import pandas as pd
import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from sandbox.tape.minutes import minutes
from tests.canonical.market import DAYS, EQUITIES, FIRST, PAIRS, Market, as_frame, land_minutes
from tests.machine import SEEDED, Kind, running_warehouse
from warehouse.connection import connect


def _tape() -> pd.DataFrame:
    return as_frame(minutes(EQUITIES, PAIRS, FIRST, DAYS, seed=20251124, quiet={"IBM": 0.2}))


def _land_and_build() -> None:
    first = pd.Timestamp(FIRST, tz="UTC").to_pydatetime()
    with connect("loader") as connection:
        for calendar in ("XNYS", "24x7"):
            ensure_sessions(connection, calendar, date(2025, 12, 31))
        land_minutes(connection, _tape(), first, first + timedelta(days=DAYS))
        connection.execute("select raw.refresh_statistics()")
        connection.commit()
    run_dbt("run", "--select", "staging", "canonical")


MARKET = Kind("market", SEEDED, _land_and_build)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with running_warehouse(tmp_path_factory.mktemp("market"), MARKET) as state_dir:
        yield Market(state_dir, _tape())
