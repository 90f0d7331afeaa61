"""The account and the market at one moment, as decisions see them: what is held, in flight, priced and allowed."""

from collections.abc import Mapping
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
from execution.orders import Order
from execution.policy import TradingPolicy
from execution.records import GivenUp, OpenOrder
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

    def in_flight(self, symbol: str, but_not: str | None = None) -> tuple[str, ...]:
        """Orders of the symbol that have not settled."""
        orders = (entry.order for entry in self.unsettled if entry.order.symbol == symbol)
        return tuple(order.client_order_id for order in orders if order.client_order_id != but_not)

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
            order, bar = entry.order, self.market.bars.get(entry.order.symbol)
            left = order.quantity - max(entry.filled, order.filled_quantity)
            if order.status.is_terminal or order.side.sign * self.held(order.symbol) < 0:
                continue
            price = bar.close if bar else entry.reference_price or ZERO
            worth[order.symbol] = worth.get(order.symbol, ZERO) + order.side.sign * left * price
        return worth

    def proposal(
        self, order: Order, price: Decimal | None, committed: Decimal, model_id: str | None, usage: Usage | None
    ) -> Proposal:
        """An order as the order rules see it. `committed` is what earlier orders of this step will cost.

        `usage` is what the account has used of its limits, these orders included.
        """
        symbol = order.symbol
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
            in_flight=self.in_flight(symbol, order.client_order_id),
            broker_mark=self.mark(symbol),
            states_prices=self.customs.states_prices,
            clock_skew=self.clock.skew,
            terms=self.terms.get(symbol),
            model_id=model_id,
            usage=usage,
        )

    def mark(self, symbol: str) -> Decimal | None:
        """The broker's own price: its quote, else that of the position; None where it states neither."""
        position = self.positions.get(symbol)
        return self.quotes.get(symbol, position.mark if position else None)

    def step(self, symbol: str, policy: TradingPolicy) -> Decimal:
        """Orders of the symbol are whole multiples of this: what the broker states, else what the policy says."""
        terms = self.terms.get(symbol, SymbolTerms())
        return policy.quantity_step if terms.step is None else terms.step
