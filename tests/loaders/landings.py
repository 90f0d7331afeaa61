"""What raw.landings must say, computed from the landed rows themselves as staging reads them."""

from warehouse.connection import connect

# who writes raw.landings names symbols, timeframes and moments by itself: staging's names are what counts
_DIFFERING = """
with landed as (
    select source, symbol, timeframe, landed_xid, min(vendor_start) as first_bar, max(vendor_start) as last_bar,
        count(*) as rows_landed, max(landed_at) as landed_at
    from canonical.int_vendor_revisions
    where timeframe in ('1m', '5m', '15m', '30m', '1h', '4h', '1d')
    group by source, symbol, timeframe, landed_xid
),
noted as (
    select landings.source, names.symbol, landings.timeframe, landings.landed_xid, min(landings.first_bar) as first_bar,
        max(landings.last_bar) as last_bar, sum(landings.rows_landed) as rows_landed,
        max(landings.landed_at) as landed_at
    from raw.landings
    inner join reference.vendor_symbols as names
        on names.vendor = landings.source and names.vendor_symbol = landings.vendor_symbol
    where landings.timeframe in ('1m', '5m', '15m', '30m', '1h', '4h', '1d')
    group by landings.source, names.symbol, landings.timeframe, landings.landed_xid
)
(select 'not noted', * from (table landed except table noted) as missing)
union all
(select 'not landed', * from (table noted except table landed) as surplus)
"""


def differing() -> list[tuple[object, ...]]:
    """Where landings and staged rows differ, per vendor, symbol, timeframe and transaction. Needs dbt's staging."""
    with connect("analyst") as connection:
        return connection.execute(_DIFFERING).fetchall()


def missing(table: str, moment: str) -> list[tuple[object, ...]]:
    """Transactions whose rows in a table of raw are not what raw.landings says of them: number, first and last bar."""
    with connect("analyst") as connection:
        return connection.execute(
            f"""
            select landed_xid, count(*), min({moment}), max({moment}) from raw.{table} group by landed_xid
            except
            select landed_xid, sum(rows_landed), min(first_bar), max(last_bar) from raw.landings
            where relation = %s group by landed_xid
            """,
            (table,),
        ).fetchall()
