"""What holding and trading cost: what a hypothesis says, and the least that anybody is charged.

A trial at costs that nobody gets proves nothing, and twice nothing is nothing: the gate's test at double costs needs
costs to double. So the rates have a floor for each asset class and broker.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from models_registry.frozen import Frozen
from models_registry.scoring import Number

Broker = Literal["alpaca", "binance"]

# Basis points of the traded value, each side, spread and slippage included. Alpaca takes no commission on stocks, and
# 0.15 to 0.25 % on pairs; Binance 0.10 % on pairs. A large stock's spread is about a basis point.
FLOORS: dict[str, dict[Broker | None, float]] = {
    "equity": {None: 1.0, "alpaca": 1.0},
    "crypto": {None: 10.0, "alpaca": 25.0, "binance": 10.0},
}
# A year, as fractions. Stocks that are easy to borrow cost well under a percent; pairs are borrowed at margin rates.
BORROW_RATES = {"equity": 0.01, "crypto": 0.10}
# What is not invested earns nothing unless the hypothesis says so: few brokers pay.
CASH_RATE = 0.0

_BASIS_POINT = 1e-4


class Costs(Frozen):
    """What trading and holding cost. Rates are fractions a year; None is the default of the symbol's asset class.

    bps_per_side: basis points of the traded value, each side: commission, spread and slippage together. Less than the
    floor of the asset class (and `broker`) is charged as the floor.
    """

    bps_per_side: Number = Field(ge=0.0, le=500.0)
    broker: Broker | None = Field(None, description="whose floor of costs holds; the lowest of all when left out")
    borrow_rate: Number | None = Field(None, ge=0.0, le=10.0, description="a year, of the value of a short position")
    cash_rate: Number | None = Field(None, ge=0.0, le=0.5, description="a year, earned by what is not invested")


@dataclass(frozen=True)
class Rates:
    """What S symbols are charged: `side` (S,) per unit traded, `borrow` (S,) and `cash` per year, as fractions."""

    side: np.ndarray
    borrow: np.ndarray
    cash: float


def rates(costs: Costs, asset_classes: Sequence[str]) -> Rates:
    """The rates of symbols of these asset classes, floors applied."""
    floors = [FLOORS[asset_class].get(costs.broker, FLOORS[asset_class][None]) for asset_class in asset_classes]
    borrow = [BORROW_RATES[name] if costs.borrow_rate is None else costs.borrow_rate for name in asset_classes]
    return Rates(
        side=np.maximum(costs.bps_per_side, floors) * _BASIS_POINT,
        borrow=np.array(borrow, dtype=np.float64),
        cash=CASH_RATE if costs.cash_rate is None else costs.cash_rate,
    )
