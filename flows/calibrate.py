"""Measure the gate on one's own data: how often it passes what has no edge, and what has one."""

import logging
from pathlib import Path

from prefect import flow, task

from training import hypothesis
from training.calibrate import with_progress
from warehouse.settings import PROJECT_DIR

log = logging.getLogger("truebar")


@task
def count_passes(experiments: list[str], worlds: int, sharpes: list[float], look_no: int) -> list[str]:
    """One sentence per kind of world. Raises what reading and training the files raise."""
    files = [hypothesis.load(PROJECT_DIR / Path(name)) for name in experiments]
    return [one.sentence() for one in with_progress(files, worlds=worlds, sharpes=sharpes, look_no=look_no)]


@flow
def calibrate(experiments: list[str], worlds: int = 20, sharpes: list[float] | None = None, look: int = 1) -> list[str]:
    """Count in how many worlds the files' search passes: `worlds` of each kind, net Sharpe ratios by default 1.5, 2, 3.

    Nothing is stored, and no look is spent.
    """
    sentences = count_passes(experiments, worlds, sharpes or [1.5, 2.0, 3.0], look)
    for sentence in sentences:
        log.info("%s", sentence)
    return sentences
