"""The account and the market at one moment, as decisions see them: what is held, in flight, priced and allowed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from execution.brokers.base import (
    AccountSnapshot,
    BrokerClock,
    BrokerPosition,
    BrokerSnapshot,
    Customs,
    Mode,
    SymbolTerms,
)
from execution.limits import Limits
from execution.market_view import MarketView
from execution.orders import Order, Side
from execution.policy import TradingPolicy
from execution.records import GivenUp, OpenOrder
from execution.timing import SessionTimes
from execution.validation.limits import Usage
from execution.validation.rules import Proposal
from execution.withdrawals import Standing

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Situation:
    """The account and the market at one moment. Positions, cash and marks are the reconciled broker's."""

    mode: Mode
    clock: BrokerClock
    account: AccountSnapshot
    positions: Mapping[str, BrokerPosition]
    market: MarketView
    unsettled: tuple[OpenOrder, ...]
    standing: Standing
    has_discrepancy: bool
    given_up: tuple[GivenUp, ...] = ()
    customs: Customs = field(default_factory=Customs)
    terms: Mapping[str, SymbolTerms] = field(default_factory=dict)
    limits: Limits | None = None
    usage: Usage | None = None
    # the broker's own prices of what is to be decided, where it states them
    quotes: Mapping[str, Decimal] = field(default_factory=dict)
    # by symbol how much of the position each model holds, as the ledger keeps it; None: what no model holds
    shares: Mapping[str, Mapping[str | None, Decimal]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        mode: Mode,
        clock: BrokerClock,
        broker: BrokerSnapshot,
        market: MarketView,
        *,
        unsettled: tuple[OpenOrder, ...],
        standing: Standing,
        has_discrepancy: bool,
        given_up: tuple[GivenUp, ...] = (),
        customs: Customs,
        terms: Mapping[str, SymbolTerms],
    ) -> "Situation":
        positions = {position.symbol: position for position in broker.positions}
        return cls(
            mode,
            clock,
            broker.account,
            positions,
            market,
            unsettled,
            standing,
            has_discrepancy,
            given_up,
            customs,
            terms,
        )

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Positions without a closing price."""
        return tuple(sorted(symbol for symbol in self.positions if symbol not in self.market.bars))

    @property
    def equity(self) -> Decimal | None:
        """Cash and positions at the newest closes: from stored data alone, so that sizing can be recomputed."""
        if self.unpriced:
            return None
        worth = (held.quantity * self.market.bars[symbol].close for symbol, held in self.positions.items())
        return self.account.cash + sum(worth, ZERO)

    def held(self, symbol: str) -> Decimal:
        position = self.positions.get(symbol)
        return position.quantity if position else ZERO

    def may_arrive(self, symbol: str) -> tuple[str, ...]:
        """Orders of the symbol that were given up so lately that they may still turn up, by the broker's clock."""
        lately = self.clock.now - self.customs.late_arrival
        return tuple(entry.client_order_id for entry in self.given_up if entry.symbol == symbol and entry.at > lately)

    def share(self, model_id: str, symbol: str) -> Decimal:
        """What a model steers: the position, less what other models hold of it."""
        others = (units for holder, units in self.shares.get(symbol, {}).items() if holder not in (model_id, None))
        return self.held(symbol) - sum(others, ZERO)

    def nobodys(self, symbol: str) -> Decimal:
        """What no model holds of a position."""
        return self.shares.get(symbol, {}).get(None, ZERO)

    def unshared(self, model_id: str, symbol: str, *, is_shared: bool = False) -> Decimal:
        """How much more the broker holds than the shares add up to, where another model holds or orders of it.

        A model that is alone steers by the broker's position, whatever the ledger has booked of it yet. `is_shared`:
        others decide the symbol too, whether or not they hold any of it.
        """
        shares = self.shares.get(symbol, {})
        others = is_shared or shares.keys() - {model_id, None} or self._others(model_id, symbol)
        return self.held(symbol) - sum(shares.values(), ZERO) if others else ZERO

    def in_flight(
        self, symbol: str, but_not: str | None = None, model_id: str | None = None, side: Side | None = None
    ) -> tuple[str, ...]:
        """Orders of the symbol that have not settled.

        Those that hinder a model, where one is given: its own, those that close a position, and of other models those
        on the other side of `side`, which would trade with it. So do those of retired models: what they fill may be
        handed over to it. While there is something that no model holds, another one's order may be trading that, so all
        hinder.
        """
        beside = () if model_id is None or self.nobodys(symbol) else self._others(model_id, symbol)
        harmless = {
            entry.order.client_order_id
            for entry in beside
            if (side is None or entry.order.side is side) and self._trades(entry.model_id)
        }
        orders = (entry.order for entry in self.unsettled if entry.order.symbol == symbol)
        names = (order.client_order_id for order in orders if order.client_order_id not in harmless)
        return tuple(name for name in names if name != but_not)

    def pending(self, symbol: str, model_id: str | None) -> Decimal:
        """Units, signed, by which open orders of other models may still make the position larger."""
        open_orders = () if model_id is None else self._others(model_id, symbol)
        return sum((entry.order.side.sign * self._left(entry) for entry in open_orders), ZERO)

    def _others(self, model_id: str, symbol: str) -> tuple[OpenOrder, ...]:
        """Orders of other models of the symbol that have not settled."""
        return tuple(
            entry for entry in self.unsettled if entry.order.symbol == symbol and entry.model_id not in (model_id, None)
        )

    def _trades(self, model_id: str | None) -> bool:
        """Whether a model is in a state in which it trades such an account."""
        return self.market.states.get(model_id or "") in ("live", self.mode)

    def _left(self, entry: OpenOrder) -> Decimal:
        """Units that an open order may still add to its position; none of one that makes it smaller."""
        order = entry.order
        if order.status.is_terminal or order.side.sign * self.held(order.symbol) < 0:
            return ZERO
        return order.quantity - max(entry.filled, order.filled_quantity)

    def exposure(self, symbol: str) -> Decimal:
        """What the position is worth at its newest close, signed; zero where there is none."""
        bar = self.market.bars.get(symbol)
        return self.held(symbol) * bar.close if bar else ZERO

    def exposures(self) -> dict[str, Decimal]:
        """What each position is worth, signed, once the open orders that make it larger have filled.

        An order that makes one smaller counts for nothing until it has filled.
        """
        worth = {symbol: self.exposure(symbol) for symbol in self.positions if symbol in self.market.bars}
        for entry in self.unsettled:
            if left := self._left(entry):
                symbol = entry.order.symbol
                worth[symbol] = worth.get(symbol, ZERO) + entry.order.side.sign * left * self._price(entry)
        return worth

    def model_exposures(self, symbols: Mapping[str, Iterable[str]]) -> dict[tuple[str, str], Decimal]:
        """The same of what each model holds: by model and symbol, for the symbols of these models."""
        worth = {
            (model_id, symbol): self.share_worth(model_id, symbol)
            for model_id, some in symbols.items()
            for symbol in some
        }
        for entry in self.unsettled:
            key = (entry.model_id or "", entry.order.symbol)
            if key in worth and (left := self._left(entry)):
                worth[key] += entry.order.side.sign * left * self._price(entry)
        return worth

    def share_worth(self, model_id: str, symbol: str) -> Decimal:
        """What a model's share is worth at the newest close, signed."""
        bar = self.market.bars.get(symbol)
        return self.share(model_id, symbol) * bar.close if bar else ZERO

    def _price(self, entry: OpenOrder) -> Decimal:
        bar = self.market.bars.get(entry.order.symbol)
        return bar.close if bar else entry.reference_price or ZERO

    def proposal(
        self,
        order: Order,
        price: Decimal | None,
        committed: Decimal,
        model_id: str | None,
        usage: Usage | None,
        *,
        share: Decimal | None = None,
        pending: Decimal = ZERO,
    ) -> Proposal:
        """An order as the order rules see it. `committed` is what earlier orders of this step will cost.

        `usage` is what the account has used of its limits, these orders included, `share` what the model holds, where
        that is not all that is left of the position, and `pending` what earlier orders of this step add to it.
        """
        symbol = order.symbol
        if share is None and model_id is not None:
            share = self.share(model_id, symbol)
        return Proposal(
            symbol=symbol,
            side=order.side,
            quantity=order.quantity,
            price=price,
            held=self.held(symbol),
            equity=self.equity,
            buying_power=self.account.buying_power - committed,
            account=self.account,
            halted_because=self.standing.halted_because,
            reduces_because=self.standing.reduces_because,
            has_discrepancy=self.has_discrepancy,
            in_flight=self.in_flight(symbol, order.client_order_id, model_id, order.side),
            broker_mark=self.mark(symbol),
            states_prices=self.customs.states_prices,
            clock_skew=self.clock.skew,
            terms=self.terms.get(symbol),
            model_id=model_id,
            usage=usage,
            pending=self.pending(symbol, model_id) + pending,
            share=share,
        )

    def in_force(self, symbol: str, quantity: Decimal) -> str:
        """How long an order of the symbol's newest bar may stay open."""
        times = self.market.sessions.get(symbol, SessionTimes())
        waits = not (self.clock.is_open or times.trades_at_once)
        return self.customs.in_force(quantity, self.clock.now, waits_for_open=waits)

    def mark(self, symbol: str) -> Decimal | None:
        """The broker's own price: its quote, else that of the position; None where it states neither."""
        position = self.positions.get(symbol)
        return self.quotes.get(symbol, position.mark if position else None)

    def step(self, symbol: str, policy: TradingPolicy) -> Decimal:
        """Orders of the symbol are whole multiples of this: what the broker states, else what the policy says."""
        terms = self.terms.get(symbol, SymbolTerms())
        return policy.quantity_step if terms.step is None else terms.step
