"""Write the site of what happened."""

import logging
from pathlib import Path

from prefect import flow, task

from flows.artifacts import keep_link
from report.site import Site, write
from warehouse.settings import load

log = logging.getLogger("truebar")


def place() -> Path:
    """Where the site lies unless somebody says otherwise."""
    return load().state_dir / "report"


@task
def write_site(folder: Path) -> Site:
    """Every page, of one moment; readers of the one before it are not disturbed."""
    return write(folder)


@flow
def report(folder: Path | None = None) -> Path:
    """Write the site to a folder (default: `report` in the state folder); returns its start page."""
    site = write_site(folder or place())
    address = site.index.absolute().as_uri()
    keep_link("report", "The site of what happened, on the machine of the worker", address)
    log.info("report: %d pages, %s", site.pages, address)
    return site.index
