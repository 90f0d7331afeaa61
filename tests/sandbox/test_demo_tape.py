"""The demo tape: real prices as they were, dividends recovered to the cent, and an edge where one is said to be."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sandbox.tape import demo as demo_tape
from sandbox.tape import files as tape
from sandbox.tape import synthetic
from sandbox.tape.files import Bars, Tape
from sandbox.tape.synthetic import Prices

COST, COIN_COST = 0.0002, 0.0012


@pytest.fixture(scope="module")
def on_tape(demo_tape_dir: Path) -> Tape:
    return tape.load(demo_tape_dir)


def test_every_stock_has_exactly_the_sessions_of_the_exchange(on_tape: Tape) -> None:
    for symbol in on_tape.symbols:
        if symbol == demo_tape.COIN:
            continue
        bars = on_tape.bars[symbol, "1d"]
        first, last = (np.datetime64(int(start), "us").astype(object).date() for start in bars.starts[[0, -1]])
        sessions = on_tape.sessions.between(first, last)
        assert bars.opens_at.tolist() == [session.opens_at for session in sessions]
        assert bars.closes_at.tolist() == [session.closes_at for session in sessions]


def test_the_coin_has_every_day_in_utc_and_no_gap_between_them(on_tape: Tape) -> None:
    bars = on_tape.bars[demo_tape.COIN, "1d"]
    first, last = demo_tape.COIN_DAYS
    assert (bars.starts.astype("datetime64[us]") == np.arange(first, last + timedelta(days=1))).all()
    assert (bars.opens_at == bars.starts).all()
    assert (bars.closes_at[:-1] == bars.opens_at[1:]).all()
    assert (bars.close[:-1] == bars.open[1:]).all()
    assert (bars.volume == np.round(bars.volume, 3)).all()


def test_prices_are_unadjusted_and_keep_the_fall_that_was_no_split(on_tape: Tape) -> None:
    bars = on_tape.bars["AAPL", "1d"]
    day = int(np.flatnonzero(bars.starts == tape.midnight(date(2000, 9, 29)))[0])
    assert (bars.close[day - 1], bars.close[day]) == (53.50, 25.75)
    assert [(split.symbol, split.execution_date.year) for split in on_tape.splits] == [
        ("AAPL", 2000),
        ("MSFT", 2003),
        ("AAPL", 2005),
    ]


def test_dividends_solved_from_adjusted_closes_are_the_ones_that_were_paid() -> None:
    """IBM's and Microsoft's investor relations pages and Apple's press release of 2012-03-19."""
    assert list(demo_tape.dividends("GOOG")) == []
    assert list(demo_tape.dividends("AAPL")) == [
        (day, Decimal("2.65")) for day in (date(2012, 8, 9), date(2012, 11, 7), date(2013, 2, 7))
    ]
    ibm = dict(demo_tape.dividends("IBM"))
    assert len(ibm) == 52  # one a quarter for thirteen years
    assert ibm[date(2000, 5, 8)] == Decimal("0.13")
    assert ibm[date(2008, 5, 7)] == Decimal("0.50")
    assert ibm[date(2012, 11, 7)] == Decimal("0.85")
    microsoft = dict(demo_tape.dividends("MSFT"))
    assert microsoft[date(2003, 2, 19)] == Decimal("0.08")  # its first, the day after the split
    assert microsoft[date(2004, 11, 15)] == Decimal("3.08")  # the three-dollar special


def test_the_same_tape_is_written_every_time(demo_tape_dir: Path, tmp_path: Path) -> None:
    for path in demo_tape.write(tmp_path):
        assert pq.read_table(path).equals(pq.read_table(demo_tape_dir / path.name))


@pytest.mark.parametrize(("symbol", "volatility"), [("SYNTHEDGE", 0.012), ("SYNTHNOISE", 0.012), ("SYNTHUSDT", 0.03)])
def test_invented_bars_look_like_bars(on_tape: Tape, symbol: str, volatility: float) -> None:
    bars = on_tape.bars[symbol, "1d"]
    assert (bars.low >= 10).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    for prices in (bars.open, bars.high, bars.low, bars.close):
        assert (prices == np.round(prices, 2)).all()
    assert np.diff(np.log(bars.close)).std() == pytest.approx(volatility, rel=0.25)


@pytest.mark.parametrize(
    ("planted", "a_week", "cost"), [(synthetic.planted_edge, 5, COST), (synthetic.planted_coin, 7, COIN_COST)]
)
def test_the_planted_edge_is_worth_what_it_says(planted: Callable[..., Prices], a_week: int, cost: float) -> None:
    """Over a thousand times the demo's length the oracle's net Sharpe ratio is the true one: between 3 and 4."""
    length = 500_000
    signal = np.random.RandomState(7).standard_normal(length)
    growth = _planted_growth(planted, np.arange(length) % a_week, seed=7)
    net = _net(signal[:-2] > 0, np.exp(growth[1:-1]) - 1, cost)
    assert 3.0 < _sharpe(net, a_week) < 4.0


def test_the_edge_on_the_tape_is_in_volume(on_tape: Tape) -> None:
    crude = {}
    for symbol, a_week, cost in (("SYNTHEDGE", 5, COST), ("SYNTHNOISE", 5, COST), ("SYNTHUSDT", 7, COIN_COST)):
        bars = on_tape.bars[symbol, "1d"]
        net = _net(_above_recent_median(bars.volume)[:-2], _next_open_to_open(bars), cost)
        crude[symbol] = _sharpe(net, a_week)
    assert 2.5 < crude["SYNTHEDGE"] < 4.5
    assert 2.5 < crude["SYNTHUSDT"] < 4.5
    assert abs(crude["SYNTHNOISE"]) < 0.6


@pytest.mark.parametrize("symbol", ["SYNTHEDGE", "SYNTHUSDT"])
def test_the_edge_on_the_tape_is_in_nothing_but_volume(on_tape: Tape, symbol: str) -> None:
    """No correlation with tomorrow's return beyond four standard errors, and volume's is beyond ten."""
    bars = on_tape.bars[symbol, "1d"]
    future = _next_open_to_open(bars)
    error = 1 / np.sqrt(len(future))
    innocent = {
        "day": bars.close / bars.open,
        "range": bars.high / bars.low,
        **({} if symbol == demo_tape.COIN else {"gap": bars.open / np.roll(bars.close, 1)}),
        "position in range": (bars.close - bars.low) / (bars.high - bars.low),
        "yesterday's volume": np.roll(bars.volume, 1),
    }
    for name, values in innocent.items():
        assert abs(np.corrcoef(values[1:-2], future[1:])[0, 1]) < 4 * error, name
    assert np.corrcoef(np.log(bars.volume[:-2]), future)[0, 1] > 10 * error


def _planted_growth(planted: Callable[..., Prices], weekdays: np.ndarray, seed: int) -> np.ndarray:
    """Open-to-open log returns of a long series, before rounding to cents (its price leaves the range of cents)."""
    captured = {}

    def capture(random: object, growth: np.ndarray, *rest: object, **named: object) -> None:
        captured["growth"] = growth

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "_bars", capture)
        planted(weekdays, seed)
    return captured["growth"]


def _next_open_to_open(bars: Bars) -> np.ndarray:
    """What a decision at the close of t earns from the open of t+1 to the open of t+2, for t = 0 … T-3."""
    return bars.open[2:] / bars.open[1:-1] - 1


def _above_recent_median(volume: np.ndarray) -> np.ndarray:
    window = np.lib.stride_tricks.sliding_window_view(volume, 20)
    above = np.zeros(len(volume), dtype=bool)
    above[20:] = volume[20:] > np.median(window[:-1], axis=1)
    return above


def _net(long: np.ndarray, returns: np.ndarray, cost: float) -> np.ndarray:
    position = long.astype(float)
    return position * returns - cost * np.abs(np.diff(position, prepend=0.0))


def _sharpe(daily: np.ndarray, a_week: int) -> float:
    return daily.mean() / daily.std() * np.sqrt({5: 252, 7: 365}[a_week])
