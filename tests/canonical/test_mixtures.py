"""Random markets whose truth is known: crises, false ticks, wicks, wrong units, actions that are listed rightly, twice,
for another day, late, never, or until they are withdrawn, calendars that change, tickers that pass to another company,
and delistings; pairs with outages of their venue, redenominations and deaths. Of ten thousand true bars at most one is
withheld, of as many prices at most one is false, and of as many flags at most one is wrong about why.

Bars are drawn from what the words mean, with nothing of the code that judges them.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.canonical.tapes import (
    FIRST_MINUTE,
    PRICES,
    Bar,
    Exchange,
    Judged,
    Published,
    Split,
    Tape,
    published,
    quarantined,
)
from tests.machine import SEEDED, running_warehouse
from warehouse.connection import connect

SESSIONS = 250
# a day on which nobody traded, as its calendar knows later; a session on a Saturday is known later, too
HOLIDAY, SATURDAY_FROM = 235, 238
# a smaller ratio is not seen among what prices do overnight
SEEN = math.log(1.1)
HOW = ("right", "right", "twice", "other too", "moved", "never", "unlisted", "late", "moved back", "withdrawn")
RATIOS = ((1, 2), (1, 3), (2, 3), (4, 5), (1, 10), (10, 1), (15, 1), (100, 105), (3, 1))


@dataclass
class Market:
    """One stock: what was traded, what was sent of it, and what was listed."""

    symbol: str
    true: list[Bar] = field(default_factory=list)
    sent: dict[int, Bar] = field(default_factory=dict)
    # what is wrong about bars that were sent
    faults: dict[int, str] = field(default_factory=dict)
    # how its action is told, and each entry as it is at first and in the end
    how: str = "none"
    entries: list[tuple[Split | None, Split | None]] = field(default_factory=list)
    # share counts that the true prices are in
    shares: list[float] = field(default_factory=list)
    # as if it had never split
    unsplit: list[Bar] = field(default_factory=list)
    # sessions whose action is not told rightly
    untold: set[int] = field(default_factory=set)

    @property
    def listed(self) -> list[Split]:
        """All that was ever listed."""
        return [split for entry in self.entries for split in entry if split]


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


def mistold(luck: random.Random, bar: Bar) -> tuple[str, Bar]:
    """A false tick in the close or in all prices, a wick, or the wrong unit; which of them, and the bar."""
    away = luck.choice((luck.uniform(0.05, 0.62), luck.uniform(1.6, 8)))
    fault = luck.choice(("close", "close", "all", "wick", "wick", "unit"))
    return fault, _with_fault(luck, bar, fault, away)


def _with_fault(luck: random.Random, bar: Bar, fault: str, away: float) -> Bar:
    match fault:
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
        day, (old, new) = luck.randrange(20, SESSIONS - 30), luck.choice(RATIOS)
        made.how = luck.choice(HOW)
        if made.how not in ("never", "withdrawn"):
            shares[day:] = [new / old] * (SESSIONS - day)
        split = (day, old, new)
        elsewhere = (day + luck.choice((-3, -2, -1, 1, 2, 3)), old, new)
        far = ((day + luck.randrange(20, 60)) % (SESSIONS - 30), old, new)
        other = (day, *luck.choice([ratio for ratio in RATIOS if ratio != (old, new)]))
        made.entries = {
            "right": [(split, split)], "twice": [(split, split)] * 2, "other too": [(split, split), (other, other)],
            "moved": [(elsewhere, elsewhere)], "never": [(split, split)], "unlisted": [],
            "late": [(None, split)], "moved back": [(far, split)], "withdrawn": [(split, None)],
        }[made.how]  # fmt: skip
        if made.how in ("other too", "moved", "never", "unlisted"):
            days = [split[0] for split in (split, *made.listed)]
            made.untold = set(range(min(days), max(days) + 1))
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
        if number == HOLIDAY:
            continue
        if chance < 0.006:
            made.faults[number], made.sent[number] = mistold(luck, bar)
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
    def entries(self) -> list[tuple[Split | None, Split | None]]:
        return [entry for one in (*self.companies, self.stranger) if one for entry in one.entries]

    @property
    def tape(self) -> Tape:
        """What the vendor says at first."""
        sent: dict[int, Bar] = {}
        for one in (*self.companies, self.stranger):
            sent |= one.sent if one else {}
        return Tape(self.name, sent, splits=[first for first, _ in self.entries])


def life(name: str, seed: int) -> Life:
    luck = random.Random(f"life {seed}")
    kind = luck.choice(("whole",) * 6 + ("passed on", "passed on", "delisted", "delisted and sent on"))
    first = market(name, seed)
    if kind == "whole":
        return Life(name, (first,))
    # a split at the very day of the change would be nobody's for certain
    near = {number + distance for number, _, _ in first.listed for distance in range(-8, 9)}
    changes = luck.choice([number for number in range(30, SESSIONS - 30) if number not in near])
    second = during(market(f"{name}N", seed + 1_000_000), range(changes + 8, SESSIONS), range(changes, SESSIONS))
    first = during(first, range(changes), range(changes))
    if kind == "passed on":
        return Life(name, (first, second), changes)
    return Life(name, (first,), changes, second if kind == "delisted and sent on" else None)


def during(made: Market, acted: range, sent: range) -> Market:
    """What a market's vendor says of some sessions: its rows, and the splits that are told of the company."""
    if any(split[0] not in acted for split in made.listed) or made.how == "unlisted":
        # none of it happened
        made = replace(made, how="none", entries=[], untold=set(), shares=[1.0] * SESSIONS, true=made.unsplit)
        luck = random.Random(made.symbol)
        bars = {n: made.true[n] for n in sent if n != HOLIDAY and luck.random() < 0.996}
        return replace(made, sent=bars, faults={})
    bars = {number: bar for number, bar in made.sent.items() if number in sent}
    return replace(made, sent=bars, faults={number: fault for number, fault in made.faults.items() if number in sent})


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
    # a split that never happened, too small to be seen among what prices do overnight
    unknowable: int = 0
    # of flags of any kind, and those that are wrong about why
    flags: int = 0
    wrong_flags: int = 0
    examples: list[str] = field(default_factory=list)

    def flag(self, is_right: bool, example: str) -> None:
        self.flags += 1
        if not is_right:
            self.wrong_flags += 1
            self.examples.append(example)

    @property
    def said(self) -> str:
        return (
            f"{self.withheld} of {self.true} true bars withheld, {self.false} of {self.prices} prices false,"
            f" {self.false_steps} of {self.steps} steps and {self.unknowable} that nobody can see,"
            f" {self.wrong_flags} of {self.flags} flags wrong about why;"
            f" {self.flagged} bars with a doubtful range, {self.doubted} doubtful steps; {self.examples[:40]}"
        )


# why a row with a fault is not published; of a first bar and of the newest one nobody can know more
SPIKE, UNIT = "spike that nothing confirms", "unit error of 100"
AT_AN_END = {"no price to compare with", "jump that only the next traded bar can judge"}
WHY = {
    "close": {SPIKE}, "all": {SPIKE}, "wick": {SPIKE}, "unit": {UNIT, SPIKE, "step by a power of ten after a hole"},
}  # fmt: skip
WHY_OF_TWO = {"spike that another source contradicts", "sources contradict each other"}
TWICE, ANOTHER = "entered more than once", "another entry of its day is the one that the bars show"
SHOWN, NOT_SHOWN = "the bars show it on", "the bars do not show it"
UNLISTED = "the open steps, and no listed action explains it"
# what may be suspected of an action, by how it is told
SUSPICIONS = {
    "twice": {TWICE}, "other too": {ANOTHER, NOT_SHOWN}, "moved": {SHOWN, NOT_SHOWN}, "never": {NOT_SHOWN},
    "unlisted": {UNLISTED},
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """All that is published, and all that is not, by symbol."""

    bars: dict[str, dict[int, Published]]
    reasons: dict[str, dict[int, set[str]]]


def found(judged: Judged, timeframe: str) -> Found:
    where = {"reader": judged.reader, "exchange": judged.exchange, "timeframe": timeframe}
    return Found(published(**where), quarantined(**where))


def compare(found: Found, made: Market, counts: Counts, held_from: float = math.inf) -> None:
    """Of what is held until a person decides nothing may be published, and nothing is missed."""
    bars, reasons = found.bars.get(made.symbol, {}), found.reasons.get(made.symbol, {})
    newest = max(made.sent)
    assert [number for number in bars if number >= held_from] == [], made.symbol
    for number, sent in made.sent.items():
        if sent == made.true[number] and number != newest and number < held_from:
            counts.true += 1
            if number not in bars:
                counts.withheld += 1
                counts.examples.append(f"{made.symbol} {number} withheld: {reasons.get(number)}")
    ends = (min(made.sent), newest)
    for number, said in reasons.items():
        fault = made.faults.get(number)
        if fault and number < held_from:
            right = WHY[fault] | WHY_OF_TWO | (AT_AN_END if number in ends else set())
            counts.flag(said <= right, f"{made.symbol} {number} {fault} said to be {said}")
    for number, bar in bars.items():
        true = made.true[number]
        sure = ("close",) if bar.is_range_doubtful else PRICES
        counts.flagged += bar.is_range_doubtful
        if bar.is_range_doubtful:
            # nothing stands before the first bar, so a day on which it halves may be a false open
            is_first = number == min(made.sent)
            counts.flag(number in made.faults or is_first, f"{made.symbol} {number} range doubted of a true bar")
        for name in sure:
            counts.prices += 1
            if abs(float(getattr(bar, name)) - getattr(true, name)) > 1e-9:
                counts.false += 1
                counts.examples.append(f"{made.symbol} {number} false {name}: {getattr(bar, name)}")
    for number in sorted(bars):
        if number - 1 in bars:
            counts.steps += 1
            counts.doubted += bars[number].is_step_doubtful
            if bars[number].is_step_doubtful:
                known = made.untold | made.faults.keys() | {fault + 1 for fault in made.faults}
                counts.flag(number in known, f"{made.symbol} {number} step doubted: {made.how} {made.entries}")
            now, before = made.true[number], made.true[number - 1]
            truth = now.close * made.shares[number] / before.close / made.shares[number - 1]
            step = bars[number].adj_close / bars[number - 1].adj_close
            if abs(step / truth - 1) > 1e-6 and not bars[number].is_step_doubtful:
                if number in made.untold and all(abs(math.log(new / old)) < SEEN for _, old, new in made.listed):
                    counts.unknowable += 1
                    continue
                counts.false_steps += 1
                counts.examples.append(
                    f"{made.symbol} {number} step {step:.4f} for {truth:.4f}: {made.how} {made.entries}"
                )


def suspicions(judged: Judged) -> dict[str, list[tuple[int, str]]]:
    """Session and reason of each suspected action, by symbol."""
    found: dict[str, list[tuple[int, str]]] = {}
    for symbol, day, reason in judged.reader.execute(
        "select symbol, action_date, reason from canonical.suspected_actions"
    ):
        found.setdefault(symbol, []).append((judged.exchange.days.index(day), reason))
    return found


def compare_suspicions(suspected: list[tuple[int, str]], made: Market, counts: Counts) -> None:
    """Each suspected action is one that was told wrongly, with the reason that this has."""
    for number, reason in suspected:
        allowed = SUSPICIONS.get(made.how, set()) if number in made.untold or made.how == "twice" else set()
        # a step over a bar that is not there holds the move of that bar, too
        if not (number - 1 in made.sent and number - 1 not in made.faults and number not in made.faults):
            allowed = allowed | {UNLISTED}
        counts.flag(
            any(reason.startswith(one) for one in allowed),
            f"{made.symbol} {number} {made.how} suspected: {reason}, entries {made.entries}",
        )


def follow(judged: Judged, *overrides: tuple[date, str]) -> None:
    """A calendar with other sessions than its library knows."""
    with connect("transformer") as transformer, connect("loader") as loader:
        transformer.execute("delete from reference.calendar_overrides")
        for day, what in overrides:
            opened = datetime(day.year, day.month, day.day, 14, 30, tzinfo=UTC) if what == "add" else None
            transformer.execute(
                "insert into reference.calendar_overrides values ('XNYS', %s, %s, %s, %s, 'announced later')",
                (day, what, opened, opened and opened.replace(hour=21)),
            )
        transformer.commit()
        ensure_sessions(loader, "XNYS", date(2024, 12, 31))
        loader.commit()


# what of a series can be told from outside, one line per symbol
SERIES = "select symbol, md5(string_agg(bars::text, ';' order by bar_start)) from canonical.ohlcv_1d as bars group by 1"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    with (
        running_warehouse(tmp_path_factory.mktemp("mixtures"), SEEDED),
        connect("loader") as loader,
        connect("transformer") as transformer,
        connect("analyst", autocommit=True) as reader,
    ):
        for calendar in ("XNYS", "24x7"):
            ensure_sessions(loader, calendar, date(2024, 12, 31))
        # whoever changes a calendar waits for this transaction
        loader.commit()
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
        days = judged.exchange.days
        if all(day.weekday() < 5 for day in days):
            friday = next(n for n, day in enumerate(days) if n >= SATURDAY_FROM and day.weekday() == 4)
            days.insert(friday + 1, days[friday] + timedelta(days=1))
        saturday = next(day for day in days if day.weekday() == 5)
        lives = [life(f"M{stocks}X{number}", seed + number) for number in range(stocks)]
        follow(judged)
        for one in lives:
            ends = None if one.changes is None else days[one.changes]
            gone = ends if len(one.companies) == 1 else None
            judged.exchange.list_stock(one.name, one.name, valid_to=ends if gone is None else None, delisted_on=gone)
            for later in one.companies[1:]:
                judged.exchange.list_stock(later.symbol, one.name, valid_from=ends)
            judged.exchange.send(one.tape)
        build = ("run", "--select", "+ohlcv_1d", "+quarantine", "+suspected_actions")
        run_dbt(*build, "--full-refresh")

        follow(judged, (days[HOLIDAY], "remove"), (saturday, "add"))
        for one in lives:
            for order, (first, final) in enumerate(one.entries):
                if first != final:
                    judged.exchange.correct(one.name, order, first, final)
        run_dbt(*build)
        days_found, suspected = found(judged, "1d"), suspicions(judged)
        for one in lives:
            for made in one.companies:
                compare(days_found, made, counts)
                compare_suspicions(suspected.get(made.symbol, []), made, counts)
            if one.stranger:
                told = days_found.reasons[one.name]
                assert all("after its delisting" in told[number] for number in one.stranger.sent), one.name
        if stocks > 100:
            return
        grown = judged.reader.execute(SERIES).fetchall()
        run_dbt(*build, "--full-refresh")
        assert sorted(judged.reader.execute(SERIES).fetchall()) == sorted(grown)

    mixed()
    print(counts.said)
    allowed = max(1, counts.true // 10_000)
    assert counts.true > stocks * 200
    assert counts.withheld <= allowed, counts.said
    assert counts.false <= max(1, counts.prices // 10_000), counts.said
    assert counts.false_steps <= allowed, counts.said
    assert counts.wrong_flags <= max(1, counts.flags // 10_000), counts.said


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
        made.sent[number] = bar
        if luck.random() < 0.004:
            made.faults[number], made.sent[number] = mistold(luck, bar)
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
    minutes_found = found(judged, "1m")
    for one in made:
        held_from = math.inf if one.renamed is None or one.is_decided else one.renamed
        compare(minutes_found, one.market, counts, held_from)
    print(counts.said)
    assert sum(one.renamed is not None for one in made) > pairs / 10
    assert counts.true > pairs * 300
    for wrong, of in (
        (counts.withheld, counts.true),
        (counts.false, counts.prices),
        (counts.false_steps, counts.steps),
        (counts.wrong_flags, counts.flags),
    ):
        assert wrong <= max(1, of // 10_000), counts.said
