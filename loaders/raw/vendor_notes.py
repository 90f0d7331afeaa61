"""What a person should hear of once: sentences in raw.vendor_notes."""

from collections.abc import Iterable

import psycopg

# stands for the symbol where a sentence is about the vendor as a whole
ALL_SYMBOLS = "*"


def note(
    connection: psycopg.Connection, source: str, symbol: str, timeframe: str, sentences: Iterable[str]
) -> list[str]:
    """Keep the sentences, inside the open transaction; returns those that were not known yet."""
    return [
        sentence
        for sentence in sentences
        if connection.execute(
            """
            insert into raw.vendor_notes (source, symbol, timeframe, note) values (%s, %s, %s, %s)
            on conflict do nothing
            """,
            (source, symbol, timeframe, sentence),
        ).rowcount
    ]
