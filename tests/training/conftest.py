"""A warehouse with the relations that dbt would have built, filled with a made-up market."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import psycopg
import pytest

from tests.machine import MIGRATED, Kind, running_warehouse
from tests.training import worlds
from training.data_evidence import record_audit, recording_tests
from training.dataset import Dataset
from warehouse.connection import connect

RELATIONS = """
    create table reference.instruments (
        symbol text, calendar text, asset_class text, listed_on date, delisted_on date, delisting_return numeric
    );
    create table reference.universes (universe text, symbol text, valid_from date, valid_to date);
    create table canonical.ohlcv_1d (
        symbol text, bar_start timestamptz, session_date date, adj_open numeric, adj_high numeric, adj_low numeric,
        high numeric, low numeric, volume numeric, is_silent boolean, is_range_doubtful boolean, adj_close numeric
    );
    create table features.freshness_1d (symbol text, stale_from timestamptz, reason text);
    create table features.catalog (
        feature text, timeframe text, feature_group text, fingerprint text, is_selectable boolean
    );
    create table features.features_1d (
        symbol text, bar_start timestamptz, bar_no integer,
        volume_surprise float8, wind_direction float8, sma_20 float8, is_ready boolean
    );
    insert into features.catalog values
        ('volume_surprise', '1d', 'volume', 'v1', true),
        ('wind_direction', '1d', 'volume', 'w1', true),
        ('sma_20', '1d', 'trend', 's1', false);
"""


@pytest.fixture(scope="module")
def made_up_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A PostgreSQL of its own: it holds symbols EDGE (a planted edge) and NOISE, 1200 sessions each."""
    with running_warehouse(tmp_path_factory.mktemp("training"), MADE_UP):
        yield


def _fill() -> None:
    panels = worlds.dataset(symbols=("EDGE",)), worlds.dataset(symbols=("NOISE",), strength=0.0, seed=6)
    with connect("loader") as connection:
        for number, session in enumerate(worlds.sessions(1200)):
            connection.execute(
                "insert into reference.trading_sessions values ('XNYS', %s, %s, %s, %s)",
                (session.date(), session, session + pd.Timedelta(hours=6.5), number),
            )
        connection.execute("select reference.count_session_bars('XNYS')")
    with connect("transformer") as connection:
        connection.execute(RELATIONS)
        for panel in panels:
            for column, symbol in enumerate(panel.symbols):
                connection.execute("insert into reference.instruments values (%s, 'XNYS', 'equity')", (symbol,))
                _fill_symbol(connection, panel, column, symbol)
        record_audit(connection, "1d", [])
    with recording_tests(["1d"]):
        pass


MADE_UP = Kind("made_up", MIGRATED, _fill)


def _fill_symbol(connection: psycopg.Connection, panel: Dataset, column: int, symbol: str) -> None:
    starts = pd.DatetimeIndex(panel.sessions, tz="UTC")
    with connection.cursor().copy("copy canonical.ohlcv_1d from stdin") as copy:
        for number, start in enumerate(starts):
            prices = [repr(float(grid[number, column])) for grid in (panel.opens, panel.highs, panel.lows)]
            copy.write_row((symbol, start, start.date(), *prices, *prices[1:], 1000, False, False, prices[0]))
    for model in ("ohlcv_1d", "features_1d"):
        connection.execute(
            "insert into canonical.live_watermarks (model, symbol, bar_start) values (%s, %s, %s)",
            (model, symbol, starts[-1]),
        )
    with connection.cursor().copy("copy features.features_1d from stdin") as copy:
        for number, start in enumerate(starts):
            values = [None if np.isnan(value) else float(value) for value in panel.features[number, column]]
            copy.write_row((symbol, start, number, *values, 1.0, bool(panel.ready[number, column])))
