"""Opposite wishes of one bar: what one model wants to sell and another to buy passes between their shares. Pure.

An account never sends a buy and a sell of one symbol at once: the two would trade with each other. So as much as both
sides want moves by a booking, at the close of the bar that was decided, and what is left over of one side is ordered.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from execution.records import Cross, Decision

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Change:
    """A share of a position that a decision wants changed, before it is validated.

    `quantity` is signed, `held` what the model holds, `step` what orders of the symbol are multiples of, and `most` the
    units that one may be for. `said` is what the rules said of a crossing that one of them refused: the order is
    refused by the same.
    """

    decision: Decision
    quantity: Decimal
    price: Decimal
    held: Decimal
    step: Decimal
    inputs: Mapping[str, str | None]
    most: Decimal | None = None
    said: Mapping[str, str | None] | None = None

    @property
    def opens(self) -> bool:
        """Whether the share becomes larger."""
        return abs(self.held + self.quantity) > abs(self.held)

    @property
    def reduces(self) -> bool:
        """Whether the share becomes smaller."""
        return bool(self.quantity) and not self.opens

    def after(self, crossed: Decimal) -> "Change":
        """What is left to be wanted once so many units, signed, have passed by a booking."""
        before = Decimal(self.inputs.get("crossed") or 0)
        wanted = Decimal(self.inputs["wanted"] or 0) - crossed
        inputs = {**self.inputs, "crossed": str(before + crossed), "wanted": str(wanted)}
        return replace(self, quantity=self.quantity - crossed, held=self.held + crossed, inputs=inputs)

    def cut(self) -> "Change":
        """What one order may be for: the rest goes with later bars."""
        if self.most is None:
            return self
        return replace(self, quantity=max(-self.most, min(self.most, self.quantity)))

    def in_steps(self) -> "Change":
        """What a crossing left to be bought, in whole steps: a fraction of one is less than an order may be."""
        if self.quantity <= 0 or "crossed" not in self.inputs:
            return self
        whole = (self.quantity / self.step).to_integral_value(ROUND_DOWN) * self.step
        return replace(self, quantity=whole, inputs={**self.inputs, "wanted": str(whole)})


Approve = Callable[[Change, Change, Decimal], Mapping[str, str | None]]
"""What the rules say of a buyer that takes over so many units of a seller, by the rule's name; None where nothing."""


def crossed(
    changes: Sequence[Change], broker_time: datetime, approve: Approve
) -> tuple[tuple[Change, ...], tuple[Cross, ...]]:
    """What is left to be ordered, of one symbol on one side only, and what passes before.

    A buyer that a rule refuses gets nothing: its change is left whole, with what was said, and is refused.
    """
    found = list(changes)
    crosses = []
    for to, wish in enumerate(found):
        if wish.quantity <= 0:
            continue
        buyer = wish
        for number, seller in enumerate(found):
            if seller.decision.symbol != buyer.decision.symbol or seller.quantity >= 0 or buyer.quantity <= 0:
                continue
            units = min(buyer.quantity, -seller.quantity)
            said = approve(buyer, seller, units)
            if any(reason is not None for reason in said.values()):
                buyer = replace(buyer, said=said)
                break
            names = (seller.decision.decision_id, buyer.decision.decision_id)
            crosses.append(Cross(buyer.decision.symbol, *names, units, buyer.price, broker_time))
            buyer, found[number] = buyer.after(units), seller.after(-units)
        found[to] = buyer.in_steps()
    return tuple(change.cut() for change in found if change.quantity), tuple(crosses)
