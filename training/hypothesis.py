"""A hypothesis: one YAML file that says what is believed, and how the belief is tested.

Adding a hypothesis is a new file, never a code change. Its identity is the hash of its content; only the
description, which is prose, may be corrected without becoming another hypothesis.
"""

import datetime
import itertools
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from models_registry.frozen import Frozen, canonical_json, sha256
from models_registry.scoring import PositionSizing, Target
from training import yaml_source
from training.gate import ThresholdError, Thresholds
from training.yaml_source import HypothesisError, YamlSource

FeatureGroup = Literal["momentum", "trend", "volatility", "volume", "candle", "calendar", "statistical", "cross_asset"]
GridParameter = Literal[
    "n_estimators", "max_depth", "learning_rate", "min_child_weight", "subsample", "colsample_bytree",
    "reg_lambda", "reg_alpha", "gamma",
]  # fmt: skip
# any text without spaces, quotes and commas: what is a symbol is decided by the seeds
Symbol = Annotated[str, Field(pattern=r"^[^\s\"'\\,;]{1,40}$")]
LARGEST_GRID = 200


class Costs(Frozen):
    """What a trade costs, in basis points of the traded value, each side: commission, spread and slippage together."""

    bps_per_side: float = Field(ge=0.0, le=500.0)


class XGBoostParameters(Frozen):
    """The booster's parameters, XGBoost's own names and meanings. The defaults lean to small, cautious trees."""

    n_estimators: int = Field(100, ge=1, le=5000)
    max_depth: int = Field(3, ge=1, le=12)
    learning_rate: float = Field(0.05, gt=0.0, le=1.0)
    min_child_weight: float = Field(20.0, ge=0.0)
    subsample: float = Field(0.8, gt=0.0, le=1.0)
    colsample_bytree: float = Field(1.0, gt=0.0, le=1.0)
    reg_lambda: float = Field(1.0, ge=0.0)
    reg_alpha: float = Field(0.0, ge=0.0)
    gamma: float = Field(0.0, ge=0.0)


class Training(Frozen):
    """Which data, how it is split, and what is fitted.

    The last `out_of_sample_fraction` of the sessions from `start` to `end` (dates of sessions, both included; the
    newest when `end` is left out) is cut into `folds`; each is predicted by a model fitted on everything before it.
    `device: auto` is CUDA when there is one. Every combination of `grid` is one trial, and every trial counts.
    """

    start: datetime.date
    end: datetime.date | None = None
    folds: Literal[5] = 5
    out_of_sample_fraction: float = Field(0.6, ge=0.6, le=0.8)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = Field(1, ge=0, lt=2**31)
    xgboost: XGBoostParameters = XGBoostParameters()
    grid: dict[GridParameter, tuple[int | float, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _dates_in_order(self) -> Self:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end ({self.end}) must be after start ({self.start})")
        return self

    @field_validator("grid")
    @classmethod
    def _grid_is_usable(cls, grid: dict[str, tuple[int | float, ...]]) -> dict[str, tuple[int | float, ...]]:
        size = 1
        for name, values in grid.items():
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} needs a list of different values, at least one")
            for value in values:
                _allowed_value(name, value)
            size *= len(values)
        if size > LARGEST_GRID:
            raise ValueError(f"the grid has {size} combinations; at most {LARGEST_GRID} are allowed")
        return grid

    def combinations(self) -> list[XGBoostParameters]:
        """The parameters of every trial, in the order of the grid's keys and values; one trial without a grid."""
        names = list(self.grid)
        return [
            XGBoostParameters(**(self.xgboost.model_dump() | dict(zip(names, values, strict=True))))
            for values in itertools.product(*self.grid.values())
        ]


class Hypothesis(Frozen):
    """What is believed about which symbols, and how it is tested. Immutable; unknown keys are refused."""

    experiment_id: str = Field(pattern=r"^[a-z][a-z0-9_]{2,47}$", description="lower case letters, digits and _")
    description: str = Field(min_length=1)
    symbols: tuple[Symbol, ...] = Field(min_length=1, max_length=500)
    timeframe: Literal["1d"]
    model_type: Literal["xgboost"]
    feature_groups: tuple[FeatureGroup, ...] = Field(min_length=1)
    target: Target
    position_sizing: PositionSizing
    costs: Costs
    training: Training
    gate: dict[str, int | float | bool] = Field(
        default_factory=dict,
        description="stricter thresholds of the gate; a looser one is refused",
        json_schema_extra={"propertyNames": {"enum": [*sorted(Thresholds.model_fields)]}},
    )

    @field_validator("symbols", "feature_groups")
    @classmethod
    def _sorted_without_repeats(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("a name is listed twice")
        return tuple(sorted(names))

    @field_validator("gate")
    @classmethod
    def _gate_is_stricter(cls, overrides: dict[str, int | float | bool]) -> dict[str, int | float | bool]:
        try:
            Thresholds().tighten(overrides)
        except ThresholdError as error:
            raise ValueError(str(error)) from None
        return overrides

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON of everything but the description: the hypothesis's identity."""
        return sha256(canonical_json(self.model_dump(mode="json", exclude={"description"})))

    @cached_property
    def thresholds(self) -> Thresholds:
        """The gate's thresholds with this hypothesis's stricter ones."""
        return Thresholds().tighten(self.gate)


def load(path: Path | str) -> Hypothesis:
    """Read and validate one hypothesis. Raises HypothesisError: file, line, key, and what is allowed."""
    source = yaml_source.read(Path(path))
    try:
        return Hypothesis.model_validate(source.content)
    except ValidationError as error:
        # an unknown key first: a misspelt one is also reported as missing, which would mislead
        problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
        raise HypothesisError(_sentence(source, problems[0])) from None


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a hypothesis file, for editors."""
    schema = Hypothesis.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "truebar hypothesis"}


def _allowed_value(name: str, value: int | float) -> None:
    try:
        XGBoostParameters(**{name: value})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise ValueError(f"{name}: {value!r}: {_lower(problem)}") from None


def _sentence(source: YamlSource, problem: ErrorDetails) -> str:
    place = tuple(step for step in problem["loc"] if step != "[key]")
    key = ".".join(str(step) for step in place)
    where = f"{source.path}, line {source.line(place)}"
    match problem["type"]:
        case "extra_forbidden":
            allowed = ", ".join(_fields_at(place[:-1]))
            return f"{where}: unknown key {key!r}: allowed here are {allowed}"
        case "missing":
            return f"{where}: key {key!r} is missing"
        case "literal_error":
            expected = problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
            return f"{where}: {key} is {problem['input']!r}: allowed are {expected}"
        case "value_error":
            return f"{where}: {key}: {problem['ctx']['error']}"
        case "string_type":
            return f"{where}: {key} is {problem['input']!r}, not a text: write it in quotes"
        case _:
            return f"{where}: {key} is {problem['input']!r}: {_lower(problem['msg'])}"


def _fields_at(place: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = Hypothesis
    for step in place:
        annotation = model.model_fields[str(step)].annotation
        model = next(kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type))
    return list(model.model_fields)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
