"""A name that passed on, an instrument that changed its name, and the time before and after a listing."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import psycopg
import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import EXCHANGE_TIME, ensure_sessions
from loaders.seeds.wrong_lines import wrong_lines
from tests.canonical.market import STORED
from tests.canonical.tapes import CONFIRMATIONS, INSTRUMENTS, STOCK, Exchange, Judged, Tape, numbered, walk
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect

W, SESSIONS = walk(31, 80), 80
# a stock of another company, a hundred times as dear
DEAR = walk(32, 80, start=9_000)
PASSED, RENAMED, LISTED, DELISTED, SPLIT = 45, 40, 30, 50, 20
# the walk as it was traded when a share was two before a split
BEFORE = [bar.times(2) for bar in W[:SPLIT]] + W[SPLIT:]
ALL = "select bars::text from canonical.ohlcv_1d as bars order by symbol, bar_start"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    with (
        running_warehouse(tmp_path_factory.mktemp("identities"), BUILT),
        connect("loader") as loader,
        connect("transformer") as transformer,
        connect("analyst", autocommit=True) as reader,
    ):
        ensure_sessions(loader, "XNYS", date(2024, 12, 31))
        exchange = Exchange(loader, transformer)
        days = exchange.days
        for symbol, listed_on, delisted_on in [
            ("ROUND", None, None), ("METAVERSE", None, None), ("KEPT", None, None), ("TWO", None, None),
            ("TWIN", None, None), ("YOUNG", days[LISTED], None), ("GONE", None, days[DELISTED]),
        ]:  # fmt: skip
            transformer.execute(
                "insert into reference.instruments values (%s, 'equity', 'XNYS', 2, 1, true, 'a tape', %s, %s)",
                (symbol, listed_on, delisted_on),
            )
        for symbol, name, valid_from, valid_to in [
            ("ROUND", "META", None, days[PASSED]), ("METAVERSE", "META", days[PASSED], None),
            ("KEPT", "NEWNAME", days[RENAMED], None), ("TWO", "CLAIMED", None, None),
            ("TWIN", "CLAIMED", days[10], None), ("YOUNG", "YOUNG", None, None), ("GONE", "GONE", None, None),
        ]:  # fmt: skip
            name_for(transformer, symbol, name, valid_from, valid_to)
        exchange.send(Tape("META", numbered([*BEFORE[:PASSED], *DEAR[PASSED:]]), [(SPLIT, 1, 2)]))
        exchange.send(Tape("NEWNAME", numbered(W)))
        for symbol in ("CLAIMED", "YOUNG", "GONE"):
            exchange.send(Tape(symbol, numbered(W)))
        whole = [datetime(d.year, d.month, d.day, tzinfo=EXCHANGE_TIME) for d in (days[0], days[SESSIONS])]
        for symbol in ("YOUNG", "GONE"):
            exchange.answer(symbol, "1d", *whole, "polygon")
        exchange.refresh_statistics()
        build()
        yield Judged(exchange, reader)


def name_for(
    transformer: psycopg.Connection, symbol: str, name: str, valid_from: date | None, valid_to: date | None
) -> None:
    transformer.execute(
        "insert into reference.vendor_symbols values (%s, 'polygon', %s, %s, %s)", (symbol, name, valid_from, valid_to)
    )
    transformer.commit()


def build(*more: str) -> None:
    run_dbt("run", "--select", *STORED, *more)


def test_a_name_that_passed_on_is_two_series(judged: Judged) -> None:
    """No return leads from one company to the other, and a split is that of the company that had the name then."""
    assert judged.bars("ROUND").keys() == set(range(PASSED))
    assert judged.bars("METAVERSE").keys() == set(range(PASSED, SESSIONS))
    assert {bar.split_factor for bar in judged.bars("METAVERSE").values()} == {1}
    assert [bar.split_factor for bar in judged.bars("ROUND").values()] == [1] * SPLIT + [2] * (PASSED - SPLIT)
    assert judged.reasons("ROUND") == judged.reasons("METAVERSE") == {}


def test_of_two_that_claim_a_name_neither_has_it(judged: Judged) -> None:
    assert judged.bars("TWO") == judged.bars("TWIN") == {}


@pytest.mark.whole
def test_a_name_that_is_told_later_ends_in_the_same_series(judged: Judged) -> None:
    """The old name's line comes a year after the new one's, with bars and a split that had landed before."""
    exchange = judged.exchange
    assert judged.bars("KEPT").keys() == set(range(RENAMED, SESSIONS))
    exchange.send(Tape("OLDNAME", numbered(BEFORE), [(SPLIT, 1, 2)]))
    with connect("transformer") as transformer:
        name_for(transformer, "KEPT", "OLDNAME", None, exchange.days[RENAMED])
    build()
    grown = judged.bars("KEPT")
    assert grown.keys() == set(range(SESSIONS))
    assert grown[RENAMED].split_factor == 2
    stored = judged.reader.execute(ALL).fetchall()
    build("--full-refresh")
    assert judged.reader.execute(ALL).fetchall() == stored


def test_nothing_is_expected_outside_of_a_listing(judged: Judged) -> None:
    """Neither bars nor flat bars nor gaps; what is sent all the same is another instrument's."""
    assert judged.bars("YOUNG").keys() == set(range(LISTED, SESSIONS))
    assert judged.bars("GONE").keys() == set(range(DELISTED))
    assert judged.reasons("YOUNG") == {number: {"before its listing"} for number in range(LISTED)}
    assert judged.reasons("GONE") == {number: {"after its delisting"} for number in range(DELISTED, SESSIONS)}
    gaps = judged.reader.execute("select * from canonical.gaps where symbol in ('YOUNG', 'GONE')").fetchall()
    assert gaps == []


def test_a_delisting_return_that_cannot_be_is_told(judged: Judged, tmp_path: Path) -> None:
    returns = ["-1", "1", "", "2", "-30", "NaN"]
    lines = [f"A{number},{STOCK},,2024-02-01,{written}" for number, written in enumerate(returns)]
    (tmp_path / "instruments.csv").write_text(INSTRUMENTS + "\n".join([*lines, f"B,{STOCK},,,-0.3"]) + "\n")
    (tmp_path / "vendor_symbols.csv").write_text("symbol,vendor,vendor_symbol,valid_from,valid_to\n")
    (tmp_path / "confirmations.csv").write_text(CONFIRMATIONS)
    with connect("transformer") as connection:
        told = [sentence.removeprefix("dbt_project/seeds/") for sentence in wrong_lines(connection, tmp_path)]
    assert told == [
        "instruments.csv, line 7: delisting_return is 'NaN', which is no number; the line counts for nothing",
        *(f"instruments.csv, line {line}: delisting_return of A{line - 2} is {returns[line - 2]!r},"
          " which is no number from -1 to 1" for line in (5, 6)),
        "instruments.csv, line 8: B has a delisting_return without a delisted_on, so it counts for nothing",
    ]  # fmt: skip


def test_lines_that_cannot_be_are_told_with_file_and_line(judged: Judged, tmp_path: Path) -> None:
    moon, pair = STOCK.replace("XNYS", "XMOON"), STOCK.replace("XNYS", "24x7")
    lines = [f"A,{STOCK},,,", f"B,{moon},,,", f"C,{STOCK},2024-02-01,2024-01-01,", f"D,{pair},,,", f"E,{STOCK},,,",
             f"F,{STOCK},,,", f"A,{STOCK},,,"]  # fmt: skip
    (tmp_path / "instruments.csv").write_text(INSTRUMENTS + "\n".join(lines) + "\n")
    header = "symbol,vendor,vendor_symbol,valid_from,valid_to\n"
    lines = ["A,polygon,META,,2024-03-01", "B,polygon,META,2024-03-01,", "C,polygon,META,2024-02-01,2024-03-02",
             "D,binance,META,,", "E,polygon,E,2024-02-01,2024-02-01", "F,polygon,F,,", "F,polygon,G,,"]  # fmt: skip
    (tmp_path / "vendor_symbols.csv").write_text(header + "\n".join(lines) + "\n")
    (tmp_path / "confirmations.csv").write_text(CONFIRMATIONS)
    with connect("transformer") as connection:
        told = [sentence.removeprefix("dbt_project/seeds/") for sentence in wrong_lines(connection, tmp_path)]
    assert [sentence.split(": ")[0] for sentence in told] == [
        "instruments.csv, line 8", "instruments.csv, line 3", "instruments.csv, line 4",
        "vendor_symbols.csv, line 6", "vendor_symbols.csv, line 4", "vendor_symbols.csv, line 4",
        "vendor_symbols.csv, line 8",
    ]  # fmt: skip
    assert "line 2 has the same symbol" in told[0]
    assert "'XMOON'" in told[1]
    assert "delisted_on 2024-01-01 is not after listed_on 2024-02-01" in told[2]
    assert "by line 2, it calls A 'META'" in told[4]
