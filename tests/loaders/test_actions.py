"""Splits and dividends that the vendor enters late, corrects, moves or takes back, and symbols that come later."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import EXCHANGE_TIME
from loaders.history.ingest import ingest
from loaders.vendors.polygon import PolygonSource
from tests.loaders.vendors import Answer, CountingBudget, Request, serving
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect
from warehouse.errors import Retry

SPLIT_DAY, DIVIDEND_DAY = date(2024, 4, 3), date(2024, 5, 15)
FIRST = date(2024, 2, 1)


def split(ticker: str, day: date = SPLIT_DAY, split_id: str = "S") -> dict:
    return {
        "id": split_id + ticker, "ticker": ticker, "execution_date": day.isoformat(), "split_from": 1, "split_to": 2,
    }  # fmt: skip


def dividend(ticker: str, cash: float = 1.5) -> dict:
    return {
        "id": f"D{ticker}", "ticker": ticker, "ex_dividend_date": DIVIDEND_DAY.isoformat(), "cash_amount": cash,
        "frequency": 4,
    }  # fmt: skip


@dataclass
class Listing:
    """A vendor: its clock, which tickers have split in truth, and what it lists."""

    today: date
    have_split: set[str]
    splits: list[dict] = field(default_factory=list)
    dividends: list[dict] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        if "marketstatus" in request.path:
            now = datetime.combine(self.today, time(20), EXCHANGE_TIME)
            return Answer({"market": "closed", "serverTime": now.isoformat()})
        self.asked.append(request.path)
        if "reference" in request.path:
            rows = self.splits if "splits" in request.path else self.dividends
            return results([row for row in rows if row["ticker"] == request.query["ticker"]])
        *_, ticker, _, _, _, first, last = request.path.split("/")
        return results(
            [
                self._bar(ticker, first + timedelta(days=n))
                for first, last in [(date.fromisoformat(first), min(date.fromisoformat(last), self.today))]
                for n in range((last - first).days + 1)
                if (first + timedelta(days=n)).weekday() < 5
            ]
        )

    def _bar(self, ticker: str, day: date) -> dict:
        close = 100 + (day - FIRST).days % 7 / 10
        if ticker in self.have_split and day >= SPLIT_DAY:
            close /= 2
        moment = datetime.combine(day, time(0), EXCHANGE_TIME).astimezone(UTC)
        return {
            "t": round(moment.timestamp() * 1000), "o": close, "h": close + 0.5, "l": close - 0.5, "c": close,
            "v": 1000 + day.day, "n": 10,
        }  # fmt: skip


def results(rows: list[dict]) -> Answer:
    return Answer({"status": "OK", "resultsCount": len(rows), "results": rows, "request_id": "x"})


@contextmanager
def listing(market: Listing) -> Iterator[PolygonSource]:
    with serving(market.answer) as vendor:
        yield PolygonSource("secret-key", vendor.url, CountingBudget())


def pull(source: PolygonSource, *symbols: str, since: date = FIRST) -> list[str]:
    lines: list[str] = []
    with connect("loader") as connection:
        ingest(connection, source, symbols=symbols, history_start=since, progress=lines.append)
    return lines


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running_warehouse(tmp_path_factory.mktemp("actions"), BUILT) as state_dir:
        yield state_dir


def series(symbol: str) -> list[tuple]:
    with connect("analyst") as connection:
        return connection.execute(
            "select bar_start, close, adj_close, adj_volume, split_factor from canonical.ohlcv_1d where symbol = %s"
            " order by bar_start",
            (symbol,),
        ).fetchall()


def believed(symbol: str, moment: datetime | None = None) -> list[date]:
    """Execution dates of the splits that counted at a moment."""
    with connect("analyst") as connection:
        connection.execute("select set_config('truebar.as_of', %s, true)", (moment.isoformat() if moment else "",))
        return [
            day
            for (day,) in connection.execute(
                "select execution_date from staging.stg_polygon__splits where symbol = %s order by 1", (symbol,)
            )
        ]


@pytest.mark.whole
def test_when_an_action_is_entered_makes_no_difference(warehouse: Path) -> None:
    """Five symbols with the same bars, of which AAPL's actions were known from the start, and GOOG had none."""
    market = Listing(date(2024, 6, 20), {"AAPL", "IBM", "MSFT", "SYNTHEDGE"})
    future = date(2024, 7, 1)
    market.splits = [split("AAPL"), split("SYNTHEDGE", date(2024, 2, 21)), split("GOOG", future)]
    market.dividends = [dividend("AAPL"), dividend("SYNTHEDGE", 15.0)]
    with listing(market) as source:
        pull(source, "AAPL", "SYNTHEDGE", "GOOG", "SYNTHNOISE")
        # its split lies before the history that was asked for, and is not listed yet
        pull(source, "IBM", since=date(2024, 6, 3))
        run_dbt("run", "--select", "staging", "+ohlcv_1d")
        assert series("SYNTHEDGE") != series("AAPL")
        assert believed("GOOG") == [future]

        before = datetime.now(UTC)
        market.today = date(2024, 7, 2)
        # entered eleven weeks late; moved to its true date, and a dividend corrected; withdrawn before its day
        market.splits = [split("AAPL"), split("IBM"), split("MSFT"), split("SYNTHEDGE")]
        market.dividends = [dividend(ticker) for ticker in ("AAPL", "IBM", "MSFT", "SYNTHEDGE")]
        lines = pull(source, "AAPL", "IBM", "MSFT", "SYNTHEDGE", "GOOG", "SYNTHNOISE")
        run_dbt("run", "--select", "staging", "+ohlcv_1d")

    true = series("AAPL")
    assert [factor for *_, factor in true].count(2) > 50
    by_cash = [adjusted / float(close) / factor for _, close, adjusted, _, factor in true]
    assert by_cash[0] == pytest.approx(1)
    assert by_cash[-1] == pytest.approx(1 + 2 * 1.5 / 100, rel=1e-3), "1.5 of a share that costs about 50"
    for symbol in ("IBM", "MSFT", "SYNTHEDGE"):
        assert series(symbol) == true, symbol
    assert series("GOOG") == series("SYNTHNOISE")
    assert believed("GOOG") == []
    assert believed("GOOG", before) == [future]
    assert believed("SYNTHEDGE", before) == [date(2024, 2, 21)]
    assert "GOOG: polygon has withdrawn the split of 2024-07-01" in lines
    assert "SYNTHEDGE: polygon has moved the split of 2024-02-21" in lines


def test_what_is_withdrawn_may_come_back(warehouse: Path) -> None:
    market = Listing(date(2024, 8, 1), set(), [split("GOOG", SPLIT_DAY, "R")])
    with listing(market) as source:
        for day, listed in ((1, True), (2, False), (5, True)):
            market.today = date(2024, 8, day)
            market.splits = [split("GOOG", SPLIT_DAY, "R")] if listed else []
            pull(source, "GOOG")
            assert believed("GOOG") == ([SPLIT_DAY] if listed else [])
    with connect("analyst") as connection:
        rows = connection.execute(
            "select is_withdrawn from raw.polygon_splits where id = 'RGOOG' order by landed_at"
        ).fetchall()
    assert rows == [(False,), (True,), (False,)]


def test_a_withdrawal_has_to_be_said_twice(warehouse: Path) -> None:
    """One answer without the split, and the next has it again: nothing is taken back."""
    market = Listing(date(2024, 9, 3), set(), [split("MSFT", split_id="T")])
    with listing(market) as source:
        pull(source, "MSFT")
        market.today = date(2024, 9, 4)
        lapses = iter([True])
        whole = market.answer

        def forgetful(request: Request) -> Answer:
            return results([]) if "splits" in request.path and next(lapses, False) else whole(request)

        market.answer = forgetful  # type: ignore[method-assign]
    with listing(market) as source:
        pull(source, "MSFT")
    assert SPLIT_DAY in believed("MSFT")


def test_an_action_under_another_ticker_takes_nothing_back(warehouse: Path) -> None:
    """The same split, written otherwise, is no withdrawal; nor is one of another ticker in its place."""
    with connect("transformer") as transformer:
        transformer.execute("insert into reference.instruments values ('CASED', 'equity', 'XNYS', 2, 1, true, 'a')")
        transformer.execute("insert into reference.vendor_symbols values ('CASED', 'polygon', 'CASED')")
    known = [split("CASED", date(2021, 6, n), f"C{n}") for n in (1, 2)]
    market = Listing(date(2024, 12, 2), set(), known)
    whole, written, lines = market.answer, list[str](), list[str]()

    def renamed(request: Request) -> Answer:
        return results([known[0], known[1] | {"ticker": written[-1]}]) if "splits" in request.path else whole(request)

    market.answer = renamed
    with listing(market) as source:
        for day, name in enumerate(("CASED", "cased", " CASED", "CSD"), start=2):
            written.append(name)
            market.today = date(2024, 12, day)
            lines += pull(source, "CASED", since=date(2024, 12, 2))
    assert [line for line in lines if "split" in line] == [
        "CASED: Polygon sent a split of CSD: CASED was asked for; kept in raw.refused_payloads"
    ]
    with connect("analyst") as connection:
        rows = connection.execute(
            "select execution_date, ticker, is_withdrawn from raw.polygon_splits where id like 'C%CASED' order by 1"
        ).fetchall()
    assert rows == [(date(2021, 6, n), "CASED", False) for n in (1, 2)]


def test_a_list_that_is_suddenly_empty_is_not_believed(warehouse: Path) -> None:
    many = [split("IBM", date(2020, 1, n), f"M{n}") for n in (2, 3, 6)]
    market = Listing(date(2024, 10, 1), set(), many)
    with listing(market) as source:
        pull(source, "IBM")
        market.today, market.splits = date(2024, 10, 2), []
        with pytest.raises(Retry, match="polygon listed none of 3 known splits of IBM"):
            pull(source, "IBM")
    assert {date(2020, 1, n) for n in (2, 3, 6)} <= set(believed("IBM"))


def test_all_actions_are_asked_for_once_per_final_session(warehouse: Path) -> None:
    market = Listing(date(2024, 11, 1), set())
    with listing(market) as source:
        pull(source, "SYNTHNOISE")
        asked = len(market.asked)
        pull(source, "SYNTHNOISE")
        assert len(market.asked) == asked
        # a symbol's answer is its own: another symbol is asked for whatever was asked of the first
        pull(source, "SYNTHEDGE", since=date(2024, 10, 31))
        assert any("splits" in path for path in market.asked[asked:])
