"""One account, one or more models: decide the newest bars, send, follow, reconcile.

    with Session.open([package], broker) as session:   # takes the account, reconciles, resolves what was in flight
        session.decide()                               # after the close: the newest bars become orders, once
        session.settle(timeout=60)                     # after the open: follow the orders to their end

Whatever kills the process, and wherever, the next session continues: an order is written before it is sent and has one
id for ever. Time comes from the broker's clock alone.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Self

from execution import registration
from execution.brokers.base import Broker, StreamConnected
from execution.flatten import close_positions
from execution.holding import Holding
from execution.in_flight import InFlight
from execution.ledger import Ledger, Superseded
from execution.limits import Limits
from execution.market import Market
from execution.market_view import Package
from execution.order_updates import follow
from execution.orders import Order, OrderStatus
from execution.planning import Plan, open_questions, plan, reopened
from execution.policy import TradingPolicy
from execution.presence import Purpose
from execution.recall import recall
from execution.reconcile import Reconciliation, reconcile
from execution.records import Cross, Decision, Failure, Intent, OpenOrder, RefusedBar
from execution.retirement import wind_up
from execution.roster import FAILED, SetAside, checked_packages, checked_shares, not_ours
from execution.situation import Situation
from execution.submission import Sender
from execution.withdrawals import AT_THE_END, Action
from warehouse.errors import Retry, Stop

# a model and a symbol; with the start of the bar that it is asked about
Key = tuple[str, str]
Question = tuple[str, str, datetime]
# how often that was decided, and whether it may be again
Attempt = tuple[int, bool]

_SETTLE_SECONDS = 5.0
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """What `decide` did: new decisions and their intents, bars that were refused, and the orders it sent.

    `failures` are models that gave no answer for a bar, `crosses` what passed between the shares of models.
    """

    decisions: tuple[Decision, ...]
    intents: tuple[Intent, ...]
    refused: tuple[RefusedBar, ...]
    sent: tuple[Order, ...]
    failures: tuple[Failure, ...] = ()
    crosses: tuple[Cross, ...] = ()

    def followed_by(self, later: "Step") -> "Step":
        """Both together; what was refused is what the later one refused."""
        return Step(
            (*self.decisions, *later.decisions),
            (*self.intents, *later.intents),
            later.refused,
            (*self.sent, *later.sent),
            (*self.failures, *later.failures),
            (*self.crosses, *later.crosses),
        )

    def passed(self) -> tuple[str, ...]:
        """In words, what passed from one model's share to another's, and what a model took up that none held."""
        models = {decision.decision_id: decision.model_id for decision in self.decisions}
        return tuple(
            f"{cross.quantity.normalize():f} {cross.symbol} from {models.get(cross.seller_decision_id or '', 'nobody')}"
            f" to {models[cross.buyer_decision_id]} at {cross.price.normalize():f}"
            for cross in self.crosses
        )


class Session:
    """Trades packages on the account that `broker` is logged in to; one per account at a time. Made by `open`."""

    def __init__(
        self,
        packages: tuple[Package, ...],
        shares: dict[str, Decimal],
        policy: TradingPolicy,
        broker: Broker,
        ledger: Ledger,
        market: Market,
        pause: Callable[[float], None],
        limits: Limits | None = None,
    ) -> None:
        self._packages = packages
        self._shares = shares
        self._policy = policy
        self._limits = limits
        self._broker = broker
        self._ledger = ledger
        self._market = market
        self._sender = Sender(broker, ledger, pause)
        self._in_flight = InFlight(packages, policy, limits, ledger, market, self._sender)
        self._pause = pause
        self._opened_after = ledger.newest_event()
        self._aside: tuple[SetAside, ...] = ()
        self._failing: dict[str, str] = {}
        self._left_behind: tuple[str, ...] = ()
        self._seen: dict[Key, object] = {}
        self._symbols = sorted({symbol for package in packages for symbol in package.symbols})

    @classmethod
    def open(
        cls,
        packages: Sequence[Package],
        broker: Broker,
        *,
        policy: TradingPolicy | None = None,
        limits: Limits | None = None,
        shares: Mapping[str, Decimal] | None = None,
        pause: Callable[[float], None] = time.sleep,
        purpose: Purpose = Purpose.SESSION,
        winds_up: bool = False,
    ) -> Self:
        """Take the account, listen, reconcile, and find out what became of orders in flight.

        `limits` are those of the configured file. `shares` is each model's share of equity; equal shares when not
        given. One that `winds_up` needs no model: it looks after what retired ones left behind. Raises Stop when two
        models may not trade one symbol, when shares exceed the whole, for a timeframe it does not know, or when keys or
        account are not in order; Occupied, which is one of these, when another session has the account: its sentence
        names `purpose`.
        """
        chosen = checked_packages(tuple(packages), winds_up=winds_up)
        with ExitStack() as opened:
            opened.callback(broker.close)
            account = broker.account()
            names = [package.model_id for package in chosen]
            ledger = opened.enter_context(registration.opened(broker, account.account_id, purpose, names))
            its_shares = checked_shares(chosen, shares)
            aside = not_ours(chosen, ledger.apart(), broker.name)
            chosen = tuple(package for package in chosen if package.model_id not in {one.model_id for one in aside})
            # it looks after what retired models left behind all the same
            if aside and not chosen and not ledger.left_behind():
                raise Stop("; ".join(map(str, aside)))
            market = Market()
            opened.callback(market.close)
            session = cls(chosen, its_shares, policy or TradingPolicy(), broker, ledger, market, pause, limits)
            session._aside = aside
            ledger.note_models({one.model_id: one.reason for one in aside})
            broker.open_stream()
            result = session.reconcile("start")
            session._in_flight.resolve(result.clock)
            # whatever ends the block before this line, Ctrl-C too, lets go of the account
            opened.pop_all()
            return session

    @property
    def account_id(self) -> str:
        """The broker's id of the account."""
        return self._ledger.account_id

    def decide(self, *, waits: bool = False) -> Step:
        """Decide the newest closed bar of every symbol, once, and send what is approved.

        A panel that `waits` is decided once its last symbol has its bar, or half of its time has passed: whoever says
        so asks again. For the same bars nothing is sent twice; what an earlier attempt wrote and could not send is sent
        now, if it still may be. An order whose bar was revised since, or that may not fill any more, is taken back
        first; an account that is being flattened gets nothing but the orders that close it. Raises Retry or Stop when
        broker or warehouse cannot be read: nothing is sent then.
        """
        # the two take about as long, and neither asks what the other finds
        self._market.begin(self._packages)
        result = self._recalled(self.reconcile(_occasion(self._broker.events(0))))
        standing = self._ledger.standing()
        if standing.action is Action.FLATTEN:
            flatten = close_positions(self._broker, self._ledger, self._sender, result)
            is_flat = not (flatten.sent or flatten.left or self._ledger.unsettled())
            if is_flat and standing.reason == AT_THE_END:
                # nobody but the session's own end asked for it, and that has come; a person's word since stands
                with suppress(Superseded):
                    self._ledger.release(f"{AT_THE_END}: every position is closed", standing.halt_id)
            return Step((), (), (), flatten.sent)
        situation = self._situation(result)
        if self._halt_by_drawdown(situation):
            # what is open is taken back as after any halt
            situation = self._situation(self._recalled(result))
        if self._in_flight.take_back(situation):
            situation = self._situation(self._recalled(result))
        closing = self._wind_up(situation)
        situation = self._shared(situation)
        waiting = self._in_flight.resolve(situation.clock)
        priced = self._quoted(situation, {entry.order.symbol for entry in waiting})
        resent = [*closing, *self._in_flight.send_again(waiting, priced)]
        if resent:
            situation = self._situation(self.reconcile("continuous"))
        questions = [(*key, bar_start) for key, bar_start in open_questions(situation.market).items()]
        attempts, aims = self._ledger.attempts(questions), self._ledger.aimed_at(questions)
        attempts = self._reopened(questions, attempts, situation)
        undecided = {symbol for name, symbol, _ in questions if attempts.get((name, symbol), (0, True))[1]}
        situation = self._quoted(situation, undecided)
        todo = plan(
            self.account_id,
            self._packages,
            self._shares,
            self._policy,
            situation,
            attempts,
            aims,
            self._holdings(situation),
            waits=waits,
        )
        self._ledger.record_refusals(todo.refused, situation.clock.now)
        self._ledger.write_ahead(todo.decisions, todo.intents, todo.crosses)
        self._note_failures(todo)
        sent = self._send([intent.order for intent in todo.intents if intent.is_approved], situation)
        return Step(todo.decisions, todo.intents, todo.refused, (*resent, *sent), todo.failures, todo.crosses)

    def settle(self, timeout: float) -> tuple[OpenOrder, ...]:
        """Follow all orders to their end, at most `timeout` seconds; returns those that are still open.

        Pushed updates are taken as they come. Whenever they fall silent or do not add up, the broker is asked.
        """
        deadline = time.monotonic() + timeout
        while unsettled := self._ledger.unsettled():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            events = self._broker.events(min(remaining, self._broker.customs.poll_seconds))
            open_orders = {entry.order.client_order_id: entry for entry in unsettled}
            followed = [follow(event, open_orders, self._ledger) for event in events]
            if not followed or not all(followed):
                result = self.reconcile(_occasion(events))
                self._in_flight.take_back_aged(result.clock)
                result = self._recalled(result)
                self._in_flight.resolve(result.clock)
        return unsettled

    def flatten(self, timeout: float) -> bool:
        """Close every position because the session ends, and release the account once it is flat.

        False when it is not after `timeout` seconds, as while the market is closed: the next session goes on with it
        and releases the account then. What a person halted, or lets only reduce, stays as it is. What may pass is tried
        again until then. Raises Retry or Stop.
        """
        standing = self._ledger.standing()
        if standing.action is not Action.RELEASE:
            return False
        try:
            self._ledger.act(Action.FLATTEN, AT_THE_END, standing.halt_id or 0)
        except Superseded:
            # somebody halted it a moment ago
            return False
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.decide()
                if self._ledger.standing().action is Action.RELEASE:
                    return True
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                self.settle(min(remaining, _SETTLE_SECONDS))
            except Retry as failure:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise
                self._pause(min(remaining, failure.after or _RETRY_SECONDS))

    def reconcile(self, occasion: str = "by hand") -> Reconciliation:
        """Compare with the broker now; see `execution.reconcile.reconcile`."""
        asked = (time.monotonic(), time.time())
        result = reconcile(self._broker, self._ledger, occasion, self._pause)
        self._sender.heard(result.clock, asked)
        return result

    def is_unanswered(self) -> bool:
        """Whether the broker has not said yet what became of an order."""
        return any(entry.order.status.is_unresolved for entry in self._ledger.unsettled())

    def halts(self) -> tuple[str, ...]:
        """Why the account is halted and the way out, in one sentence; empty when it is not."""
        return self._ledger.halts()

    def concerns(self) -> tuple[str, ...]:
        """What a person should hear.

        A halt, aged orders, models set aside, positions that no model steers, and what ended short since it was opened.
        """
        return (*self._ledger.concerns(self._opened_after), *map(str, self._aside), *self._left_behind)

    def left_behind(self) -> tuple[str, ...]:
        """In sentences, positions of retired models that the newest pass neither closed nor handed over."""
        return self._left_behind

    def close(self) -> None:
        """Let go of the account. Orders stay as they are; the next session follows them."""
        self._broker.close()
        self._market.close()
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            if error is None:
                self.reconcile("close")
        finally:
            self.close()

    def _situation(self, result: Reconciliation) -> Situation:
        apart = self._ledger.apart()
        ours = tuple(position for position in result.broker.positions if position.symbol not in apart)
        held = [position.symbol for position in ours]
        terms = self._broker.terms(self._symbols)
        market = self._market.read(self._packages, held, result.clock.now)
        # a broker splits what is held before the next bar is there: its close is of other shares until then
        ends = {symbol: market.bars[symbol].bar_end for symbol in held if symbol in market.bars}
        if splits := self._ledger.splits_since(ends):
            market = market.restated({position.symbol: position.quantity for position in ours}, splits)
        situation = Situation.of(
            self._broker.mode,
            result.clock,
            replace(result.broker, positions=ours),
            market,
            unsettled=self._ledger.unsettled(),
            standing=self._ledger.standing(),
            has_discrepancy=bool(result.comparison.discrepancies),
            given_up=self._ledger.given_up(result.clock.now - self._broker.customs.late_arrival),
            customs=self._broker.customs,
            terms=terms,
        )
        situation = self._shared(situation)
        return situation if self._limits is None else self._limited(situation, self._limits)

    def _shared(self, situation: Situation) -> Situation:
        """With each model's share as it is now."""
        shared = replace(situation, shares=self._ledger.shares())
        if shared.usage is None:
            return shared
        return replace(shared, usage=replace(shared.usage, shares=self._share_exposures(shared)))

    def _share_exposures(self, situation: Situation) -> dict[tuple[str, str], Decimal]:
        return situation.model_exposures({package.model_id: package.symbols for package in self._packages})

    def _reopened(
        self, questions: Sequence[Question], attempts: dict[Key, Attempt], situation: Situation
    ) -> dict[Key, Attempt]:
        """With the bars open again that were revised after a decision without an order.

        Only bars that are not as they were when this was last asked are asked about.
        """
        market = situation.market
        now = {
            (model_id, symbol): (market.rows[model_id, symbol], market.bars.get(symbol))
            for model_id, symbol, _ in questions
        }
        todo = [
            (model_id, symbol, bar_start)
            for model_id, symbol, bar_start in questions
            if not attempts.get((model_id, symbol), (0, True))[1]
            and self._seen.get((model_id, symbol)) != now[model_id, symbol]
        ]
        if not todo:
            return attempts
        found = reopened(attempts, self._ledger.unordered(todo), self._packages, situation)
        self._seen |= {key: now[key] for *names, _ in todo if not found[key := (names[0], names[1])][1]}
        return found

    def _holdings(self, situation: Situation) -> dict[tuple[str, str], Holding]:
        """Since when the symbols of packages with exits are held; those that are flat have none but what is barred."""
        questions = open_questions(situation.market)
        found: dict[tuple[str, str], Holding] = {}
        for package in self._packages:
            if getattr(package, "exits", None) is None:
                continue
            bars = {key: start for key, start in questions.items() if key[0] == package.model_id}
            entries = self._ledger.entries(bars)
            held = {key: start for key, start in bars.items() if situation.share(*key)}
            found |= {key: Holding(barred=entry.barred) for key, entry in entries.items()}
            found |= self._market.holdings(held, package.timeframe, entries)
        return found

    def _quoted(self, situation: Situation, symbols: Collection[str]) -> Situation:
        """With the broker's own prices of these symbols, where it states them. Raises Retry or Stop."""
        if not symbols or not self._broker.customs.states_prices:
            return situation
        return replace(situation, quotes=self._broker.quotes(symbols))

    def _limited(self, situation: Situation, limits: Limits) -> Situation:
        """With the limits, and what the account has used of them."""
        now, equity = situation.clock.now, situation.equity
        splits = situation.market.splits or {}
        if situation.has_discrepancy or any(splits.get(symbol) for symbol in situation.positions):
            # cash, shares and prices are not of one moment: their sum is no equity
            equity = None
        usage = replace(
            self._ledger.usage(now),
            exposures=situation.exposures(),
            shares=self._share_exposures(situation),
            mark=self._ledger.mark(equity, now),
        )
        return replace(situation, limits=limits, usage=usage)

    def _halt_by_drawdown(self, situation: Situation) -> bool:
        """Halt the account when it fell too far below its peak; whether it did now."""
        if self._limits is None or situation.usage is None or situation.usage.mark is None:
            return False
        most = self._limits.account.get("drawdown", self.account_id)
        mark = situation.usage.mark
        if most is None or mark.drawdown < most or situation.standing.halted_because is not None:
            return False
        self._ledger.halt(
            f"equity is {mark.equity:.2f}, {mark.drawdown:.4f} below its peak of {mark.peak:.2f}: the limit is {most}"
        )
        return True

    def _note_failures(self, todo: Plan) -> None:
        """Write down which models fail, and which answer again; nothing while that stays as it is."""
        decided = {decision.model_id: "" for decision in todo.decisions}
        said: dict[str, str] = {}
        for failure in todo.failures:
            words = f"{FAILED} {failure.symbol}: {failure.reason}"
            said[failure.model_id] = f"{said[failure.model_id]}; {words}" if failure.model_id in said else words
        changed = {name: words for name, words in (decided | said).items() if self._failing.get(name) != words}
        if changed:
            self._ledger.note_models(changed)
            self._failing |= changed

    def _wind_up(self, situation: Situation) -> tuple[Order, ...]:
        """Close what retired models left behind, or hand it over; returns the orders that were sent."""
        states = situation.market.states
        traded: dict[str, list[str]] = {}
        for package in self._packages:
            if states.get(package.model_id) in ("live", self._broker.mode):
                for symbol in package.symbols:
                    traded.setdefault(symbol, []).append(package.model_id)
        closes = self._limits is not None and self._limits.closes_retired
        done = wind_up(self._broker, self._ledger, self._sender, situation, traded, closes=closes)
        self._left_behind = done.left
        return done.sent

    def _recalled(self, result: Reconciliation) -> Reconciliation:
        """Take back at the broker what is to be taken back; the comparison after that, when there was anything."""
        return self.reconcile("continuous") if recall(self._broker, self._ledger) else result

    def _send(self, orders: Sequence[Order], situation: Situation) -> list[Order]:
        """Send until done or halted; a halt, by hand or by what the broker answers, stops the orders behind it.

        What was on its way when somebody halted the account, or took the order back, is taken back at once.
        """
        sent = []
        for order in orders:
            if self._ledger.standing().halted_because is not None:
                break
            known = self._sender.send(order, situation.market.sessions[order.symbol])
            if known.status is not OrderStatus.NOT_SENT:
                sent.append(known)
        if recall(self._broker, self._ledger):
            self.reconcile("continuous")
        return sent


def _occasion(events: Sequence[object]) -> str:
    reconnected = any(isinstance(event, StreamConnected) and event.is_reconnect for event in events)
    return "reconnect" if reconnected else "continuous"
