"""Decision parity: what was decided on live rows, decided again in bulk on the same bars, as the backtest does."""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models_registry import registry
from models_registry.exits import Exits, Held, Levels, decide
from training.replay import signals
from warehouse.connection import arrow, connect
from warehouse.errors import Stop

_DECISIONS = """
    select
        model_id, symbol, bar_start, feature_names, feature_values, score,
        coalesce(signal_weight, target_weight) as weight
    from ledger.decisions
    order by model_id, bar_start, symbol
"""

# What exits made of the weights that scores asked for, and from what: prices since the entry as they stand now.
_EXITS = """
    select
        decisions.symbol, decisions.bar_start, decisions.signal_weight, decisions.score, decisions.target_weight,
        decisions.barred, coalesce(before.barred, 0) as barred_before, decisions.held_side,
        since.bars, since.entry, since.low, since.high
    from ledger.decisions
    left join lateral (
        select barred
        from ledger.decisions as earlier
        where
            earlier.account_id = decisions.account_id and earlier.model_id = decisions.model_id
            and earlier.symbol = decisions.symbol and earlier.bar_start < decisions.bar_start
        order by earlier.bar_start desc, earlier.attempt desc
        limit 1
    ) as before on true
    left join lateral (
        select
            count(*) as bars, (array_agg(adj_open::float8 order by bars.bar_start))[1] as entry,
            min(case when coalesce(is_range_doubtful, false) then adj_open else adj_low end::float8) as low,
            max(case when coalesce(is_range_doubtful, false) then adj_open else adj_high end::float8) as high
        from canonical.ohlcv_{timeframe} as bars
        where
            bars.symbol = decisions.symbol and bars.bar_start between decisions.held_since and decisions.bar_start
            and not {without_trades}
    ) as since on true
    where
        decisions.model_id = %s and decisions.signal_weight is not null
        and not exists (
            select from canonical.ohlcv_{timeframe} as bars
            where bars.symbol = decisions.symbol and bars.bar_start = decisions.bar_start and {without_trades}
        )
    order by decisions.bar_start, decisions.symbol
"""

_WITHOUT_TRADES = "(coalesce(is_silent, false) or (coalesce(volume, 1) = 0 and high = low))"

# Bars that no backtest decides; nor does a session, which once did.
_SILENT = """
    select symbol, bar_start from canonical.ohlcv_{timeframe}
    where symbol = any(%s) and bar_start between %s and %s and {without_trades}
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
    compared = values = 0
    differences: list[str] = []
    for model_id, decisions in by_model.items():
        package = registry.load_model(model_id, role="analyst")
        silent = _silent(package.timeframe, decisions)
        decisions = [decision for decision in decisions if decision[:2] not in silent]
        if not decisions:
            continue
        compared += len(decisions)
        query = _FEATURES.format(timeframe=package.timeframe)
        relation = arrow("analyst", query, (sorted({symbol for symbol, *_ in decisions}), decisions[0][1]))
        features = relation.to_pandas().set_index(["symbol", "bar_start"])
        weights = signals(package, decisions[0][1], decisions[-1][1]).set_index(["symbol", "bar_start"])
        if package.exits is not None:
            whole = weights["whole"].to_dict()
            differences += _exits_that_differ(
                model_id, package.exits, package.timeframe, whole, may_short=package.sizing.may_short
            )
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
    return Parity(compared, values, tuple(differences))


def _silent(timeframe: str, decisions: Sequence[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """Symbol and start of the bars in which nobody traded, among those that were decided."""
    asked = (sorted({symbol for symbol, *_ in decisions}), decisions[0][1], decisions[-1][1])
    query = _SILENT.format(timeframe=timeframe, without_trades=_WITHOUT_TRADES)
    with connect("analyst", read_only=True) as connection:
        return set(connection.execute(query, asked).fetchall())


def _exits_that_differ(
    model_id: str, exits: Exits, timeframe: str, whole: Mapping[Hashable, float], *, may_short: bool = True
) -> Iterator[str]:
    """Decisions whose exits come to another weight, or bar another side, on the prices as they stand."""
    with connect("analyst", read_only=True) as connection:
        query = _EXITS.format(timeframe=timeframe, without_trades=_WITHOUT_TRADES)
        rows = connection.execute(query, (model_id,)).fetchall()
    for symbol, bar_start, signal, score, target, barred, barred_before, side, *since in rows:
        bars, *prices = since
        held = Held(side, bars, *(np.nan if price is None else price for price in prices))
        kept = whole.get((symbol, bar_start), np.nan)
        said = [np.array([[float(value)]]) for value in (signal, score, kept, barred_before)]
        weights, still, _ = decide(Levels.of([exits], may_short=may_short), said[0], said[1], said[2], held, said[3])
        for name, then, now in (("weight", target, float(weights[0, 0])), ("barred", barred, int(still[0, 0]))):
            if np.float64(then).tobytes() != np.float64(now).tobytes():
                yield f"{model_id} {symbol} {bar_start:%Y-%m-%d %H:%M}: after exits {name} was {then!r}, is {now!r}"
