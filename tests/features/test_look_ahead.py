"""The look-ahead audit passes the library and catches every way of peeking that it is shown."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from loaders.client.calendars import ensure_sessions
from sandbox.tape.minutes import minutes
from tests.canonical.market import as_frame, land_minutes
from tests.machine import Demo
from training.look_ahead import audit, due, find_peeks
from warehouse.connection import connect, endpoint, open_connection

pytestmark = pytest.mark.xdist_group("demo")

PEEKS = {
    "next_close": "lead(adj_close) over bars / adj_close",
    "centred_mean": "avg(adj_close) over (bars rows between 5 preceding and 5 following)",
    "normalised_by_all": "adj_close / max(adj_close) over (partition by symbol)",
    "rank_in_all": "percent_rank() over (partition by symbol order by adj_close)",
    "label": "sign(lead(adj_open, 2) over bars - lead(adj_open) over bars)",
}
HONEST = {"own_close": "adj_close", "last_close": "lag(adj_close) over bars"}


FIRST, DAYS = date(2012, 3, 12), 3
# compared at least: rows of 2 pairs and 2 stocks, at the two moments together
LEAST_ROWS = {"1m": 7_000, "5m": 1_400, "15m": 400, "1h": 120, "4h": 30}


@pytest.fixture
def minute_bars(demo: Demo) -> Iterator[psycopg.Connection]:
    """Histories of all timeframes below the day, in a transaction that is never committed."""
    where = endpoint()
    first = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    frame = as_frame(minutes(["AAPL", "IBM"], ["BTCUSDT", "ETHUSDT"], FIRST, DAYS, seed=3))
    with open_connection(where, where.conninfo()) as owner:
        ensure_sessions(owner, "24x7", FIRST)
        land_minutes(owner, frame, first, first + timedelta(days=DAYS))
        for timeframe in LEAST_ROWS:
            for relation in (f"canonical.ohlcv_{timeframe}", f"features.features_{timeframe}"):
                owner.execute(f"insert into {relation}__history select * from {relation}")
                owner.execute(f"analyze {relation}__history")
        yield owner
        owner.rollback()


def plant(connection: psycopg.Connection, timeframe: str) -> None:
    """A feature relation that peeks in all ways."""
    columns = ", ".join(f"({sql})::float8 as {name}" for name, sql in (PEEKS | HONEST).items())
    connection.execute(f"create table features.peeking_{timeframe}__history (symbol text)")
    connection.execute(
        f"create view features.peeking_{timeframe} as select symbol, bar_start, {columns}"
        f" from canonical.ohlcv_{timeframe} window bars as (partition by symbol order by bar_start)"
    )


def test_the_library_does_not_peek(demo: Demo) -> None:
    assert audit() > 20_000


def test_a_build_audits_what_is_computed_otherwise_or_has_doubled(demo: Demo) -> None:
    with connect("transformer") as connection:
        assert due(connection) == [], "the demo's own builds have audited its features"
        rows = connection.execute("select count(*) from features.features_1d__history").fetchone()[0]
        connection.execute("update canonical.live_builds set definition = 'another' where model = 'features_1d'")
        assert due(connection) == ["1d"]
        note = "insert into features.look_ahead_audits values ('features_1d', 'another', %s, clock_timestamp())"
        connection.execute(note, ((rows - 1) // 2,))
        assert due(connection) == ["1d"]
        connection.execute(note, ((rows + 1) // 2,))
        assert due(connection) == []
        connection.rollback()


def test_every_peek_is_caught_and_nothing_else(demo: Demo) -> None:
    with connect("transformer") as connection:
        plant(connection, "1d")
        peeks, _ = find_peeks(connection, "features.peeking_1d", "canonical.ohlcv_1d")
        connection.rollback()
    assert {peek.feature for peek in peeks} == set(PEEKS)


def test_no_timeframe_peeks_and_each_would_be_caught(minute_bars: psycopg.Connection) -> None:
    for timeframe, rows in LEAST_ROWS.items():
        plant(minute_bars, timeframe)
        for kind, expected in (("features", set()), ("peeking", set(PEEKS))):
            relation = f"features.{kind}_{timeframe}"
            peeks, compared = find_peeks(minute_bars, relation, f"canonical.ohlcv_{timeframe}")
            assert {peek.feature for peek in peeks} == expected, relation
            assert compared > rows, relation
