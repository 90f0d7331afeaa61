"""dbt's documentation as one file: every column, and what follows from what. The report links it."""

import logging
import os
import shutil
from pathlib import Path

from prefect import flow

from flows.dbt_command import run_dbt, target_dir
from report.site import documentation
from warehouse.locks import exclusive

log = logging.getLogger("truebar")


@flow
def dbt_docs() -> Path:
    """Write it anew beside the report; returns where it lies. Reports from now on link it."""
    aside = documentation().with_suffix(".new")
    # two would write one file
    with exclusive(documentation().with_suffix(".lock"), "writing dbt's documentation", wait=600):
        run_dbt("docs", "generate", "--static", keeps_json=True)
        # a report that is being written links the old file or the new one
        shutil.copyfile(target_dir() / "static_index.html", aside)
        os.replace(aside, documentation())
    log.info("dbt's documentation: %s; `python -m flows report` links it", documentation())
    return documentation()
