"""The market of known minutes, landed once per module."""

from collections.abc import Iterator
from datetime import date

import pandas as pd
import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from sandbox.tape.minutes import minutes
from tests.canonical.market import DAYS, EQUITIES, FIRST, PAIRS, Market, as_frame, land_minutes
from tests.machine import running_warehouse
from warehouse.connection import connect


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    frame = as_frame(minutes(EQUITIES, PAIRS, FIRST, DAYS, seed=20251124, quiet={"IBM": 0.2}))
    first = pd.Timestamp(FIRST, tz="UTC")
    with running_warehouse(tmp_path_factory.mktemp("market")) as state_dir:
        run_dbt("seed")
        with connect("loader") as connection:
            for calendar in ("XNYS", "24x7"):
                ensure_sessions(connection, calendar, date(2025, 12, 31))
            land_minutes(connection, frame, first.to_pydatetime(), (first + pd.Timedelta(days=DAYS)).to_pydatetime())
            connection.execute("select raw.refresh_statistics()")
            connection.commit()
        run_dbt("run", "--select", "staging", "canonical")
        yield Market(state_dir, frame)
