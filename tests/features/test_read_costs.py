"""What a live read has to look at, counted in rows of its plan: it must not depend on how long the history is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow
import pytest
from pandas import DataFrame

from execution.market import Market
from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from loaders.raw.landing import land
from loaders.vendors.polygon import PolygonSource
from tests.machine import BUILT, as_owner, running_warehouse
from tests.plans import plan_of, rows_of
from warehouse.connection import connect

# IBM is what the others are measured against
SYMBOLS = ("AAPL", "IBM", "MSFT")
DAYS = 120
# what a session asks, and what it trades by
FRESHNESS = "select symbol, stale_from, reason from features.freshness_1d where symbol = any('{AAPL,IBM,MSFT}')"
NEWEST = "select * from features.features_1d where symbol = 'AAPL' order by bar_start desc limit 1"


@pytest.fixture
def days(tmp_path: Path) -> Iterator[None]:
    """A history of all days but the newest, which only has landed."""
    with running_warehouse(tmp_path / "state", BUILT):
        with connect("loader") as loader:
            ensure_sessions(loader, "XNYS", date(2024, 12, 31))
        _land(0, DAYS - 1)
        run_dbt("run", "--select", "ohlcv_1d", "features_1d")
        _land(DAYS - 1, 1)
        yield


@pytest.mark.usefixtures("days")
def test_a_live_read_looks_at_fewrows_of() -> None:
    read = [node for node in plan_of(FRESHNESS) if node.get("Relation Name") == "ohlcv_1d__history"]
    assert read
    # newest rows of each symbol for the watermarks of its tails, and no other
    assert sum(rows_of(node) for node in read) <= 5 * len(SYMBOLS)

    (cut,) = [node for node in plan_of(NEWEST) if node.get("Alias") == "spanned"]
    kept, left_out = cut["Actual Rows"], cut["Rows Removed by Filter"]
    # of the lookback of 60 bars the short windows read what 20 of them need
    assert (kept, kept + left_out) == (22, 62)


@pytest.mark.usefixtures("days")
def test_a_tail_without_a_row_costs_no_pass() -> None:
    computed = _read(NEWEST)
    run_dbt("run", "--select", "ohlcv_1d", "features_1d")
    assert _read(NEWEST) == computed

    nodes = plan_of(NEWEST)
    # the lookback is read, and none of it goes through a pass
    assert sum(rows_of(node) for node in nodes if node.get("Relation Name") == "ohlcv_1d__history") > 100
    (cut,) = [node for node in nodes if node.get("Alias") == "spanned"]
    assert rows_of(cut) == 0


@pytest.mark.usefixtures("days")
def test_who_was_never_sent_reads_no_bar_of_the_benchmark() -> None:
    """A list of five hundred symbols of which ten are loaded reads the benchmark's history for none of the others."""
    nodes = plan_of(NEWEST.replace("AAPL", "GOOG"))
    assert nodes[0]["Actual Rows"] == 0
    assert sum(rows_of(node) for node in nodes if node.get("Relation Name") == "ohlcv_1d__history") <= 5


@pytest.mark.usefixtures("days")
def test_a_history_is_sampled_again_when_its_size_is_another() -> None:
    """Sampling takes seconds where a history is large, and a build that adds a day is one of thousands."""
    histories = "relname in ('features_1d__history', 'ohlcv_1d__history')"

    def sampled() -> list[int]:
        counts = _read(f"select analyze_count from pg_stat_user_tables where {histories} order by relname")
        return [count for (count,) in counts]

    before = sampled()
    run_dbt("run", "--select", "ohlcv_1d", "features_1d")
    assert sampled() == before
    with as_owner() as owner:
        owner.execute(f"update pg_class set relpages = relpages + 1000 where {histories}")
    run_dbt("run", "--select", "ohlcv_1d", "features_1d")
    assert sampled() == [count + 1 for count in before]


@pytest.mark.usefixtures("days")
def test_what_landed_long_ago_is_not_looked_at() -> None:
    with as_owner() as owner:
        # of other instruments, before the last build
        owner.execute(
            """
            insert into raw.landings
                (relation, source, vendor_symbol, timeframe, first_bar, last_bar, rows_landed, landed_at, landed_xid)
            select relation, source, 'OLD' || number, timeframe, first_bar, last_bar, rows_landed, landed_at, '3'
            from (select * from raw.landings where timeframe = '1d' limit 1) as landed
            cross join generate_series(1, 5000) as numbers (number)
            """
        )
        owner.execute("analyze raw.landings")
    looked_at = [node for node in plan_of(FRESHNESS) if node.get("Relation Name") == "landings"]
    assert looked_at
    assert sum(rows_of(node) for node in looked_at) < 100


@pytest.mark.usefixtures("days")
def test_dividends_of_decades_are_not_read_for_the_newest_bar() -> None:
    with connect("loader") as loader:
        loader.execute(
            """
            insert into raw.polygon_dividends (id, ticker, ex_dividend_date, cash_amount, currency, dividend_type)
            select ticker || number, ticker, date '2000-01-03' + 20 * number, 0.01, 'USD', 'CD'
            from unnest(array['AAPL', 'IBM', 'MSFT']) as tickers (ticker)
            cross join generate_series(1, 400) as numbers (number)
            """
        )
    with as_owner() as owner:
        owner.execute("analyze raw.polygon_dividends")
    read = [node for node in plan_of(NEWEST) if node.get("Relation Name") == "polygon_dividends"]
    assert read
    assert sum(rows_of(node) for node in read) < 50


@pytest.mark.usefixtures("days")
def test_an_account_is_valued_in_one_pass_over_what_it_traded() -> None:
    with as_owner(past_triggers=True) as owner:
        owner.execute(
            "insert into ledger.fills"
            " (account_id, execution_id, client_order_id, symbol, side, quantity, price, filled_at)"
            " values ('a', 'e', 'o', 'AAPL', 'buy', 1, 50, '2023-03-14 15:00+00')"
        )
    bars = DAYS - 1
    for relation in ("equity", "paper_record"):
        nodes = plan_of(f"select * from results.{relation}", as_role="analyst")
        history = [node for node in nodes if node.get("Relation Name") == "ohlcv_1d__history"]
        assert history
        # also where nothing is looked up yet
        assert all("symbol" in node.get("Index Cond", node.get("Recheck Cond", "")) for node in history)
        # its own bars, and the newest of each symbol for the watermarks of tails
        assert sum(rows_of(node) for node in history) <= bars + 5 * len(SYMBOLS)
        # kept rows are gone through a fixed number of times, not once per session
        assert sum(rows_of(node) for node in nodes if node["Node Type"] == "CTE Scan") <= 10 * bars


@dataclass(frozen=True)
class Asked:
    """What a session asks of the market for one model."""

    fingerprints: Mapping[str, str]
    symbols: tuple[str, ...] = SYMBOLS
    model_id: str = "one"
    timeframe: str = "1d"
    feature_names: tuple[str, ...] = ("ret_1", "adx_14", "beta_60")
    is_panel: bool = False

    def target_weights(self, features: pyarrow.Table) -> DataFrame:
        raise NotImplementedError


@pytest.mark.usefixtures("days")
def test_a_session_reads_its_symbols_in_one_statement() -> None:
    with connect("executor") as reader:
        reader.execute("set plan_cache_mode = force_generic_plan")
        catalog = reader.execute("select feature, fingerprint from features.catalog where timeframe = '1d'").fetchall()
        query = "select bar_start, ret_1, adx_14, beta_60 from features.features_1d where symbol = %s"
        alone = [reader.execute(f"{query} order by bar_start desc limit 1", (symbol,)).fetchone() for symbol in SYMBOLS]
    market = Market()
    asked = Asked(dict(catalog))
    view = market.read([asked], ("AAPL",), datetime(2024, 1, 1, tzinfo=UTC))
    assert [(row.bar_start, *row.values) for row in (view.rows["one", symbol] for symbol in SYMBOLS)] == alone
    assert {bar.bar_start for bar in view.bars.values()} == {alone[0][0]}
    assert view.bars.keys() == set(SYMBOLS)

    market.read([asked], (), datetime(2024, 1, 1, tzinfo=UTC))
    counted = market._connection.execute(
        "select statement, generic_plans from pg_prepared_statements where statement like %s", ("%wanted (symbol)%",)
    ).fetchall()
    market.close()
    # two reads, and each asked for all symbols at once
    assert [runs for _, runs in counted] == [2, 2], counted


def _read(query: str) -> list[tuple[object, ...]]:
    with connect("executor") as reader:
        return reader.execute(query).fetchall()


def _land(first: int, count: int) -> None:
    with connect("loader") as loader:
        starts = loader.execute(
            "select session_date::timestamp at time zone 'America/New_York' from reference.trading_sessions"
            " where calendar = 'XNYS' and session_date >= '2023-03-13' order by session_date offset %s limit %s",
            (first, count),
        ).fetchall()
        rows = [
            {"ticker": symbol, "multiplier": 1, "timespan": "day", "t": start, "v": 1000, "vw": None}
            | {"n": None, "otc": False, **dict.fromkeys("ohlc", Decimal(50 + (first + number) % 7))}
            for symbol in SYMBOLS
            for number, (start,) in enumerate(starts)
        ]
        land(loader, PolygonSource.bars_table, rows)
        loader.execute("select raw.refresh_statistics()")
        loader.commit()
