"""Random markets whose truth is known: crises, false ticks, wicks, wrong units, and actions that are listed rightly,
twice, for another day, or never. Of ten thousand true bars at most one is withheld, and of as many prices one is false.

Bars are drawn from what the words mean, with nothing of the code that judges them.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.canonical.tapes import PRICES, Bar, Exchange, Judged, Tape
from tests.machine import running_warehouse
from warehouse.connection import connect

SESSIONS = 250
RATIOS = ((1, 2), (1, 3), (2, 3), (4, 5), (1, 10), (10, 1), (15, 1), (100, 105), (3, 1))


@dataclass
class Market:
    """One stock: what was traded, what was sent of it, and what was listed."""

    symbol: str
    true: list[Bar] = field(default_factory=list)
    sent: dict[int, Bar] = field(default_factory=dict)
    splits: list[tuple[int, float, float]] = field(default_factory=list)
    # share counts that the true prices are in
    shares: list[float] = field(default_factory=list)
    # sessions whose action is not told rightly
    untold: set[int] = field(default_factory=set)

    @property
    def tape(self) -> Tape:
        return Tape(self.symbol, self.sent, splits=self.splits)


def traded(luck: random.Random) -> list[Bar]:
    """Sessions with a crisis in most of them: days that move by a tenth, and crashes that last."""
    close, calm = 10 ** luck.uniform(0.5, 2.5), luck.uniform(0.006, 0.03)
    begin = luck.randrange(SESSIONS)
    crisis = range(begin, begin + luck.choice((0, 5, 15, 40)))
    bars = []
    for number in range(SESSIONS):
        deviation = luck.uniform(0.04, 0.1) if number in crisis else calm
        opened = close * math.exp(max(-0.15, min(luck.gauss(0, deviation / 3), 0.15)))
        close = opened * math.exp(luck.gauss(0, deviation))
        if number in crisis and luck.random() < 0.1:
            close = opened * luck.uniform(0.4, 0.7)
        high = max(opened, close) * (1 + abs(luck.gauss(0, deviation / 3)))
        low = min(opened, close) / (1 + abs(luck.gauss(0, deviation / 3)))
        volume = luck.lognormvariate(13, 0.3) * (3 if number in crisis else 1)
        bars.append(Bar(opened, high, low, close, round(volume)))
    return bars


def mistold(luck: random.Random, bar: Bar) -> Bar:
    """A false tick in the close or in all prices, a wick, or the wrong unit."""
    away = luck.choice((luck.uniform(0.05, 0.62), luck.uniform(1.6, 8)))
    match luck.choice(("close", "close", "all", "wick", "wick", "unit")):
        case "close":
            close = bar.close * away
            return Bar(bar.open, max(bar.high, close), min(bar.low, close), close, bar.volume)
        case "all":
            return bar.times(away, volume=bar.volume)
        case "wick":
            return Bar(bar.open, max(bar.high, bar.high * away), min(bar.low, bar.low * away), bar.close, bar.volume)
        case _:
            return bar.times(luck.choice((100, 0.01)), volume=bar.volume)


def market(symbol: str, seed: int) -> Market:
    luck = random.Random(seed)
    made, bars = Market(symbol), traded(luck)
    shares = [1.0] * SESSIONS
    if luck.random() < 0.6:
        day, (old, new) = luck.randrange(20, SESSIONS - 20), luck.choice(RATIOS)
        how = luck.choice(("right", "right", "twice", "other too", "moved", "never", "unlisted"))
        listed = day + luck.choice((-3, -2, -1, 1, 2, 3)) if how == "moved" else day
        if how != "never":
            shares[day:] = [new / old] * (SESSIONS - day)
        if how != "unlisted":
            made.splits.append((listed, old, new))
        if how == "twice":
            made.splits.append((listed, old, new))
        if how == "other too":
            made.splits.append((listed, *luck.choice([ratio for ratio in RATIOS if ratio != (old, new)])))
        if how not in ("right", "twice"):
            made.untold = set(range(min(day, listed), max(day, listed) + 1))
    made.shares = shares
    made.true = [
        Bar(*(round(getattr(bar, name) / count, 6) for name in PRICES), round(bar.volume * count))
        for bar, count in zip(bars, shares, strict=True)
    ]
    for number, bar in enumerate(made.true):
        chance = luck.random()
        if chance < 0.006:
            made.sent[number] = mistold(luck, bar)
        elif chance < 0.996:
            made.sent[number] = bar
    return made


@dataclass
class Counts:
    """What became of true bars, and of published prices."""

    true: int = 0
    withheld: int = 0
    prices: int = 0
    false: int = 0
    flagged: int = 0
    steps: int = 0
    false_steps: int = 0
    doubted: int = 0
    examples: list[str] = field(default_factory=list)


def compare(judged: Judged, made: Market, counts: Counts) -> None:
    bars, reasons = judged.bars(made.symbol), judged.reasons(made.symbol)
    newest = max(made.sent)
    for number, sent in made.sent.items():
        if sent == made.true[number] and number != newest:
            counts.true += 1
            if number not in bars:
                counts.withheld += 1
                counts.examples.append(f"{made.symbol} {number} withheld: {reasons.get(number)}")
    for number, bar in bars.items():
        true = made.true[number]
        sure = ("close",) if bar.is_range_doubtful else PRICES
        counts.flagged += bar.is_range_doubtful
        for name in sure:
            counts.prices += 1
            if abs(float(getattr(bar, name)) - getattr(true, name)) > 1e-9:
                counts.false += 1
                counts.examples.append(f"{made.symbol} {number} false {name}: {getattr(bar, name)}")
    for number in sorted(bars):
        if number - 1 in bars:
            counts.steps += 1
            counts.doubted += bars[number].is_step_doubtful
            now, before = made.true[number], made.true[number - 1]
            truth = now.close * made.shares[number] / before.close / made.shares[number - 1]
            found = bars[number].adj_close / bars[number - 1].adj_close
            if abs(found / truth - 1) > 1e-6 and not bars[number].is_step_doubtful:
                counts.false_steps += 1
                counts.examples.append(f"{made.symbol} {number} step {found:.4f} for {truth:.4f}: {made.splits}")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    with running_warehouse(tmp_path_factory.mktemp("mixtures")):
        run_dbt("seed")
        with (
            connect("loader") as loader,
            connect("transformer") as transformer,
            connect("analyst", autocommit=True) as reader,
        ):
            ensure_sessions(loader, "XNYS", date(2024, 12, 31))
            yield Judged(Exchange(loader, transformer), reader)


@pytest.mark.parametrize(
    "stocks", [pytest.param(60, marks=pytest.mark.whole), pytest.param(1_000, marks=pytest.mark.slow)]
)
def test_crises_are_told_from_errors(judged: Judged, stocks: int) -> None:
    counts = Counts()

    @settings(
        max_examples=1,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32))
    def mixed(seed: int) -> None:
        markets = [market(f"M{stocks}X{number}", seed + number) for number in range(stocks)]
        judged.exchange.land(*(made.tape for made in markets))
        run_dbt("run", "--select", "+ohlcv_1d", "+quarantine", "--full-refresh")
        for made in markets:
            compare(judged, made, counts)

    mixed()
    said = (
        f"{counts.withheld} of {counts.true} true bars withheld, {counts.false} of {counts.prices} prices false,"
        f" {counts.false_steps} of {counts.steps} steps; {counts.flagged} bars with a doubtful range,"
        f" {counts.doubted} doubtful steps; {counts.examples[:30]}"
    )
    print(said)
    allowed = max(1, counts.true // 10_000)
    assert counts.true > stocks * 200
    assert counts.withheld <= allowed, said
    assert counts.false <= max(1, counts.prices // 10_000), said
    assert counts.false_steps <= allowed, said
