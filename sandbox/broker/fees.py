"""What regulators charge on sales and the broker passes on, at the rates of 2012-04 to 2014-03."""

from decimal import ROUND_CEILING, Decimal

from sandbox.amounts import CENT

SECTION_31_PER_DOLLAR = Decimal("0.0000224")
"""SEC Section 31 fee: 22.40 dollars a million dollars of proceeds."""
TRADING_ACTIVITY_PER_SHARE = Decimal("0.000119")
"""FINRA's trading activity fee, at most TRADING_ACTIVITY_CAP dollars a trade."""
TRADING_ACTIVITY_CAP = Decimal("5.95")


def regulatory(qty: Decimal, price: Decimal) -> Decimal:
    """Dollars charged for selling qty shares at this price in one trade, rounded up to the cent."""
    section_31 = qty * price * SECTION_31_PER_DOLLAR
    trading_activity = min(qty * TRADING_ACTIVITY_PER_SHARE, TRADING_ACTIVITY_CAP)
    return (section_31 + trading_activity).quantize(CENT, ROUND_CEILING)
