"""What a step of a session did, in sentences, and how long to wait for what it could not do yet."""

from datetime import timedelta

from execution.orders import OrderStatus
from execution.records import RefusedBar
from execution.session import Step

# what counts the orders of a minute has forgotten them
A_MINUTE = timedelta(seconds=61)


def is_postponed(step: Step) -> bool:
    """Whether bars wait for the minute to be over, or for the broker's price and theirs to agree."""
    return any(_waits(bar) for bar in step.refused)


def left(step: Step) -> list[str]:
    """The bars that still wait, in sentences."""
    return [
        f"{bar.symbol} is not decided by {bar.model_id}: {'; '.join(bar.reasons)}"
        for bar in step.refused
        if _waits(bar)
    ]


def _waits(bar: RefusedBar) -> bool:
    return bar.is_postponed or bar.keeps_position


def told(step: Step) -> str:
    """How many decisions and orders it made, and what was refused and why, in a line."""
    bars = [f"{bar.symbol} ({'; '.join(bar.reasons)})" for bar in step.refused]
    orders = [
        f"{intent.side} {intent.quantity} {intent.symbol} ({'; '.join(intent.refusals)})"
        for intent in step.intents
        if not intent.is_approved
    ]
    taken = sum(order.status not in (OrderStatus.REJECTED, OrderStatus.UNKNOWN) for order in step.sent)
    line = f"{len(step.decisions)} decisions, {len(step.sent)} orders sent, {taken} of them taken by the broker"
    passed = step.passed()
    line += f"; passed between models without an order: {', '.join(passed)}" if passed else ""
    line += f"; bars refused: {', '.join(bars)}" if bars else ""
    return line + (f"; orders refused by our rules: {', '.join(orders)}" if orders else "")
