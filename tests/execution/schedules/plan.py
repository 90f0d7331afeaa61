"""What happens in a schedule: drawn from a seed alone, before anything runs."""

import random
from dataclasses import dataclass

FAULTS = ("lost", "late", "taken_then_broken", "taken_then_504", "proxied", "limited", "unseen")
# what schedules know of since this seed; those before it are as they were
NEWER = 100_000
WEIGHTS = (0.0, 0.0, 0.15, 0.3, 0.45)
# how many requests and statements a visit makes: what strikes, strikes at one of them
CROSSINGS = 130


@dataclass(frozen=True)
class Visit:
    """One session process, and what strikes it at which of its requests and statements.

    `kill` is SIGKILL, `cut` ends its connections to the database, `stall` stops it while the market moves past its
    bar, `rival` starts a second process for the same account beside it, which is killed at that point.
    """

    strike: str = ""
    at: int = 0


@dataclass(frozen=True)
class Bar:
    """A bar: what the model wants of each symbol, who visits when, and what else happens before and after it trades.

    `beside` is what a second model wants, in a place that has one.
    """

    weights: tuple[float, float]
    beside: tuple[float, float]
    faults: dict[str, float]
    before: tuple[Visit, ...]
    between: tuple[str, ...]
    after: tuple[Visit, ...]
    finally_: tuple[str, ...]


@dataclass(frozen=True)
class Schedule:
    seed: int
    # where on the tape it begins, of how many beginnings
    start: int
    knows_split: bool
    bars: tuple[Bar, ...]
    # after which bar the second model is retired, if it is
    retires_after: int | None
    # whether bars are decided when a broker takes orders for the opening auction
    at_evening: bool = False

    @property
    def acts(self) -> set[str]:
        """Everything that somebody else does to the account."""
        return {act for bar in self.bars for act in (*bar.between, *bar.finally_)}


def drawn(seed: int, acts: tuple[str, ...], starts: int, newer_acts: tuple[str, ...] = (), bars: int = 3) -> Schedule:
    """The schedule of this seed. `acts` and `newer_acts` are those that may happen at this broker, by their names."""
    fate, other = random.Random(seed), random.Random(f"{seed}, beside")
    newer = random.Random(f"{seed}, newer") if seed >= NEWER else None

    def visit() -> Visit:
        strike = fate.choice(("", "", "kill", "kill", "cut", "stall", "rival"))
        return Visit(strike, fate.randrange(1, CROSSINGS) if strike else 0)

    def some(share: float) -> tuple[str, ...]:
        return tuple(fate.choice(acts) for _ in range(2) if fate.random() < share)

    def bar() -> Bar:
        faults = {name: 0.25 for name in FAULTS if fate.random() < 0.3}
        if newer is not None and newer.random() < 0.2:
            faults["banned"] = 0.25
        return Bar(
            weights=(fate.choice(WEIGHTS), fate.choice(WEIGHTS)),
            beside=(other.choice(WEIGHTS), other.choice(WEIGHTS)),
            faults=faults,
            before=tuple(visit() for _ in range(fate.randrange(1, 3))),
            between=some(0.25) + (newer_acts if newer is not None and newer.random() < 0.2 else ()),
            after=tuple(visit() for _ in range(fate.randrange(0, 2))),
            finally_=some(0.15),
        )

    start, knows_split, drawn_bars = fate.randrange(starts), fate.random() < 0.5, tuple(bar() for _ in range(bars))
    retires_after = other.choice((None, None, *range(bars)))
    at_evening = newer is not None and newer.random() < 0.4
    return Schedule(seed, start, knows_split, drawn_bars, retires_after, at_evening)
