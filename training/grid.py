"""A grid: which values of a hypothesis are tried, and the hypothesis that each combination of them is.

A key is a parameter of the booster (`max_depth`) or the path of any other value (`target.horizon`, `feature_groups`).
What cannot be varied is what the trials of a search share: symbols, bars, folds and the window.
"""

import difflib
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from training.parameters import XGBoostParameters

LARGEST_GRID = 200

_BOOSTER = ("training", "xgboost")
# top-level keys whose values, or the values below them, a grid may vary
_VARIED = (
    "feature_groups", "features", "exclude_features", "target", "position_sizing", "costs", "rebalancing", "exits",
)  # fmt: skip


class GridError(ValueError):
    """A grid asks for what is not there or not allowed; `place` is its path in the file."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.place = ("training", "grid", key)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` with the name most like this one, or nothing when none is."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def keys_of(model: type[BaseModel]) -> dict[str, tuple[str, ...]]:
    """Every key that a grid of this model (a hypothesis) may have -> the path of the value that it varies."""
    keys: dict[str, tuple[str, ...]] = {name: (*_BOOSTER, name) for name in XGBoostParameters.model_fields}
    for name in _VARIED:
        below = model_at(model, (name,))
        if below is None:
            keys[name] = (name,)
        else:
            keys |= {f"{name}.{field}": (name, field) for field in below.model_fields}
    return keys | {"training.seed": ("training", "seed")}


def model_at(model: type[BaseModel], path: tuple[str, ...]) -> type[BaseModel] | None:
    """The model of the mapping at a path of keys, or None where a plain value stands."""
    found: type[BaseModel] | None = model
    for step in path:
        if found is None or step not in found.model_fields:
            return None
        annotation = found.model_fields[step].annotation
        kinds = (annotation, *get_args(annotation))
        found = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return found


def check(model: type[BaseModel], grid: Mapping[str, tuple[Any, ...]]) -> None:
    """Raises GridError for a key that cannot be varied, values that repeat, or more combinations than allowed."""
    known = keys_of(model)
    size = 1
    for key, values in grid.items():
        if key not in known:
            raise GridError(key, f"{key!r} cannot be varied: allowed are {', '.join(known)}{nearest(key, known)}")
        if not values or any(value in values[:place] for place, value in enumerate(values)):
            raise GridError(key, f"{key} needs a list of different values, at least one")
        size *= len(values)
        if size > LARGEST_GRID:
            raise GridError(key, f"the grid has {size} combinations; at most {LARGEST_GRID} are allowed")


def combinations(grid: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Key -> value of every trial, in the order of the grid's keys and values; one empty one without a grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def with_values(content: Mapping[str, Any], model: type[BaseModel], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a hypothesis with the chosen values in their places, and without its grid."""
    training = {name: value for name, value in content["training"].items() if name != "grid"}
    varied = {**content, "training": training}
    paths = keys_of(model)
    for key, value in chosen.items():
        varied = _replaced(varied, paths[key], value)
    return varied


def _replaced(content: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *rest = path
    below = _replaced(content.get(first) or {}, tuple(rest), value) if rest else value
    return {**content, first: below}


def reason_of(error: ValidationError) -> str:
    """What is wrong with a combination, in a few words."""
    problem = error.errors(include_url=False)[0]
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    return f"{problem['input']!r}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"
