"""Orders that somebody replaced at the broker, each put together with those that followed it. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal

from execution.brokers.base import BrokerOrder

Lookup = Callable[[str], BrokerOrder | None]


def joined(orders: Iterable[BrokerOrder], look_up: Lookup) -> tuple[BrokerOrder, ...]:
    """One order per chain, in the order in which the chains are first mentioned.

    `look_up` returns an order by the broker's id, None when the broker does not know it. It is asked for the links that
    are not among `orders`, because a chain may reach out of the window that was read.
    """
    known = {order.broker_order_id: order for order in orders}
    chains: dict[str, BrokerOrder] = {}
    for order in list(known.values()):
        chain = _chain(order, known, look_up)
        chains.setdefault(chain[0].broker_order_id, _as_one(chain))
    return tuple(chains.values())


def _chain(order: BrokerOrder, known: dict[str, BrokerOrder], look_up: Lookup) -> list[BrokerOrder]:
    """The order with everything before and after it, oldest first. A circle ends where it began."""
    chain = [order]
    for link, position in (("replaces", 0), ("replaced_by", -1)):
        seen = {each.broker_order_id for each in chain}
        while (name := getattr(chain[position], link)) is not None and name not in seen:
            seen.add(name)
            found = known.get(name) or look_up(name)
            if found is None:
                break
            known[name] = found
            chain.insert(0 if position == 0 else len(chain), found)
    return chain


def _as_one(chain: list[BrokerOrder]) -> BrokerOrder:
    first, last = chain[0], chain[-1]
    before = sum((order.filled_quantity for order in chain[:-1]), Decimal(0))
    if len(chain) == 1:
        return first
    quantity = None if last.quantity is None else before + last.quantity
    return replace(
        first,
        quantity=quantity,
        status=last.status,
        filled_quantity=before + last.filled_quantity,
        updated_at=last.updated_at,
        detail=f"replaced at the broker by {last.broker_order_id}, which is {last.detail}",
        replaced_by=last.replaced_by,
        continued_as=tuple(order.broker_order_id for order in chain[1:]),
    )
