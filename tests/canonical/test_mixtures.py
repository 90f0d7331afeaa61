"""Random markets whose truth is known: crises, false ticks, wicks, wrong units, actions that are listed rightly, twice,
for another day, or never, tickers that pass to another company, and delistings; pairs with outages of their venue,
redenominations and deaths. Of ten thousand true bars at most one is withheld, and of as many prices one is false.

Bars are drawn from what the words mean, with nothing of the code that judges them.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.canonical.tapes import FIRST_MINUTE, PRICES, Bar, Exchange, Judged, Tape
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
    # as if it had never split
    unsplit: list[Bar] = field(default_factory=list)
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
    made.unsplit, made.true = (
        [
            Bar(*(round(getattr(bar, name) / count, 6) for name in PRICES), round(bar.volume * count))
            for bar, count in zip(bars, counts, strict=True)
        ]
        for counts in ([1.0] * SESSIONS, shares)
    )
    for number, bar in enumerate(made.true):
        chance = luck.random()
        if chance < 0.006:
            made.sent[number] = mistold(luck, bar)
        elif chance < 0.996:
            made.sent[number] = bar
    return made


@dataclass(frozen=True)
class Life:
    """A vendor's name and who had it: one company, two one after the other, or one that was delisted.

    `changes` is the session on which the next company, or nobody, has it; a stranger has a delisted one's name then.
    """

    name: str
    companies: tuple[Market, ...]
    changes: int | None = None
    stranger: Market | None = None

    @property
    def tape(self) -> Tape:
        sent, splits = {}, []
        for one in (*self.companies, self.stranger):
            sent |= one.sent if one else {}
            splits += one.splits if one else []
        return Tape(self.name, sent, splits=splits)


def life(name: str, seed: int) -> Life:
    luck = random.Random(f"life {seed}")
    kind = luck.choice(("whole",) * 6 + ("passed on", "passed on", "delisted", "delisted and sent on"))
    first = market(name, seed)
    if kind == "whole":
        return Life(name, (first,))
    # a split at the very day of the change would be nobody's for certain
    near = {number + distance for number, _, _ in first.splits for distance in range(-8, 9)}
    changes = luck.choice([number for number in range(30, SESSIONS - 30) if number not in near])
    second = during(market(f"{name}N", seed + 1_000_000), range(changes + 8, SESSIONS), range(changes, SESSIONS))
    first = during(first, range(changes), range(changes))
    if kind == "passed on":
        return Life(name, (first, second), changes)
    return Life(name, (first,), changes, second if kind == "delisted and sent on" else None)


def during(made: Market, acted: range, sent: range) -> Market:
    """What a market's vendor says of some sessions: its rows, and the splits that are told of the company."""
    kept = [split for split in made.splits if split[0] in acted]
    if kept != made.splits:
        # none of it happened
        made = replace(made, splits=[], untold=set(), shares=[1.0] * SESSIONS, true=made.unsplit)
        luck = random.Random(made.symbol)
        return replace(made, sent={number: made.true[number] for number in sent if luck.random() < 0.996})
    return replace(made, sent={number: bar for number, bar in made.sent.items() if number in sent})


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


def compare(judged: Judged, made: Market, counts: Counts, timeframe: str = "1d", held_from: float = math.inf) -> None:
    """Of what is held until a person decides nothing may be published, and nothing is missed."""
    bars, reasons = judged.bars(made.symbol, timeframe), judged.reasons(made.symbol, timeframe)
    newest = max(made.sent)
    assert [number for number in bars if number >= held_from] == [], made.symbol
    for number, sent in made.sent.items():
        if sent == made.true[number] and number != newest and number < held_from:
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
            for calendar in ("XNYS", "24x7"):
                ensure_sessions(loader, calendar, date(2024, 12, 31))
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
        lives = [life(f"M{stocks}X{number}", seed + number) for number in range(stocks)]
        for one in lives:
            days = judged.exchange.days
            ends = None if one.changes is None else days[one.changes]
            gone = ends if len(one.companies) == 1 else None
            judged.exchange.list_stock(one.name, one.name, valid_to=ends if gone is None else None, delisted_on=gone)
            for later in one.companies[1:]:
                judged.exchange.list_stock(later.symbol, one.name, valid_from=ends)
            judged.exchange.send(one.tape)
        run_dbt("run", "--select", "+ohlcv_1d", "+quarantine", "--full-refresh")
        for one in lives:
            for made in one.companies:
                compare(judged, made, counts)
            if one.stranger:
                told = judged.reasons(one.name)
                assert all("after its delisting" in told[number] for number in one.stranger.sent), one.name

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


MINUTES, SHUT = 900, range(400, 540)


@dataclass(frozen=True)
class Pair:
    """A pair at a venue that was shut for two hours; from the minute `renamed` on its coin is counted otherwise."""

    market: Market
    renamed: int | None
    ratio: float
    is_decided: bool
    others: dict[int, Bar]


def pair(symbol: str, seed: int) -> Pair:
    luck = random.Random(f"pair {seed}")
    made = Market(symbol)
    close, calm = 10 ** luck.uniform(-3, 4), luck.uniform(0.0003, 0.002)
    renamed = luck.choice((None, None, None, luck.randrange(100, 350), luck.randrange(600, 850)))
    ratio, is_decided = luck.choice((10.0, 100.0, 1_000.0, 0.001)), luck.random() < 0.5
    hole = range(0) if renamed is None else range(renamed - luck.randint(3, 30), renamed)
    dies = luck.choice((None, None, None, None, luck.randrange(60, 700)))
    for number in range(MINUTES):
        count = ratio if renamed is not None and number >= renamed else 1.0
        made.shares.append(count)
        if number in SHUT or number in hole or luck.random() < 0.02:
            made.true.append(Bar(*[round(close / count, 10)] * 4, 0))
            continue
        # the first trade after a pause is as far away as the pause was long
        opened = close * math.exp(luck.gauss(0, calm * (6 if number == SHUT.stop else 0.3)))
        close = opened * math.exp(luck.gauss(0, calm))
        if dies is not None and dies <= number < dies + 12:
            close = opened * luck.uniform(0.75, 0.95)
        high = max(opened, close) * (1 + abs(luck.gauss(0, calm / 3)))
        low = min(opened, close) / (1 + abs(luck.gauss(0, calm / 3)))
        bar = Bar(*(round(price / count, 10) for price in (opened, high, low, close)), luck.randint(500, 5_000))
        made.true.append(bar)
        made.sent[number] = mistold(luck, bar) if luck.random() < 0.004 else bar
    others: dict[int, Bar] = {}
    if renamed is None and luck.random() < 0.5:
        others = {number: bar for number, bar in enumerate(made.true) if number in made.sent}
    return Pair(made, renamed, ratio, is_decided, others)


@pytest.mark.parametrize(
    "pairs", [pytest.param(15, marks=pytest.mark.whole), pytest.param(150, marks=pytest.mark.slow)]
)
def test_pairs_through_outages_and_redenominations(judged: Judged, pairs: int) -> None:
    counts, exchange = Counts(), judged.exchange
    made = [pair(f"P{pairs}X{number}", 7 * pairs + number) for number in range(pairs)]
    exchange.land(*(Tape(one.market.symbol, one.market.sent, others=one.others, is_pair=True) for one in made))
    for one in made:
        window = (FIRST_MINUTE, FIRST_MINUTE + timedelta(minutes=MINUTES))
        exchange.answer(one.market.symbol, "1m", *window, "binance", *(("geckoterminal",) if one.others else ()))
        if one.renamed is not None and one.is_decided:
            moment = (FIRST_MINUTE + timedelta(minutes=one.renamed)).strftime("%Y-%m-%dT%H:%MZ")
            exchange.decide(one.market.symbol, "1m", moment, "action", "accept", ratio=one.ratio)
    run_dbt("run", "--select", "+ohlcv_1m", "+quarantine", "--full-refresh")
    for one in made:
        held_from = math.inf if one.renamed is None or one.is_decided else one.renamed
        compare(judged, one.market, counts, "1m", held_from)
    said = (
        f"{counts.withheld} of {counts.true} true bars withheld, {counts.false} of {counts.prices} prices false,"
        f" {counts.false_steps} of {counts.steps} steps; {counts.flagged} bars with a doubtful range,"
        f" {counts.doubted} doubtful steps; {counts.examples[:30]}"
    )
    print(said)
    assert sum(one.renamed is not None for one in made) > pairs / 10
    assert counts.true > pairs * 300
    for wrong, of in (
        (counts.withheld, counts.true),
        (counts.false, counts.prices),
        (counts.false_steps, counts.steps),
    ):
        assert wrong <= max(1, of // 10_000), said
