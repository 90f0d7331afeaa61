"""A bar restated long after: what depends on it is built anew, nothing else, and the old value stays to be seen."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from flows.dbt_command import run_dbt
from tests.canonical.market import Market, bars, kept_ledgers_differ
from warehouse.connection import connect
from warehouse.timeframes import TIMEFRAMES

RESTATED = datetime(2025, 11, 26, 15, 2, tzinfo=UTC)


def versions(connection: psycopg.Connection) -> dict[str, dict[tuple[str, datetime], str]]:
    """Which transaction wrote each row of each history."""
    return {
        timeframe: {
            (symbol, bar_start): xmin
            for symbol, bar_start, xmin in connection.execute(
                f"select symbol, bar_start, xmin::text from canonical.ohlcv_{timeframe}__history"
            ).fetchall()
        }
        for timeframe in TIMEFRAMES
    }


@pytest.mark.whole
def test_a_restated_bar_rebuilds_what_depends_on_it(market: Market) -> None:
    with connect("transformer", autocommit=True) as reader, connect("loader") as loader:
        run_dbt("run", "--select", "staging", "canonical")
        before, series = versions(reader), {name: bars(name) for name in TIMEFRAMES}
        known_at = reader.execute("select clock_timestamp()").fetchone()[0]
        loader.execute(
            "insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)"
            " select ticker, multiplier, timespan, t, o, h + 1, l, c, v + 10 from raw.polygon_aggregates"
            " where ticker = 'AAPL' and timespan = 'minute' and t = %s",
            (RESTATED,),
        )
        loader.commit()
        run_dbt("run", "--select", "staging", "canonical")
        after = versions(reader)
    assert kept_ledgers_differ() == []

    for timeframe in TIMEFRAMES:
        rewritten = {key for key, xmin in after[timeframe].items() if before[timeframe].get(key) != xmin}
        assert {symbol for symbol, _ in rewritten} == {"AAPL"}, "other instruments are left alone"
        earlier = bars(timeframe).query("symbol == 'AAPL' and bar_end <= @RESTATED")["bar_start"]
        # the bar before may have been published on the word of the restated one
        assert {start for _, start in rewritten} & {start.to_pydatetime() for start in earlier[:-1]} == set()

        then, now, first = bars(timeframe, as_of=known_at), bars(timeframe), series[timeframe]
        columns = [name for name in first.columns if name != "landed_at"]
        assert then[columns].equals(first[columns]), "what was known then is what was seen then"
        changed = now[(now["high"] != first["high"]) | (now["volume"] != first["volume"])]
        assert len(changed) == 1, "one minute is in one bar of each timeframe"
        bar = changed.iloc[0]
        old = first.loc[changed.index[0]]
        assert bar["bar_start"] <= RESTATED < bar["bar_end"]
        assert bar["volume"] == old["volume"] + 10
        assert (bar["revision"], old["revision"]) == (2, 1)


# one in the middle alone: what it is made of and what is made of it stay
@pytest.mark.whole
@pytest.mark.parametrize("refreshed", [("1h",), TIMEFRAMES], ids=["1h", "all"])
def test_a_full_refresh_agrees(market: Market, refreshed: tuple[str, ...]) -> None:
    grown = {timeframe: bars(timeframe) for timeframe in TIMEFRAMES}
    run_dbt("run", "--select", *(f"ohlcv_{timeframe}" for timeframe in refreshed), "--full-refresh")
    for timeframe in TIMEFRAMES:
        assert bars(timeframe).equals(grown[timeframe])
    assert kept_ledgers_differ() == []


@pytest.mark.whole
def test_the_ledger_says_why(market: Market) -> None:
    """A halt explains a silent minute, and takes its flat bar away; what nobody was asked for is open."""
    start = datetime(2025, 11, 25, tzinfo=UTC)
    with connect("transformer", autocommit=True) as transformer, connect("loader", autocommit=True) as loader:
        silent = transformer.execute(
            "select min(bar_start) from canonical.ohlcv_1m where symbol = 'IBM' and is_silent and bar_start > %s",
            (start,),
        ).fetchone()[0]
        transformer.execute(
            "insert into reference.trading_halts values ('XNYS', 'IBM', %s, %s, 'news')",
            (silent, silent + timedelta(seconds=30)),
        )
        for minute in (0, 1, 4):
            loader.execute(
                "insert into raw.binance_klines (symbol, interval, open_time, open, high, low, close, volume,"
                " close_time, quote_volume, trades, taker_buy_volume, taker_buy_quote_volume)"
                " values ('SOLUSDT', '1m', %s, 100, 101, 99, 100, 1, %s, 0, 0, 0, 0)",
                (start + timedelta(minutes=minute), start),
            )
        run_dbt("run", "--select", "ohlcv_1m+", "--exclude", "features", "results", "--full-refresh")
        kinds = transformer.execute(
            "select symbol, timeframe, bar_start, kind, outcome, has_flat_bar from canonical.gaps"
            " where symbol = 'SOLUSDT' and timeframe in ('1m', '5m') or symbol = 'IBM' and kind = 'halt'"
            " order by symbol, timeframe, bar_start"
        ).fetchall()
        # the vendor says once more that these were all: that can only change minutes that a flat bar could stand for
        loader.execute(
            "insert into raw.coverage (source, dataset, symbol, timeframe, window_start, window_end, rows_received,"
            " rows_landed) values ('polygon', 'bars', 'IBM', '1m', %s, %s, 0, 0)",
            (start, start + timedelta(days=1)),
        )
        assert kept_ledgers_differ() == []
        absences = transformer.execute(
            "select distinct bar_start from canonical.int_changes"
            " where symbol = 'IBM' and timeframe = '1m' and is_absence order by bar_start"
        ).fetchall()
    assert (silent,) not in absences
    assert len(absences) > 10, "of a fifth of its minutes"
    halts = [row for row in kinds if row[0] == "IBM"]
    assert ("IBM", "1m", silent, "halt", "explained", False) in halts
    assert {row[1] for row in halts} == {"1m", "5m", "15m", "1h", "4h", "1d"}, "a bar without all its minutes is none"
    assert [row for row in kinds if row[0] == "SOLUSDT"] == [
        ("SOLUSDT", "1m", start + timedelta(minutes=2), "not_covered", "open", False),
        ("SOLUSDT", "1m", start + timedelta(minutes=3), "not_covered", "open", False),
    ]
