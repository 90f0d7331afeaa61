"""Compare what models read, predict and make now with what they were trained on."""

import logging

from prefect import flow, task

from flows.artifacts import keep_table
from flows.attention import say
from models_registry.registry import ModelRecord
from training import paper_record
from training.drift import Drift, drifts, take_looks

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


@task
def note_looks(found: tuple[Drift, ...], retire_after: int | None) -> tuple[ModelRecord, ...]:
    """Keep what was seen, and retire what the rule says."""
    return take_looks(found, retire_after)


@task
def note_paper(retires: bool) -> tuple[ModelRecord, ...]:
    """Keep what records on paper came to at the days fixed for it, and retire whom that contradicts, if asked to."""
    return paper_record.take_looks(paper_record.paper_records(), retires=retires)


@flow
def drift(retire_after: int | None = None, retire_contradicted: bool = False) -> int:
    """Compare every model in shadow, paper or live; returns how many there are.

    It fails when the scores of one drift, so that an alarm can hang on it. With `retire_after` a model is retired whose
    scores drifted in so many windows in a row that share no bar. With `retire_contradicted` one is retired whose record
    on paper lies so far below its backtest that of models as good as theirs one in twenty ever would. Without them
    nothing is retired: whether a model is wrong or the market is new, a person decides.
    """
    found = compare()
    retired = (*note_looks(found, retire_after), *note_paper(retire_contradicted))
    say(
        f"models compared with their training: {len(found)}",
        [
            *(str(one) for one in found if one.is_drifting),
            *(f"model {one.model_id} is retired: {one.reason}" for one in retired),
        ],
    )
    return len(found)
