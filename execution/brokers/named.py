"""What a broker calls an instrument: orders go out under its names, and what comes back has the product's."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from execution.brokers.base import (
    Accepted,
    AccountSnapshot,
    Activity,
    Broker,
    BrokerClock,
    BrokerEvent,
    BrokerOrder,
    BrokerPosition,
    BrokerSnapshot,
    Customs,
    Fill,
    OrderRequest,
    OrderUpdate,
    SubmitOutcome,
    SymbolTerms,
)
from warehouse.connection import connect
from warehouse.rows import scalar

Named = TypeVar("Named", BrokerOrder, Fill, Activity, BrokerPosition)


def names(broker: str) -> dict[str, str]:
    """What this broker calls instruments, by the product's symbol: the lines of seeds/broker_symbols.csv."""
    with connect("executor", read_only=True) as connection:
        if scalar(connection.execute("select to_regclass('reference.broker_symbols')")) is None:
            return {}
        rows = connection.execute(
            "select symbol, broker_symbol from reference.broker_symbols where broker = %s", (broker,)
        ).fetchall()
    return dict(rows)


def named(broker: Broker) -> Broker:
    """The broker under the names of seeds/broker_symbols.csv; an instrument without a line there keeps its own."""
    by_symbol = names(broker.name)
    return NamedBroker(broker, by_symbol) if by_symbol else broker


class NamedBroker:
    """A broker whose instruments have other names. `names` are the broker's by the product's, one for each."""

    def __init__(self, broker: Broker, names: Mapping[str, str]) -> None:
        self._broker = broker
        self._names = dict(names)
        self._symbols = {name: symbol for symbol, name in names.items()}
        self.name = broker.name
        self.mode = broker.mode

    @property
    def customs(self) -> Customs:
        """As they are now: how often the broker is asked changes."""
        return self._broker.customs

    def terms(self, symbols: Collection[str]) -> Mapping[str, SymbolTerms]:
        found = self._broker.terms([self._names.get(symbol, symbol) for symbol in symbols])
        return {self._symbols.get(name, name): terms for name, terms in found.items()}

    def quotes(self, symbols: Collection[str]) -> Mapping[str, Decimal]:
        found = self._broker.quotes([self._names.get(symbol, symbol) for symbol in symbols])
        return {self._symbols.get(name, name): price for name, price in found.items()}

    def clock(self) -> BrokerClock:
        return self._broker.clock()

    def account(self) -> AccountSnapshot:
        return self._broker.account()

    def snapshot(self, since: datetime | None) -> BrokerSnapshot:
        found = self._broker.snapshot(since)
        return replace(
            found,
            orders=self._ours_of(found.orders),
            fills=self._ours_of(found.fills),
            activities=self._ours_of(found.activities),
            positions=self._ours_of(found.positions),
            unlisted=frozenset(self._symbols.get(name, name) for name in found.unlisted),
        )

    def agreed(self) -> None:
        self._broker.agreed()

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        outcome = self._broker.submit(replace(request, symbol=self._names.get(request.symbol, request.symbol)))
        return replace(outcome, order=self._ours(outcome.order)) if isinstance(outcome, Accepted) else outcome

    def find(self, client_order_id: str, symbol: str) -> BrokerOrder | None:
        found = self._broker.find(client_order_id, self._names.get(symbol, symbol))
        return None if found is None else self._ours(found)

    def cancel(self, broker_order_id: str) -> None:
        self._broker.cancel(broker_order_id)

    def open_stream(self) -> None:
        self._broker.open_stream()

    def events(self, wait_seconds: float) -> Sequence[BrokerEvent]:
        return [
            replace(event, order=self._ours(event.order), fill=None if event.fill is None else self._ours(event.fill))
            if isinstance(event, OrderUpdate)
            else event
            for event in self._broker.events(wait_seconds)
        ]

    def close(self) -> None:
        self._broker.close()

    def _ours_of(self, things: Iterable[Named]) -> tuple[Named, ...]:
        return tuple(self._ours(thing) for thing in things)

    def _ours(self, thing: Named) -> Named:
        symbol = thing.symbol
        if symbol is not None:
            thing = replace(thing, symbol=self._symbols.get(symbol, symbol))
        if isinstance(thing, Fill) and thing.fee_symbol is not None:
            thing = replace(thing, fee_symbol=self._symbols.get(thing.fee_symbol, thing.fee_symbol))
        return thing
