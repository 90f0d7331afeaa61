"""What may happen to bars on their way: they come in bursts, late, twice, revised, from two vendors, or never."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from hypothesis import strategies as st

# the pairs' other vendor knows them by their pools
POOLS = {
    "BTCUSDT": "0x9db9e0e53058c89e5b94e29621a205198648425b",
    "ETHUSDT": "0x11b815efb8f581194ae79006d24e0d814b7697f6",
}


@dataclass(frozen=True)
class Series:
    """Bars that one vendor sends of one symbol, from a session on. How much prices scatter, and how often they jump."""

    symbol: str
    timeframe: str
    first: date
    scatter: Decimal
    jumps: float

    @property
    def is_pair(self) -> bool:
        return self.symbol in POOLS

    @property
    def calendar(self) -> str:
        return "24x7" if self.is_pair else "XNYS"


# no symbol has both minutes and days of a vendor's: each minute would then bring its whole day into question
MINUTES = tuple(
    Series(symbol, "1m", date(2024, 3, 4), Decimal("0.004"), 0.004)
    for symbol in ("AAPL", "SYNTHEDGE", "BTCUSDT", "ETHUSDT")
)
DAYS = tuple(Series(symbol, "1d", date(2023, 3, 6), Decimal("0.1"), 0.03) for symbol in ("GOOG", "IBM", "MSFT"))
SERIES = MINUTES + DAYS
# what the others' cross_asset features read
READERS = {"IBM": ("GOOG", "MSFT"), "BTCUSDT": ("ETHUSDT",)}


@dataclass(frozen=True)
class Arrive:
    """The next bars of each series, but for those withheld: they come late or never."""

    bars: tuple[int, ...]
    withheld: tuple[int, ...]


@dataclass(frozen=True)
class Late:
    """A withheld bar of a series arrives after all."""

    series: Series
    which: int


@dataclass(frozen=True)
class Again:
    """An old bar is sent once more, unchanged."""

    series: Series
    back: int


@dataclass(frozen=True)
class Revise:
    """An old bar is restated."""

    series: Series
    back: int


@dataclass(frozen=True)
class Witness:
    """The better ranked vendor of a pair tells an old minute, too."""

    series: Series
    back: int


@dataclass(frozen=True)
class Skip:
    """Nothing arrives for longer than any window reaches; it never will."""

    series: Series
    bars: int


@dataclass(frozen=True)
class Act:
    """A split or a dividend of the session that is so many sessions after the newest bar's."""

    series: Series
    kind: str
    ahead: int


@dataclass(frozen=True)
class Answer:
    """Every vendor says that what was sent so far is all: minutes without a row become flat bars."""

    series: Series


@dataclass(frozen=True)
class Build:
    """dbt grows the histories."""


Event = Arrive | Late | Again | Revise | Witness | Skip | Act | Answer | Build


@dataclass(frozen=True)
class Schedule:
    """Events in order, and the seed of the prices that they bring."""

    seed: int
    events: tuple[Event, ...]


# how often each kind of event happens
_WEIGHTS = {
    "nothing": 1,
    "arrive": 12,
    "late": 3,
    "again": 1,
    "revise": 3,
    "witness": 2,
    "skip": 1,
    "act": 2,
    "answer": 2,
    "build": 3,
}
_KINDS = [kind for kind, weight in _WEIGHTS.items() for _ in range(weight)]


@st.composite
def schedules(draw: st.DrawFn, steps: int, burst: int) -> Schedule:
    """Up to `steps` events, in which up to `burst` minutes of a symbol arrive at once. The simplest has none."""
    minutes = st.tuples(*[st.integers(0, burst)] * len(MINUTES), *[st.integers(0, 2)] * len(DAYS))
    series, back = st.sampled_from(SERIES), st.integers(0, 30)
    events = {
        "nothing": st.none(),
        "arrive": st.builds(Arrive, minutes, st.lists(st.integers(0, 60), max_size=2).map(tuple)),
        "late": st.builds(Late, series, st.integers(0, 5)),
        "again": st.builds(Again, series, back),
        "revise": st.builds(Revise, series, back),
        "witness": st.builds(Witness, st.sampled_from([one for one in MINUTES if one.is_pair]), back),
        "skip": st.builds(Skip, series, st.integers(1, 90)),
        "act": st.builds(
            Act,
            st.sampled_from([one for one in SERIES if not one.is_pair]),
            st.sampled_from(["split", "dividend"]),
            st.integers(-3, 2),
        ),
        "answer": st.builds(Answer, st.sampled_from(MINUTES)),
        "build": st.just(Build()),
    }
    seed = draw(st.integers(0, 2**32 - 1))
    drawn = [draw(events[draw(st.sampled_from(_KINDS))]) for _ in range(steps)]
    return Schedule(seed, tuple(event for event in drawn if event is not None))
