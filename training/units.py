"""What of a search one process does by itself, and how such units are handed out.

A unit is fitted wholly in one thread, and with the same settings everywhere. So its bits do not depend on where it is
done, or on what is done beside it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training.budget import Budget
from training.tuning import Choice

if TYPE_CHECKING:
    from training.backtest import Backtest

log = logging.getLogger("truebar")

# how often a person is told how far a search is
SECONDS = 10.0


@dataclass(frozen=True)
class Unit:
    """One fold of one trial, or with `is_control` the fold's fit on shuffled labels.

    `choice` is what a search inside that fold has chosen already.
    """

    trial: str
    fold: int
    choice: Choice | None = None
    is_control: bool = False


Do = Callable[[Unit], Any]
# what hands out units yields each with its result in any order
HandOut = Callable[[Sequence[Unit], Do], Iterator[tuple[Unit, Any]]]


def local(one: "Backtest") -> HandOut:
    """Hands out units to threads of this process: as many as the budget has for fits of this backtest's panel.

    A GPU has one, which fits would only queue for.
    """
    workers = 1 if one.device == "cuda" else Budget.of_settings().threads_for(one.dataset.load)

    def hand_out(units: Sequence[Unit], do: Do) -> Iterator[tuple[Unit, Any]]:
        pool = ThreadPoolExecutor(workers)
        try:
            running = [(unit, pool.submit(do, unit)) for unit in units]
            told = time.monotonic()
            # in their order, so that of several errors it is always the same one that is raised
            for number, (unit, result) in enumerate(running, start=1):
                yield unit, result.result()
                if time.monotonic() - told > SECONDS and number < len(running):
                    told = time.monotonic()
                    log.info("%s: %d of %d fits are done", one.hypothesis.experiment_id, number, len(running))
        finally:
            # after an error or Ctrl-C, what has not begun is not begun
            pool.shutdown(cancel_futures=True)

    return hand_out
