"""Bars of minutes against pandas: traded prices alone, exact, over half days, holidays and daylight saving time."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import exchange_calendars
import pandas as pd
import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from sandbox.tape.minutes import minutes
from tests.canonical import market as market_of
from tests.canonical.market import DAYS, FIRST, PRICES, Market, bars, land_minutes
from warehouse.connection import connect

LENGTHS = {"5m": "5min", "15m": "15min", "1h": "1h", "4h": "4h", "1d": None}


def sessions(symbol: str, first: date, days: int) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """(open, close) of the symbol's sessions, from the library that publishes them."""
    name = "24/7" if symbol in market_of.PAIRS else "XNYS"
    end = pd.Timestamp(first) + pd.Timedelta(days=days - 1)
    schedule = exchange_calendars.get_calendar(name, start="2025-01-01", end="2026-01-31").schedule
    part = schedule.loc[pd.Timestamp(first) : end]
    return list(zip(part["open"], part["close"], strict=True))


def expected(tape: pd.DataFrame, timeframe: str, first: date, days: int) -> pd.DataFrame:
    """The minutes that were traded, resampled from each session's open on; flat where there are none."""
    found = []
    for symbol, part in tape.groupby("symbol"):
        traded, last = part.set_index("bar_start"), None
        for opened, closed in sessions(symbol, first, days):
            of_session = traded.loc[opened : closed - pd.Timedelta(minutes=1)]
            length = pd.Timedelta(LENGTHS[timeframe] or (closed - opened))
            # a minute before the very first trade has no price, and no bar of which it is a part exists
            begins = opened if last is not None else of_session.index[0]
            for start in pd.date_range(opened, closed, freq=length, inclusive="left"):
                end = min(start + length, closed)
                inside = of_session.loc[start : end - pd.Timedelta(minutes=1)]
                if start >= begins:
                    prices = (
                        (inside["open"].iloc[0], inside["high"].max(), inside["low"].min(), inside["close"].iloc[-1])
                        if len(inside)
                        else (last,) * 4
                    )
                    volume = inside["volume"].sum() if len(inside) else Decimal(0)
                    found.append((symbol, start, end, *prices, volume))
                last = inside["close"].iloc[-1] if len(inside) else last
    columns = ["symbol", "bar_start", "bar_end", *PRICES, "volume"]
    return pd.DataFrame(found, columns=columns).sort_values(["symbol", "bar_start"], ignore_index=True)


def compare(tape: pd.DataFrame, timeframe: str, first: date, days: int) -> int:
    names = ["symbol", "bar_start", "bar_end", *PRICES, "volume"]
    ours, theirs = bars(timeframe)[names], expected(tape, timeframe, first, days)[names]
    ours["bar_end"] = pd.to_datetime(ours["bar_end"], utc=True)
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False)
    return len(ours)


@pytest.mark.parametrize("timeframe", LENGTHS)
def test_bars_of_minutes_equal_pandas(market: Market, timeframe: str) -> None:
    assert compare(market.tape, timeframe, FIRST, DAYS) > 5


def test_hours_make_the_day(market: Market) -> None:
    """Hour to day: the day's bar is its hours', with nothing lost between."""
    hours, days = bars("1h"), bars("1d").set_index(["symbol", "session_date"])
    made = hours.groupby(["symbol", "session_date"]).agg(
        open=("open", "first"), high=("high", "max"), low=("low", "min"), close=("close", "last"),
        volume=("volume", "sum"),
    )  # fmt: skip
    pd.testing.assert_frame_equal(made, days[[*PRICES, "volume"]], check_dtype=False)


def test_the_half_day_has_four_hours(market: Market) -> None:
    hours = bars("1h").query("symbol == 'AAPL'").groupby("session_date")
    assert hours.size().to_dict() == {
        date(2025, 11, 24): 7, date(2025, 11, 25): 7, date(2025, 11, 26): 7, date(2025, 11, 28): 4
    }  # fmt: skip
    last = hours.last().loc[date(2025, 11, 28)]
    assert (last["bar_end"] - last["bar_start"]) == pd.Timedelta(minutes=30)
    numbers = bars("1h").query("symbol == 'AAPL'")["bar_no"]
    assert (numbers.diff().dropna() == 1).all(), "ordinals have no hole over the night, the holiday and the half day"


@pytest.mark.slow
@pytest.mark.parametrize(("first", "days"), [(date(2025, 10, 27), 35), (date(2025, 2, 24), 28)])
def test_the_clocks_change(first: date, days: int, seeded_by_dbt: Path) -> None:
    """The same over weeks in which daylight saving time ends or begins."""
    tape = market_of.as_frame(minutes(market_of.EQUITIES, market_of.PAIRS, first, days, seed=7, quiet={"IBM": 0.2}))
    start = pd.Timestamp(first, tz="UTC").to_pydatetime()
    with connect("loader") as connection:
        for calendar in ("XNYS", "24x7"):
            ensure_sessions(connection, calendar, date(2025, 12, 31))
        land_minutes(connection, tape, start, start + pd.Timedelta(days=days))
    run_dbt("run", "--select", "staging", "canonical")
    for timeframe in LENGTHS:
        assert compare(tape, timeframe, first, days) > 20
