"""Folding minutes into wider candles, compared with pandas' own resampling and with decimals added by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.tape import files as tape
from sandbox.tape.candles import Charts, Interval, decimal_sums
from sandbox.timekeeping import MINUTE, instant, micros
from tests.sandbox.crypto_stage import MakeTape, frame, walk

OFFSETS = {"1m": "1min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "1h", "4h": "4h", "12h": "12h", "1d": "1D"}
RULES = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}


def resampled(minutes: pd.DataFrame, interval: str) -> pd.DataFrame:
    """pandas' answer for every candle that has a minute."""
    if interval == "1w":
        resampler = minutes.resample("W-MON", closed="left", label="left")
    elif interval == "1M":
        resampler = minutes.resample("MS")
    else:
        resampler = minutes.resample(OFFSETS[interval])
    return resampler.agg(RULES)[resampler["open"].count() > 0]


def folded(directory: Path, interval: str, now: datetime, symbol: str = "BTCUSDT") -> pd.DataFrame:
    candles = Charts(tape.load(directory), lambda: micros(now)).candles(symbol, Interval(interval))
    columns = {name: getattr(candles, name) for name in RULES}
    return pd.DataFrame(columns, index=pd.DatetimeIndex([instant(int(start)) for start in candles.starts]))


@pytest.mark.long
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    interval=st.sampled_from([*OFFSETS, "1w", "1M"]),
    seed=st.integers(0, 2**31),
    count=st.integers(1, 2_000),
    missing=st.sampled_from([0.0, 0.2, 0.95]),
    offset=st.integers(0, 60 * 24 * 70),
)
def test_wide_candles_are_what_pandas_makes_of_the_minutes(
    make_tape: MakeTape, interval: str, seed: int, count: int, missing: float, offset: int
) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=offset)
    rows = walk("BTCUSDT", count, 91_240.5, seed, missing, first) or walk("BTCUSDT", 1, 91_240.5, seed, 0.0, first)
    minutes = frame(rows, "BTCUSDT")
    ours = folded(make_tape(rows), interval, datetime(2026, 12, 1, tzinfo=UTC))
    theirs = resampled(minutes, interval)
    assert list(ours.index) == list(theirs.index)
    for name in ("open", "high", "low", "close"):
        assert (ours[name].to_numpy() == theirs[name].to_numpy()).all()
    exact = resampled(minutes.assign(volume=[Decimal(repr(value)) for value in minutes["volume"]]), interval)
    assert ours["volume"].tolist() == [float(value) for value in exact["volume"]]


@pytest.mark.parametrize("interval", ["1m", "5m", "1h", "1d"])
def test_a_running_candle_is_the_minutes_so_far_and_the_trade_that_opened_this_one(
    make_tape: MakeTape, interval: str
) -> None:
    rows = walk("BTCUSDT", 300, 100.0, seed=1)
    directory, minutes = make_tape(rows), frame(rows, "BTCUSDT")
    for closed in (1, 4, 119, 120, 121, 250):
        now = minutes.index[closed] + timedelta(seconds=30)
        so_far = minutes.iloc[: closed + 1].copy()
        so_far.iloc[-1] = [*[minutes["open"].iloc[closed]] * 4, 0.0]
        ours, theirs = folded(directory, interval, now), resampled(so_far, interval)
        assert ours.index[-1] == theirs.index[-1]
        assert ours.iloc[-1].to_numpy() == pytest.approx(theirs.iloc[-1].to_numpy(), rel=1e-12)
        assert len(ours) == len(theirs)


def test_nothing_of_the_future_is_in_any_candle(make_tape: MakeTape) -> None:
    """What is served at a moment is the same whether or not the tape goes on."""
    rows = walk("BTCUSDT", 400, 100.0, seed=2, missing=0.1)
    for cut in (1, 59, 60, 200, 333):
        now = rows[cut][2]
        known = [*rows[:cut], (*rows[cut][:3], *([rows[cut][3]] * 4), 0.0)]
        for interval in ("1m", "15m", "1h", "1d"):
            long = folded(make_tape(rows), interval, now)
            pd.testing.assert_frame_equal(long, folded(make_tape(known), interval, now))


@given(
    values=st.lists(
        st.decimals(0, 10**9, places=8) | st.decimals(0, 10**12, places=2) | st.decimals(0, 10, places=5),
        min_size=1,
        max_size=50,
    ),
    cut=st.integers(1, 49),
)
def test_sums_are_those_of_the_decimals(values: list[Decimal], cut: int) -> None:
    """Floats that spell these decimals, added as decimals and rounded once."""
    floats = np.array([float(value) for value in values])
    first = np.array([0, cut] if cut < len(values) else [0])
    spelled = [Decimal(repr(value)) for value in floats.tolist()]
    runs = [spelled[:cut], spelled[cut:]] if cut < len(values) else [spelled]
    assert decimal_sums(floats, first).tolist() == [float(sum(run)) for run in runs]


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    moment = np.array([micros(datetime(2026, 2, 1, 12, 30, tzinfo=UTC))])
    starts = {text: instant(int(Interval(text).start_of(moment)[0])) for text in ("1w", "1M", "3d", "8h")}
    assert starts["1w"] == datetime(2026, 1, 26, tzinfo=UTC)
    assert starts["1M"] == datetime(2026, 2, 1, tzinfo=UTC)
    assert starts["8h"] == datetime(2026, 2, 1, 8, tzinfo=UTC)
    month = Interval("1M")
    assert instant(int(month.end_of(month.start_of(moment))[0])) == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "m", "0m", "5", "1y", "-1h", "100m", "2M"])
def test_no_width(text: str) -> None:
    with pytest.raises(ValueError, match="no candle width"):
        Interval(text)


def test_a_minute_of_the_tape_closes_sixty_seconds_after_its_start_on_any_day(make_tape: MakeTape) -> None:
    bars = tape.load(make_tape(walk("BTCUSDT", 3_000, 100.0, seed=3))).bars["BTCUSDT", "1m"]
    assert (bars.closes_at - bars.starts == MINUTE).all()
