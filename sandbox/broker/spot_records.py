"""What a spot account is made of: balances, orders and trades. Instants are microseconds."""

from dataclasses import dataclass
from decimal import Decimal

ZERO = Decimal(0)
OPEN = ("NEW", "PARTIALLY_FILLED")


@dataclass
class Balance:
    """Units of an asset: to spend, and held by open orders."""

    free: Decimal = ZERO
    locked: Decimal = ZERO


@dataclass
class SpotOrder:
    """`price` is zero for a market order, `quote` what has been paid for what is filled."""

    symbol: str
    number: int
    client_id: str
    side: str
    kind: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    taken_at: int
    updated_at: int
    status: str = "NEW"
    filled: Decimal = ZERO
    quote: Decimal = ZERO

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


@dataclass(frozen=True)
class SpotTrade:
    """One execution; the fee is in units of its asset."""

    symbol: str
    number: int
    order: int
    side: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    at: int
    is_maker: bool
