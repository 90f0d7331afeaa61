"""Fill what the gap ledger says is missing, from the next vendor in rank."""

import logging

from prefect import flow, task

from flows.dbt_command import run_dbt
from loaders.history import gap_fill
from loaders.vendor_by_name import source_named
from warehouse.connection import connect
from warehouse.settings import load

log = logging.getLogger("truebar")


def _build_canonical() -> None:
    run_dbt("run", "--select", "canonical")


@task
def fill_from_vendors(symbols: list[str] | None) -> int:
    """Rounds of asking and building until every missing bar is filled or explained, or nobody is left to ask."""
    with connect("loader") as connection:
        return gap_fill.fill(
            connection,
            lambda name: source_named(name, load()),
            _build_canonical,
            symbols=symbols,
            progress=log.info,
        )


@flow
def fill_gaps(symbols: list[str] | None = None) -> int:
    """Ask for missing bars of the symbols (default: all); what was done is in raw.fill_attempts. Bars filled."""
    filled = fill_from_vendors(symbols)
    log.info("%d missing bars filled", filled)
    return filled
