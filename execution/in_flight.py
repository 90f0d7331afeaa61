"""Orders in flight: those written ahead that have not ended. What became of them, and which are taken back.

Time is the broker's clock.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from execution.brokers.base import BrokerClock
from execution.ledger import Ledger
from execution.limits import Limits
from execution.market import Market
from execution.market_view import Package
from execution.orders import Order
from execution.planning import refused_bars, revised_since
from execution.policy import TradingPolicy
from execution.records import OpenOrder
from execution.situation import Situation
from execution.submission import Sender
from execution.timing import SessionTimes
from execution.validation.orders import order_rules
from execution.validation.rules import refusals
from execution.withdrawals import Action, Cause, Withdrawal


class InFlight:
    """Those of one account, for a session that trades `packages`. Its methods raise Retry or Stop."""

    def __init__(
        self,
        packages: Sequence[Package],
        policy: TradingPolicy,
        limits: Limits | None,
        ledger: Ledger,
        market: Market,
        sender: Sender,
    ) -> None:
        self._packages: Mapping[str, Package] = {package.model_id: package for package in packages}
        self._policy = policy
        self._limits = limits
        self._ledger = ledger
        self._market = market
        self._sender = sender
        self._timeframes = {symbol: package.timeframe for package in packages for symbol in package.symbols}

    def resolve(self, clock: BrokerClock) -> list[OpenOrder]:
        """Ask about every order without an answer. Returns those the broker does not have and that still have time."""
        standing = self._ledger.standing()
        # what closes a position is continued by the next pass over the positions
        flattening = standing.halt_id if standing.action is Action.FLATTEN else None
        unresolved = [
            entry
            for entry in self._ledger.unsettled()
            if entry.order.status.is_unresolved
            and entry.retirement_id is None
            and (entry.halt_id is None or entry.halt_id != flattening)
        ]
        if not unresolved:
            return []
        sessions = self._sessions(unresolved, clock)
        waiting = []
        for entry in unresolved:
            found = self._sender.look_up(entry.order)
            times = sessions.get(entry.order.symbol)
            if found is not None:
                self._sender.adopt(entry.order, found)
            elif self._sender.may_arrive(entry.order):
                continue
            elif entry.is_withdrawn or entry.bar_end is None:
                self._sender.give_up(entry.order, clock.now, "it was taken back and the broker does not know it")
            elif times is not None and times.is_timely(entry.bar_end, clock):
                waiting.append(entry)
            else:
                self._sender.give_up(entry.order, clock.now, "its open passed and the broker does not know it")
        return waiting

    def send_again(self, waiting: Iterable[OpenOrder], situation: Situation) -> list[Order]:
        """Send what was written ahead and, for all the broker knows, never arrived, where it would be sent now too."""
        rules = order_rules(self._policy, self._limits)
        resent, committed, usage = [], Decimal(0), situation.usage
        for entry in waiting:
            order, package = entry.order, self._packages.get(entry.model_id or "")
            if package is None or refused_bars(package, [order.symbol], situation, resumed=order.client_order_id):
                continue
            worth = order.quantity * (entry.reference_price or Decimal(0))
            exposure = situation.exposure(order.symbol)
            share = situation.share_worth(package.model_id, order.symbol)
            its = usage and usage.without_order(entry.model_id, order.symbol, order.side, worth, exposure, share)
            proposal = situation.proposal(order, entry.reference_price, committed, entry.model_id, its)
            if not refusals(rules, proposal):
                committed += proposal.cost
                usage = None if its is None else its.with_order(entry.model_id, proposal)
                resent.append(self._sender.send_again(order, situation.market.sessions[order.symbol]))
        return resent

    def take_back(self, situation: Situation) -> bool:
        """Write down that orders are taken back whose bar was revised while they wait for their open, or that aged."""
        was_aged = self.take_back_aged(situation.clock)
        revised = []
        for entry in situation.unsettled:
            package = self._packages.get(entry.model_id or "")
            times = situation.market.sessions.get(entry.order.symbol)
            is_waiting = (
                times is not None and entry.bar_end is not None and times.is_timely(entry.bar_end, situation.clock)
            )
            if package is None or not is_waiting or entry.filled or entry.is_withdrawn:
                continue
            if (reason := revised_since(entry, package, situation)) is not None:
                revised.append(Withdrawal(entry.order, Cause.REVISED, reason))
        for withdrawal in revised:
            self._ledger.record_withdrawal(withdrawal)
        return was_aged or bool(revised)

    def take_back_aged(self, clock: BrokerClock) -> bool:
        """Write down that orders are taken back that are open for too long after the open they were for."""
        waiting = [entry for entry in self._ledger.unsettled() if not entry.is_withdrawn and entry.bar_end is not None]
        if not waiting:
            return False
        sessions = self._sessions(waiting, clock)
        limit, aged = self._policy.order_age_limit, []
        for entry in waiting:
            times = sessions.get(entry.order.symbol, SessionTimes())
            opened = None if entry.bar_end is None else times.opened_for(entry.bar_end)
            if opened is None or clock.now - opened <= limit:
                continue
            if not entry.order.status.is_unresolved:
                aged.append(
                    Withdrawal(entry.order, Cause.AGED, f"it is open since {opened:%F %R} UTC, longer than {limit}")
                )
        for withdrawal in aged:
            self._ledger.record_withdrawal(withdrawal)
        return bool(aged)

    def _sessions(self, entries: Sequence[OpenOrder], clock: BrokerClock) -> dict[str, SessionTimes]:
        """The calendars of these orders' symbols; of one that no model trades now, as for daily bars."""
        symbols = {entry.order.symbol for entry in entries}
        return self._market.sessions({symbol: self._timeframes.get(symbol, "1d") for symbol in symbols}, clock.now)
