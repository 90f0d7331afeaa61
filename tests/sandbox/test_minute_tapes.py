"""Invented minutes: sessions, grids and shapes, and days that are made of their minutes."""

from datetime import UTC, date, timedelta
from pathlib import Path

import exchange_calendars
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sandbox.tape import files as tape
from sandbox.tape.minutes import daily, minutes

THANKSGIVING = date(2024, 11, 25)
"""A Monday: a holiday on Thursday, an early close on Friday."""
STOCKS, PAIRS = ["AAA", "BBB"], ["BTCUSDT", "ETHUSDT"]
NUMBERS = ["open", "high", "low", "close", "volume"]


@pytest.fixture(scope="module")
def week() -> pd.DataFrame:
    return minutes(STOCKS, PAIRS, THANKSGIVING, 7, seed=1, quiet={"AAA": 0.0, "BTCUSDT": 0.0}).to_pandas()


def test_minutes_are_those_of_the_sessions_and_of_the_clock(week: pd.DataFrame) -> None:
    calendar = exchange_calendars.get_calendar("XNYS", start="2024-11-01", end="2024-12-31")
    trading = calendar.minutes_in_range(pd.Timestamp("2024-11-25", tz=UTC), pd.Timestamp("2024-12-02", tz=UTC))
    own = week[week["symbol"] == "AAA"]["bar_start"]
    assert own.tolist() == [start.to_pydatetime() for start in trading]
    assert own.dt.date.value_counts().to_dict()[date(2024, 11, 29)] == 210
    around = week[week["symbol"] == "BTCUSDT"]["bar_start"].tolist()
    assert around == list(pd.date_range("2024-11-25", periods=7 * 1440, freq="min", tz=UTC))


@pytest.mark.parametrize("first", [date(2024, 3, 8), date(2024, 11, 1)])
def test_the_bell_rings_in_new_york_when_clocks_change(first: date) -> None:
    bars = minutes(["AAA"], [], first, 4, seed=1, quiet={"AAA": 0.0}).to_pandas()
    local = bars["bar_start"].dt.tz_convert("America/New_York")
    assert {local.dt.strftime("%H:%M").groupby(local.dt.date).min().tolist()[i] for i in range(2)} == {"09:30"}
    assert bars["bar_start"].dt.hour.groupby(local.dt.date).min().nunique() == 2
    days = daily(minutes(["AAA"], [], first, 4, seed=1), ["AAA"]).to_pandas()
    assert set(days["bar_start"].dt.tz_convert("America/New_York").dt.strftime("%H:%M")) == {"00:00"}


def test_bars_are_sound(week: pd.DataFrame) -> None:
    for name in NUMBERS[:4]:
        assert (week[name] > 0).all()
        assert (week[name] == week[name].round(2)).all()
    assert (week["high"] >= week[["open", "close"]].max(axis=1)).all()
    assert (week["low"] <= week[["open", "close"]].min(axis=1)).all()
    is_stock = week["symbol"].isin(STOCKS)
    assert (week.loc[is_stock, "volume"] == week.loc[is_stock, "volume"].round(0)).all()
    assert (week["volume"] == week["volume"].round(5)).all()
    assert (week["volume"] > 0).all()


def test_minutes_move_as_real_ones_do() -> None:
    symbols = [f"S{i:02}" for i in range(12)]
    bars = minutes(symbols, [], date(2024, 1, 2), 30, seed=3).to_pandas()
    bars["minute"] = bars.groupby(["symbol", bars["bar_start"].dt.date]).cumcount()
    volume = bars.groupby("minute")["volume"].mean()
    assert volume[:15].mean() > 2 * volume[180:210].mean() < volume[370:385].mean()
    moves = np.log(bars["close"] / bars["open"]).groupby(bars["symbol"]).std()
    assert moves.between(0.5e-4, 15e-4).all()
    firsts, lasts = bars[bars["minute"] == 0], bars.groupby(["symbol", bars["bar_start"].dt.date])["close"].last()
    overnight = np.log(firsts["open"].to_numpy()[1:] / lasts.to_numpy()[:-1])[: 12 * 20]
    assert np.median(np.abs(overnight)) > 20e-4


def test_quiet_minutes_are_left_out_and_change_nothing_else(week: pd.DataFrame) -> None:
    quieter = minutes(["AAA"], [], THANKSGIVING, 7, seed=1, quiet={"AAA": 0.3}).to_pandas()
    whole = week[week["symbol"] == "AAA"]
    assert 0.65 < len(quieter) / len(whole) < 0.75
    pd.testing.assert_frame_equal(whole.merge(quieter), quieter)


def test_a_seed_is_a_tape_and_more_of_it_begins_the_same(week: pd.DataFrame) -> None:
    alone = minutes([], ["ETHUSDT"], THANKSGIVING, 2, seed=1).to_pandas()
    beginning = week[week["symbol"] == "ETHUSDT"].head(len(alone)).reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, beginning)
    other = minutes([], ["ETHUSDT"], THANKSGIVING, 2, seed=2).to_pandas()
    assert (other["close"].head(100) != alone["close"].head(100)).any()


def test_days_are_made_of_their_minutes(week: pd.DataFrame) -> None:
    table = minutes(STOCKS, PAIRS, THANKSGIVING, 7, seed=1)
    days = daily(table, STOCKS).to_pandas()
    bars = table.to_pandas()
    bars = bars[bars["symbol"].isin(STOCKS)]
    local = bars["bar_start"].dt.tz_convert("America/New_York").dt.normalize().dt.tz_convert(UTC)
    rules = dict(zip(NUMBERS, ("first", "max", "min", "last", "sum"), strict=True))
    theirs = bars.groupby(["symbol", local]).agg(rules).reset_index()
    pd.testing.assert_frame_equal(days.drop(columns="timeframe"), theirs, check_exact=True, check_dtype=False)
    assert len(days) == 8
    assert set(days["timeframe"]) == {"1d"}


def test_they_make_a_tape(tmp_path: Path) -> None:
    table = minutes(STOCKS, PAIRS, THANKSGIVING, 2, seed=1)
    pq.write_table(table, tmp_path / "minutes.parquet")
    pq.write_table(daily(table, STOCKS), tmp_path / "days.parquet")
    loaded = tape.load(tmp_path)
    assert loaded.symbols == [*STOCKS, *PAIRS]
    assert sum(len(bars) for (_, timeframe), bars in loaded.bars.items() if timeframe == "1m") == table.num_rows


def test_nothing_trades_where_nothing_is_open() -> None:
    assert minutes([], [], THANKSGIVING, 1, seed=1).num_rows == 0
    saturday = THANKSGIVING - timedelta(days=2)
    weekend = minutes(STOCKS, [], saturday, 2, seed=1)
    assert (weekend.num_rows, daily(weekend, STOCKS).num_rows) == (0, 0)
