"""A person decides what data cannot; and a market that is shut, or an instrument that is gone, is not quiet."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from loaders.seeds.wrong_lines import wrong_lines
from tests.canonical.market import STORED
from tests.canonical.tapes import (
    CONFIRMATIONS,
    FIRST_MINUTE,
    INSTRUMENTS,
    STOCK,
    Exchange,
    Judged,
    Tape,
    numbered,
    since,
    walk,
)
from tests.machine import BUILT, running_warehouse
from tests.plans import plan_of, rows_of
from warehouse.connection import connect

W, M = walk(21, 40), walk(22, 40, deviation=0.001)
LONG = walk(23, 1_600, deviation=0.0005)
TICK = W[20].times(1, close=160.0, high=160.0)
POWER, PERSON = "step by a power of ten after a hole", "a person rejected it"
RENAMED = numbered(since(M, 20, 0.01), _18=None, _19=None)
GONE = {n: LONG[n] for n in (*range(1_000, 1_020), *range(1_500, 1_510))}
SHUT = {n: LONG[n] for n in (*range(100, 120), *range(400, 410))}

STOCKS = (
    Tape("ACCEPTED", numbered(W, _20=TICK)), Tape("REJECTED", numbered(W)), Tape("REPLACED", numbered(W, _20=TICK)),
    Tape("WRITTEN", numbered(W, _20=None)), Tape("WICK", numbered(W, _20=W[20].times(1, low=5))),
    Tape("TRUEFALL", numbered(since(W, 20, 0.6))), Tape("SPLIT", numbered(since(W, 20, 0.5))),
    Tape("LATER", numbered(W, _20=TICK)),
    Tape("NOWHERE", numbered(W, _20=TICK)),
)  # fmt: skip
PAIRS = (
    Tape("UNIT", RENAMED, is_pair=True), Tape("NEWCOIN", RENAMED, is_pair=True),
    Tape("SAMECOIN", RENAMED, is_pair=True),
    Tape("SWAPPED", numbered(M), others=numbered([bar.times(1e-7) for bar in M]), is_pair=True),
    Tape("UNKNOWN", numbered(M, _20=M[20].times(3), _21=None, _22=None, _23=None), is_pair=True),
    Tape("SHUTA", SHUT, is_pair=True), Tape("SHUTB", SHUT, is_pair=True),
    Tape("GONE", GONE, is_pair=True), Tape("GONEBACK", GONE, is_pair=True),
    Tape("ALIVE", {n: LONG[n] for n in range(1_000, 1_510)}, is_pair=True),
)  # fmt: skip
ALL = "select symbol || bar_no, bars::text from canonical.ohlcv_{} as bars"


def minute(number: int) -> str:
    return (FIRST_MINUTE + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%MZ")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    with (
        running_warehouse(tmp_path_factory.mktemp("decided"), BUILT),
        connect("loader") as loader,
        connect("transformer") as transformer,
        connect("analyst", autocommit=True) as reader,
    ):
        for calendar in ("XNYS", "24x7"):
            ensure_sessions(loader, calendar, date(2024, 12, 31))
        exchange = Exchange(loader, transformer)
        exchange.land(*STOCKS, *PAIRS)
        transformer.execute("update reference.activity_limits set inactive_after = 400 where timeframe = '1m'")
        for symbol, first, end in (
            ("UNKNOWN", 0, 40),
            ("SHUTA", 100, 410),
            ("SHUTB", 100, 410),
            ("GONE", 1_000, 1_510),
            ("GONEBACK", 1_000, 1_510),
        ):
            window = (FIRST_MINUTE + timedelta(minutes=first), FIRST_MINUTE + timedelta(minutes=end))
            exchange.answer(symbol, "1m", *window, "binance")
        day = str(exchange.days[20])
        exchange.decide("ACCEPTED", "1d", day, "price", "accept")
        exchange.decide("REJECTED", "1d", day, "price", "reject")
        prices = {"open": 101, "high": 103, "low": 100, "close": 102}
        for symbol in ("REPLACED", "WRITTEN"):
            exchange.decide(symbol, "1d", day, "price", "replace", **prices, volume=7)
        exchange.decide("WICK", "1d", day, "price", "accept")
        exchange.decide("TRUEFALL", "1d", day, "action", "reject")
        exchange.decide("SPLIT", "1d", day, "action", "accept", ratio=2)
        exchange.decide("NOWHERE", "1d", "2024-01-06", "price", "accept")
        exchange.decide("NOWHERE", "1d", "the sixth", "price", "accept")
        exchange.decide("UNIT", "1m", minute(20), "action", "accept", ratio=100)
        exchange.decide("NEWCOIN", "1m", minute(20), "identity", "reject")
        exchange.decide("SAMECOIN", "1m", minute(20), "identity", "accept")
        exchange.decide("SWAPPED", "1m", minute(0), "price", "accept", source="binance")
        exchange.decide("GONEBACK", "1m", minute(1_500), "identity", "accept")
        run_dbt("run", "--select", *STORED)
        yield Judged(exchange, reader)


def test_a_price_is_what_a_person_says(judged: Judged) -> None:
    accepted, rejected = judged.bars("ACCEPTED"), judged.bars("REJECTED")
    assert (float(accepted[20].close), accepted[20].decision, accepted[20].is_late) == (160.0, "price accept", True)
    assert len(accepted) == 40
    assert rejected.keys() == set(range(40)) - {20}
    assert judged.reasons("REJECTED") == {20: {PERSON}}
    for symbol in ("REPLACED", "WRITTEN"):
        bars = judged.bars(symbol)
        assert (bars[20].open, bars[20].high, bars[20].low, bars[20].close) == (101, 103, 100, 102)
        assert (bars[20].source, bars[20].decision, len(bars)) == ("confirmations", "price replace", 40)
    assert not judged.bars("WICK")[20].is_range_doubtful
    assert float(judged.bars("WICK")[20].low) == 5


def test_the_ledger_says_who_decided(judged: Judged) -> None:
    rows = judged.reader.execute(
        "select kind, decision from canonical.gaps where symbol = 'REJECTED' and not has_flat_bar and timeframe = '1d'"
    ).fetchall()
    assert rows == [("quarantined", "price reject")]


def test_a_step_is_what_a_person_says(judged: Judged) -> None:
    fallen, split = judged.bars("TRUEFALL"), judged.bars("SPLIT")
    assert not fallen[20].is_step_doubtful
    assert fallen[20].adj_close / fallen[19].adj_close == pytest.approx(0.6 * W[20].close / W[19].close, rel=1e-4)
    assert not split[20].is_step_doubtful
    assert split[20].adj_close / split[19].adj_close == pytest.approx(W[20].close / W[19].close, rel=1e-4)
    assert split[39].split_factor == 2
    suspected = judged.reader.execute("select symbol from canonical.suspected_actions").fetchall()
    assert suspected == [("ACCEPTED",)], "the day after it falls back, and nobody has said a word of that"


def test_a_coin_goes_on_or_not(judged: Judged) -> None:
    unit, new, same = (judged.bars(symbol, "1m") for symbol in ("UNIT", "NEWCOIN", "SAMECOIN"))
    assert unit.keys() == same.keys() == RENAMED.keys()
    assert unit[20].adj_close / unit[17].adj_close == pytest.approx(M[20].close / M[17].close, rel=1e-4)
    assert same[20].adj_close / same[17].adj_close == pytest.approx(0.01 * M[20].close / M[17].close, rel=1e-4)
    assert max(new) == 17
    assert set.union(*judged.reasons("NEWCOIN", "1m").values()) == {"another instrument, a person says"}


def test_one_word_settles_who_is_right(judged: Judged) -> None:
    bars = judged.bars("SWAPPED", "1m")
    assert len(bars) == 40
    assert {bar.source for bar in bars.values()} == {"binance"}


def test_a_market_that_is_shut_is_not_quiet(judged: Judged) -> None:
    """Sixty silent minutes are flat, the rest is an outage; what comes after it needs nobody's word."""
    for symbol in ("SHUTA", "SHUTB"):
        assert judged.bars(symbol, "1m").keys() == set(range(100, 180)) | set(range(400, 410))
        assert _kinds(judged, symbol) == {("no_trade", "explained"): 60, ("outage", "explained"): 220}


def test_nothing_is_carried_across_what_is_unknown(judged: Judged) -> None:
    """After a tick that is not published the last trade is not known: what is silent then is a gap, and no flat bar."""
    assert judged.bars("UNKNOWN", "1m").keys() == set(range(40)) - {20, 21, 22, 23}
    assert _kinds(judged, "UNKNOWN") == {("quarantined", "explained"): 1, ("no_trade", "explained"): 3}


def test_who_is_gone_does_not_come_back_by_himself(judged: Judged) -> None:
    quiet = set(range(1_000, 1_080))
    assert judged.bars("GONE", "1m").keys() == quiet
    assert judged.reasons("GONE", "1m") == {
        number: {"reappears after a silence that nothing explains"} for number in range(1_500, 1_510)
    }
    assert _kinds(judged, "GONE") == {
        ("no_trade", "explained"): 60, ("inactive", "open"): 420, ("quarantined", "explained"): 10
    }  # fmt: skip
    assert judged.bars("GONEBACK", "1m").keys() == quiet | set(range(1_500, 1_510))


def test_whether_others_trade_is_looked_up_and_not_read(judged: Judged) -> None:
    """Each of 420 bars asks it: a row of another is found by its time, and not among all that others ever sent."""
    nodes = plan_of("select count(*) from canonical.gaps where symbol = 'GONE' and kind = 'inactive'", "analyst")
    assert nodes[0]["Actual Rows"] == 1
    read = [node for node in nodes if node.get("Relation Name") == "binance_klines"]
    assert 0 < sum(rows_of(node) for node in read) < 20 * 420


def test_a_line_that_names_no_bar_decides_nothing_and_is_told(judged: Judged, tmp_path: Path) -> None:
    assert judged.bars("NOWHERE").keys() == set(range(40)) - {20}
    (tmp_path / "instruments.csv").write_text(f"{INSTRUMENTS}NOWHERE,{STOCK},,,\n")
    (tmp_path / "vendor_symbols.csv").write_text("symbol,vendor,vendor_symbol,valid_from,valid_to\n")
    lines = ["NOWHERE,1d,2024-01-05,price,accept", "NOWHERE,1d,2024-01-06,price,accept",
    "NOWHERE,1d,the sixth,price,accept",
             "NOWHERE,1m,2024-01-05T14:31Z,price,accept", "NOWHERE,1m,2024-01-05T14:31:30Z,price,accept",
             "NOBODY,1d,2024-01-05,price,accept", "NOWHERE,1d,2024-01-05,price,perhaps"]  # fmt: skip
    (tmp_path / "confirmations.csv").write_text(
        CONFIRMATIONS + "".join(f"{line},,,,,,,,seen,there\n" for line in lines)
    )
    with connect("transformer") as connection:
        told = list(wrong_lines(connection, tmp_path))
    assert [sentence.split(":")[0].split("line ")[1] for sentence in told] == ["3", "4", "6", "7", "8"]
    assert told[0].endswith("NOWHERE has no 1d bar '2024-01-06' on calendar XNYS; the line decides nothing")
    assert "'perhaps', which is none of accept, reject, replace" in told[-1]


@pytest.mark.whole
def test_a_later_decision_changes_its_symbol_alone(judged: Judged) -> None:
    """And what is live, stored and refreshed after it is the same."""
    before = dict(judged.reader.execute(ALL.format("1d")).fetchall())
    assert judged.bars("LATER").keys() == set(range(40)) - {20}
    judged.exchange.decide("LATER", "1d", str(judged.exchange.days[20]), "price", "accept")
    run_dbt("run", "--select", "decisions", "ohlcv_1d")
    stored = dict(judged.reader.execute(ALL.format("1d")).fetchall())
    assert judged.bars("LATER")[20].close == Decimal(160)
    changed = {key for key in stored if stored[key] != before.get(key)}
    assert changed
    assert all(key.startswith("LATER") for key in changed)
    run_dbt("run", "--select", "ohlcv_1d", "ohlcv_1m", "--full-refresh")
    assert dict(judged.reader.execute(ALL.format("1d")).fetchall()) == stored


@pytest.mark.whole
def test_the_tail_decides_as_the_history_does(judged: Judged) -> None:
    for timeframe, model in (("1m", "ohlcv_1m"), ("1d", "ohlcv_1d")):
        stored = dict(judged.reader.execute(ALL.format(timeframe)).fetchall())
        with connect("transformer") as transformer:
            for share in (0.6, 0.3, 0.0):
                transformer.execute(
                    f"delete from canonical.{model}__history as history using (select symbol, min(bar_no) + {share}"
                    f" * (max(bar_no) - min(bar_no)) as last from canonical.{model}__history group by symbol) as kept"
                    " where history.symbol = kept.symbol and history.bar_no > kept.last"
                )
                transformer.commit()
                assert dict(judged.reader.execute(ALL.format(timeframe)).fetchall()) == stored
        run_dbt("run", "--select", model)
        assert dict(judged.reader.execute(ALL.format(timeframe)).fetchall()) == stored


def _kinds(judged: Judged, symbol: str) -> dict[tuple[str, str], int]:
    rows = judged.reader.execute(
        "select kind, outcome, count(*) from canonical.gaps where symbol = %s and timeframe = '1m' group by 1, 2",
        (symbol,),
    ).fetchall()
    return {(kind, outcome): count for kind, outcome, count in rows}
