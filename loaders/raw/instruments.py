"""Which instruments a vendor has, from the seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from warehouse.errors import Stop
from warehouse.rows import scalar


@dataclass(frozen=True)
class Instrument:
    """A symbol and what the source calls it."""

    symbol: str
    vendor_symbol: str
    calendar: str


def instruments_of(connection: psycopg.Connection, vendor: str, symbols: Sequence[str] | None) -> list[Instrument]:
    """The instruments that a vendor has, or those asked for. Raises Stop naming an unknown one and the known."""
    rows = connection.execute(
        """
        select symbol, vendor_symbol, calendar from reference.vendor_symbols
        inner join reference.instruments using (symbol) where vendor = %s order by symbol
        """,
        (vendor,),
    ).fetchall()
    known = {row[0]: Instrument(*row) for row in rows}
    if symbols is None:
        return list(known.values())
    if not symbols:
        raise Stop("no symbol was asked for: name at least one, or leave symbols out for all")
    for symbol in symbols:
        if symbol not in known:
            raise Stop(
                f"unknown symbol {symbol!r} for {vendor}: known are {', '.join(known)};"
                " add a line to seeds/instruments.csv and one to seeds/vendor_symbols.csv"
            )
    return [known[symbol] for symbol in symbols]


def unranked(
    connection: psycopg.Connection, vendor: str, timeframe: str, instruments: Sequence[Instrument]
) -> list[str]:
    """A sentence per asset class whose precedence has no line for a vendor's bars: they land, and nobody reads them."""
    if scalar(connection.execute("select to_regclass('reference.precedence')")) is None:
        return []
    rows = connection.execute(
        """
        select instruments.asset_class, string_agg(instruments.symbol, ', ' order by instruments.symbol)
        from reference.instruments as instruments
        where instruments.symbol = any(%(symbols)s) and not exists (
            select from reference.precedence as precedence
            where precedence.asset_class = instruments.asset_class and precedence.timeframe = %(timeframe)s
                and precedence.source = %(vendor)s
        )
        group by instruments.asset_class
        """,
        {"symbols": [one.symbol for one in instruments], "timeframe": timeframe, "vendor": vendor},
    ).fetchall()
    return [
        f"{symbols}: no line of seeds/precedence.csv ranks {timeframe} bars of {vendor} for {asset_class}:"
        " they land in raw, and no canonical bar is made of them"
        for asset_class, symbols in rows
    ]
