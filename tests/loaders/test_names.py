"""What a vendor says of listings and names: it proposes lines of seeds, and follows the company, not the ticker."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from flows.dbt_command import run_dbt
from loaders.client.base import UnknownFormat
from loaders.history.names import land_names
from loaders.vendors.polygon import PolygonSource
from tests.loaders.vendors import Answer, CountingBudget, Request, serving
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect
from warehouse.errors import Skip, Stop

FACEBOOK, ETF, SEARS = "BBG000MM2P62", "BBG01B0JRCS6", "BBG000BH2RS4"
INSTRUMENTS = ("FACE", "SEARS", "PLAIN", "GHOST", "NOBODY")
NAMED = {"FACE": "FB", "SEARS": "SHLD", "PLAIN": "PLN", "GHOST": "GHST", "NOBODY": "NBDY"}


def details(ticker: str, figi: str | None, **more: object) -> dict:
    company = {
        "ticker": ticker, "name": f"{ticker}, Inc.", "market": "stocks", "locale": "us", "type": "CS", "active": True,
        "primary_exchange": "XNAS", "cik": "0001326801", "list_date": "2012-05-18", "market_cap": 1.5e12, "address": {},
    }  # fmt: skip
    return company | ({"composite_figi": figi} if figi else {}) | more


def change(ticker: str, day: str) -> dict:
    return {"ticker_change": {"ticker": ticker}, "type": "ticker_change", "date": day}


@dataclass
class Reference:
    """A vendor's reference data: details by ticker, names by FIGI, and what is delisted."""

    tickers: dict[str, dict] = field(default_factory=dict)
    events: dict[str, list[dict]] = field(default_factory=dict)
    delisted: list[dict] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        self.asked.append(request.path)
        *_, last = request.path.split("/")
        if last == "events":
            figi = request.path.split("/")[-2]
            if figi in self.events:
                return Answer({"status": "OK", "results": {"composite_figi": figi, "events": self.events[figi]}})
        elif last == "tickers":
            assert request.query["active"] == "false"
            found = [row for row in self.delisted if row["ticker"] == request.query["ticker"]]
            return Answer({"status": "OK", "count": len(found), "results": found})
        elif last in self.tickers:
            return Answer({"status": "OK", "results": self.tickers[last]})
        return Answer({"status": "NOT_FOUND", "message": "Ticker not found."}, status=404)


@pytest.fixture(scope="module")
def _warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running_warehouse(tmp_path_factory.mktemp("names"), BUILT) as state_dir:
        with connect("transformer") as transformer:
            for symbol in INSTRUMENTS:
                transformer.execute(
                    "insert into reference.instruments values (%s, 'equity', 'XNYS', 2, 1, true, 'one, of a \"tape\"')",
                    (symbol,),
                )
                name_for(transformer, symbol, NAMED[symbol])
        run_dbt("run", "--select", "stg_vendors__symbols")
        yield state_dir


def name_for(
    transformer: psycopg.Connection, symbol: str, name: str, valid_from: str | None = None, valid_to: str | None = None
) -> None:
    transformer.execute(
        "insert into reference.vendor_symbols values (%s, 'polygon', %s, %s, %s)", (symbol, name, valid_from, valid_to)
    )


@pytest.fixture
def reference() -> Reference:
    return Reference(
        tickers={"FB": details("FB", FACEBOOK), "PLN": details("PLN", "BBG000PLAIN1"), "NBDY": details("NBDY", None)},
        events={
            FACEBOOK: [change("FB", "2012-05-18")],
            "BBG000PLAIN1": [change("PLN", "2003-09-10")],
            SEARS: [change("SHLD", "2005-03-28")],
        },
        delisted=[
            details("SHLD", "BBG000OTHER1", active=False, delisted_utc="1999-02-01T00:00:00Z"),
            details("SHLD", SEARS, active=False, delisted_utc="2018-10-23T00:00:00Z", list_date=None),
        ],
    )


def ask(reference: Reference, *symbols: str) -> list[str]:
    lines: list[str] = []
    with serving(reference.answer) as vendor, connect("loader") as connection:
        source = PolygonSource("secret-key", vendor.url, CountingBudget())
        landed = land_names(connection, source, symbols=symbols, progress=lines.append)
    return [*lines, f"{landed.landed} landed"]


def proposed() -> list[tuple[str, str, str]]:
    with connect("analyst") as connection:
        return connection.execute("select seed, seed_line, reason from canonical.proposed_lines order by 2").fetchall()


@pytest.mark.usefixtures("_warehouse")
def test_a_company_is_followed_through_its_names(reference: Reference) -> None:
    """Meta left the ticker FB, and a fund has it since."""
    assert ask(reference, "FACE", "PLAIN") == ["FACE: 2 names landed", "PLAIN: 2 names landed", "4 landed"]
    assert proposed() == []
    assert ask(reference, "FACE", "PLAIN")[-1] == "0 landed"

    reference.events[FACEBOOK].insert(0, change("META", "2022-06-09"))
    reference.tickers |= {"META": details("META", FACEBOOK), "FB": details("FB", ETF, type="ETF")}
    reference.events[ETF] = [change("FB", "2025-06-26")]
    assert ask(reference, "FACE") == ["FACE: polygon calls FB META now", "FACE: 2 names landed", "2 landed"]
    assert proposed() == [
        (
            "vendor_symbols.csv",
            "FACE,polygon,FB,,2022-06-09",
            "Polygon says that it was called FB until the day before 2022-06-09",
        ),
        ("vendor_symbols.csv", "FACE,polygon,META,2022-06-09,", "Polygon says that it was called META from 2022-06-09"),
    ]

    with connect("transformer") as transformer:
        transformer.execute("delete from reference.vendor_symbols where symbol = 'FACE'")
        name_for(transformer, "FACE", "FB", None, "2022-06-09")
        name_for(transformer, "FACE", "META", "2022-06-09")
    assert proposed() == []
    assert ask(reference, "FACE")[-1] == "0 landed"


@pytest.mark.usefixtures("_warehouse")
def test_a_delisting_is_proposed(reference: Reference) -> None:
    """Of a delisted ticker only the list of the delisted tells, and two companies had this one."""
    assert ask(reference, "SEARS") == ["SEARS: 2 names landed", "2 landed"]
    assert ("instruments.csv", "Polygon says that it did not trade any more on 2018-10-24") in [
        (seed, reason) for seed, _, reason in proposed()
    ]
    ((line,),) = [(line,) for seed, line, _ in proposed() if seed == "instruments.csv"]
    assert line == 'SEARS,equity,XNYS,2,1,true,"one, of a ""tape""",,2018-10-24,'
    with connect("transformer") as transformer:
        transformer.execute("update reference.instruments set delisted_on = '2018-10-24' where symbol = 'SEARS'")
    assert [row for row in proposed() if row[0] == "instruments.csv"] == []


@pytest.mark.usefixtures("_warehouse")
def test_one_that_the_vendor_does_not_know_keeps_no_other_out(reference: Reference) -> None:
    lines = ask(reference, "GHOST", "NOBODY")
    assert lines[0] == "GHOST: left out: Polygon does not know GHST: Ticker not found."
    assert "NOBODY: polygon does not say how to follow NBDY" in lines
    with pytest.raises(Skip, match="does not know GHST"):
        ask(reference, "GHOST")
    with pytest.raises(Stop, match="unknown symbol 'ELSE' for polygon"):
        ask(reference, "ELSE")


@pytest.mark.usefixtures("_warehouse")
@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00"])
def test_a_delisting_that_no_calendar_holds_keeps_no_other_out(reference: Reference, moment: str) -> None:
    reference.tickers["FB"]["delisted_utc"] = moment
    lines: list[str] = []
    with serving(reference.answer) as vendor, connect("loader") as connection:
        source = PolygonSource("secret-key", vendor.url, CountingBudget())
        with pytest.raises(UnknownFormat, match=r"delisted_utc in the ticker of FB .* between the years 1 and"):
            land_names(connection, source, symbols=["FACE", "PLAIN"], progress=lines.append)
    assert any(line.startswith("FACE: failed, the others go on") for line in lines)
    assert any("PLN" in path or "BBG000PLAIN1" in path for path in reference.asked)


@pytest.mark.usefixtures("_warehouse")
def test_a_ticker_that_named_nobody_leads_to_no_other_company(reference: Reference) -> None:
    """When it was first asked about it had no FIGI. The next company that has the ticker is not followed."""
    ask(reference, "NOBODY")
    reference.tickers["NBDY"] = details("NBDY", "BBG000NEXT01", name="Next, Inc.", list_date="2024-05-06")
    reference.events["BBG000NEXT01"] = [change("OLDN", "2019-01-02"), change("NBDY", "2024-05-06")]
    said = "NOBODY: NBDY is another company's by now, and polygon never said how to follow the one that had it"
    assert said in ask(reference, "NOBODY")
    assert not [row for row in proposed() if row[1].startswith("NOBODY,")]
    reference.asked.clear()
    assert ask(reference, "NOBODY")[0] == said
    assert reference.asked == []


@pytest.mark.usefixtures("_warehouse")
@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([change("PLN", "soon")], "date in the change of name of PLN"),
        ([{"type": "ticker_change", "date": "2020-01-01"}], "ticker in the change of name of None"),
        (["changed"], "ticker in the change of name of None"),
        ("changed", "sent no list of the names of PLN"),
    ],
)
def test_what_nobody_understands_is_kept_and_lands_nothing(reference: Reference, events: object, sentence: str) -> None:
    before = _count("raw.polygon_ticker_events")
    reference.events["BBG000PLAIN1"] = events
    with pytest.raises(UnknownFormat, match=sentence):
        ask(reference, "PLAIN")
    assert _count("raw.polygon_ticker_events") == before
    with connect("analyst") as connection:
        (newest,) = connection.execute(
            "select reason from raw.refused_payloads where symbol = 'PLAIN' order by refused_at desc limit 1"
        ).fetchone()
    assert sentence in newest


def _count(table: str) -> int:
    with connect("analyst") as connection:
        return connection.execute(f"select count(*) from {table}").fetchone()[0]
