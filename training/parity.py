"""Decision parity: what was decided on live rows, decided again in bulk on the same bars, as the backtest does."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from models_registry import registry
from training.replay import signals
from warehouse.connection import arrow, connect
from warehouse.errors import Stop

_DECISIONS = """
    select model_id, symbol, bar_start, feature_names, feature_values, score, target_weight
    from ledger.decisions
    order by model_id, bar_start, symbol
"""

_FEATURES = "select * from features.features_{timeframe} where symbol = any($1) and bar_start >= $2"


class ParityBroken(Stop):
    """A decision cannot be reproduced from the stored data."""


@dataclass(frozen=True)
class Parity:
    """Decisions compared, feature values among them, and those that differ in any bit (described)."""

    decisions: int
    feature_values: int
    differences: tuple[str, ...]


def compare() -> Parity:
    """Every decision in the ledger against the features as they stand and the model run over all bars at once."""
    with connect("analyst") as connection:
        stored = connection.execute(_DECISIONS).fetchall()
    by_model: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for model_id, *decision in stored:
        by_model[model_id].append(tuple(decision))
    values = 0
    differences: list[str] = []
    for model_id, decisions in by_model.items():
        package = registry.load_model(model_id, role="analyst")
        query = _FEATURES.format(timeframe=package.timeframe)
        relation = arrow("analyst", query, (sorted({symbol for symbol, *_ in decisions}), decisions[0][1]))
        features = relation.to_pandas().set_index(["symbol", "bar_start"])
        weights = signals(package, decisions[0][1], decisions[-1][1]).set_index(["symbol", "bar_start"])
        for symbol, bar_start, names, vector, score, weight in decisions:
            key = (symbol, bar_start)
            values += len(names)
            if key not in features.index:
                differences.append(f"{model_id} {symbol} {bar_start:%Y-%m-%d %H:%M}: the bar is gone")
                continue
            if key not in weights.index:
                differences.append(f"{model_id} {symbol} {bar_start:%Y-%m-%d %H:%M}: by now it was no member then")
                continue
            now = {**features.loc[key, names], "score": weights.loc[key, "score"], "weight": weights.loc[key, "weight"]}
            then = {**dict(zip(names, vector, strict=True)), "score": score, "weight": weight}
            differences += [
                f"{model_id} {symbol} {bar_start:%Y-%m-%d %H:%M}: {name} was {then[name]!r}, is {now[name]!r}"
                for name in then
                if np.float64(then[name]).tobytes() != np.float64(now[name]).tobytes()
            ]
    return Parity(len(stored), values, tuple(differences))
