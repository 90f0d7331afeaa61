"""From weights to quantities: never more than asked for, and a closed position is closed to the last fraction."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.sizing import affordable_quantity, order_quantity, target_quantity

WEIGHTS = st.floats(-2, 2)
MONEY = st.decimals("0.01", "10000000", places=2)
LOTS = st.sampled_from([Decimal(1), Decimal(100), Decimal("0.001")])
HELD = st.decimals("-5000", "5000", places=3)


@given(WEIGHTS, MONEY, MONEY, LOTS)
def test_a_target_is_whole_lots_within_its_weight(weight, capital, price, lot):
    target = target_quantity(weight, capital, price, lot)
    worth = abs(target) * price
    allowed = abs(Decimal(weight)) * capital
    assert target % lot == 0
    assert worth <= allowed * (1 + Decimal("1e-20"))
    assert worth + lot * price > allowed * (1 - Decimal("1e-20"))
    assert target * Decimal(weight) >= 0


@given(st.integers(-100, 100), HELD, LOTS)
def test_an_order_leads_to_the_target_and_not_past_it(lots, held, lot):
    target = lots * lot
    after = held + order_quantity(target, held, lot)
    if target == 0 or target * held < 0:
        assert after == 0
    else:
        assert target * after >= 0
        assert abs(after) <= abs(target)
        assert abs(target - after) < lot


@given(st.integers(-100, 100), LOTS, st.decimals("0", "50", places=2))
def test_a_position_at_its_target_needs_no_order(lots, lot, band):
    assert order_quantity(lots * lot, lots * lot, lot, band=band) == 0


def test_the_band_leaves_small_changes_alone_but_never_a_close():
    assert order_quantity(Decimal(103), Decimal(100), Decimal(1), band=Decimal(5)) == 0
    assert order_quantity(Decimal(105), Decimal(100), Decimal(1), band=Decimal(5)) == 5
    assert order_quantity(Decimal(0), Decimal("1.5"), Decimal(1), band=Decimal(5)) == Decimal("-1.5")


def test_drift_that_is_let_run_trades_only_to_another_target():
    assert order_quantity(Decimal(110), Decimal(100), Decimal(1), runs=True) == 0
    assert order_quantity(Decimal(110), Decimal(100), Decimal(1), runs=False) == 10
    assert order_quantity(Decimal(110), Decimal(0), Decimal(1), runs=True) == 110, (
        "a close made room for the other side"
    )
    dust = {"runs": True, "closable": Decimal(0)}
    assert order_quantity(Decimal(110), Decimal("0.4"), Decimal(1), **dust) == 109, "dust is no position"
    assert order_quantity(Decimal(0), Decimal(100), Decimal(1), runs=True) == -100


@pytest.mark.parametrize(
    ("weight", "capital", "price"),
    [(float("nan"), 1, 1), (float("inf"), 1, 1), (1.0, 0, 1), (1.0, 1, 0), (1.0, 1, -3), (1.0, "NaN", 1)],
)
def test_nothing_is_sized_from_nonsense(weight, capital, price):
    with pytest.raises(ValueError, match="is needed to size an order"):
        target_quantity(weight, Decimal(capital), Decimal(price), Decimal(1))


@given(st.integers(1, 1000), MONEY, MONEY)
def test_a_cut_order_is_affordable_and_the_largest_that_is(units, price, power):
    quantity = Decimal(units)
    cut = affordable_quantity(quantity, quantity, price, power, Decimal(1))
    if price > power:
        assert cut == quantity  # nothing is affordable: left for the rule to refuse
    else:
        assert cut * price <= power
        assert cut == quantity or (cut + 1) * price > power


def test_an_order_that_only_reduces_is_never_cut():
    assert affordable_quantity(Decimal(5), Decimal(-5), Decimal(10), Decimal(0), Decimal(1)) == 5
