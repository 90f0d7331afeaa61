"""Compare what models read and predict now with what they were trained on."""

import logging

from prefect import flow, task

from flows.artifacts import keep_table
from flows.attention import say
from training.drift import Drift, drifts

log = logging.getLogger("truebar")


@task
def compare() -> tuple[Drift, ...]:
    """Each model that decides, with the quantities that drift."""
    found = drifts()
    for one in found:
        log.info("%s", one)
    keep_table(
        "drift",
        "What models read and predict now beside what they were trained on",
        [
            {
                "model": one.model_id,
                "bars": one.bars,
                "index of scores": one.score_psi,
                "largest in training": one.largest_psi,
                "scores drift": one.is_drifting,
                "features that drift": ", ".join(one.drifting_features),
            }
            for one in found
        ],
    )
    return found


@flow
def drift() -> int:
    """Compare every model in shadow, paper or live; returns how many there are.

    It fails when the scores of one drift, so that an alarm can hang on it. Nothing is retired: whether a model is wrong
    or the market is new, a person decides.
    """
    found = compare()
    say(f"models compared with their training: {len(found)}", [str(one) for one in found if one.is_drifting])
    return len(found)
