"""Lines of seeds that cannot be: each is told with its file and line, and everybody else's bars are built."""

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from flows import dbt_command
from flows.dbt_command import run_dbt
from loaders.client.calendars import EXCHANGE_TIME, ensure_sessions
from loaders.raw.landing import land
from loaders.seeds import SEEDS
from loaders.seeds.wrong_lines import wrong_lines
from loaders.vendors.polygon import PolygonSource
from warehouse.connection import connect
from warehouse.errors import Stop

# lines that are added to the seeds, and what is said of each
BAD: dict[str, list[tuple[str, str | None]]] = {
    "instruments": [
        ("DEAD,equity,XNYS,8,1,true,a,2024-02-01,2024-01-01,", "2024-01-01 is not after listed_on 2024-02-01"),
        ("MOON,equity,XMOON,8,1,true,a,,,", "nobody knows a calendar 'XMOON', so MOON has no sessions"),
        ("SOON,equity,XNYS,8,1,true,a,soon,,", "listed_on is 'soon', which is no date like 2024-01-31"),
        ("DAY,equity,XNYS,8,1,true,a,2024-02-31,,", "listed_on is '2024-02-31', which is no date like 2024-01-31"),
        ("LOT,equity,XNYS,8,many,true,a,,,", "lot_size is 'many', which is no number"),
        ("NOLOT,equity,XNYS,8,,true,a,,,", "lot_size is empty; the line counts for nothing"),
        ("NANLOT,equity,XNYS,8,NaN,true,a,,,", "lot_size is 'NaN', which is no number"),
        ("SPY,etf,XNYS,8,1,true,a,,,", "asset_class is 'etf', which is none of equity, crypto"),
        ("IBM,equity,XNYS,8,1,true,again,,,", "line 4 has the same symbol"),
        ("O'X,equity,XNYS,8,1,true,an apostrophe,,,", None),
        ("COMMA,equity,XNYS,8,1,true,Comma, Inc.,,,", "it has 11 fields where the file has 10"),
        ("ZEROLOT,equity,XNYS,8,0,true,a,,,", "lot_size between 1e-18 and 1e18 does not hold"),
        ("VASTLOT,equity,XNYS,8,1e400,true,a,,,", "lot_size between 1e-18 and 1e18 does not hold"),
        ("FEW,equity,XNYS,8,1,true", "it has 6 fields where the file has 10"),
        ("DMY,equity,XNYS,8,1,true,a,02/01/2024,,", "listed_on is '02/01/2024', which is no date like 2024-01-31"),
    ],
    "vendor_symbols": [
        ("DEAD,polygon,GOOG,,", "polygon calls DEAD 'GOOG' while, by line 3, it calls GOOG 'GOOG'"),
        ("NOBODY,polygon,NBDY,,", "no instrument is called 'NOBODY'; the line counts for nothing"),
        ("MSFT,binance,MS,2024-02-01,then", "valid_to is 'then', which is no date like 2024-01-31"),
        ("AAPL,polygon,AAPL,,2024-01-01", "line 2 has the same vendor, vendor_symbol, symbol, valid_from"),
    ],
    "universes": [("zoo,AAPL,2024-01-02,2024-01-02", "valid_to 2024-01-02 is not after valid_from 2024-01-02")],
    "precedence": [
        ("equity,1d,half,1.5,1", "rank is '1.5', which is no whole number"),
        # before all of them stands what a person wrote
        ("equity,1d,zero,0,1", "rank > 0 does not hold"),
        ("equity,1d,zeroth,8,0", "coalesce(volume_rank > 0, true) does not hold"),
        # whose volume would count?
        ("equity,1d,tied,9,2", "line 10 has the same asset_class, timeframe, volume_rank"),
        ("equity,1d,huge,99999999999,1", "rank is '99999999999', which is no whole number"),
    ],
    "price_limits": [
        ("crypto,15m,0.9,,", "largest_move > 1 and largest_move < 1e6 does not hold"),
        ("crypto,15m,1e400,,", "largest_move > 1 and largest_move < 1e6 does not hold"),
        ("equity,15m,1.3,0,3", "largest_fall > 1 and largest_fall < 1e6"),
        ("equity,15m,1.3,1.2,-3", "news_value > 0 and news_value < 1e6"),
    ],
    "activity_limits": [("equity,15m,1,2147483647", "inactive_after between outage_after and 1000000000")],
    "currency_rates": [
        ('EUR,USD,2024-01-02,"0,92"', "rate is '0,92', which is no number"),
        ("EUR,USD,2024-01-03,1e-400", "rate between 1e-12 and 1e12 does not hold"),
    ],
    "calendar_overrides": [
        ("XMARS,2024-01-20,add,2024-01-20 14:30+00,2024-01-20 21:00+00,b", "nobody knows a calendar 'XMARS'"),
        ("XNYS,2024-01-20,add,,,b", "a session of other hours needs open_at and close_at"),
        ("XNYS,2024-01-21,add,2024-01-21 21:00+00,2024-01-21 14:30+00,b", "it ends before it begins"),
        ("XNYS,2024-01-08,drop,,,b", "what is 'drop', which is none of add, remove, change"),
        ("XNYS,2024-01-09,remove,early,,b", "open_at is 'early', which is no moment like 2024-01-31T14:30Z"),
    ],
    "confirmations": [
        ("AAPL,1d,2024-01-06,price,accept,,,,,,,,seen,there", "AAPL has no 1d bar '2024-01-06' on calendar XNYS"),
        ("AAPL,1d,2024-01-08,action,accept,,,,,,,0,seen,there", "ratio is '0': new shares per old are a number from"),
        ("AAPL,1d,2024-01-08,action,accept,,,,,,,,seen,there", "ratio is '': new shares per old are a number from"),
        ('AAPL,1d,2024-01-08,action,accept,,,,,,,"0,5",seen,there', "ratio is '0,5', which is no number"),
        ("AAPL,1d,2024-01-08,action,accept,,,,,,,50%,seen,there", "ratio is '50%', which is no number"),
        ("AAPL,1d,2024-01-08,action,accept,,,,,,,0x2,seen,there", "ratio is '0x2', which is no number"),
        ("AAPL,1d,2024-01-08,action,accept,,,,,,,1_0,seen,there", "ratio is '1_0', which is no number"),
        ("AAPL,1d,,action,accept,,,,,,,2,seen,there", "AAPL has no 1d bar '' on calendar XNYS"),
        ("AAPL,1d,2024-01-09,price,replace,,100,101,99,,,,seen,there", "price replace needs close"),
        ("AAPL,1d,2024-01-09,price,replace,,100,101,99,half,,,seen,there", "close is 'half', which is no number"),
        ("AAPL,1d,2024-01-09,price,replace,,100,10,99,101,,,seen,there", "no bar has open 100, high 10, low 99 and"),
        ("AAPL,1d,2024-01-10,price,replace,,100,101,101,101,,,seen,there", "no bar has open 100, high 101, low 101"),
        ("AAPL,1d,2024-01-10,price,replace,,0,101,0,101,,,seen,there", "no bar has low 0, high 101 and volume 0"),
        ("AAPL,1d,2024-01-10,price,replace,,100,101,99,101,-5,,seen,there", "high 101 and volume -5"),
        ("AAPL,1d,2024-01-10,price,replace,,1,1e200,1,1,,,seen,there", "no bar has low 1, high 1E+200 and volume 0"),
        ("IBM,1d,2024-01-09,price,accept,,,,,,,,seen,", "price accept needs checked_at"),
        ("IBM,1d,2024-01-11,price,reject,,,,,,,,seen,there", None),
        ("IBM,1d,2024-01-11T00:00Z,price,accept,,,,,,,,seen,there", "of IBM is in line {before} too: leave one of the"),
    ],
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project with all of these lines."""
    project = tmp_path / "dbt_project"
    shutil.copytree(dbt_command.DBT_PROJECT_DIR, project, ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setattr(dbt_command, "DBT_PROJECT_DIR", project)
    for seed, lines in BAD.items():
        with (project / "seeds" / f"{seed}.csv").open("a") as file:
            file.write("".join(f"{line}\n" for line, _ in lines))
    return project


def expected(project: Path) -> set[tuple[str, str]]:
    found = set()
    for seed, lines in BAD.items():
        first = len((project / "seeds" / f"{seed}.csv").read_text().splitlines()) - len(lines) + 1
        for number, (_, said) in enumerate(lines, start=first):
            if said:
                sentence = said.format(before=number - 1)
                found.add((f"dbt_project/seeds/{seed}.csv, line {number}", sentence))
    return found


def test_each_is_one_sentence_with_its_file_and_line(seeded_by_dbt: Path, project: Path) -> None:
    with connect("loader") as loader:
        ensure_sessions(loader, "XNYS", date(2024, 12, 31))
    with connect("transformer") as connection:
        told = dict(sentence.split(": ", 1) for sentence in wrong_lines(connection, project / "seeds"))
    wanted = expected(project)
    assert told.keys() == {where for where, _ in wanted}
    assert [(where, told[where]) for where, said in wanted if said not in told[where]] == []
    assert not any("\n" in sentence for sentence in told.values())


def test_no_more_than_what_can_count_is_loaded(seeded_by_dbt: Path, project: Path) -> None:
    """As a spreadsheet may save it: a mark before the file, its own line ends, and lines of nothing."""
    seeds = project / "seeds"
    instruments = (seeds / "instruments.csv").read_text()
    umlaut = "ZUR,equity,XNYS,8,1,true,Z\N{LATIN SMALL LETTER U WITH DIAERESIS}rich,,,\r\n"
    (seeds / "instruments.csv").write_bytes(
        b"\xef\xbb\xbf" + instruments.replace("\n", "\r\n").encode() + b",,,,,,,,,\r\n\r\n" + umlaut.encode()
    )
    (seeds / "universes.csv").write_text((SEEDS / "universes.csv").read_text().replace(",", ";"))
    (seeds / "benchmarks.csv").write_text('asset_class,benchmark\nequity,"AAPL\ncrypto,BTCUSDT\n')
    before = {seed: _loaded(seed) for seed in (*BAD, "universes", "benchmarks")}
    run_dbt("seed")
    after = {seed: _loaded(seed) for seed in before}
    assert [seed for seed in ("universes", "benchmarks") if after[seed] != before[seed] or not after[seed]] == []
    added = {seed: after[seed] - before[seed] for seed in BAD}
    assert {seed for seed in BAD if not before[seed] <= after[seed]} == set()
    assert {row[0] for row in added["instruments"]} == {"DEAD", "MOON", "O'X", "ZUR"}
    assert {row[0] for row in added["vendor_symbols"]} == {"DEAD", "NOBODY"}
    assert not any(added[seed] for seed in ("precedence", "price_limits", "activity_limits", "currency_rates"))
    assert "Z\N{LATIN SMALL LETTER U WITH DIAERESIS}rich" in {row[6] for row in added["instruments"]}
    with connect("transformer") as connection:
        told = list(wrong_lines(connection, seeds))
    assert [sentence for sentence in told if "is not read" in sentence] == [
        "dbt_project/seeds/universes.csv is not read, and what it said before holds: a column is called"
        " 'universe;symbol;valid_from;valid_to'",
        "dbt_project/seeds/benchmarks.csv is not read, and what it said before holds:"
        " a field of line 2 goes on in the next line: close its quote, or join them",
    ]


# what becomes of a file, and what is said of it
DAMAGED: dict[str, tuple[Callable[[str], str], str]] = {
    "vendor_symbols": (lambda text: without(text, "valid_from", "valid_to"), "it has no column valid_from, valid_to"),
    "instruments": (lambda text: without(text, "symbol"), "it has no column symbol"),
    "price_limits": (lambda text: without(text, "largest_move"), "it has no column largest_move"),
    "currency_rates": (lambda text: without(text, "rate"), "it has no column rate"),
    "trading_halts": (lambda text: without(text, "calendar"), "it has no column calendar"),
    "precedence": (lambda text: text + "equity,1d,\0,9,9\n", "holds a byte that is no letter"),
    "benchmarks": (lambda text: f"\n{text}", "its first line is empty"),
}


def without(text: str, *names: str) -> str:
    """A CSV file of no quotes without some of its columns."""
    header, *lines = [line.split(",") for line in text.splitlines()]
    kept = [place for place, name in enumerate(header) if name not in names]
    return "".join(",".join(line[place] for place in kept) + "\n" for line in (header, *lines))


def test_of_a_damaged_file_what_it_said_before_holds(seeded_by_dbt: Path, project: Path) -> None:
    seeds = project / "seeds"
    for seed, (damage, _) in DAMAGED.items():
        path = seeds / f"{seed}.csv"
        path.write_text(damage((SEEDS / path.name).read_text()))
    before = {seed: _loaded(seed) for seed in DAMAGED}
    with connect("transformer") as connection:
        told = [sentence for sentence in wrong_lines(connection, seeds) if "is not read" in sentence]
    assert [words for _, words in DAMAGED.values() if not any(sentence.endswith(words) for sentence in told)] == []
    assert len(told) == len(DAMAGED)
    # a blank of a web page is none of the symbol
    (seeds / "broker_symbols.csv").write_text("symbol,broker,broker_symbol\nIBM,alpaca,IBM\N{NO-BREAK SPACE}\n")
    run_dbt("seed")
    assert {seed: _loaded(seed) for seed in DAMAGED} == before
    assert _loaded("broker_symbols") == {("IBM", "alpaca", "IBM")}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (",".join(["IBM"] + [""] * 120), "has 121 fields, and dbt does not read so many"),
        ("Z\N{LATIN SMALL LETTER U WITH DIAERESIS}R,alpaca,ZUR", "is not written in UTF-8, and dbt then reads no seed"),
    ],
)
def test_what_stops_dbt_is_told_before_it(seeded_by_dbt: Path, tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "broker_symbols.csv").write_bytes(b"symbol,broker,broker_symbol\n" + line.encode("latin-1") + b"\n")
    with connect("transformer") as connection, pytest.raises(Stop, match=f"broker_symbols.csv, line 2 {words}"):
        list(wrong_lines(connection, tmp_path))


def _loaded(seed: str) -> set[tuple[object, ...]]:
    with connect("transformer") as connection:
        return set(connection.execute(f"select * from reference.{seed}").fetchall())


@pytest.mark.whole
def test_everybody_else_is_built(empty_warehouse: Path, project: Path) -> None:
    """With every data test of the seeds; nothing is decided, no session is another one."""
    with connect("loader") as loader:
        ensure_sessions(loader, "XNYS", date(2024, 12, 31))
        days = loader.execute(
            "select session_date from reference.trading_sessions where session_date >= '2024-01-02' order by 1 limit 20"
        ).fetchall()
        for ticker in ("AAPL", "IBM"):
            land(loader, PolygonSource.bars_table, [bar(ticker, day) for (day,) in days])
    selected = ("--select", "resource_type:seed", "decisions", "+ohlcv_1d", "--indirect-selection", "cautious")
    run_dbt("build", *selected, "--exclude-resource-type", "unit_test")
    with connect("loader") as loader:
        assert ensure_sessions(loader, "XNYS", date(2024, 12, 31)) == 0
        sessions = loader.execute(
            "select session_date from reference.trading_sessions where session_date >= '2024-01-02' order by 1 limit 20"
        ).fetchall()
        assert sessions == days
    with connect("analyst") as reader:
        bars = reader.execute("select symbol, count(*) from canonical.ohlcv_1d group by symbol order by symbol")
        assert bars.fetchall() == [("AAPL", 20), ("IBM", 20)]
        assert reader.execute("select * from canonical.decisions").fetchall() == []


def bar(ticker: str, day: date) -> dict[str, object]:
    start = datetime(day.year, day.month, day.day, tzinfo=EXCHANGE_TIME).astimezone(UTC)
    row = {"ticker": ticker, "multiplier": 1, "timespan": "day", "t": start, "v": 10, "vw": None, "n": None}
    return row | {"otc": False} | dict.fromkeys("ohlc", Decimal(100 + day.day % 3))
