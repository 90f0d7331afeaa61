"""From a target weight to a signed order quantity, in exact decimals."""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from models_registry.rebalancing import left_alone

ZERO = Decimal(0)


def target_quantity(weight: float, capital: Decimal, price: Decimal, step: Decimal) -> Decimal:
    """The signed number of units that is at most `weight` of `capital`, in whole steps (rounded towards zero).

    `weight` is a fraction (negative is short), `capital` and `price` are in the account's currency.
    Raises ValueError for a weight that is not finite or a price, capital or step that is not positive.
    """
    for name, value in (("price", price), ("capital", capital), ("quantity step", step)):
        if not value.is_finite() or value <= 0:
            raise ValueError(f"{name} is {value}: a positive number is needed to size an order")
    exact = Decimal(weight)
    if not exact.is_finite():
        raise ValueError(f"target weight is {weight}: a finite number is needed to size an order")
    return (exact * capital / price / step).to_integral_value(ROUND_DOWN) * step


def order_quantity(
    target: Decimal,
    held: Decimal,
    step: Decimal,
    *,
    band: Decimal = ZERO,
    runs: bool = False,
    closable: Decimal | None = None,
) -> Decimal:
    """The signed quantity that moves a position from `held` to `target`; zero means no order.

    - A position is closed exactly, fractions included; any other order is in whole steps and never overshoots `target`.
    - A change of sign closes first and opens with the next bar: brokers refuse an order that crosses zero.
    - A change smaller than `band` units is left alone, unless it closes the position; so is every change where the
      position `runs`: its target is still the one that it was traded to, and its drift is let run. What is too little
      to be sold is no position that could.
    - `closable` is what the broker takes in one order that closes, without a sign; the rest stays, all when not given.
    """
    if target == 0 or target * held < 0:
        return -held if closable is None else -min(closable, abs(held)).copy_sign(held)
    change = target - held
    if left_alone(change, band, lets_run=runs and held != 0 and closable != 0, is_same=True):
        return ZERO
    rounding = ROUND_FLOOR if target > 0 else ROUND_CEILING
    return (change / step).to_integral_value(rounding) * step


def affordable_quantity(quantity: Decimal, added: Decimal, price: Decimal, power: Decimal, step: Decimal) -> Decimal:
    """An order's quantity, cut by whole steps until the `added` exposure in it costs no more than the buying power.

    A rebalance sells one symbol to buy another at the same open, and the money of the sale is not there yet; what the
    cut leaves is bought with a later bar. Where nothing would be left the quantity is returned uncut, to be refused.
    """
    excess = added * price - power
    if excess <= 0:
        return quantity
    cut = (excess / price / step).to_integral_value(ROUND_CEILING) * step
    return quantity if cut >= added else quantity - cut
