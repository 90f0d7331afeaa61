"""Crises are published, false ticks are not, and what nobody can know yet is said to be so."""

from collections.abc import Iterator
from datetime import date

import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.canonical.market import STORED_INPUTS
from tests.canonical.tapes import Bar, Exchange, Judged, Tape, numbered, since, walk
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect

BACK, CONTRADICTED = "spike that nothing confirms", "spike that another source contradicts"
UNKNOWN = "jump that only the next traded bar can judge"
HUNDRED, POWER = "unit error of 100", "step by a power of ten after a hole"
NOBODY, FIRST, AGAINST = "far price at which nobody traded", "no price to compare with", "sources contradict each other"

CALM = walk(1, 90)
MINUTES = walk(2, 40, deviation=0.001)
# a bank in 2008, in days of its own: it opens a third lower, and again, and doubles in two days
BANK = [
    *walk(3, 5, start=100),
    Bar(97, 98, 60, 61), Bar(40, 42, 37, 38), Bar(26, 28, 24, 25), Bar(30, 41, 29, 40), Bar(40, 64, 39, 62),
    Bar(63, 64, 61, 62),
    *walk(4, 3, start=62),
]  # fmt: skip
# an insurer that opened at a third and came most of the way back on the day
INSURER = [*walk(5, 4, start=4.8), Bar(1.85, 4.2, 1.25, 3.75), Bar(2.0, 2.5, 1.9, 2.05), Bar(2.2, 2.9, 2.1, 2.69)]
INSURER += [Bar(3.9, 4.4, 3.6, 3.85), Bar(4.5, 5.5, 4.4, 5.0)]
# a squeeze in January 2021: twice up by a clean half or double, on volume that does not move against it
SQUEEZE = [
    Bar(41.5, 45.5, 36.6, 39.4, 74_700), Bar(37.4, 41.2, 36.1, 39.1, 33_500), Bar(39.2, 44.8, 37.0, 43.0, 56_200),
    Bar(42.6, 76.8, 42.3, 65.0, 197_200), Bar(96.7, 159.2, 61.1, 76.8, 177_900), Bar(88.6, 150.0, 80.2, 148.0, 178_600),
    Bar(354.8, 380.0, 249.0, 347.5, 93_400), Bar(265.0, 483.0, 112.3, 193.6, 58_800),
    Bar(379.7, 413.9, 250.0, 325.0, 50_600),
    Bar(316.6, 322.0, 212.0, 225.0, 37_400), Bar(140.8, 158.0, 74.2, 90.0, 78_200),
    Bar(112.0, 113.4, 85.3, 92.4, 42_700),
]  # fmt: skip
# a coin that died in three days
COIN = [
    *walk(6, 3, start=80),
    Bar(78, 79, 28, 30),
    Bar(30, 38, 14, 17),
    Bar(17, 17, 0.8, 1.1),
    Bar(1.1, 1.2, 0.0001, 0.0002),
]
COIN += [Bar(0.0002, 0.00021, 0.00018, 0.0002)]


def doubled(bars: list[Bar], first: int, count: int, factor: float) -> list[Bar]:
    return [bar.times(factor, volume=bar.volume) if first <= n < first + count else bar for n, bar in enumerate(bars)]


def flat(close: float) -> Bar:
    return Bar(close, close, close, close, 0)


C = CALM
STOCKS = (
    Tape("BANK", numbered(BANK)),
    Tape("INSURER", numbered(INSURER)),
    Tape("SQUEEZE", numbered(SQUEEZE)),
    Tape("TICK", numbered(C, _20=C[20].times(1, close=C[20].close * 1.5, high=C[20].close * 1.5))),
    Tape("TICKDOWN", numbered(C, _20=C[20].times(1, close=C[20].close * 0.4, low=C[20].close * 0.4))),
    Tape("TICKTWICE", numbered(C, _20=C[20].times(1.6), _22=C[22].times(0.5))),
    Tape("WICKLOW", numbered(C, _75=C[75].times(1, low=C[75].open / 20))),
    Tape("WICKHIGH", numbered(C, _75=C[75].times(1, high=C[75].open * 7))),
    Tape("WICKOPEN", numbered(C, _75=C[75].times(1, open=C[75].close * 2, high=C[75].close * 2))),
    Tape("TICKHOLE", numbered(C, _20=C[20].times(1.6), _21=None)),
    Tape("CRASHHOLE", numbered(since(C, 20, 0.6), _21=None, _22=None)),
    Tape("TICKFLAT", numbered(C, _20=C[20].times(1.6), _21=flat(C[20].close * 1.6), _22=flat(C[20].close * 1.6))),
    Tape("CRASHUNIT", numbered(since(C, 20, 0.6), _21=C[21].times(60))),
    Tape("CRASHFLAT", numbered(since(C, 20, 0.6), _21=flat(C[20].close * 0.6))),
    Tape("CENTS", numbered([bar.times(100 * 1.012 ** (n - 20)) if n >= 20 else bar for n, bar in enumerate(C[:80])])),
    Tape("FIRSTTICK", numbered(C, _0=C[0].times(1.7))),
    Tape("NEWEST", numbered(since(C[:31], 30, 0.6))),
    # as reported: finnhubio/Finnhub-API#123 (today's price as an old close), BitMEX/api-connectors#261 (a low above the
    # open), alpacahq/Alpaca-API#101 (a volume of more than 2^31)
    Tape("MSFT2020", numbered(C, _20=C[20].times(1, close=C[20].high * 1.16))),
    Tape("XBTUSD", numbered(C, _20=C[20].times(1, low=C[20].open + 0.0001))),
    Tape("AAPL2012", numbered(C, _20=C[20].times(1, volume=-1_747_801_877))),
)
M = MINUTES
PAIRS = (
    Tape("VENUEWICK", numbered(M, _20=M[20].times(1, low=M[20].open / 20)), others=numbered(M), is_pair=True),
    Tape(
        "TRUEWICK",
        numbered(M, _20=M[20].times(1, low=70)),
        others=numbered(M, _20=M[20].times(1, low=72)),
        is_pair=True,
    ),
    Tape("SWAPPED", numbered(M), others=numbered([bar.times(1e-7) for bar in M]), is_pair=True),
    Tape("SWAPPEDLATER", numbered(M), others=numbered(since(M, 20, 1e-7)), is_pair=True),
    Tape("STUCK", numbered(since(M, 20, 0.7)), others=numbered(M[:20]), is_pair=True),
    Tape("DEADCOIN", numbered(COIN), is_pair=True),
    Tape("BROUGHTBACK", numbered(doubled(M, 20, 20, 10), _18=None, _19=None, _38=M[38], _39=M[39]), is_pair=True),
    Tape("BACKONCE", numbered(since(M, 20, 0.01), _18=None, _19=None, _30=M[30]), is_pair=True),
    Tape("RENAMED", numbered(since(M, 20, 0.01), _18=None, _19=None), is_pair=True),
    Tape("THOUSAND", numbered(since(M, 20, 0.001), _19=None), is_pair=True),
    Tape("TEN", numbered(since(M, 20, 0.1), _18=None, _19=None), is_pair=True),
    # sammchardy/python-binance#1330: one wick after the other
    Tape(
        "WICKS",
        numbered(
            M,
            **{
                f"_{n}": M[n].times(1, **{"high": M[n].high * 2} if n % 3 else {"low": M[n].low * 0.5})
                for n in range(20, 27)
            },
        ),
        is_pair=True,
    ),
    Tape("TENNOHOLE", numbered(since(M, 20, 0.1)), is_pair=True),
)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    with (
        running_warehouse(tmp_path_factory.mktemp("judged"), BUILT),
        connect("loader") as loader,
        connect("transformer") as transformer,
        connect("analyst", autocommit=True) as reader,
    ):
        for calendar in ("XNYS", "24x7"):
            ensure_sessions(loader, calendar, date(2024, 12, 31))
        exchange = Exchange(loader, transformer)
        exchange.land(*STOCKS, *PAIRS)
        run_dbt("run", "--select", *STORED_INPUTS, "ohlcv_1m", "ohlcv_1d", "features_1d")
        yield Judged(exchange, reader)


@pytest.mark.parametrize("symbol", ["BANK", "INSURER", "SQUEEZE"])
def test_a_crisis_is_published(judged: Judged, symbol: str) -> None:
    sent = next(tape.bars for tape in STOCKS if tape.symbol == symbol)
    bars = judged.bars(symbol)
    assert judged.reasons(symbol) == {}
    assert {number: float(bar.close) for number, bar in bars.items()} == {n: bar.close for n, bar in sent.items()}


def test_a_coin_may_die(judged: Judged) -> None:
    """By sixteen in a bar, and by thousands in the next: it goes on."""
    assert judged.reasons("DEADCOIN", "1m") == {}
    assert len(judged.bars("DEADCOIN", "1m")) == len(COIN)


@pytest.mark.parametrize(
    ("symbol", "false"),
    [("TICK", {20: {BACK}}), ("TICKDOWN", {20: {BACK}}), ("TICKTWICE", {20: {BACK}, 22: {BACK}}),
    ("TICKHOLE", {20: {BACK}}),
     ("TICKFLAT", {20: {BACK}, 21: {NOBODY}, 22: {NOBODY}}), ("FIRSTTICK", {0: {FIRST}})],
)  # fmt: skip
def test_a_false_tick_is_not(judged: Judged, symbol: str, false: dict[int, set[str]]) -> None:
    assert judged.reasons(symbol) == false
    assert judged.bars(symbol).keys() == next(t.bars for t in STOCKS if t.symbol == symbol).keys() - false.keys()


@pytest.mark.parametrize(
    ("symbol", "reason"),
    [("MSFT2020", "high is not the highest"), ("XBTUSD", "low is not the lowest"), ("AAPL2012", "negative volume")],
)
def test_a_row_that_contradicts_itself_is_not_published(judged: Judged, symbol: str, reason: str) -> None:
    assert judged.reasons(symbol) == {20: {reason}}
    assert judged.bars(symbol).keys() == set(range(90)) - {20}


def test_wicks_in_a_row_are_each_told(judged: Judged) -> None:
    bars = judged.bars("WICKS", "1m")
    assert judged.reasons("WICKS", "1m") == {}
    assert {n for n, bar in bars.items() if bar.is_range_doubtful} == set(range(20, 27))
    assert [float(bars[n].close) for n in range(40)] == [bar.close for bar in M]


@pytest.mark.parametrize("symbol", ["CRASHHOLE", "CRASHFLAT"])
def test_a_neighbour_is_the_next_bar_that_was_traded(judged: Judged, symbol: str) -> None:
    bars = judged.bars(symbol)
    assert judged.reasons(symbol) == {}
    assert bars[20].is_late
    assert not bars[23].is_late


def test_a_crash_is_true_though_the_bar_after_it_is_in_another_unit(judged: Judged) -> None:
    assert judged.reasons("CRASHUNIT") == {21: {HUNDRED}}
    assert judged.bars("CRASHUNIT").keys() == set(range(90)) - {21}


def test_a_wick_is_published_and_flagged(judged: Judged) -> None:
    """Its close is sure: what reads highs and lows waits for a person, what reads closes does not."""
    ready = "select session_date, has_statistical, has_volatility, has_candle from features.features_1d as features"
    ready += " inner join canonical.ohlcv_1d using (symbol, bar_start) where symbol = %s and is_ready"
    for symbol in ("WICKLOW", "WICKHIGH", "WICKOPEN"):
        bars = judged.bars(symbol)
        assert len(bars) == 90
        assert [number for number, bar in bars.items() if bar.is_range_doubtful] == [75], symbol
        rows = {judged.exchange.days.index(row[0]): row[1:] for row in judged.reader.execute(ready, (symbol,))}
        assert rows[74] == (True, True, True), symbol
        assert {rows[number][0] for number in range(75, 90)} == {True}, symbol
        assert {rows[number][1:] for number in range(75, 80)} == {(False, False)}, symbol


def test_another_source_decides_of_a_wick(judged: Judged) -> None:
    wicked, true = judged.bars("VENUEWICK", "1m"), judged.bars("TRUEWICK", "1m")
    assert (wicked[20].source, wicked[20].is_range_doubtful) == ("geckoterminal", False)
    assert judged.reasons("VENUEWICK", "1m") == {20: {CONTRADICTED}}
    assert judged.reasons("TRUEWICK", "1m") == {}
    assert not true[20].is_range_doubtful
    assert float(true[20].low) == 72


def test_a_contradiction_weighs_more_than_going_on(judged: Judged) -> None:
    """A pool with its tokens swapped is steady in itself. Where nothing stood before, nobody knows which is right."""
    assert judged.bars("SWAPPED", "1m") == {}
    assert set.union(*judged.reasons("SWAPPED", "1m").values()) == {AGAINST}
    later = judged.bars("SWAPPEDLATER", "1m")
    assert {bar.source for number, bar in later.items() if number >= 20} == {"binance"}
    assert len(later) == 40
    assert set.union(*judged.reasons("SWAPPEDLATER", "1m").values()) == {CONTRADICTED}


def test_a_unit_that_lasts_stays_wrong(judged: Judged) -> None:
    """However far the price drifts in it: a tenth, and more, of the hundredfold."""
    reasons = judged.reasons("CENTS")
    assert reasons.keys() == set(range(20, 80))
    assert set.union(*reasons.values()) == {HUNDRED}
    assert len(judged.bars("CENTS")) == 20


def test_a_power_of_ten_after_a_hole_is_held(judged: Judged) -> None:
    for symbol, first in (("RENAMED", 20), ("THOUSAND", 20), ("TEN", 20)):
        held = judged.reasons(symbol, "1m")
        assert held == {number: {POWER} for number in range(first, 39)} | {39: {POWER}}, symbol
        assert max(judged.bars(symbol, "1m")) < first
    assert judged.reasons("TENNOHOLE", "1m") == {}, "a coin may fall by nine tenths"
    back = judged.reasons("BROUGHTBACK", "1m")
    assert back == {number: {POWER} for number in range(20, 38)}
    assert judged.bars("BROUGHTBACK", "1m").keys() >= {38, 39}, "it came back by itself"
    assert judged.reasons("BACKONCE", "1m") == {number: {POWER} for number in range(20, 40)}, "one bar is an error"


def test_the_newest_bar_says_that_nobody_can_know(judged: Judged) -> None:
    """And so do the tail and the history when the next one has come, as the same bits."""
    assert judged.reasons("NEWEST") == {30: {UNKNOWN}}
    assert max(judged.bars("NEWEST")) == 29
    judged.exchange.send(Tape("NEWEST", {31: C[31].times(0.6)}))
    live = judged.reader.execute("select bars::text from canonical.ohlcv_1d as bars where symbol = 'NEWEST'").fetchall()
    assert judged.bars("NEWEST")[30].is_late
    assert judged.reasons("NEWEST") == {}
    run_dbt("run", "--select", "ohlcv_1d")
    stored = judged.reader.execute(
        "select bars::text from canonical.ohlcv_1d as bars where symbol = 'NEWEST'"
    ).fetchall()
    assert live == stored
