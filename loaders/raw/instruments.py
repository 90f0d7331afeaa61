"""Which instruments a vendor has, from the seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from warehouse.errors import Stop


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
