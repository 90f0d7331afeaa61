"""Which symbols are mute, without a socket: any order of bars heard and bars known over REST."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from loaders.live.mute_symbols import MuteSymbols

START = datetime(2026, 3, 10, tzinfo=UTC)
PATIENCE = timedelta(seconds=150)
SYMBOLS = st.sampled_from(["A", "B", "C"])
MINUTES = st.integers(0, 30)
STEPS = st.one_of(
    st.tuples(st.just("heard"), SYMBOLS, MINUTES),
    st.tuples(st.just("known"), st.dictionaries(SYMBOLS, MINUTES, max_size=3)),
    st.tuples(st.just("connected")),
)


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


@given(steps=st.lists(STEPS, max_size=40))
def test_a_symbol_is_mute_when_rest_is_too_far_ahead_of_what_this_connection_owes(steps: list[tuple]) -> None:
    mute = MuteSymbols(PATIENCE)
    owed: dict[str, int] = {}
    before: dict[str, int] = {}
    for step in steps:
        match step:
            case ("connected",):
                mute.connected()
                owed.clear()
                before.clear()
            case ("heard", symbol, minute):
                mute.heard(symbol, at(minute))
                owed[symbol] = max(minute, owed.get(symbol, minute))
            case ("known", newest):
                found = mute.behind({symbol: at(minute) for symbol, minute in newest.items()})
                for symbol, minute in newest.items():
                    owed.setdefault(symbol, minute)
                assert found == {
                    symbol: (at(owed[symbol]), at(minute))
                    for symbol, minute in newest.items()
                    if minute - owed[symbol] > 2 and before.get(symbol) == owed[symbol]
                }
                before = dict(owed)


def test_a_late_stream_is_not_mute_and_one_that_stands_still_is() -> None:
    mute = MuteSymbols(PATIENCE)
    for minute in range(5):
        mute.heard("LATE", at(minute))
        assert mute.behind({"LATE": at(minute + 10)}) == {}
    assert mute.behind({"LATE": at(20)}) == {"LATE": (at(4), at(20))}


def test_a_stock_that_does_not_trade_is_not_mute() -> None:
    mute = MuteSymbols(PATIENCE)
    mute.connected()
    for minute in range(60):
        mute.heard("BUSY", at(minute))
        assert mute.behind({"BUSY": at(minute), "QUIET": at(0)}) == {}
