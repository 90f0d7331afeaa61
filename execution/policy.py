"""The limits a session trades within: a frozen value with a schema."""

from datetime import timedelta
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field


class TradingPolicy(BaseModel):
    """Limits on every order of a session. Money is in the account's currency, weights are fractions of equity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cash_buffer: Decimal = Field(Decimal("0.02"), ge=0, lt=1)
    """Share of equity that is never invested, so that an adverse opening price does not overdraw the account."""

    rebalance_band: Decimal = Field(Decimal("0.01"), ge=0, lt=1)
    """A change of position worth less than this share of the model's capital is not traded, unless it closes.

    Where a package says its own (`rebalancing.band`), that counts: it is what was judged."""

    quantity_step: Decimal = Field(Decimal(1), gt=0)
    """Orders are whole multiples of this many units; 1 is whole shares."""

    max_position_weight: Decimal = Field(Decimal(1), gt=0)
    """Largest position after the order, in units of equity."""

    max_order_notional: Decimal = Field(Decimal(1_000_000), gt=0)
    """Largest order, quantity times the decided bar's close."""

    price_tolerance: Decimal = Field(Decimal("0.25"), gt=0)
    """Largest relative distance between the decided bar's close and the broker's own price: of any symbol where it
    states them, elsewhere of what is held."""

    allow_short: bool = False

    order_age_limit: timedelta = Field(timedelta(hours=1), gt=timedelta(0))
    """An order that is open this long after the open it was for is taken back."""
