"""Write the database and the model packages into a folder."""

import logging
from pathlib import Path

from prefect import flow

from warehouse import backup as whole

log = logging.getLogger("truebar")


@flow
def backup(folder: Path | None = None, keep: int = 7) -> Path:
    """Back up into a folder (default: `backups` in the state folder) and keep its newest backups; returns this one."""
    made = whole.backup(folder, keep=keep, say=log.info)
    log.info("backup: %s", made)
    return made
