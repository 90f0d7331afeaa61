"""Trade the models in state paper: once for the bar that just closed, or through a stretch of a stepped market.

At a real broker this runs after each close, and `reconcile` after each open. In a replay the market's clock is stepped
by us, and nothing else differs: the same ingest, the same feature view, the same session, orders and ledger.
"""

import json
import logging
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from prefect import flow, task

from execution.brokers.base import Broker, Mode
from execution.brokers.routing import log_in
from execution.limits import in_force, in_words
from execution.market import Package
from execution.orders import OrderStatus
from execution.presence import Occupied, Purpose
from execution.retirement import brokers
from execution.roster import Roster, call
from execution.session import Session, Step
from flows.attention import NeedsAttention, say
from flows.ingest import ingest, land_newest
from warehouse import addresses
from warehouse.errors import Retry, Stop

log = logging.getLogger("truebar")

SOURCE = "polygon"
# where the newest bars of what a broker trades come from
SOURCES = {"alpaca": SOURCE, "binance": "binance"}
REPLAYED = "alpaca"
# after the close the vendor needs a moment for its final bar; after the open the broker for its fills
AFTER_CLOSE = timedelta(minutes=15)
AFTER_OPEN = timedelta(minutes=1)
SETTLE_SECONDS = 30.0
_PATIENCE_SECONDS, _PAUSE_SECONDS = 60.0, 2.0
# what counts the orders of a minute has forgotten them
_A_MINUTE = timedelta(seconds=61)


class SteppedClock:
    """The clock of a replayed market on this machine, moved over HTTP.

    Steps go forward only; what falls due happens on the way.
    """

    def __init__(self, url: str) -> None:
        self._url = addresses.checked(url, "the stepped clock", ())

    def advance_to(self, moment: datetime) -> None:
        """Move to a moment (UTC)."""
        body = json.dumps({"advance_to": moment.isoformat()}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60):
            pass


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
            session.settle(SETTLE_SECONDS)
            step = step.followed_by(session.decide())
        step = _with_postponed(session, step, _sleep)
        concerns = (*_left(step), *session.concerns())
    say(_in_words(step), (*dict.fromkeys(map(str, step.failures)), *concerns))
    return len(step.sent)


def _with_postponed(session: Session, step: Step, let_pass: Callable[[timedelta], bool]) -> Step:
    """Decide again while bars wait for the minute to be over; `let_pass` says whether that much time was left.

    A minute in which nothing could be decided is the last one.
    """
    while any(bar.is_postponed for bar in step.refused) and let_pass(_A_MINUTE):
        later = session.decide()
        step = step.followed_by(later)
        if not later.decisions:
            break
    return step


def _sleep(length: timedelta) -> bool:
    time.sleep(length.total_seconds())
    return True


def _left(step: Step) -> list[str]:
    """The bars that still wait, in sentences."""
    return [
        f"{bar.symbol} is not decided by {bar.model_id}: {'; '.join(bar.reasons)}"
        for bar in step.refused
        if bar.is_postponed
    ]


def _in_words(step: Step) -> str:
    bars = [f"{bar.symbol} ({'; '.join(bar.reasons)})" for bar in step.refused]
    orders = [
        f"{intent.side} {intent.quantity} {intent.symbol} ({'; '.join(intent.refusals)})"
        for intent in step.intents
        if not intent.is_approved
    ]
    taken = sum(order.status not in (OrderStatus.REJECTED, OrderStatus.UNKNOWN) for order in step.sent)
    line = f"{len(step.decisions)} decisions, {len(step.sent)} orders sent, {taken} of them taken by the broker"
    line += f"; bars refused: {', '.join(bars)}" if bars else ""
    return line + (f"; orders refused by our rules: {', '.join(orders)}" if orders else "")


def _advance(broker: Broker, clock: SteppedClock, length: timedelta) -> bool:
    """Whether the market is still closed after so long; otherwise its clock stands where it stood."""
    now = broker.clock()
    if now.now + length >= now.next_open:
        return False
    clock.advance_to(now.now + length)
    return True


@task
def replay(models: Roster, clock: SteppedClock, through: date, history_start: date) -> int:
    """Trade every session up to the close of `through`, from where the market stands; returns the orders sent."""
    orders = sessions = 0
    month: str | None = None
    broker, packages, shares = log_in(REPLAYED), models.packages.get(REPLAYED, ()), models.shares(REPLAYED)
    with Session.open(packages, broker, shares=shares, limits=in_force(), purpose=Purpose.PAPER_TRADE) as session:
        while True:
            now = broker.clock()
            if now.is_open:
                session.settle(SETTLE_SECONDS)
                clock.advance_to(now.next_close + AFTER_CLOSE)
                continue
            land_newest(SOURCE, None, history_start, log.debug)
            if now.now.date() >= through:
                break
            if month not in (None, f"{now.now:%Y-%m}"):
                log.info("through %s: %d sessions, %d orders", month, sessions, orders)
            month = f"{now.now:%Y-%m}"
            step = _with_postponed(session, session.decide(), lambda length: _advance(broker, clock, length))
            orders += len(step.sent)
            for failure in dict.fromkeys(step.failures):
                log.warning("%s", failure)
            for bar in _left(step):
                log.warning("%s", bar)
            if halts := session.halts():
                raise NeedsAttention("; ".join(halts))
            sessions += 1
            clock.advance_to(now.next_open + AFTER_OPEN)
        left = session.settle(SETTLE_SECONDS)
        for concern in session.concerns():
            log.warning("%s", concern)
    log.info("replay through %s: %d sessions, %d orders, %d still open", through, sessions, orders, len(left))
    return orders


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
        return replay(models, SteppedClock(stepped_clock), through, history_start)
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
