"""Actions are judged against the bars: one of two entries at most is true, on the day on which the open steps."""

from collections.abc import Iterator
from datetime import date, datetime, time
from itertools import pairwise

import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from loaders.raw.landing import land
from loaders.vendors.polygon import DIVIDENDS, SPLITS
from tests.canonical.market import STORED_INPUTS
from tests.canonical.tapes import EXCHANGE_TIME, Bar, Exchange, Judged, Tape, numbered, since, walk
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect

W = walk(11, 100)
# the session on which things happen
DAY = 75


def split(symbol: str, shown: int, new_shares: float, *listed: tuple[int, float, float], **changed: Bar | None) -> Tape:
    """A walk in which a share becomes `new_shares` on a day, and what was listed of it."""
    return Tape(symbol, numbered(since(W, shown, 1 / new_shares), **changed), splits=listed)


def fall(symbol: str, factor: float, crowd: float = 1) -> Tape:
    """The same, but no split: the price is `factor` of what it was, on `crowd` times the usual volume that day."""
    lower = [
        bar if n < DAY else bar.times(factor, volume=bar.volume * (crowd if n == DAY else 1)) for n, bar in enumerate(W)
    ]
    return Tape(symbol, numbered(lower))


def cash(symbol: str, *dividends: tuple[int, float, str], paid: float = 0.0, **changed: Bar | None) -> Tape:
    """A walk from which `paid` is taken on the day."""
    factor = (W[DAY - 1].close - paid) / W[DAY - 1].close
    return Tape(symbol, numbered(since(W, DAY, factor), **changed), dividends=dividends)


TAPES = (
    # what is told rightly
    split("RIGHT", DAY, 2, (DAY, 1, 2)), split("REVERSE", DAY, 1 / 15, (DAY, 15, 1)),
    split("SMALL", DAY, 1.05, (DAY, 100, 105)),
    split("FIVEFOUR", DAY, 1.25, (DAY, 4, 5)), split("MISSINGDAY", DAY, 2, (DAY, 1, 2), _75=None),
    split("TWOINHOLE", DAY, 6, (DAY - 1, 1, 2), (DAY, 1, 3), _74=None),
    cash("PAID", (DAY, 2.0, "USD"), paid=2.0), cash("SPECIAL", (DAY, 30.0, "USD"), paid=30.0),
    # entered twice
    split("B1", DAY, 1 / 15, (DAY, 15, 1), (DAY, 20, 1)), split("B1OTHER", DAY, 1 / 15, (DAY, 20, 1), (DAY, 15, 1)),
    split("B2", DAY, 2, (DAY, 1, 2), (DAY, 1, 2)), split("B2SMALL", DAY, 1.25, (DAY, 4, 5), (DAY, 4, 5)),
    split("NEXTDAY", DAY, 2, (DAY, 1, 2), (DAY + 1, 1, 2)), cash("B6", (DAY, 2.0, "USD"), (DAY, 2.0, "USD"), paid=2.0),
    # on another day
    split("B3", DAY + 1, 1.25, (DAY, 4, 5)), split("B4EARLY", DAY + 1, 2, (DAY, 1, 2)),
    split("B4LATE", DAY, 2, (DAY + 1, 1, 2)),
    split("MOVED", DAY + 1, 2, (DAY, 1, 2), (DAY + 1, 1, 2)),
    # that never happened, or otherwise
    split("NEVER", DAY, 1, (DAY, 1, 2)), split("B5", DAY, 1.2, (DAY, 1.2, 1)), split("B5HALF", DAY, 2, (DAY, 1, 1)),
    split("UNLISTED", DAY, 2), split("UNLISTEDUP", DAY, 1 / 10),
    fall("B9A", 0.8), fall("B9B", 0.65), fall("B9C", 0.4), fall("NEWS", 0.5, crowd=8), fall("NEWSTHIRD", 0.3, crowd=15),
    cash("B7", (DAY, 2.0, "CAD"), paid=1.5), cash("B7RATE", (DAY, 2.0, "EUR"), paid=2.2),
    cash("B8", (DAY, W[DAY - 1].close, "USD")), split("B8ZERO", DAY, 1, (DAY, 0, 1)),
    cash("UNSEEN", (DAY, 40.0, "USD")), cash("NEGATIVE", (DAY, -5.0, "USD")), Tape("YEARONE", numbered(W)),
    # as others reported them of their data: quantopian/pyfolio#519, alpacahq/alpaca-py#604, iexg/IEX-API#485,
    # BennyThadikaran/eod2#262, then massive-com/client-python#925 (a bar of two units on the day of the split),
    # ranaroussi/yfinance#2666 (a payment, and the capital gains in it), #2002 (a reverse split, and a crowd sells),
    # #1531 (one old bar in new shares), alphaville76/sharadar_db_bundle#25 (actions of the first day)
    split("XLF", DAY, 1.231, (DAY, 1000, 1231)), split("DOV", DAY, 1.238, (DAY, 1238, 1000)),
    split("INFY", DAY + 2, 2, (DAY, 1, 2)), split("JMFINANCIL", DAY, 21.2),
    split("IBKR", DAY, 4, (DAY, 1, 4), _75=Bar(W[DAY].open, W[DAY].high, W[DAY].low / 4, W[DAY].close / 4, 4_000)),
    cash("VWILX", (DAY, 25.0, "USD"), (DAY, 10.0, "USD"), paid=25.0),
    cash("BOTHPAID", (DAY, 25.0, "USD"), (DAY, 20.0, "USD"), paid=45.0),
    # two payments of which the smaller is lost in the night's noise (iexg/IEX-API#1488)
    cash("SAMEDAY", (DAY, 15.0, "USD"), (DAY, 0.5, "USD"), paid=15.0),
    cash("INHOLE", (DAY - 1, 0.5, "USD"), (DAY, 25.0, "USD"), paid=24.0, _74=None),
    # paid on a day on which nobody traded
    cash("QUIET", (DAY - 1, 2.0, "USD"), paid=2.0, _74=None),
    cash("PARTINHOLE", (DAY, 25.0, "USD"), (DAY, 20.0, "USD"), (DAY - 1, 0.5, "USD"), paid=25.0, _74=None),
    split("BCAN", DAY, 1 / (190 * 0.69), (DAY, 190, 1), _75=W[DAY].times(190 * 0.69, volume=40)),
    split("SPLITFALL", DAY, 2 / 0.7, (DAY, 1, 2)),
    split("CNE", DAY, 5, (DAY, 1, 5), _65=W[65].times(1 / 5)),
    Tape("ONEM", numbered(W), splits=[(0, 1, 2)], dividends=[(0, 0.233, "USD")]),
)  # fmt: skip


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    with (
        running_warehouse(tmp_path_factory.mktemp("judged"), BUILT),
        connect("loader") as loader,
        connect("transformer") as transformer,
        connect("analyst", autocommit=True) as reader,
    ):
        ensure_sessions(loader, "XNYS", date(2024, 12, 31))
        exchange = Exchange(loader, transformer)
        transformer.execute("insert into reference.currency_rates values ('EUR', 'USD', '2024-04-15', 1.1)")
        exchange.land(*TAPES)
        old = {"ticker": "YEARONE", "is_withdrawn": False}
        land(loader, SPLITS, [old | {"id": "s", "execution_date": date.min, "split_from": 1, "split_to": 2}])
        paid = dict.fromkeys(DIVIDENDS.columns) | {"cash_amount": 1, "currency": "USD", "dividend_type": "CD"}
        land(loader, DIVIDENDS, [paid | old | {"id": "d", "ex_dividend_date": date.min}])
        loader.commit()
        first, last = (datetime.combine(exchange.days[n], time(), EXCHANGE_TIME) for n in (0, len(W)))
        exchange.answer("QUIET", "1d", first, last, "polygon")
        run_dbt("run", "--select", *STORED_INPUTS, "ohlcv_1m", "ohlcv_1d", "features_1d")
        yield Judged(exchange, reader)


def returns(judged: Judged, symbol: str) -> dict[int, float]:
    """Adjusted close over the one before, less what the walk itself did."""
    bars = judged.bars(symbol)
    pairs = pairwise(sorted(bars))
    return {n: bars[n].adj_close / bars[before].adj_close / (W[n].close / W[before].close) - 1 for before, n in pairs}


def suspected(judged: Judged, symbol: str) -> list[tuple[str, str, bool]]:
    """Kind, reason and whether it is applied all the same, of each suspected action."""
    return judged.reader.execute(
        "select kind, reason, is_applied from canonical.suspected_actions where symbol = %s order by action_id",
        (symbol,),
    ).fetchall()


def not_ready(judged: Judged, symbol: str) -> set[int]:
    """Sessions since the day whose features are not ready."""
    rows = judged.reader.execute(
        "select session_date, is_ready from features.features_1d"
        " inner join canonical.ohlcv_1d using (symbol, bar_start)"
        " where symbol = %s",
        (symbol,),
    )
    numbers = {judged.exchange.days.index(day): is_ready for day, is_ready in rows}
    return {number for number, is_ready in numbers.items() if number >= DAY - 1 and not is_ready}


TWICE, ELSEWHERE = "entered more than once", "another entry of its day is the one that the bars show"
NOT_SHOWN, UNLISTED = "the bars do not show it", "the open steps, and no listed action explains it"


@pytest.mark.parametrize(
    ("symbol", "reasons"),
    [("RIGHT", []), ("REVERSE", []), ("SMALL", []), ("FIVEFOUR", []), ("MISSINGDAY", []),
    ("TWOINHOLE", []), ("PAID", []), ("XLF", []),
     ("SPECIAL", []), ("B1", [("split", ELSEWHERE, False)]), ("B1OTHER", [("split", ELSEWHERE, False)]),
     ("B2", [("split", TWICE, True)]), ("B2SMALL", [("split", TWICE, True)]), ("B6", [("dividend", TWICE, False)]),
     ("B7RATE", []), ("VWILX", [("dividend", ELSEWHERE, False)]), ("BOTHPAID", []), ("ONEM", [])],
)  # fmt: skip
def test_what_the_bars_show_is_applied_once(judged: Judged, symbol: str, reasons: list) -> None:
    assert max(abs(value) for value in returns(judged, symbol).values()) < 1e-3
    assert suspected(judged, symbol) == reasons
    assert judged.reasons(symbol) == {}
    assert not any(bar.is_step_doubtful for bar in judged.bars(symbol).values())
    if symbol not in ("MISSINGDAY", "TWOINHOLE"):
        assert not_ready(judged, symbol) == set()


@pytest.mark.parametrize(
    ("symbol", "paid", "taken", "reasons"),
    [("SAMEDAY", 15.0, 15.5, []), ("INHOLE", 24.0, 25.5, []),
     ("PARTINHOLE", 25.0, 25.5, [("dividend", ELSEWHERE, False)])],
)  # fmt: skip
def test_a_payment_too_small_to_be_seen_beside_another_is_believed(
    judged: Judged, symbol: str, paid: float, taken: float, reasons: list
) -> None:
    before = DAY - 1 if symbol == "SAMEDAY" else DAY - 2
    shown, applied = 1 - paid / W[DAY - 1].close, 1 - taken / W[before].close
    assert returns(judged, symbol)[DAY] == pytest.approx(shown / applied - 1, abs=1e-6)
    assert suspected(judged, symbol) == reasons
    assert not any(bar.is_step_doubtful for bar in judged.bars(symbol).values())


@pytest.mark.parametrize(
    ("symbol", "days", "doubtful"),
    [("B3", (DAY + 1,), {DAY}), ("B4EARLY", (DAY + 1,), {DAY}), ("B4LATE", (DAY,), set()),
     ("NEXTDAY", (DAY,), {DAY + 1}), ("MOVED", (DAY + 1,), {DAY}),
     ("INFY", (DAY + 2,), {DAY})],
)  # fmt: skip
def test_the_day_on_which_the_open_steps_is_the_day(
    judged: Judged, symbol: str, days: tuple[int, ...], doubtful: set[int]
) -> None:
    """Its value is right, no true bar is withheld, and the split that was listed for another day is named."""
    bars = judged.bars(symbol)
    assert max(abs(value) for value in returns(judged, symbol).values()) < 1e-3
    assert judged.reasons(symbol) == {}
    steps = [n for n in bars if n and bars[n].split_factor != bars[n - 1].split_factor]
    assert tuple(steps) == days
    assert {number for number, bar in bars.items() if bar.is_step_doubtful} == doubtful
    assert [(kind, applied) for kind, _, applied in suspected(judged, symbol)] == [("split", True)]
    shown = str(judged.exchange.days[days[0]])
    assert shown in suspected(judged, symbol)[0][1] or symbol == "NEXTDAY"


@pytest.mark.parametrize(
    ("symbol", "reason", "step"),
    [("NEVER", NOT_SHOWN, 0), ("B5", NOT_SHOWN, 1 / 1.2 - 1), ("B5HALF", NOT_SHOWN, -0.5), ("UNLISTED", UNLISTED, -0.5),
     ("UNLISTEDUP", UNLISTED, 9), ("B9A", UNLISTED, -0.2), ("B9B", UNLISTED, -0.35), ("B9C", UNLISTED, -0.6),
     ("B7", "in CAD, for which no rate is known", -0.0146), ("B8", "as large as the price before it", 0),
     ("UNSEEN", NOT_SHOWN, 0), ("IBKR", NOT_SHOWN, -0.75), ("DOV", NOT_SHOWN, 1 / 1.238 - 1),
     ("JMFINANCIL", UNLISTED, 1 / 21.2 - 1)],
)  # fmt: skip
def test_what_the_bars_contradict_waits_for_a_person(judged: Judged, symbol: str, reason: str, step: float) -> None:
    """It is applied to nothing, named, and no feature over it is ready; every bar is published."""
    found = returns(judged, symbol)
    assert found[DAY] == pytest.approx(step, abs=2e-3)
    assert max(abs(value) for number, value in found.items() if number != DAY) < 1e-3
    assert judged.reasons(symbol) == {}
    assert [row[1:] for row in suspected(judged, symbol)] == [(reason, False)]
    assert {number for number, bar in judged.bars(symbol).items() if bar.is_step_doubtful} == {DAY}
    assert not_ready(judged, symbol) == set(range(DAY, len(W)))


@pytest.mark.parametrize(("symbol", "step"), [("NEWS", -0.5), ("NEWSTHIRD", -0.7)])
def test_a_fall_on_a_crowd_is_news(judged: Judged, symbol: str, step: float) -> None:
    """As AAPL fell by half on 2000-09-29: nothing is taken off, nobody decides, and features go on.

    The day itself waits for the next, which confirms its price."""
    assert returns(judged, symbol)[DAY] == pytest.approx(step, abs=2e-3)
    assert suspected(judged, symbol) == []
    assert not_ready(judged, symbol) == {DAY}


def test_a_fall_beside_a_split_is_told(judged: Judged) -> None:
    """The split is applied, and what it does not explain waits for a person, or is news."""
    assert returns(judged, "SPLITFALL")[DAY] == pytest.approx(-0.3, abs=2e-3)
    assert suspected(judged, "SPLITFALL") == [("unlisted", UNLISTED, False)]
    assert DAY in not_ready(judged, "SPLITFALL")
    assert returns(judged, "BCAN")[DAY] == pytest.approx(-0.31, abs=2e-3)
    assert suspected(judged, "BCAN") == []
    assert judged.bars("BCAN")[DAY].split_factor == pytest.approx(1 / 190)


def test_an_old_bar_in_new_shares_is_a_spike(judged: Judged) -> None:
    assert judged.reasons("CNE") == {65: {"spike that nothing confirms"}}
    assert suspected(judged, "CNE") == []
    assert max(abs(value) for value in returns(judged, "CNE").values()) < 1e-3


def test_each_doubtful_step_is_told(judged: Judged) -> None:
    """No bar says that its step is not sure without a line that says why."""
    untold = judged.reader.execute(
        "select bars.symbol, bars.session_date from canonical.ohlcv_1d as bars left join canonical.suspected_actions"
        " as told using (symbol, session_date) where bars.is_step_doubtful and told.symbol is null"
    ).fetchall()
    assert untold == []


def test_an_impossible_action_is_named_and_stops_nobody(judged: Judged) -> None:
    assert [row[0] for row in suspected(judged, "B8ZERO")] == ["split"]
    assert suspected(judged, "NEGATIVE") == [("dividend", "less than nothing", False)]
    assert suspected(judged, "YEARONE") == [
        ("dividend", "dated when no exchange was", False),
        ("split", "dated when no exchange was", False),
    ]
    for symbol in ("B8ZERO", "NEGATIVE", "YEARONE"):
        assert max(abs(value) for value in returns(judged, symbol).values()) < 1e-3


def test_the_tail_judges_as_the_history_does(judged: Judged) -> None:
    """The history ends a day before, on the day and a day after: the tail's bars are the same bits."""
    quiet = judged.bars("QUIET")
    assert quiet[DAY - 1].source is None
    assert quiet[DAY].adj_close / float(quiet[DAY].close) == pytest.approx(1.02, abs=5e-3)
    stored = dict(judged.reader.execute(ALL).fetchall())
    with connect("transformer") as transformer:
        for newest in (DAY + 1, DAY, DAY - 1):
            transformer.execute(
                "delete from canonical.ohlcv_1d__history where session_date > %s", (judged.exchange.days[newest],)
            )
            transformer.commit()
            assert dict(judged.reader.execute(ALL).fetchall()) == stored
    run_dbt("run", "--select", "ohlcv_1d")
    assert dict(judged.reader.execute(ALL).fetchall()) == stored


ALL = "select symbol || bar_no, bars::text from canonical.ohlcv_1d as bars"
