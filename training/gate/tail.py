"""What a crash would cost. No statistic on calm data can see a tail, so it is computed from what happened to others.

Moves of one day or night, rounded, that traded markets have seen. Equities: the S&P 500 lost 20 % on 1987-10-19; large
companies have halved overnight (a failed drug, a fraud); GameStop more than doubled on 2021-01-27. Crypto: Bitcoin and
most others lost about half within a day on 2020-03-12; single coins lost nearly everything (LUNA, 2022-05-12), and
small ones have trebled.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.gate.evidence import Trial


@dataclass(frozen=True)
class WorstMoves:
    """Simple returns: of all at once, of one alone, and of one that was sold short."""

    market: float
    fall: float
    rise: float


WORST: Mapping[str, WorstMoves] = {
    "equity": WorstMoves(market=-0.20, fall=-0.50, rise=1.0),
    "crypto": WorstMoves(market=-0.50, fall=-0.90, rise=2.0),
}


@dataclass(frozen=True)
class TailCost:
    """`cost`: fraction of equity, of the worst of these moves at the largest positions held. `years`: of mean earnings
    after costs that it takes to earn that back; None for a trial that earns nothing."""

    cost: float
    years: float | None


def tail_cost(trial: Trial, periods_per_year: float) -> TailCost:
    """Of a class that is not known, the worst moves of any class are taken."""
    worst = [WORST.get(name, _worst_of_all()) for name in trial.asset_classes]
    market, fall, rise = (np.array([getattr(moves, kind) for moves in worst]) for kind in ("market", "fall", "rise"))
    held = trial.positions
    alone = np.maximum(np.maximum(held, 0) * -fall, np.maximum(-held, 0) * rise).max()
    together = np.maximum(-(held * market).sum(axis=1), 0).max()
    cost = float(max(alone, together))
    earned = trial.net_returns.mean() * periods_per_year
    return TailCost(cost, float(cost / earned) if earned > 0 else None)


def _worst_of_all() -> WorstMoves:
    moves = WORST.values()
    return WorstMoves(min(m.market for m in moves), min(m.fall for m in moves), max(m.rise for m in moves))
