"""Which bar is the newest, and when its decision trades: on every timeframe, in sessions and around the clock."""

from datetime import UTC, datetime, timedelta

import pytest

from execution.brokers.base import BrokerClock
from execution.market import Market
from execution.timing import SessionTimes, window_of
from tests.execution.spot import SpotWarehouse


def _at(text: str) -> datetime:
    return datetime.fromisoformat(f"2012-{text}:00+00:00")


@pytest.fixture
def market(ledger_db):
    SpotWarehouse()
    found = Market()
    yield found
    found.close()


@pytest.mark.parametrize(
    ("symbol", "timeframe", "now", "newest_close", "next_open"),
    [
        # around the clock the next bar begins where this one ends
        ("BTCUSDT", "1d", "10-03 00:00", "10-03 00:00", "10-03 00:00"),
        ("BTCUSDT", "1d", "10-03 23:59", "10-03 00:00", "10-03 00:00"),
        ("BTCUSDT", "4h", "10-03 03:59", "10-03 00:00", "10-03 00:00"),
        ("BTCUSDT", "4h", "10-03 04:00", "10-03 04:00", "10-03 04:00"),
        ("BTCUSDT", "1m", "10-03 03:59", "10-03 03:59", "10-03 03:59"),
        # a Saturday, and a Sunday's midnight
        ("BTCUSDT", "1h", "10-06 12:30", "10-06 12:00", "10-06 12:00"),
        ("BTCUSDT", "15m", "10-07 00:14", "10-07 00:00", "10-07 00:00"),
        # a day of shares is decided after its close, for the next open; over a weekend and a holiday too
        ("ALPHA", "1d", "10-02 13:00", "10-01 20:00", "10-02 13:30"),
        ("ALPHA", "1d", "10-02 15:00", "10-01 20:00", "10-02 13:30"),
        ("ALPHA", "1d", "10-05 20:00", "10-05 20:00", "10-08 13:30"),
        ("ALPHA", "1d", "10-27 12:00", "10-26 20:00", "10-31 13:30"),
        # bars within a session are counted from its open, and traded at once
        ("ALPHA", "1h", "10-02 14:29", "10-01 20:00", "10-02 13:30"),
        ("ALPHA", "1h", "10-02 14:30", "10-02 14:30", "10-02 14:30"),
        ("ALPHA", "4h", "10-02 17:31", "10-02 17:30", "10-02 17:30"),
        ("ALPHA", "5m", "10-02 19:59", "10-02 19:55", "10-02 19:55"),
        # the last one ends with the session, and trades at the next open
        ("ALPHA", "1h", "10-02 20:00", "10-02 20:00", "10-03 13:30"),
        ("ALPHA", "4h", "10-05 21:00", "10-05 20:00", "10-08 13:30"),
        # the day after Thanksgiving ends early
        ("ALPHA", "1h", "11-23 17:59", "11-23 17:30", "11-23 17:30"),
        ("ALPHA", "1h", "11-23 18:00", "11-23 18:00", "11-26 14:30"),
    ],
)
def test_the_newest_bar_and_where_it_trades(market, symbol, timeframe, now, newest_close, next_open):
    times = market.sessions({symbol: timeframe}, _at(now))[symbol]
    assert (times.newest_close, times.next_open) == (_at(newest_close), _at(next_open))
    assert times.trades_at_once is (newest_close == next_open)


def test_two_timeframes_are_told_apart(market):
    found = market.sessions({"BTCUSDT": "1d", "ETHUSDT": "5m"}, _at("10-03 12:07"))
    assert found["BTCUSDT"].newest_close == _at("10-03 00:00")
    assert found["ETHUSDT"].newest_close == _at("10-03 12:05")


@pytest.mark.parametrize(
    ("length", "window"),
    [
        (timedelta(minutes=1), timedelta(seconds=30)),
        (timedelta(minutes=5), timedelta(seconds=75)),
        (timedelta(hours=1), timedelta(minutes=15)),
        (timedelta(hours=4), timedelta(hours=1)),
        (timedelta(days=1), timedelta(hours=1)),
    ],
)
def test_a_decision_may_wait_a_quarter_of_its_bar(length, window):
    assert window_of(length) == window


def test_an_order_ages_from_where_it_could_trade():
    opens, closes = _at("10-02 13:30"), _at("10-02 20:00")
    times = SessionTimes(newest_open=opens, session_close=closes)
    assert times.opened_for(_at("10-01 20:00")) == opens
    assert times.opened_for(_at("10-02 15:30")) == _at("10-02 15:30")
    assert times.opened_for(closes) is None
    assert SessionTimes().opened_for(opens) is None


def test_another_bar_than_the_newest_is_not_timely():
    end = datetime(2012, 10, 3, tzinfo=UTC)
    times = SessionTimes(end, end, end, end + timedelta(days=1), timedelta(hours=1))
    clock = BrokerClock(end + timedelta(minutes=5), is_open=True, next_open=end, next_close=end)
    assert times.is_timely(end, clock)
    assert not times.is_timely(end - timedelta(days=1), clock)
