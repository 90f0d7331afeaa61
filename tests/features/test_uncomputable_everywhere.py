"""In each live relation one symbol is refused: it alone stops there, freshness says why, and it goes on once it can."""

from collections.abc import Iterator

import pytest

from flows.build import uncomputable
from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.features.test_uncomputable import MONDAY, _day
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect, endpoint, open_connection
from warehouse.timeframes import LENGTHS

pytestmark = pytest.mark.whole

MODELS = [f"{kind}_{timeframe}" for kind in ("ohlcv", "features") for timeframe in LENGTHS]
BUILD = ("run", "--select", "stg_vendors__symbols", *MODELS, *(f"freshness_{timeframe}" for timeframe in LENGTHS))
# each view with the table of its rows; of days and minutes a vendor's own rows are refused, too
VIEWS = {model: f"{model}__history" for model in MODELS}
VIEWS |= {f"ohlcv_{timeframe}__missing": f"ohlcv_{timeframe}__history__missing" for timeframe in LENGTHS}
VIEWS |= {f"ohlcv_{timeframe}__rejected": f"ohlcv_{timeframe}__history__rejected" for timeframe in ("1m", "1d")}
# a symbol for each relation, and one that nobody refuses
PLANTED = {f"P{number}": view for number, view in enumerate(VIEWS)}
WELL = "WELL"
MINUTES = """
    insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)
    select symbol, 1, 'minute', minute, 100, 100 + price, 99, 100.5, 10
    from unnest(%(symbols)s::text[]) as symbol
    cross join (
        select open_at + number * interval '1 minute' as minute, 2 as price
        from reference.trading_sessions cross join generate_series(0, 389) as number
        where calendar = 'XNYS' and session_date = %(day)s and %(is_good)s
        union all
        select open_at, -5 from reference.trading_sessions
        where calendar = 'XNYS' and session_date = %(day)s and not %(is_good)s
    ) as minutes
"""
DAYS = """
    insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)
    select
        symbol, 1, 'day', %(day)s::timestamp at time zone 'America/New_York', 100,
        case when %(is_good)s then 102 else 95 end, 99, 100.5, 3900
    from unnest(%(symbols)s::text[]) as symbol
"""
REFUSE = """
    create function canonical.refuse() returns trigger language plpgsql as
    $$ begin if new.symbol = tg_argv[0] then raise exception 'planted'; end if; return new; end $$
"""

Counts = dict[str, dict[str, int]]
# rows before, meanwhile and after; reasons by timeframe and symbol; symbols that the build's end names
Seen = tuple[Counts, Counts, Counts, dict[str, dict[str, str]], list[tuple[str, str]]]


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Rows of each relation and symbol before, while and after each symbol is refused, and what was said meanwhile."""
    with running_warehouse(tmp_path_factory.mktemp("everywhere") / "state", BUILT):
        _prepare()
        _land(0, is_good=True)
        run_dbt(*BUILD)
        before = _counts()
        where = endpoint()
        with open_connection(where, where.conninfo(), autocommit=True) as owner:
            owner.execute(REFUSE)
            for symbol, view in PLANTED.items():
                owner.execute(
                    f"create trigger planted before insert on {_schema(view)}.{VIEWS[view]}"
                    f" for each row execute function canonical.refuse('{symbol}')"
                )
            _land(1, is_good=False)
            _land(2, is_good=True)
            run_dbt(*BUILD)
            meanwhile, told, reasons = _counts(), uncomputable(), _reasons()
            owner.execute("drop function canonical.refuse() cascade")
        run_dbt(*BUILD)
        yield before, meanwhile, _counts(), reasons, told


@pytest.mark.parametrize(("symbol", "view"), PLANTED.items())
def test_a_refused_symbol_stops_alone(symbol: str, view: str, builds: Seen) -> None:
    before, meanwhile, after, reasons, told = builds
    model, timeframe = view.split("__")[0], view.split("__")[0].split("_")[1]
    assert (symbol, f"{model}: planted") in told
    assert reasons[timeframe].get(symbol) == f"{model} cannot be computed: planted"
    assert meanwhile[view].get(symbol, 0) == before[view].get(symbol, 0)
    assert meanwhile[model][symbol] == before[model][symbol]
    # whom nothing that it stands on refuses is built like the one whom nothing refuses
    below = {model, f"ohlcv_{timeframe}", "ohlcv_1m"}
    others = [other for other, of in PLANTED.items() if of.split("__")[0] not in below]
    assert meanwhile[view][WELL] > before[view].get(WELL, 0)
    assert {other: meanwhile[view].get(other) for other in others} == dict.fromkeys(others, meanwhile[view][WELL])
    # all have had the same bars
    assert after[view] == dict.fromkeys([*PLANTED, WELL], after[view][WELL])


def test_nobody_else_is_told(builds: Seen) -> None:
    *_, reasons, told = builds
    assert sorted(symbol for symbol, _ in told) == sorted(PLANTED)
    assert not any(WELL in stale for stale in reasons.values())


def _schema(view: str) -> str:
    return "features" if view.startswith("features") else "canonical"


def _prepare() -> None:
    symbols = [*PLANTED, WELL]
    with connect("loader") as loader:
        ensure_sessions(loader, "XNYS", MONDAY.replace(month=12))
    with connect("transformer") as connection:
        connection.execute(
            "insert into reference.instruments select symbol, 'equity', 'XNYS', 8, 1, true, 'planted'"
            " from unnest(%s::text[]) as symbol",
            (symbols,),
        )
        connection.execute(
            "insert into reference.vendor_symbols select symbol, 'polygon', symbol from unnest(%s::text[]) as symbol",
            (symbols,),
        )


def _land(number: int, *, is_good: bool) -> None:
    values = {"symbols": [*PLANTED, WELL], "day": _day(number), "is_good": is_good}
    with connect("loader") as loader:
        loader.execute(MINUTES, values)
        loader.execute(DAYS, values)


def _counts() -> Counts:
    with connect("analyst") as analyst:
        return {
            view: dict(
                analyst.execute(
                    f"select symbol, count(*) from {_schema(view)}.{view} where symbol = any(%s) group by 1",
                    ([*PLANTED, WELL],),
                ).fetchall()
            )
            for view in VIEWS
        }


def _reasons() -> dict[str, dict[str, str]]:
    with connect("executor") as executor:
        return {
            timeframe: dict(
                executor.execute(
                    f"select symbol, reason from features.freshness_{timeframe} where stale_from is not null"
                ).fetchall()
            )
            for timeframe in LENGTHS
        }
