"""Control: what a person tells an account to do after orders were sent. Each act is safe to repeat.

The act is in the ledger before the broker is asked, and it holds without the broker: a session that runs beside it, or
the next one, carries out what this process could not. Every function tells what it did in sentences, as it does it.
"""

import time
from collections.abc import Callable, Collection
from contextlib import closing

from execution.brokers.base import Broker, Mode
from execution.flatten import Flattened, close_positions
from execution.ledger import Ledger
from execution.presence import Occupied, Purpose
from execution.recall import recall
from execution.reconcile import Reconciliation, reconcile
from execution.submission import Sender
from execution.withdrawals import AT_THE_END, Action, Cause, Withdrawal
from warehouse.errors import Retry, Stop

Tell = Callable[[str], None]
Login = Callable[[str, Mode], Broker]

_PAUSE_SECONDS = 1.0
_NOW = {
    Action.HALT: "is halted",
    Action.REDUCE: "may only reduce",
    Action.FLATTEN: "is being flattened",
    Action.RELEASE: "may trade",
}
_BEFORE = {
    Action.HALT: "it was halted",
    Action.REDUCE: "it could only reduce",
    Action.FLATTEN: "it was being flattened",
}


class Control:
    """Acts on one account.

    `login` opens a broker by its name and mode, `tell` takes a sentence, `seconds` is how long to follow.
    """

    def __init__(
        self, ledger: Ledger, login: Login, tell: Tell, seconds: float, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._ledger = ledger
        self._login = login
        self._tell = tell
        self._seconds = seconds
        self._pause = pause

    def restrict(self, action: Action, reason: str) -> bool:
        """Halt the account, let it only reduce, or flatten it. False when it could not be carried out to its end.

        Raises Retry or Stop when the broker cannot be asked: the act stands all the same, and the sentence says so.
        Raises Superseded when the account was halted just before it was to reduce.
        """
        standing = self._ledger.standing()
        # a session that ends flat releases its own word again, and never a person's
        if standing.action is action and standing.reason != AT_THE_END:
            self._tell(f"account {self._ledger.account_id} {_NOW[action]} already: {standing.reason}")
        else:
            # a halt that came meanwhile is stricter, and nobody has read it
            self._ledger.act(action, reason, (standing.halt_id or 0) if action is Action.REDUCE else None)
            before = f"; {_BEFORE[standing.action]}: {standing.reason}" if standing.action in _BEFORE else ""
            self._tell(f"account {self._ledger.account_id} {_NOW[action]}: {reason}{before}")
        return self._carry_out()

    def release(self, reason: str) -> bool:
        """Let the account trade again.

        Raises Stop when nothing keeps it from trading, or something else than what was read now does.
        """
        standing = self._ledger.standing()
        if standing.action is Action.RELEASE:
            raise Stop(f"account {self._ledger.account_id} is not halted")
        self._ledger.release(reason, standing.halt_id)
        self._tell(f"account {self._ledger.account_id} is released; {_BEFORE[standing.action]}: {standing.reason}")
        self._tell("an open discrepancy still refuses every order until a reconciliation agrees")
        # orders that were to close positions are not wanted any more
        return self._carry_out() if standing.action is Action.FLATTEN else True

    def cancel(self, names: Collection[str], symbols: Collection[str], reason: str, *, every: bool = False) -> bool:
        """Take back open orders: those with these ids, ours or the broker's, of these symbols, or all.

        Raises Stop, and takes nothing back, when an id or a symbol names no order of the account.
        """
        unsettled = [entry.order for entry in self._ledger.unsettled() if not entry.order.status.is_terminal]
        chosen = []
        found: set[str] = set()
        for order in unsettled:
            asked = {order.client_order_id, order.broker_order_id}.intersection(names)
            asked |= {order.symbol}.intersection(symbols)
            found |= {name for name in asked if name is not None}
            if every or asked:
                chosen.append(order)
        for name in sorted({*names, *symbols} - found):
            ended = self._ledger.ended(name)
            if ended is None:
                have = ", ".join(f"{order.client_order_id} ({order.symbol})" for order in unsettled) or "none"
                raise Stop(f"no order of account {self._ledger.account_id} is {name}; open are {have}")
            self._tell(ended)
        for order in chosen:
            self._ledger.record_withdrawal(Withdrawal(order, Cause.ASKED, reason))
        if not chosen:
            self._tell(f"account {self._ledger.account_id} has no such order open")
            return True
        return self._carry_out()

    def _carry_out(self) -> bool:
        """Ask the broker for what is to be taken back, follow it to its end, and close what is to be closed."""
        flatten = self._ledger.standing().action is Action.FLATTEN
        if not flatten and not self._ledger.unsettled():
            return True
        try:
            with closing(self._login(self._ledger.broker(), self._ledger.mode())) as broker:
                account_id = broker.account().account_id
                if account_id != self._ledger.account_id:
                    raise Stop(f"the keys are those of account {account_id}, not of {self._ledger.account_id}")
                for withdrawal in recall(broker, self._ledger):
                    self._tell(str(withdrawal))
                return self._follow(broker)
        except (Retry, Stop) as error:
            kind = Retry if isinstance(error, Retry) else Stop
            raise kind(
                f"{error}; it stands in the ledger, the broker was not asked for all of it: say the same again, "
                "or let a session do it"
            ) from None

    def _follow(self, broker: Broker) -> bool:
        try:
            mine = Ledger.open(self._ledger.account_id, broker.name, broker.mode, Purpose.CONTROL)
        except Occupied as busy:
            self._tell(f"{busy}; that session goes on with it")
            return False
        with mine as ledger:
            sender = Sender(broker, ledger, self._pause)
            deadline = time.monotonic() + self._seconds
            while True:
                result = reconcile(broker, ledger, "continuous", self._pause)
                due = recall(broker, ledger)
                self._give_up(ledger, sender, result)
                flattened = Flattened() if due else close_positions(broker, ledger, sender, result)
                for order in flattened.sent:
                    self._tell(f"{order.side} {order.quantity} {order.symbol} closes the position: {order.status}")
                is_done = not due and not flattened.sent and not _may_fill(flattened, result)
                if is_done or time.monotonic() > deadline:
                    return self._sum_up(ledger, due, flattened, result)
                self._pause(_PAUSE_SECONDS)

    @staticmethod
    def _give_up(ledger: Ledger, sender: Sender, result: Reconciliation) -> None:
        """An order that is taken back and never reached the broker is not sent any more."""
        for entry in ledger.unsettled():
            if not entry.is_withdrawn or not entry.order.status.is_unresolved:
                continue
            if sender.look_up(entry.order) is None and not sender.may_arrive(entry.order):
                sender.give_up(entry.order, result.clock.now, "it was taken back and the broker does not know it")

    def _sum_up(
        self, ledger: Ledger, due: Collection[Withdrawal], flattened: Flattened, result: Reconciliation
    ) -> bool:
        in_flight = [entry.order for entry in ledger.unsettled()]
        for withdrawal in due:
            self._tell(f"the broker has not confirmed it yet: {withdrawal}")
        if result.comparison.discrepancies:
            self._tell(f"ledger and broker differ: {result.comparison.discrepancies[0]}")
        for symbol, reason in flattened.refused:
            self._tell(f"{symbol} is not closed yet: {reason}")
        for order in in_flight:
            self._tell(f"{order.side} {order.quantity} {order.symbol} is {order.status}")
        if ledger.standing().action is Action.FLATTEN:
            held = ", ".join(f"{held.quantity} {held.symbol}" for held in flattened.left) or "nothing"
            self._tell(f"account {ledger.account_id} holds {held}")
        closing_orders = {order.symbol for order in in_flight}
        is_closing = all(held.symbol in closing_orders for held in flattened.left)
        return not due and not result.comparison.discrepancies and is_closing


def _may_fill(flattened: Flattened, result: Reconciliation) -> bool:
    """Whether it is worth waiting: positions are left and the market is open."""
    return bool(flattened.left) and result.clock.is_open
