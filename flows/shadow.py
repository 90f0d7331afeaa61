"""Let models in state shadow decide what has landed, and take the looks that are due. Nothing is ever ordered."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date

from prefect import flow, task

from execution.brokers.routing import ROUTES, asset_classes
from execution.shadow import Seen, Shadow
from flows.attention import say
from flows.ingest import SOURCES, ingest
from models_registry import registry
from models_registry.registry import ModelRecord
from training.forward import Outcome, judge_forward
from warehouse.errors import Retry, Stop

log = logging.getLogger("truebar")


@task
def decide_unseen() -> tuple[Seen, ...]:
    """What each model in the shadow decided of the bars that it had not."""
    with Shadow() as shadow_of_models:
        passed = shadow_of_models.decide()
    for seen in passed:
        log.info("%s", seen)
    return passed


@task
def take_looks() -> tuple[Outcome, ...]:
    """The looks that are due, each taken once or put off."""
    outcomes = judge_forward()
    for outcome in outcomes:
        log.info("%s", outcome)
    return outcomes


@flow
def shadow(history_start: date = date(2000, 1, 1)) -> int:
    """Ingest, decide for all models in state shadow, and take the looks that are due; returns the number of decisions.

    What a vendor, a model or a look lacks is named at the end, and the others go on.
    """
    records = registry.models("shadow")
    if not records:
        say("no model is in state shadow: nothing to decide", ())
        return 0
    failures = []
    for source, timeframe in feeds(records, asset_classes()):
        try:
            ingest(source, None, history_start, timeframe)
        except (Retry, Stop) as error:
            failures.append(str(error))
    passed, outcomes = decide_unseen(), take_looks()
    decisions = sum(len(seen.decisions) for seen in passed)
    say(f"decisions in the shadow: {decisions}", [*failures, *concerns(passed, outcomes)])
    return decisions


def feeds(records: Sequence[ModelRecord], classes: Mapping[str, str]) -> list[tuple[str, str]]:
    """Which vendor's bars of which timeframe these models decide, as a session's; `classes` are by symbol."""
    wanted = {(classes.get(symbol), record.timeframe) for record in records for symbol in record.symbols}
    # what no broker trades is decided when it lands by other ways
    return sorted((SOURCES[ROUTES[kind]], timeframe) for kind, timeframe in wanted if kind in ROUTES)


def concerns(passed: Sequence[Seen], outcomes: Sequence[Outcome]) -> list[str]:
    """What a person should hear: models that are set aside or came too late, and looks that were not taken."""
    return [
        *(str(seen) for seen in passed if seen.aside or any(decision.is_late for decision in seen.decisions)),
        *(str(outcome) for outcome in outcomes if outcome.outcome in (None, "retired")),
    ]
