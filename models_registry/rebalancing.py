"""From what is held and wanted to what is traded: drift, its band, and the limits of a panel. Pure.

The backtest and the live session both pass through here, so that a session leaves alone what its backtest left alone.
Weights are signed fractions of equity, one weight per symbol, symbols on the last axis.
"""

from typing import Any, Literal

import numpy as np
from pydantic import Field

from models_registry.frozen import Frozen
from models_registry.scoring import Number

# Sums of weights differ from a limit by so much without meaning anything.
_ROUNDING = 1e-9


class Rebalancing(Frozen):
    """What happens when prices move a position away from its target weight.

    traded: each decision brings it back, and pays for that. let_run: it is traded only when the target changes. A
    change smaller than `band` of equity is left alone; a position is always closed whole.
    """

    drift: Literal["traded", "let_run"] = "traded"
    band: Number = Field(0.01, ge=0.0, lt=1.0, description="fraction of equity below which a change is left alone")


def left_alone(change: Any, band: Any, *, lets_run: Any, is_same: Any) -> Any:
    """Whether a change of a position that neither closes it nor changes its sign is not traded.

    `change` and `band` are in one unit, whatever it is. `is_same`: what is wanted was aimed at before. Numbers, or
    arrays of one shape.
    """
    return (abs(change) < band) | (lets_run & is_same)


def trades(
    held: np.ndarray,
    wanted: np.ndarray,
    aimed_at: np.ndarray,
    *,
    band: np.ndarray | float,
    lets_run: np.ndarray | bool,
    gross: np.ndarray | float = np.inf,
    net: np.ndarray | float = np.inf,
) -> tuple[np.ndarray, np.ndarray]:
    """What is traded to get from `held` to `wanted`, and what is aimed at afterwards; all (..., S).

    NaN in `wanted` wants nothing: that symbol stays what it is. `aimed_at` is what was wanted when it was last traded,
    NaN before. A position is closed whole, and a change of sign closes first: brokers refuse an order that crosses
    zero. `gross` is the most of all positions together, without signs, and `net` of longs and shorts against each
    other. Where a symbol could not be traded and something else would take its place, what makes positions larger is
    cut evenly to what the limits leave; what makes them smaller never is.
    """
    change = wanted - held
    closes = (wanted == 0.0) | (wanted * held < 0.0)
    stays = left_alone(change, band, lets_run=lets_run, is_same=wanted == aimed_at)
    asked = np.where(np.isnan(wanted), 0.0, np.where(closes, -held, np.where(stays, 0.0, change)))
    trade = _cut(held, asked, np.abs(held + asked).sum(axis=-1, keepdims=True) - gross, 0.0)
    balance = (held + trade).sum(axis=-1, keepdims=True)
    trade = _cut(held, trade, np.abs(balance) - net, np.sign(balance))
    is_cut = trade != asked
    trade = np.where(is_cut & (np.abs(trade) < band), 0.0, trade)
    # a change of sign only closes, and what was cut is not there yet: neither is aimed at any more
    aim = np.where(is_cut, np.nan, np.where(wanted * held < 0.0, 0.0, wanted))
    return trade, np.where(np.isnan(wanted), aimed_at, aim)


def _cut(held: np.ndarray, trade: np.ndarray, excess: np.ndarray, side: np.ndarray | float) -> np.ndarray:
    """The trades, those that make positions of one side (0: of either) larger cut by the excess, evenly."""
    after = held + trade
    grows = (np.abs(after) > np.abs(held)) & ((side == 0.0) | (np.sign(after) == side))
    growth = np.where(grows, np.abs(trade), 0.0).sum(axis=-1, keepdims=True)
    left = 1.0 - excess / np.where(growth > 0.0, growth, 1.0)
    return np.where(grows & (excess > _ROUNDING), trade * np.clip(left, 0.0, 1.0), trade)
