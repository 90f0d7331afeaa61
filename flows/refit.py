"""Fit what trades anew on the bars that came since, and judge it. What trades goes on; a person promotes."""

import logging
from collections.abc import Sequence

from prefect import flow, task

from flows.artifacts import keep_table
from flows.attention import say
from flows.train import fit, gather_evidence
from training.refit import Refitted, Trading, judge_refits, trading
from training.train import Run
from warehouse.errors import OperatorError

log = logging.getLogger("truebar")


@task
def judge_again(runs: Sequence[tuple[Trading, Run]]) -> tuple[Refitted, ...]:
    """One look at all that was fitted anew; nothing that trades changes by it."""
    found = judge_refits(runs)
    for one in found:
        log.info("%s", one)
    keep_table(
        "refits",
        "What trades, fitted and judged with the bars that came since",
        [
            {
                "model": one.model.model_id,
                "knew bars until": one.model.data_watermark,
                "new run": one.run.run_id if one.is_new else None,
                "verdicts": ", ".join(sorted(set(one.verdicts))),
                "waits for a person": one.successor,
            }
            for one in found
        ],
    )
    return found


@flow
def refit() -> int:
    """Fit and judge the hypotheses of all models in paper and live on the newest bars; returns how many were new.

    It is one look for all of them, counted as any other: a schedule that is twice as dense spends luck twice as often.
    Whatever it finds, each model trades on as it is. Who passes waits as a candidate for `models_registry promote`. It
    fails when a hypothesis that trades does not pass any more, so that an alarm can hang on it, and when one could not
    be fitted; the others are judged.
    """
    found = trading()
    models = [one for one in found if one.cannot is None]
    for one in found:
        if one.cannot is not None:
            log.info("%s", one.cannot)
    if not models:
        say("no model that trades has newer bars to be fitted on", ())
        return 0
    gather_evidence(sorted({one.hypothesis.timeframe for one in models}))
    runs, concerns = [], []
    for one in models:
        try:
            runs.append((one, fit(one.hypothesis, one.source_file)))
        except OperatorError as error:
            concerns.append(f"model {one.model_id} trades on and was not fitted anew: {error}")
    refitted = judge_again(runs)
    concerns += [str(one).partition("\n")[0] for one in refitted if one.is_doubted]
    new = sum(one.is_new for one in refitted)
    say(f"models fitted anew and judged: {new}", concerns)
    return new
