"""Landing is append-only, keeps revisions and adds nothing when the same answer comes again."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loaders.landing import Landed, covered_until, land, record_coverage
from loaders.source import Row
from loaders.vendors.polygon import PolygonSource
from warehouse.connection import connect

START = datetime(2024, 1, 2, 5, tzinfo=UTC)
PAYLOADS = st.tuples(st.integers(1, 3), st.one_of(st.none(), st.integers(0, 2)))


def bar(day: int, price: int, vwap: int | None) -> Row:
    return {
        "ticker": "LANDING",
        "multiplier": 1,
        "timespan": "day",
        "t": START + timedelta(days=day),
        **dict.fromkeys(("o", "h", "l", "c"), Decimal(price)),
        "v": 1,
        "vw": vwap,
        "n": None,
        "otc": False,
    }


@given(batches=st.lists(st.lists(st.tuples(st.integers(0, 3), PAYLOADS), max_size=6), max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_is_landed_when_it_differs_from_the_newest_revision(batches: list, warehouse_db: Path) -> None:
    """Against a model in Python: per bar, the consecutive payloads that differ. A batch counts its last row."""
    expected: dict[int, list] = defaultdict(list)
    with connect("loader") as connection:
        for batch in batches:
            landed = land(connection, PolygonSource.bars_table, [bar(day, *payload) for day, payload in batch])
            new = 0
            for day, payload in dict(batch).items():
                if expected[day][-1:] != [payload]:
                    expected[day].append(payload)
                    new += 1
            assert landed == Landed(len(batch), new)
        rows = connection.execute(
            "select t, o, vw from raw.polygon_aggregates where ticker = 'LANDING' order by landed_at"
        ).fetchall()
        connection.rollback()
    found: dict[int, list] = defaultdict(list)
    for t, price, vwap in rows:
        found[(t - START).days].append((int(price), None if vwap is None else int(vwap)))
    assert found == {day: payloads for day, payloads in expected.items() if payloads}


def test_coverage_goes_with_the_rows_it_covers(warehouse_db: Path) -> None:
    with connect("loader") as connection:
        with connection.transaction(force_rollback=True):
            landed = land(connection, PolygonSource.bars_table, [bar(0, 1, None)])
            record_coverage(
                connection,
                source="polygon",
                dataset="bars",
                symbol="LANDING",
                timeframe="1d",
                start=START,
                end=START + timedelta(days=1),
                landed=landed,
            )
            assert covered_until(connection, "polygon", "bars", "LANDING", "1d") == START + timedelta(days=1)
        assert covered_until(connection, "polygon", "bars", "LANDING", "1d") is None
        count = connection.execute("select count(*) from raw.polygon_aggregates where ticker = 'LANDING'").fetchone()
    assert count == (0,)
