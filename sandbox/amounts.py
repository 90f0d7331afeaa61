"""Quantities and money: exact decimals, written with every digit and nothing else."""

from decimal import ROUND_DOWN, Decimal

CENT = Decimal("0.01")
SHARE_DECIMALS = 9
SMALLEST_SHARE = Decimal(1).scaleb(-SHARE_DECIMALS)


def text(value: Decimal | None) -> str | None:
    """No exponent and no needless zeros: 100000.00 is "100000", 0.10 is "0.1"; None stays None."""
    if value is None:
        return None
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def shares(value: Decimal) -> Decimal:
    """At most nine decimals, rounded down, and none where the number is whole."""
    whole = value.to_integral_value()
    return whole if whole == value else value.quantize(SMALLEST_SHARE, ROUND_DOWN)


def decimals(value: Decimal) -> int:
    """How many decimals the number needs: 1.50 needs one."""
    return max(0, -value.normalize().as_tuple().exponent)
