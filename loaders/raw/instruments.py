"""Which instruments a vendor has, from the seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import psycopg

from loaders.client.base import Window
from loaders.client.calendars import midnight
from warehouse.connection import reading
from warehouse.errors import Stop
from warehouse.rows import scalar


@dataclass(frozen=True)
class Instrument:
    """A symbol and what the source calls it, from one day until before another; None for ever."""

    symbol: str
    vendor_symbol: str
    calendar: str
    valid_from: date | None = None
    valid_to: date | None = None

    def within(self, window: Window) -> Window | None:
        """The part of a window in which the source calls it so, None if that is none of it."""
        start, end = window.start, window.end
        if self.valid_from is not None:
            start = max(start, midnight(self.valid_from, self.calendar))
        if self.valid_to is not None:
            end = min(end, midnight(self.valid_to, self.calendar))
        return Window(start, end) if start < end else None


def instruments_of(connection: psycopg.Connection, vendor: str, symbols: Sequence[str] | None) -> list[Instrument]:
    """The instruments that a vendor has, or those asked for: one per name that a symbol has had there, oldest first.

    Raises Stop naming an unknown one and the known, and where the warehouse has no seeds or those of older code.
    """
    try:
        with reading(connection):
            rows = connection.execute(
                """
                select symbol, vendor_symbol, calendar, valid_from, valid_to from reference.vendor_symbols
                inner join reference.instruments using (symbol) where vendor = %s
                order by symbol, valid_from nulls first
                """,
                (vendor,),
            ).fetchall()
    except psycopg.errors.UndefinedTable:
        raise Stop("the warehouse knows no instrument yet: run `truebar build`, which brings the seeds in") from None
    except psycopg.errors.UndefinedColumn:
        raise Stop("the seeds in the warehouse are those of an older version: run `dbt seed`") from None
    known: dict[str, list[Instrument]] = {}
    for row in rows:
        known.setdefault(row[0], []).append(Instrument(*row))
    if symbols is None:
        return [instrument for names in known.values() for instrument in names]
    if not symbols:
        raise Stop("no symbol was asked for: name at least one, or leave symbols out for all")
    for symbol in symbols:
        if symbol not in known:
            raise Stop(
                f"unknown symbol {symbol!r} for {vendor}: known are {', '.join(known)};"
                " add a line to seeds/instruments.csv and one to seeds/vendor_symbols.csv"
            )
    return [instrument for symbol in symbols for instrument in known[symbol]]


def unranked(
    connection: psycopg.Connection, vendor: str, timeframe: str, instruments: Sequence[Instrument]
) -> list[str]:
    """A sentence per asset class whose precedence has no line for a vendor's bars: they land, and nobody reads them."""
    if scalar(connection.execute("select to_regclass('reference.precedence')")) is None:
        return []
    with reading(connection):
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
