"""Trade the models in state paper: once for the bar that just closed, or through a stretch of a stepped market.

At a real broker this runs after each close, and `reconcile` after each open. In a replay the market's clock is stepped
by us, and nothing else differs: the same ingest, the same feature view, the same session, orders and ledger.
"""

import json
import logging
import time
import urllib.request
from datetime import date, datetime, timedelta

from prefect import flow, task

from execution.brokers.routing import log_in, routed
from execution.orders import OrderStatus
from execution.presence import Occupied, Purpose
from execution.session import Session, Step
from flows.attention import NeedsAttention, say
from flows.ingest import ingest, land_newest
from models_registry import registry
from models_registry.package import ModelPackage
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
def models_to_trade() -> list[ModelPackage]:
    """The packages of all models in state paper; one that cannot be true is left out with a sentence."""
    packages = []
    for record in registry.models("paper"):
        try:
            packages.append(registry.load_model(record.model_id))
        except Stop as stopped:
            log.warning("not traded: %s", stopped)
    return packages


@task
def decide(packages: list[ModelPackage], broker: str) -> int:
    """Decide the newest closed bars and send what is approved; returns the number of orders sent.

    Where a session goes on beside it, that one decides what has landed. Any other that has the account is waited for.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            session = Session.open(packages, log_in(broker), purpose=Purpose.PAPER_TRADE)
            break
        except Occupied as busy:
            if busy.presence is not None and busy.presence.goes_on:
                log.info("%s; it decides what has landed", busy)
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
        concerns = session.concerns()
    say(_in_words(step), (*step.failures, *concerns))
    return len(step.sent)


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


@task
def replay(packages: list[ModelPackage], clock: SteppedClock, through: date, history_start: date) -> int:
    """Trade every session up to the close of `through`, from where the market stands; returns the orders sent."""
    orders = sessions = 0
    month: str | None = None
    broker = log_in(REPLAYED)
    with Session.open(packages, broker, purpose=Purpose.PAPER_TRADE) as session:
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
            step = session.decide()
            orders += len(step.sent)
            for failure in step.failures:
                log.warning("%s", failure)
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
    packages = models_to_trade()
    if not packages:
        log.warning("no model is in state paper: nothing to trade")
        return 0
    log.info("trading %s", ", ".join(package.model_id for package in packages))
    by_broker = routed(packages)
    if stepped_clock is not None and through is not None:
        return replay(by_broker.get(REPLAYED, []), SteppedClock(stepped_clock), through, history_start)
    orders, failure = 0, None
    for broker, its_packages in by_broker.items():
        try:
            for timeframe in sorted({package.timeframe for package in its_packages}):
                ingest(SOURCES[broker], None, history_start, timeframe)
            orders += decide(its_packages, broker)
        except (Retry, Stop) as error:
            # what one account lacks is not the other's affair
            failure = failure or error
    if failure is not None:
        raise failure
    return orders
