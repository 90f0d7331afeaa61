"""Bring raw up to the vendor's newest final bar."""

import logging
from datetime import date

from prefect import State, flow, task

from flows.dbt_command import run_dbt
from loaders.client.base import NamingSource
from loaders.history.ingest import ingest as ingest_history
from loaders.history.names import land_names
from loaders.history.progress import Progress
from loaders.raw.landing import Landed
from loaders.vendor_by_name import source_named
from warehouse.connection import connect
from warehouse.errors import Retry, Stop
from warehouse.settings import load

log = logging.getLogger("truebar")

# where the newest bars of what a broker trades come from
SOURCES = {"alpaca": "polygon", "binance": "binance"}


@task
def seed_reference() -> None:
    """Instruments and vendor symbols from the seeds: loaders look symbols up there."""
    run_dbt("seed")


def _may_succeed_later(task: object, task_run: object, state: State) -> bool:
    return isinstance(state.result(raise_on_failure=False), Retry)


def land_newest(
    source: str, symbols: list[str] | None, history_start: date, progress: Progress, timeframe: str = "1d"
) -> Landed:
    """Land what the source has and raw has not."""
    with connect("loader") as connection:
        return ingest_history(
            connection,
            source_named(source, load()),
            symbols=symbols,
            history_start=history_start,
            timeframe=timeframe,
            progress=progress,
        )


@task(retries=3, retry_delay_seconds=[15, 30, 60], retry_condition_fn=_may_succeed_later)
def land(source: str, symbols: list[str] | None, history_start: date, timeframe: str = "1d") -> int:
    """Land what is new; returns the rows that were new or revised. Rate limits and network errors are tried again."""
    landed = land_newest(source, symbols, history_start, log.info, timeframe)
    log.info("%s: %d rows received, %d landed", source, landed.received, landed.landed)
    return landed.landed


@task(retries=3, retry_delay_seconds=[15, 30, 60], retry_condition_fn=_may_succeed_later)
def land_what_it_says_of_names(source: str, symbols: list[str] | None) -> int:
    vendor = source_named(source, load())
    if not isinstance(vendor, NamingSource):
        raise Stop(f"{source} does not tell listings and names: Polygon does")
    with connect("loader") as connection:
        landed = land_names(connection, vendor, symbols=symbols, progress=log.info)
    log.info("%s: %d rows received, %d landed", source, landed.received, landed.landed)
    return landed.landed


@flow
def names(source: str = "polygon", symbols: list[str] | None = None) -> int:
    """Land what the vendor says of listings and names; the next build proposes lines of the seeds."""
    seed_reference()
    return land_what_it_says_of_names(source, symbols)


@flow
def ingest(
    source: str = "polygon",
    symbols: list[str] | None = None,
    history_start: date = date(2000, 1, 1),
    timeframe: str = "1d",
) -> int:
    """Land bars, splits and dividends of the symbols (default: all), wherever coverage has a hole."""
    seed_reference()
    return land(source, symbols, history_start, timeframe)
