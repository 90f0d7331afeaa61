"""What a broker calls an instrument: orders go out under its names, and what comes back has the product's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
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
    Fill,
    OrderRequest,
    OrderUpdate,
    SubmitOutcome,
)
from warehouse.connection import connect
from warehouse.rows import scalar

Named = TypeVar("Named", BrokerOrder, Fill, Activity, BrokerPosition)


def named(broker: Broker) -> Broker:
    """The broker under the names of seeds/broker_symbols.csv; an instrument without a line there keeps its own."""
    with connect("executor", read_only=True) as connection:
        if scalar(connection.execute("select to_regclass('reference.broker_symbols')")) is None:
            return broker
        rows = connection.execute(
            "select symbol, broker_symbol from reference.broker_symbols where broker = %s", (broker.name,)
        ).fetchall()
    return NamedBroker(broker, dict(rows)) if rows else broker


class NamedBroker:
    """A broker whose instruments have other names. `names` are the broker's by the product's, one for each."""

    def __init__(self, broker: Broker, names: Mapping[str, str]) -> None:
        self._broker = broker
        self._names = dict(names)
        self._symbols = {name: symbol for symbol, name in names.items()}
        self.name = broker.name
        self.mode = broker.mode

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
        )

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        outcome = self._broker.submit(replace(request, symbol=self._names.get(request.symbol, request.symbol)))
        return replace(outcome, order=self._ours(outcome.order)) if isinstance(outcome, Accepted) else outcome

    def find(self, client_order_id: str) -> BrokerOrder | None:
        found = self._broker.find(client_order_id)
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
        return thing if symbol is None else replace(thing, symbol=self._symbols.get(symbol, symbol))
