"""Landing is append-only, keeps revisions and adds nothing when the same answer comes again."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loaders.client.base import VENDOR_BARS, RawTable, Row, Window
from loaders.raw.instruments import Instrument
from loaders.raw.landing import HOLES, land, record_coverage, uncovered
from loaders.vendors.binance import BinanceSource
from loaders.vendors.coingecko import CoinGeckoSource
from loaders.vendors.geckoterminal import GeckoTerminalSource
from loaders.vendors.polygon import DIVIDENDS, SPLITS, TICKERS, PolygonSource
from tests.machine import as_owner
from tests.plans import plan_of, rows_of
from warehouse.connection import connect, endpoint, open_connection

START = datetime(2024, 1, 2, 5, tzinfo=UTC)
PAYLOADS = st.tuples(st.integers(1, 3), st.one_of(st.none(), st.integers(0, 2)))


def bar(day: int, price: int, vwap: int | None, ticker: str = "LANDING") -> Row:
    return {
        "ticker": ticker,
        "multiplier": 1,
        "timespan": "day",
        "t": START + timedelta(days=day),
        **dict.fromkeys(("o", "h", "l", "c"), Decimal(price)),
        "v": 1,
        "vw": vwap,
        "n": None,
        "otc": False,
    }


Payload = tuple[int, int | None]


def is_same(one: Payload, other: Payload) -> bool:
    """A volume-weighted price that one channel does not tell makes no difference."""
    return one[0] == other[0] and (None in (one[1], other[1]) or one[1] == other[1])


@pytest.mark.parametrize("tickers", [["LANDING"], ["LANDING", "LANDING 2"]], ids=["one series", "several"])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_is_landed_when_it_differs_from_the_newest_revision(
    tickers: list[str], data: st.DataObject, warehouse_db: Path
) -> None:
    """Against a model in Python: per bar, the consecutive payloads that differ.

    What a batch says otherwise of a bar, before its last word, is landed before it, unless it was ever landed.
    """
    keys = st.tuples(st.sampled_from(tickers), st.integers(0, 3))
    batches = data.draw(st.lists(st.lists(st.tuples(keys, PAYLOADS), max_size=6), max_size=6))
    expected: dict[tuple, list] = defaultdict(list)
    with connect("loader") as connection:
        for batch in batches:
            rows = [bar(day, *payload, ticker) for (ticker, day), payload in batch]
            new, conflicts = 0, set()
            for key in dict(batch):
                said: list[Payload] = []
                for payload in (payload for name, payload in batch if name == key):
                    if not said or not is_same(said[-1], payload):
                        said.append(payload)
                for payload in said[:-1]:
                    conflicts.add(key)
                    if not any(is_same(known, payload) for known in expected[key]):
                        expected[key].append(payload)
                        new += 1
                if not expected[key] or not is_same(expected[key][-1], said[-1]):
                    expected[key].append(said[-1])
                    new += 1
            found = land(connection, PolygonSource.bars_table, rows)
            assert (found.received, found.landed) == (len(batch), new)
            assert {(ticker, (t - START).days) for ticker, _, _, t in found.conflicts} == conflicts
            assert land(connection, PolygonSource.bars_table, rows).landed == 0, "the same answer again"
        rows = connection.execute(
            "select ticker, t, o, vw from raw.polygon_aggregates where ticker = any(%s) order by landed_at", (tickers,)
        ).fetchall()
        connection.rollback()
    landed: dict[tuple, list] = defaultdict(list)
    for ticker, t, price, vwap in rows:
        landed[ticker, (t - START).days].append((int(price), None if vwap is None else int(vwap)))
    assert landed == {key: payloads for key, payloads in expected.items() if payloads}


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_rows_of_one_bar_the_fuller_counts_and_both_are_kept(order: int, warehouse_db: Path) -> None:
    """A venue has cut a minute in two: 55.2 units in 900 trades, and 0.05 in 3 more, under the same start."""
    full = bar(0, 1, None, "CUT") | {"v": Decimal("55.2"), "n": 900}
    rest = bar(0, 2, None, "CUT") | {"v": Decimal("0.05"), "n": 3}
    with connect("loader") as connection:
        for landed in (2, 0):
            found = land(connection, PolygonSource.bars_table, [full, rest, full, bar(1, 1, None, "CUT")][::order])
            assert found.landed == (landed and landed + 1)
            assert len(found.conflicts) == 1
        revisions = connection.execute(
            "select n from raw.polygon_aggregates where ticker = 'CUT' and t = %s order by landed_at", (START,)
        ).fetchall()
        connection.rollback()
    assert revisions == [(3,), (900,)]


@pytest.mark.parametrize(("told_first", "told_then"), [(None, 7), (7, None), (7, 7)])
def test_what_a_channel_does_not_tell_is_no_revision(
    told_first: int | None, told_then: int | None, warehouse_db: Path
) -> None:
    """Polygon's socket does not count trades, its REST does: one bar, told twice. Another count is a revision."""
    with connect("loader") as connection:
        rows = [[bar(0, 1, None, "PARTLY") | {"n": count}] for count in (told_first, told_then, 8)]
        landed = [land(connection, PolygonSource.bars_table, batch).landed for batch in rows]
        connection.rollback()
    assert landed == [1, 0, 1 if told_first else 0]


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
DIVIDEND = {
    "id": TEXTS,
    "ticker": TEXTS,
    "ex_dividend_date": st.dates(),
    "cash_amount": st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**9),
    "currency": st.none() | TEXTS | st.sampled_from(["\\N", "\\", "\t", "a\nb", "\r", "\\.", ""]),
    "dividend_type": st.none() | TEXTS,
    "frequency": st.none() | st.integers(-(2**31), 2**31 - 1),
    "declaration_date": st.none() | st.dates(),
    "record_date": st.none(),
    "pay_date": st.dates(),
    "is_withdrawn": st.booleans(),
}


@given(rows=st.lists(st.fixed_dictionaries(DIVIDEND), min_size=1, max_size=8, unique_by=lambda row: row["id"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_landed_is_what_was_received(rows: list[Row], warehouse_db: Path) -> None:
    """Texts that COPY's format could mistake for something else, decimals with all digits, and what is missing."""
    with connect("loader") as connection:
        assert land(connection, DIVIDENDS, rows).landed == len(rows)
        assert land(connection, DIVIDENDS, rows).landed == 0
        ids = [row["id"] for row in rows]
        found = connection.execute(
            f"select {', '.join(DIVIDENDS.columns)} from {DIVIDENDS.name} where id = any(%s)", (ids,)
        ).fetchall()
        connection.rollback()
    expected = {row["id"]: tuple(row[column] for column in DIVIDENDS.columns) for row in rows}
    assert {row[0]: row for row in found} == expected


def test_two_loaders_with_the_same_answer_leave_one_row(warehouse_db: Path) -> None:
    """The second waits for the first, and then sees what the first has landed."""
    rows = [bar(day, 1, None, "TWICE") for day in range(5)]
    with connect("loader") as first, connect("loader") as second, ThreadPoolExecutor() as pool:
        assert land(first, PolygonSource.bars_table, rows).landed == 5
        waiting = pool.submit(land, second, PolygonSource.bars_table, rows)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.3)
        first.commit()
        assert waiting.result(timeout=10).landed == 0
    where = endpoint()
    with open_connection(where, where.conninfo()) as owner:
        assert owner.execute("delete from raw.polygon_aggregates where ticker = 'TWICE'").rowcount == 5


def test_a_connection_lands_for_ever(warehouse_db: Path) -> None:
    """Known bars pass a staging table; commits, roll-backs and other tables in between do not trip over it."""
    split = {"id": "E1", "ticker": "LANDING", "execution_date": START.date(), "split_from": 1, "split_to": 2}
    split["is_withdrawn"] = False
    with connect("loader") as connection:
        for price in range(1, 6):
            with connection.transaction(force_rollback=price % 2 == 0):
                assert land(connection, PolygonSource.bars_table, [bar(0, price, None, "EVER")]).landed == 1
                assert land(connection, SPLITS, [split | {"split_to": price}]).landed == 1
        revisions = connection.execute("select o from raw.polygon_aggregates where ticker = 'EVER' order by landed_at")
        assert [int(price) for (price,) in revisions] == [1, 3, 5]
        connection.rollback()
    where = endpoint()
    with open_connection(where, where.conninfo()) as owner:
        owner.execute("delete from raw.polygon_aggregates where ticker = 'EVER'")
        owner.execute("delete from raw.polygon_splits where id = 'E1'")


def test_an_equal_row_proves_that_a_bar_was_whole(warehouse_db: Path) -> None:
    """The clock of the database was slow: by it a bar landed before its end. What comes after that end lands, once."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    minutes = [now - timedelta(minutes=10), now + timedelta(hours=1)]
    rows = [bar(0, 1, None, "SLOW CLOCK") | {"timespan": "minute", "t": minute} for minute in minutes]
    landed_at = "select t, landed_at - t from raw.polygon_aggregates where ticker = 'SLOW CLOCK' order by t, landed_at"
    with connect("loader") as connection:
        assert land(connection, PolygonSource.bars_table, rows).landed == 2
    with as_owner() as owner:
        owner.execute(
            "update raw.polygon_aggregates set landed_at = t + interval '59 seconds'"
            " where ticker = 'SLOW CLOCK' and t = %s",
            minutes[:1],
        )
    with connect("loader") as connection:
        assert [land(connection, PolygonSource.bars_table, rows).landed for _ in range(3)] == [1, 0, 0]
        connection.commit()
        found = connection.execute(landed_at).fetchall()
    assert [minute for minute, _ in found] == [minutes[0], minutes[0], minutes[1]]
    assert found[0][1] < timedelta(minutes=1) < found[1][1]


@pytest.mark.parametrize(
    ("table", "row", "revised"),
    [
        (PolygonSource.bars_table, bar(0, 1, None, "FAST CLOCK"), {"c": Decimal(2)}),
        (
            SPLITS,
            {"id": "FAST CLOCK", "ticker": "FAST", "execution_date": date(2024, 1, 2), "split_from": 1, "split_to": 2}
            | {"is_withdrawn": False},
            {"split_to": 3},
        ),
        (
            TICKERS,
            dict.fromkeys(TICKERS.columns) | {"ticker": "FAST CLOCK", "active": True, "name": "before"},
            {"name": "after"},
        ),
    ],
    ids=lambda value: value.name if isinstance(value, RawTable) else "",
)
def test_a_clock_that_was_set_back_hides_no_correction(
    table: RawTable, row: Row, revised: Row, warehouse_db: Path
) -> None:
    """The newest revision landed an hour ahead. What corrects it lands once, and is the newest one from then on."""
    with connect("loader") as loader:
        assert land(loader, table, [row]).landed == 1
    with as_owner() as owner:
        owner.execute(f"update {table.name} set landed_at = landed_at + interval '1 hour' where {table.key[0]} = %s",
                      (row[table.key[0]],))  # fmt: skip
        owner.execute("update raw.landings set landed_at = landed_at + interval '1 hour' where relation = %s",
                      (table.name.removeprefix("raw."),))  # fmt: skip
    with connect("loader") as loader:
        for following in (row | revised, row | revised, row, row):
            land(loader, table, [following])
        loader.commit()
        columns = ", ".join(revised)
        newest = f"select {columns} from {table.name} where {table.key[0]} = %s order by landed_at"
        found = [value for (value,) in loader.execute(newest, (row[table.key[0]],))]
    before, after = (next(iter(one.values())) for one in ({name: row[name] for name in revised}, revised))
    assert found == [before, after, before]
    with as_owner() as owner:
        owner.execute(f"delete from {table.name} where {table.key[0]} = %s", (row[table.key[0]],))
        owner.execute("delete from raw.landings where landed_at > now() + interval '1 minute'")


@pytest.mark.parametrize(
    ("table", "row", "length"),
    [
        (BinanceSource.bars_table, {"open_time": START, "close_time": START + timedelta(milliseconds=59_999)}, 60),
        (CoinGeckoSource.bars_table, {"close_time": START}, 0),
        (GeckoTerminalSource.bars_table, {"t": START, "timeframe": "hour", "aggregate": 4}, 4 * 3600),
        (GeckoTerminalSource.bars_table, {"t": START, "timeframe": "day", "aggregate": 1}, 24 * 3600),
        (PolygonSource.bars_table, {"t": START, "timespan": "minute", "multiplier": 5}, 300),
        (PolygonSource.bars_table, {"t": START, "timespan": "hour", "multiplier": 1}, 3600),
        (PolygonSource.bars_table, {"t": START, "timespan": "day", "multiplier": 1}, 16 * 3600),
        (VENDOR_BARS, {"bar_start": START, "timeframe": "15m"}, 900),
        (VENDOR_BARS, {"bar_start": START, "timeframe": "1d"}, None),
    ],
    ids=lambda value: value.name if isinstance(value, RawTable) else "",
)
def test_a_table_of_bars_says_when_they_end(table: RawTable, row: Row, length: int | None, warehouse_db: Path) -> None:
    columns = ", ".join(f"%s as {name}" for name in row)
    with connect("loader") as connection:
        ends = connection.execute(f"select {table.ends} from (select {columns}) as bars", list(row.values())).fetchone()
    assert ends == (None if length is None else START + timedelta(seconds=length),)


def test_a_name_is_asked_for_while_it_is_one() -> None:
    """Days are the exchange's: New York's midnight is at 05:00 UTC in winter."""
    year = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    renamed = datetime(2024, 2, 1, 5, tzinfo=UTC)
    old = Instrument("KEPT", "OLD", "XNYS", valid_to=date(2024, 2, 1))
    new = Instrument("KEPT", "NEW", "XNYS", valid_from=date(2024, 2, 1))
    assert old.within(year) == Window(year.start, renamed)
    assert new.within(year) == Window(renamed, year.end)
    assert old.within(Window(renamed, year.end)) is None
    assert new.within(Window(year.start, renamed)) is None
    assert Instrument("KEPT", "ANY", "XNYS").within(year) == year


def test_coverage_goes_with_the_rows_it_covers(warehouse_db: Path) -> None:
    day = Window(START, START + timedelta(days=1))
    with connect("loader") as connection:
        with connection.transaction(force_rollback=True):
            landed = land(connection, PolygonSource.bars_table, [bar(0, 1, None)])
            record_coverage(
                connection,
                source="polygon",
                dataset="bars",
                symbol="LANDING",
                vendor_symbol="LANDING",
                timeframe="1d",
                start=day.start,
                end=day.end,
                landed=landed,
            )
            assert uncovered(connection, "polygon", "bars", "LANDING", "1d", day) == []
            assert uncovered(connection, "polygon", "bars", "LANDING", "1d", day, "OTHER") == [day]
        assert uncovered(connection, "polygon", "bars", "LANDING", "1d", day) == [day]
        count = connection.execute("select count(*) from raw.polygon_aggregates where ticker = 'LANDING'").fetchone()
    assert count == (0,)


def test_a_year_of_answers_is_not_read_for_five_minutes(warehouse_db: Path) -> None:
    """Of coverage of every five minutes for a month only what meets the window is read."""
    asked = Window(START + timedelta(days=29), START + timedelta(days=29, minutes=5))
    with connect("loader") as connection:
        connection.execute(
            "insert into raw.coverage (source, dataset, symbol, vendor_symbol, timeframe, window_start, window_end,"
            " rows_received, rows_landed) select 'polygon', 'bars', 'YEAR', 'YEAR', '1m', moment,"
            " moment + interval '5 minutes', 5, 5"
            " from generate_series(%s::timestamptz, %s, interval '5 minutes') as moment",
            (START, asked.start - timedelta(minutes=5)),
        )
        connection.commit()
        connection.execute("select raw.refresh_statistics()")
        connection.commit()
        assert uncovered(connection, "polygon", "bars", "YEAR", "1m", asked, "YEAR") == [asked]
        early = Window(asked.start - timedelta(minutes=7), asked.end)
        assert uncovered(connection, "polygon", "bars", "YEAR", "1m", early, "YEAR") == [asked]
        asks = {"source": "polygon", "dataset": "bars", "symbol": "YEAR", "timeframe": "1m", "vendor_symbol": None}
        query = psycopg.ClientCursor(connection).mogrify(HOLES, asks | {"start": early.start, "end": early.end})
    read = [node for node in plan_of(query, "loader") if node.get("Relation Name") == "coverage"]
    assert sum(map(rows_of, read)) == 2
