"""What the book holds besides orders: positions, activities, and dividends still to be paid."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Position:
    """Shares held (never negative here) and what they cost in dollars, fees excluded."""

    symbol: str
    qty: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Activity:
    """One movement of cash or shares: kind is FILL, DIV, FEE, SPLIT or CSD; cash is its signed change in dollars.

    qty: shares traded (FILL), shares held (DIV), signed change of the position (SPLIT), else None.
    cum_qty and leaves_qty: what a FILL's order had filled after it, and had left.
    """

    number: int
    activity_id: str
    kind: str
    happened_at: int
    symbol: str | None
    qty: Decimal | None
    price: Decimal | None
    per_share: Decimal | None
    cash: Decimal
    order_id: str | None
    side: str | None
    description: str
    cum_qty: Decimal | None = None
    leaves_qty: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A dividend earned at its ex date and paid later; per_share in dollars."""

    symbol: str
    ex_at: int
    paid_at: int
    qty: Decimal
    per_share: Decimal
