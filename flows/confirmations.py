"""Lines of the seed confirmations that decide nothing, told before anything is built."""

import csv
from collections.abc import Iterator
from pathlib import Path

import psycopg

from flows.dbt_command import DBT_PROJECT_DIR

_IS_BAR = """
    select
        not exists (select 1 from reference.session_bars where calendar = %(calendar)s)
        or exists (
            select 1
            from reference.session_bars
            cross join lateral (select canonical.moment_of(%(bar)s) as moment) as written
            where
                calendar = %(calendar)s
                and timeframe = %(timeframe)s
                and case
                    when timeframe = '1d' then session_date = (moment at time zone 'UTC')::date
                    else moment >= open_at and moment < close_at
                        and mod(extract(epoch from moment - open_at), extract(epoch from length)) = 0
                end
        )
"""
_WORDS = {"what": ("price", "action", "identity"), "decision": ("accept", "reject", "replace")}


def undecided(connection: psycopg.Connection, seeds: Path | None = None) -> Iterator[str]:
    """One sentence with file and line for each line that names no bar, or says what nobody understands.

    `seeds` is the folder of the seeds, by default the project's. A calendar without sessions yet is not judged.
    """
    folder = seeds or DBT_PROJECT_DIR / "seeds"
    with (folder / "instruments.csv").open(newline="") as file:
        calendars = {row["symbol"]: row["calendar"] for row in csv.DictReader(file)}
    with (folder / "confirmations.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            where = f"dbt_project/seeds/confirmations.csv, line {reader.line_num}"
            if wrong := [name for name, words in _WORDS.items() if row[name] not in words]:
                known = ", ".join(_WORDS[wrong[0]])
                yield f"{where}: {wrong[0]} is {row[wrong[0]]!r}, which is none of {known}; the line decides nothing"
            elif row["symbol"] not in calendars:
                yield f"{where}: no instrument is called {row['symbol']!r}; the line decides nothing"
            else:
                bar = {"calendar": calendars[row["symbol"]], "timeframe": row["timeframe"], "bar": row["bar"]}
                found = connection.execute(_IS_BAR, bar).fetchone()
                if not (found and found[0]):
                    yield (
                        f"{where}: {row['symbol']} has no {row['timeframe']} bar {row['bar']!r} on calendar"
                        f" {bar['calendar']}; the line decides nothing"
                    )
