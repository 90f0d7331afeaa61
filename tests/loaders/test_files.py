"""Bars from a vendor's files are the bars of its REST, whatever happens to the files or to the process."""

import gzip
import itertools
import random
import signal
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from loaders.client.base import Window
from loaders.history.files import ingest_files
from loaders.history.pull import pull
from loaders.raw.instruments import Instrument
from loaders.raw.landing import Landed, uncovered
from loaders.vendor_by_name import files_of
from loaders.vendors.binance import BinanceSource
from loaders.vendors.polygon import PolygonSource
from tests import forked
from tests.loaders.archives import FLAT_NAMES, day_of_klines, flat_bar, flat_file, kline_lines, zipped
from tests.loaders.exchange import klines
from tests.loaders.landings import missing
from tests.loaders.vendors import Answer, CountingBudget, Request, serving
from tests.loaders.watching import empty
from warehouse.connection import connect
from warehouse.errors import Stop

pytestmark = pytest.mark.database

BTC = Instrument("BTCUSDT", "BTCUSDT", "24x7")
MINUTE = timedelta(minutes=1)
OLD, NEW = date(2024, 12, 30), date(2025, 1, 2)


@pytest.fixture
def loader(seeded_warehouse: Path) -> Iterator[psycopg.Connection]:
    with connect("loader") as connection:
        yield connection
        connection.rollback()
    empty()


def land(connection: psycopg.Connection, source: str, folder: Path, lines: list[str] | None = None) -> Landed:
    told = [] if lines is None else lines
    return ingest_files(connection, source, files_of(source), folder, symbols=None, progress=told.append)


def stored(connection: psycopg.Connection, table: str, columns: tuple[str, ...]) -> list[tuple]:
    connection.rollback()
    return connection.execute(f"select {', '.join(columns)} from {table} order by {', '.join(columns[:4])}").fetchall()


def day_start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@pytest.mark.parametrize("header", [False, True])
def test_archives_and_rest_give_the_same_klines(loader, tmp_path: Path, header: bool) -> None:
    """Milliseconds until 2024, microseconds since, with a line of names and without."""
    for day in (OLD, NEW):
        day_of_klines(tmp_path / "spot", day, header=header)
    assert land(loader, "binance", tmp_path) == Landed(2880, 2880)
    columns = BinanceSource.bars_table.columns
    from_files = stored(loader, "raw.binance_klines", columns)
    for day in (OLD, NEW):
        window = Window(day_start(day), day_start(day) + timedelta(days=1))
        assert uncovered(loader, "binance", "bars", "BTCUSDT", "1m", window) == []
    assert missing("binance_klines", "open_time") == []
    with serving(lambda request: klines(request, datetime(2026, 1, 1, tzinfo=UTC))) as vendor:
        source = BinanceSource(vendor.url, CountingBudget())
        windows = [Window(day_start(day), day_start(day) + timedelta(days=1)) for day in (OLD, NEW)]
        again = pull(loader, source, BTC, "1m", windows)
        assert (again.received, again.landed) == (2880, 0), "REST has nothing to add"
        empty()
        pull(loader, source, BTC, "1m", windows)
    assert stored(loader, "raw.binance_klines", columns) == from_files
    # and the other way round
    assert land(loader, "binance", tmp_path) == Landed(2880, 0)


def test_flat_files_and_rest_give_the_same_minutes(loader, tmp_path: Path) -> None:
    """Nanoseconds, all tickers in one file, of which some are nobody's; files do not tell the average price."""
    day = date(2024, 3, 11)
    flat_file(tmp_path, day, ("AAPL", "BRK.A", "IBM", "ZZZ"))
    assert land(loader, "polygon", tmp_path).landed == 2 * 334
    midnight = datetime(2024, 3, 11, 4, tzinfo=UTC)
    window = Window(midnight, midnight + timedelta(days=1))
    assert uncovered(loader, "polygon", "bars", "IBM", "1m", window) == []
    assert uncovered(loader, "polygon", "bars", "MSFT", "1m", window) == [window], "no line tells of it"

    def answer(request: Request) -> Answer:
        ticker = request.path.split("/")[4]
        bars = [flat_bar(ticker, day, minute) for minute in range(390) if minute % 7 != 3]
        return Answer({"status": "OK", "resultsCount": len(bars), "results": bars, "request_id": "x"})

    columns = ("ticker", "multiplier", "timespan", "t", "o", "h", "l", "c", "v", "n", "otc")
    from_files = stored(loader, "raw.polygon_aggregates", columns)
    with serving(answer) as vendor:
        source = PolygonSource("secret-key", vendor.url, CountingBudget())
        for round_no in range(2):
            for symbol in ("AAPL", "IBM"):
                landed = pull(loader, source, Instrument(symbol, symbol, "XNYS"), "1m", [window])
                assert (landed.received, landed.landed) == (334, 334 * round_no)
            if round_no == 0:
                empty()
    assert stored(loader, "raw.polygon_aggregates", columns) == from_files


def test_what_is_landed_is_not_read_again_and_a_new_symbol_is(loader, tmp_path: Path) -> None:
    path = flat_file(tmp_path, date(2024, 3, 11), ("AAPL", "IBM"))
    reader = files_of("polygon")
    assert ingest_files(loader, "polygon", reader, tmp_path, symbols=["IBM"]).landed == 334
    path.rename(path.with_name("2024-03-11.csv.csv.gz"))
    assert ingest_files(loader, "polygon", reader, tmp_path, symbols=["IBM"]) == Landed(0, 0)
    assert ingest_files(loader, "polygon", reader, tmp_path, symbols=["AAPL", "IBM"]) == Landed(334, 334)


def test_a_name_that_is_put_right_is_looked_for_in_what_has_landed(loader, tmp_path: Path) -> None:
    """A company that changed its ticker, and one whose name was written wrongly: told once, read once."""
    days = [date(2024, 3, 11), date(2024, 3, 12), date(2024, 3, 13)]
    for day in days:
        flat_file(tmp_path, day, ("OLDX" if day < days[2] else "NEWX", "FILE.B"), minutes=7)
    reader, symbols, told = files_of("polygon"), ["NEWX", "FILEB"], []

    def ingest() -> Landed:
        return ingest_files(loader, "polygon", reader, tmp_path, symbols=symbols, progress=told.append)

    with connect("transformer") as transformer:
        for symbol, name in (("NEWX", "NEWX"), ("FILEB", "FILE-B")):
            transformer.execute(
                "insert into reference.instruments values (%s, 'equity', 'XNYS', 8, 1, true, 'a file')", (symbol,)
            )
            transformer.execute("insert into reference.vendor_symbols values (%s, 'polygon', %s)", (symbol, name))
    try:
        assert ingest() == Landed(6, 6)
        assert [line for line in told if "FILE-B" in line] == [
            "2024-03-11.csv.gz: no line of FILE-B, as polygon should call FILEB"
        ]
        told.clear()
        assert ingest() == Landed(0, 0)
        assert not any("no line of" in line for line in told)
        with connect("transformer") as transformer:
            transformer.execute("delete from reference.vendor_symbols where symbol = any(%s)", (symbols,))
            for symbol, name, begin, end in (
                ("NEWX", "NEWX", days[2], None),
                ("NEWX", "OLDX", None, days[2]),
                ("FILEB", "FILE.B", None, None),
            ):
                transformer.execute(
                    "insert into reference.vendor_symbols values (%s, 'polygon', %s, %s, %s)",
                    (symbol, name, begin, end),
                )
        assert ingest() == Landed(30, 30)
        assert ingest() == Landed(0, 0)
    finally:
        with connect("transformer") as transformer:
            for table in ("vendor_symbols", "instruments"):
                transformer.execute(f"delete from reference.{table} where symbol = any(%s)", (symbols,))


def test_a_hole_in_an_archive_is_covered_by_nobody(loader, tmp_path: Path) -> None:
    """The venue sends a kline for a minute without a trade: one that its archive has not is asked for over REST."""
    lines = kline_lines(day_start(OLD), 1440)
    zipped(tmp_path, f"BTCUSDT-1m-{OLD}", lines[:600] + lines[660:])
    assert land(loader, "binance", tmp_path).landed == 1380
    window = Window(day_start(OLD), day_start(OLD) + timedelta(days=1))
    hole = Window(window.start + 600 * MINUTE, window.start + 660 * MINUTE)
    assert uncovered(loader, "binance", "bars", "BTCUSDT", "1m", window) == [hole]


def test_one_minute_twice_in_an_archive_lands_twice_and_the_fuller_counts(loader, tmp_path: Path) -> None:
    lines = kline_lines(day_start(OLD), 1440)
    rest = lines[-1].split(",")
    rest[5], rest[8] = "0.05", "3"
    zipped(tmp_path, f"BTCUSDT-1m-{OLD}", [*lines, ",".join(rest)])
    told: list[str] = []
    assert land(loader, "binance", tmp_path, told) == Landed(1441, 1441)
    rows = loader.execute(
        "select trades from raw.binance_klines where open_time = %s order by landed_at",
        (day_start(OLD) + 1439 * MINUTE,),
    ).fetchall()
    assert rows == [(3,), (1834,)]
    assert any("twice" in line for line in told)


GOOD = kline_lines(day_start(OLD), 1440)


def changed(line: int, place: int, value: str) -> list[str]:
    lines = list(GOOD)
    fields = lines[line - 1].split(",")
    fields[place] = value
    lines[line - 1] = ",".join(fields)
    return lines


@pytest.mark.parametrize(
    ("name", "lines", "words"),
    [
        (f"BTCUSDT-1m-{OLD}", changed(700, 4, "much"), 'line 700: invalid input syntax for type numeric: "much"'),
        (f"BTCUSDT-1m-{OLD}", changed(3, 2, "NaN"), "line 3: high is no finite number"),
        (f"BTCUSDT-1m-{OLD}", changed(3, 5, ""), "line 3: volume is no finite number"),
        (f"BTCUSDT-1m-{OLD}", changed(5, 0, "1735516800"), "line 5: the bar is not of 2024-12-30"),
        (f"BTCUSDT-1m-{OLD}", changed(5, 0, "9" * 18), "a time is in a unit that nobody knows|line 5: "),
        (f"BTCUSDT-1m-{OLD}", changed(5, 6, "1735520459999"), "line 5: the kline is longer than 1m"),
        (f"BTCUSDT-1m-{OLD}", [*GOOD[:80], GOOD[80][:30]], "line 81: missing data for column"),
        (f"BTCUSDT-1m-{OLD}", [*GOOD[:80], GOOD[80] + ",1"], "line 81: extra data after last expected column"),
        (f"BTCUSDT-1m-{NEW}", GOOD, "line 1: the bar is not of 2025-01-02"),
        (f"BTCUSDT-1s-{OLD}", GOOD, "1s bars are not landed"),
        (f"BTCUSDT-1m-{OLD}", ["a,b,c"], "line 1: a kline has 12 fields, this line has 3"),
        (f"BTCUSDT-1m-{OLD}", [FLAT_NAMES + ",a,b,c,d"], "line 1: neither a kline nor the names"),
        (f"BTCUSDT-1m-{OLD}", [], "line 1: a kline has 12 fields"),
        (f"futures/um/BTCUSDT-1m-{OLD}", GOOD, "another market than spot"),
        ("BTCUSDT-aggTrades-2024-12", GOOD, "Binance's archives are called SYMBOL-INTERVAL"),
        ("BTCUSDT-1m-2024-13", GOOD, "its name holds no date"),
        ("BTCUSDT-1m-2199-01-01", kline_lines(datetime(2199, 1, 1, tzinfo=UTC), 3), "line 1: "),
    ],
)
def test_a_strange_archive_lands_nothing_and_keeps_no_other_out(
    loader, tmp_path: Path, name: str, lines: list[str], words: str
) -> None:
    zipped(tmp_path, name, lines)
    day_of_klines(tmp_path, date(2024, 12, 31), "ETHUSDT")
    with pytest.raises(Stop, match=words) as caught:
        land(loader, "binance", tmp_path)
    assert Path(name).name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "1 of 2 files were left out, the others have landed" in str(caught.value)
    assert loader.execute("select symbol, count(*) from raw.binance_klines group by symbol").fetchall() == [
        ("ETHUSDT", 1440)
    ]
    assert loader.execute("select distinct symbol from raw.coverage").fetchall() == [("ETHUSDT",)]


@pytest.mark.parametrize("kept", [0.2, 0.7, 0.99])
@pytest.mark.parametrize("vendor", ["binance", "polygon"])
def test_a_file_that_is_cut_off_names_the_line(loader, tmp_path: Path, vendor: str, kept: float) -> None:
    whole = (
        day_of_klines(tmp_path, OLD) if vendor == "binance" else flat_file(tmp_path, date(2024, 3, 11), ("AAPL", "IBM"))
    )
    packed = whole.read_bytes()
    whole.write_bytes(packed[: int(len(packed) * kept)])
    with pytest.raises(Stop, match=rf"{whole.name}, line \d+: the file is cut off or damaged"):
        land(loader, vendor, tmp_path)
    for table in ("binance_klines", "polygon_aggregates", "coverage", "landed_files"):
        assert loader.execute(f"select count(*) from raw.{table}").fetchone() == (0,)


def test_an_unpacked_file_without_a_last_end_of_line_is_cut_off(loader, tmp_path: Path) -> None:
    (tmp_path / f"BTCUSDT-1m-{OLD}.csv").write_text("\n".join(GOOD))
    with pytest.raises(Stop, match="the last line has no end"):
        land(loader, "binance", tmp_path)
    (tmp_path / f"BTCUSDT-1m-{OLD}.csv").write_text("\n".join(GOOD) + "\n")
    assert land(loader, "binance", tmp_path).landed == 1440


def test_an_archive_with_another_checksum_is_fetched_again(loader, tmp_path: Path) -> None:
    path = day_of_klines(tmp_path, OLD)
    path.with_name(f"{path.name}.CHECKSUM").write_text(f"{'0' * 64}  {path.name}\n")
    with pytest.raises(Stop, match=r"not the file that .*CHECKSUM was made for: fetch it again"):
        land(loader, "binance", tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("window_start", "timestamp"), "line 1: the first line should be ticker,volume,open"),
        (
            lambda text: text.replace("IBM,1004,", "IBM,many,"),
            'line 339: invalid input syntax for type numeric: "many"',
        ),
        (lambda text: text.replace("ZZZ,1004,", "ZZZ,1004,1,"), "line 673: a bar has 8 fields, this line has 9"),
        (lambda text: text[:-1], "line 1003: the last line has no end: the file is cut off"),
        # what the vendor's days of 2025-02-10 held
        (
            lambda text: text.replace("IBM,1004,", "IBM,1004,").replace("1710163800000000000", "-68400000000000"),
            "line 2: ",
        ),
    ],
)
def test_a_strange_flat_file_names_the_line(loader, tmp_path: Path, change, words: str) -> None:
    path = flat_file(tmp_path, date(2024, 3, 11), ("AAPL", "IBM", "ZZZ"))
    text = gzip.decompress(path.read_bytes()).decode()
    with gzip.open(path, "wt") as file:
        file.write(change(text))
    with pytest.raises(Stop, match=words):
        land(loader, "polygon", tmp_path)
    assert loader.execute("select count(*) from raw.polygon_aggregates").fetchone() == (0,)


def test_another_vendors_files_are_left_out_and_a_folder_must_hold_some(loader, tmp_path: Path) -> None:
    with pytest.raises(Stop, match=r"holds no file whose name ends with \.zip, \.gz, \.csv"):
        land(loader, "binance", tmp_path)
    with pytest.raises(Stop, match="is no folder"):
        land(loader, "binance", tmp_path / "absent")
    flat_file(tmp_path, date(2024, 3, 11), ("AAPL",))
    day_of_klines(tmp_path, OLD)
    with pytest.raises(Stop, match="Binance's archives are called SYMBOL-INTERVAL"):
        land(loader, "binance", tmp_path)
    with pytest.raises(Stop, match="Polygon's flat files are called YYYY-MM-DD"):
        land(loader, "polygon", tmp_path)
    assert loader.execute("select count(*) from raw.landed_files").fetchone() == (2,)
    with pytest.raises(Stop, match="geckoterminal has no files that are known here"):
        files_of("geckoterminal")


@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random_moments_nothing_is_lost_or_doubled(loader, tmp_path: Path, kills: int) -> None:
    """SIGKILL at any moment, again and again; in the end every minute is there once and covered."""
    random_state = random.Random(11)
    days = [OLD + timedelta(days=n) for n in range(6)]
    for day in days:
        for symbol in ("BTCUSDT", "ETHUSDT"):
            day_of_klines(tmp_path, day, symbol)
    arguments = ("loaders", "ingest", "--source", "binance", "--files", str(tmp_path))
    done = 0
    while done < kills:
        before = loader.execute("select count(*) from raw.landed_files").fetchone()[0]
        loader.rollback()
        process = forked.start(*arguments)
        # a third die while they begin, the others in or after their first files
        if random_state.random() > 0.3:
            while process.is_alive():
                now = loader.execute("select count(*) from raw.landed_files").fetchone()[0]
                loader.rollback()
                if now > before:
                    break
        process.join(random_state.uniform(0, 0.2))
        if process.is_alive():
            process.kill()
        process.join()
        done += 1
        if process.exitcode != -signal.SIGKILL:
            assert process.exitcode == 0
            if done < kills / 2:
                empty()
    time.sleep(0.1)
    process = forked.start(*arguments)
    process.join()
    assert process.exitcode == 0
    rows = loader.execute(
        "select symbol, count(*), count(distinct open_time) from raw.binance_klines group by 1 order by 1"
    )
    assert rows.fetchall() == [(symbol, 6 * 1440, 6 * 1440) for symbol in ("BTCUSDT", "ETHUSDT")]
    landed = loader.execute("select sum(rows_landed) from raw.coverage").fetchone()[0]
    assert landed == 2 * 6 * 1440
    window = Window(day_start(days[0]), day_start(days[-1]) + timedelta(days=1))
    assert uncovered(loader, "binance", "bars", "ETHUSDT", "1m", window) == []
    assert missing("binance_klines", "open_time") == []


@pytest.mark.parametrize(
    ("months", "kills"),
    [
        pytest.param(1, 5, marks=pytest.mark.whole),
        pytest.param(24, 12, marks=pytest.mark.slow, id="a million minutes"),
    ],
)
def test_files_and_rest_killed_again_and_again_leave_the_same_rows(
    loader, tmp_path: Path, months: int, kills: int
) -> None:
    """Both pulls die by SIGKILL just after they have landed something. In the end both have left the same digits, and
    all is covered. The older half of the archives are months, the newer ones are days."""
    luck = random.Random(23)
    starts = [date(2023 + n // 12, 1 + n % 12, 1) for n in range(months + 1)]
    for number, (start, end) in enumerate(itertools.pairwise(starts)):
        days = (end - start).days
        if number < months // 2:
            zipped(tmp_path, f"BTCUSDT-1m-{start:%Y-%m}", kline_lines(day_start(start), days * 1440))
        else:
            for day in range(days):
                day_of_klines(tmp_path, start + timedelta(days=day))
    minutes = (starts[-1] - starts[0]).days * 1440
    # 20,000 of a million, which is the product's own
    batches = {"loaders.history.pull.BATCH_ROWS": minutes // 50}

    def landed() -> int:
        loader.rollback()
        return loader.execute("select coalesce(sum(rows_landed), 0) from raw.coverage").fetchone()[0]

    def killed_until_done(*arguments: str, **environment: str) -> tuple[int, str]:
        for _ in range(kills):
            before = landed()
            process = forked.start("loaders", *ingest, *arguments, constants=batches, **environment)
            while process.is_alive() and landed() == before:
                time.sleep(0.005)
            process.join(luck.uniform(0, minutes / 4e6))
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL, "it was done before it was killed often enough"
            assert before < landed() < minutes
        process = forked.start("loaders", *ingest, *arguments, **environment)
        process.join()
        assert process.exitcode == 0
        assert landed() == minutes
        window = Window(day_start(starts[0]), day_start(starts[-1]))
        assert uncovered(loader, "binance", "bars", "BTCUSDT", "1m", window) == []
        assert missing("binance_klines", "open_time") == []
        columns = ", ".join(BinanceSource.bars_table.columns)
        found = loader.execute(
            f"select count(*), md5(string_agg(({columns})::text, ';' order by open_time)) from raw.binance_klines"
        ).fetchone()
        loader.rollback()
        return found

    ingest = ("ingest", "--source", "binance")
    started = time.monotonic()
    from_files = killed_until_done("--files", str(tmp_path))
    print(f"files: {from_files[0]:,} rows after {kills} kills in {time.monotonic() - started:.0f} s")
    assert from_files[0] == minutes
    empty()
    started = time.monotonic()
    now = day_start(starts[-1]) + timedelta(seconds=30)
    with serving(lambda request: klines(request, now), lambda: now) as vendor:
        asked = ("--timeframe", "1m", "--symbols", "BTCUSDT", "--from", starts[0].isoformat())
        assert killed_until_done(*asked, BINANCE_BASE_URL=vendor.url) == from_files
        print(f"REST: {len(vendor.requests):,} requests in {time.monotonic() - started:.0f} s")


def test_the_command_needs_no_key_and_says_how_far_it_is(loader, tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    flat_file(tmp_path / "files", date(2024, 3, 11), ("AAPL",))
    process = forked.start("loaders", "ingest", "--files", str(tmp_path / "files"), output=printed, POLYGON_API_KEY="")
    process.join()
    *_, progress, last = printed.read_text().splitlines()
    assert process.exitcode == 0
    assert progress.startswith("2024-03-11.csv.gz: 1 of 1 files, 334 bars, ")
    assert last == "334 rows received, 334 landed"
