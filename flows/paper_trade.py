"""Trade the models in state paper: once for the bar that just closed, or through a stretch of a stepped market.

At a real broker this runs after each close, and `reconcile` after each open; `flows/replay.py` steps a replayed market.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

from prefect import flow, task

from execution.brokers.base import Mode
from execution.brokers.routing import log_in
from execution.limits import in_force, in_words
from execution.market_view import Package
from execution.presence import Occupied, Purpose
from execution.retirement import brokers
from execution.roster import Roster, call
from execution.session import Session, Step
from flows.attention import say
from flows.ingest import SOURCES, ingest
from flows.replay import SteppedClock, replay
from flows.steps import A_MINUTE, is_postponed, left, told
from warehouse.errors import Retry, Stop

log = logging.getLogger("truebar")

_SETTLE_SECONDS = 30.0
_PATIENCE_SECONDS, _PAUSE_SECONDS = 60.0, 2.0


@task
def models_to_trade() -> Roster:
    """All models in state paper; one with which something is wrong is set aside with a sentence."""
    models = call("paper")
    for one in models.aside:
        log.warning("%s", one)
    return models


@task
def decide(packages: Sequence[Package], broker: str, shares: Mapping[str, Decimal] | None = None) -> int:
    """Decide the newest closed bars and send what is approved; returns the number of orders sent.

    Without packages it looks after what retired models left behind.
    Where a session goes on beside it, that one decides what has landed; a model that it does not know is a concern.
    Any other that has the account is waited for.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            session = Session.open(
                packages,
                log_in(broker),
                shares=shares,
                limits=in_force(),
                purpose=Purpose.PAPER_TRADE,
                winds_up=not packages,
            )
            break
        except Occupied as busy:
            if busy.presence is not None and busy.presence.goes_on:
                unknown = [one.model_id for one in packages if one.model_id not in busy.presence.models]
                # it read its models when it was started
                say(
                    f"{busy}; it decides what has landed",
                    [f"nobody decides for model {name}: start `trade` again" for name in unknown],
                )
                return 0
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
    with session:
        step = session.decide()
        if session.is_unanswered():
            # it is sent again, or given up, only once it cannot arrive any more
            session.settle(_SETTLE_SECONDS)
            step = step.followed_by(session.decide())
        step = _with_postponed(session, step)
        concerns = (*left(step), *session.concerns())
    say(told(step), (*dict.fromkeys(map(str, step.failures)), *concerns))
    return len(step.sent)


def _with_postponed(session: Session, step: Step) -> Step:
    """Decide again while bars wait for the minute to be over; one in which nothing could be decided is the last."""
    while is_postponed(step):
        time.sleep(A_MINUTE.total_seconds())
        later = session.decide()
        step = step.followed_by(later)
        if not later.decisions:
            break
    return step


@flow
def paper_trade(
    stepped_clock: str | None = None, through: date | None = None, history_start: date = date(2000, 1, 1)
) -> int:
    """Ingest, then trade all models in state paper; returns the number of orders sent.

    `stepped_clock` is the URL of a replayed market's clock, and `through` the date it is traded to.
    """
    models = models_to_trade()
    aside = [str(one) for one in models.aside]
    left_behind = sorted(brokers(Mode.PAPER) - models.packages.keys())
    if not models.packages and not left_behind:
        say("no model is in state paper that can be traded: nothing to trade", aside)
        return 0
    if left_behind:
        log.info("at %s retired models left something behind", " and ".join(left_behind))
    if models.packages:
        log.info("trading %s", ", ".join(package.model_id for its in models.packages.values() for package in its))
    log.info("%s", in_words())
    if stepped_clock is not None and through is not None:
        return replay(models, SteppedClock(stepped_clock), through, history_start, left_behind)
    orders = 0
    failures: list[Retry | Stop] = []
    for broker, packages in (*models.packages.items(), *((broker, ()) for broker in left_behind)):
        try:
            for timeframe in sorted({package.timeframe for package in packages}):
                ingest(SOURCES[broker], None, history_start, timeframe)
            orders += decide(packages, broker, models.shares(broker))
        except (Retry, Stop) as error:
            # what one account lacks is not the other's affair
            failures.append(error)
    if len(failures) == 1 and not aside:
        raise failures[0]
    say(f"{orders} orders sent", [*map(str, failures), *aside])
    return orders
