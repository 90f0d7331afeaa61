"""Trade through a stretch of a replayed market, at every broker that a model needs, each account at its own hours.

The market's clock is stepped by us, and nothing else differs from a real one: the same ingest, the same feature view,
the same sessions, orders and ledger. Of all accounts the one whose turn comes first is next, so that no bar of any is
passed over: a stock's after each close, a coin's after each midnight in UTC, on weekends too.
"""

import json
import logging
import time
import urllib.request
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from functools import partial
from typing import TypeVar

from prefect import task

from execution.brokers.base import BrokerClock
from execution.brokers.routing import log_in
from execution.limits import in_force
from execution.presence import Purpose
from execution.roster import Roster
from execution.session import Session
from execution.timing import window_of
from flows.attention import NeedsAttention
from flows.ingest import SOURCES, land_newest
from flows.steps import A_MINUTE, is_postponed, left
from warehouse import addresses
from warehouse.errors import Retry, Stop

log = logging.getLogger("truebar")

Done = TypeVar("Done")

# after the close the vendor needs a moment for its final bar; after the open the broker for its fills
AFTER_CLOSE = timedelta(minutes=15)
AFTER_OPEN = timedelta(minutes=1)
_SETTLE_SECONDS = 30.0
_DAY = timedelta(days=1)
# what passes is tried again while the market stands still
_SECONDS_BEFORE_TRIES = (1.0, 5.0, 30.0)


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


class _Account:
    """One account in the replay. `due` is when it has something to do next; `sessions` and `orders` count."""

    def __init__(self, broker: str, models: Roster, history_start: date) -> None:
        packages = models.packages.get(broker, ())
        self.name = broker
        self.sessions = self.orders = 0
        self._history_start = history_start
        self._broker = log_in(broker)
        now = self._broker.clock()
        self.session = Session.open(
            packages,
            self._broker,
            shares=models.shares(broker),
            limits=in_force(),
            purpose=Purpose.PAPER_TRADE,
            winds_up=not packages,
        )
        self._is_again = False
        self.due = _first_turn(now)

    def now(self) -> datetime:
        return self._broker.clock().now

    def turn(self, through: date) -> None:
        """Do what is due, and say when the next turn is. What would trade after `through` is not decided."""
        now = self._broker.clock()
        if now.is_open and not _never_closes(now):
            self.session.settle(_SETTLE_SECONDS)
            self.due = now.next_close + AFTER_CLOSE
            return
        if not self._is_again:
            land_newest(SOURCES[self.name], None, self._history_start, log.debug)
        if _never_closes(now):
            self._decide(now)
            self.session.settle(_SETTLE_SECONDS)
            usual = now.next_close + AFTER_CLOSE
        else:
            if now.next_open.date() <= through:
                self._decide(now)
            usual = now.next_open + AFTER_OPEN
        self.due = now.now + A_MINUTE if self._is_again else usual

    def _decide(self, now: BrokerClock) -> None:
        """Decide, and again after a minute while bars wait for it; one in which nothing was decided is the last."""
        step = self.session.decide()
        self.orders += len(step.sent)
        for failure in dict.fromkeys(step.failures):
            log.warning("%s", failure)
        if halts := self.session.halts():
            raise NeedsAttention("; ".join(halts))
        may_wait = not self._is_again or bool(step.decisions)
        self._is_again = is_postponed(step) and may_wait and now.now + A_MINUTE < now.next_open
        if not self._is_again:
            self.sessions += 1
            for bar in left(step):
                log.warning("%s", bar)

    def finish(self) -> int:
        """Follow what is open, say what a person should hear, and compare; returns how many orders are open."""
        still_open = self.session.settle(_SETTLE_SECONDS)
        for concern in self.session.concerns():
            log.warning("%s", concern)
        self.session.reconcile("close")
        return len(still_open)


def _first_turn(now: BrokerClock) -> datetime:
    """Now; but a day around the clock has had its turn once its decision is not timely any more."""
    had_its_turn = _never_closes(now) and now.now >= now.next_close - _DAY + window_of(_DAY)
    return now.next_close + AFTER_CLOSE if had_its_turn else now.now


def _never_closes(now: BrokerClock) -> bool:
    return now.is_open and now.next_open == now.next_close


@task
def replay(
    models: Roster, clock: SteppedClock, through: date, history_start: date, left_behind: Collection[str] = ()
) -> int:
    """Trade every session up to the close of `through`, from where the market stands; returns the orders sent.

    `left_behind` are brokers at which retired models left something. What stops one account stops no other, and is
    raised at the end. Raises Retry for what does not pass in half a minute: all accounts wait for it, because their
    market has one clock, and the next replay goes on from there.
    """
    failures: list[Stop] = []
    accounts: list[_Account] = []
    with ExitStack() as opened:
        for broker in sorted({*models.packages, *left_behind}):
            try:
                account = _patiently(partial(_Account, broker, models, history_start))
            except Stop as error:
                failures.append(error)
                continue
            opened.callback(account.session.close)
            accounts.append(account)
        trading = list(accounts)
        month: str | None = None
        while due := [account for account in trading if account.due.date() <= through]:
            account = min(due, key=lambda one: one.due)
            if month not in (None, f"{account.due:%Y-%m}"):
                log.info("through %s: %s", month, _so_far(accounts))
            month = f"{account.due:%Y-%m}"
            try:
                if account.due > _patiently(account.now):
                    clock.advance_to(account.due)
                _patiently(partial(account.turn, through))
            except Stop as error:
                failures.append(error)
                trading.remove(account)
        still_open = 0
        for account in trading:
            try:
                still_open += _patiently(account.finish)
            except Stop as error:
                failures.append(error)
    log.info("replay through %s: %s, %d still open", through, _so_far(accounts), still_open)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise NeedsAttention("; ".join(map(str, failures)))
    return sum(account.orders for account in accounts)


def _patiently(act: Callable[[], Done]) -> Done:
    for seconds in _SECONDS_BEFORE_TRIES:
        try:
            return act()
        except Retry as error:
            log.warning("%s; it is tried again in %g s, and the market waits", error, seconds)
            time.sleep(seconds)
    return act()


def _so_far(accounts: Sequence[_Account]) -> str:
    return ", ".join(f"{one.sessions} sessions and {one.orders} orders at {one.name}" for one in accounts)
