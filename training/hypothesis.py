"""A hypothesis: one YAML file that says what is believed, and how the belief is tested.

Adding a hypothesis is a new file, never a code change. Its identity is the hash of its content; only the
description, which is prose, may be corrected without becoming another hypothesis.
"""

import datetime
import json
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    Strict,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails

from models_registry.exits import Exits
from models_registry.frozen import Frozen, canonical_json, sha256
from models_registry.rebalancing import Rebalancing
from models_registry.scoring import Number, PositionSizing, Target, Whole
from training import grid, yaml_source
from training.costs import Costs
from training.gate import ThresholdError, Thresholds
from training.grid import GridError
from training.parameters import XGBoostParameters
from training.tuning import Tune
from training.yaml_source import HypothesisError, YamlSource
from warehouse.timeframes import Timeframe

FeatureGroup = Literal["momentum", "trend", "volatility", "volume", "candle", "calendar", "statistical", "cross_asset"]
# any text without spaces, quotes and commas: what is a symbol is decided by the seeds
Symbol = Annotated[str, Field(pattern=r"^[^\s\"'\\,;]{1,40}$")]
FeatureName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
GridValue = Annotated[bool, Strict()] | Whole | Number | str | tuple[str | Whole | Number, ...] | dict[str, Whole]

# keys that hypotheses were written without before there were any
_ADDED = ("exits", "benchmark")

__all__ = ["Costs", "Hypothesis", "HypothesisError", "Rebalancing", "Training", "XGBoostParameters", "load"]


class Training(Frozen):
    """Which data, how it is split, and what is fitted.

    The last `out_of_sample_fraction` of the bars of the sessions from `start` to `end` (dates of sessions, both
    included; the newest when `end` is left out) is cut into `folds`; each is predicted by a model fitted on what lies
    before it: all of it (expanding), or its last `window_bars` (rolling). With `fold_bars` folds of that length follow
    each other from bar `first_train_bars` on, and a later `end` adds folds and changes none. `device: auto` is CUDA
    when there is one. With `sample_weights: uniqueness` a row counts for as much as its label shares no bar with those
    of other rows. `tune` searches inside each training fold, all of it one trial. Every combination of `grid` is one
    trial, and every trial counts.
    """

    start: datetime.date
    end: datetime.date | None = None
    folds: Whole = Field(5, ge=3, le=10)
    window: Literal["expanding", "rolling"] = "expanding"
    window_bars: Whole | None = Field(None, ge=250, description="rolling only: bars that each fold is trained on")
    out_of_sample_fraction: Number = Field(0.6, ge=0.6, le=0.8)
    fold_bars: Whole | None = Field(None, ge=20, description="length of each fold, in place of their number")
    first_train_bars: Whole | None = Field(None, ge=250, description="fold_bars only: bars before the first fold")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: Whole = Field(1, ge=0, lt=2**31)
    xgboost: XGBoostParameters = XGBoostParameters()
    sample_weights: Literal["equal", "uniqueness"] = "equal"
    tune: Tune | None = None
    grid: dict[str, tuple[GridValue, ...]] = Field(
        default_factory=dict,
        description="booster parameter, or path of any other value (target.horizon) -> the values that are tried",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end ({self.end}) must be after start ({self.start})")
        if (self.window == "rolling") != (self.window_bars is not None):
            raise ValueError("a rolling window needs window_bars, its length; an expanding one has none")
        if (self.fold_bars is None) != (self.first_train_bars is None):
            raise ValueError("fold_bars needs first_train_bars, the bars before the first fold; and the reverse")
        if self.tune is not None and (both := sorted({*self.tune.space} & {*self.grid})):
            raise ValueError(f"{both[0]} is in grid and in tune.space: keep it in one of them")
        fields = Training.model_fields
        if self.fold_bars is not None and (
            self.folds != fields["folds"].default
            or self.out_of_sample_fraction != fields["out_of_sample_fraction"].default
        ):
            raise ValueError("fold_bars counts folds from the first bar: leave folds and out_of_sample_fraction out")
        return self

    @model_serializer(mode="wrap")
    def _without_equal_weights(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # as of a hypothesis without exits: what was written before there were weights keeps its hash
        content: dict[str, Any] = handler(self)
        return {name: value for name, value in content.items() if name != "sample_weights" or value != "equal"}

    @property
    def most_bins(self) -> int:
        """The largest `max_bin` that a fit may have."""
        searched = self.tune.space.get("max_bin", ()) if self.tune else ()
        return max(
            int(one) for one in (self.xgboost.max_bin, *(searched if isinstance(searched, tuple) else [searched.high]))
        )


class Hypothesis(Frozen):
    """What is believed about which symbols, and how it is tested. Immutable; unknown keys are refused."""

    experiment_id: str = Field(pattern=r"^[a-z][a-z0-9_]{2,47}$", description="lower case letters, digits and _")
    description: str = Field(min_length=1)
    symbols: tuple[Symbol, ...] = Field((), max_length=500)
    universe: str | None = Field(
        None, pattern=r"^[a-z][a-z0-9_]{1,47}$", description="in place of symbols: at each bar, who was a member then"
    )
    timeframe: Timeframe
    model_type: Literal["xgboost"]
    feature_groups: tuple[FeatureGroup, ...] = ()
    features: tuple[FeatureName, ...] = Field((), description="single features, beside those of the groups")
    exclude_features: tuple[FeatureName, ...] = Field((), description="features of the groups that are left out")
    target: Target
    position_sizing: PositionSizing
    costs: Costs
    rebalancing: Rebalancing = Rebalancing()
    exits: Exits | None = None
    benchmark: Symbol | None = Field(
        None, description="what a trial is shown beside, besides buy-and-hold of its symbols"
    )
    training: Training
    gate: dict[str, int | float | bool] = Field(
        default_factory=dict,
        description="stricter thresholds of the gate; a looser one is refused",
        json_schema_extra={"propertyNames": {"enum": [*sorted(Thresholds.model_fields)]}},
    )

    @field_validator("symbols", "feature_groups", "features", "exclude_features")
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

    @model_serializer(mode="wrap")
    def _without_absent_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # a hypothesis without exits is the one that it was before there were any: same content, same hash
        content: dict[str, Any] = handler(self)
        return {name: value for name, value in content.items() if name not in _ADDED or value is not None}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        grid.check(Hypothesis, self.training.grid)
        if not self.training.grid:
            self._check_one()
        else:
            _try_combinations(canonical_json(self.model_dump(mode="json")))
        return self

    def _check_one(self) -> None:
        """What no single key can tell: keys that contradict each other."""
        sizing, parameters = self.position_sizing, self.training.xgboost
        if (self.universe is None) == (not self.symbols):
            raise ValueError("symbols or universe says what is traded: name one of them")
        if self.universe is not None and sizing.policy != "top_bottom_k":
            raise ValueError(
                f"a universe has other members at other times, and {sizing.policy} shares equity among a fixed list: "
                "use top_bottom_k"
            )
        if not self.feature_groups and not self.features:
            raise ValueError("feature_groups or features must name at least one: a model needs something to look at")
        if both := sorted({*self.features} & {*self.exclude_features}):
            raise ValueError(f"{both[0]} is in features and in exclude_features: keep it in one of them")
        if self.symbols and sizing.top + sizing.bottom > len(self.symbols):
            raise ValueError(
                f"position_sizing holds {sizing.top + sizing.bottom} symbols at each bar, and there are "
                f"{len(self.symbols)}"
            )
        if self.target.kind == "rank" and len(self.symbols) == 1:
            raise ValueError("a rank target compares the symbols of a panel: it needs at least two")
        if sizing.policy == "kelly" and self.target.kind == "rank":
            raise ValueError("a kelly policy needs the size of the return, and a rank tells none: use another target")
        largest = sizing.largest_weight(max(len(self.symbols), 1))
        if largest <= self.rebalancing.band:
            raise ValueError(
                f"a whole position weighs {largest:g}, and rebalancing.band leaves alone what is below "
                f"{self.rebalancing.band:g}: nothing would ever trade"
            )
        if self.exits is not None:
            self.exits.check(sizing)
        if parameters.scale_pos_weight is not None and self.target.kind != "binary":
            raise ValueError(f"scale_pos_weight weighs up labels of a binary target, not of {self.target.kind}")
        weights = parameters.class_weights
        if weights is not None and not self.target.classes:
            raise ValueError(f"class_weights need classes, and a {self.target.kind} target has none")
        if isinstance(weights, tuple) and len(weights) != self.target.classes:
            raise ValueError(f"class_weights has {len(weights)} numbers for {self.target.classes} classes")

    @cached_property
    def trials(self) -> tuple[tuple[dict[str, Any], "Hypothesis"], ...]:
        """Of every trial: the values that the grid chose, by key, and the hypothesis with them, which has no grid.

        Raises GridError for a combination that is not valid.
        """
        content = self.model_dump(mode="json")
        return tuple((chosen, _variant(content, chosen)) for chosen in grid.combinations(self.training.grid))

    def variant(self, chosen: Mapping[str, Any]) -> "Hypothesis":
        """This hypothesis with values of the grid in their places, by key, and without a grid."""
        return _variant(self.model_dump(mode="json"), chosen)

    @property
    def named_features(self) -> tuple[str, ...]:
        """Features that are read whatever the groups: those named, and those that target and sizing stand on."""
        needed = [part.volatility for part in (self.target, self.position_sizing) if part.needs_volatility]
        return tuple(sorted({*self.features, *needed}))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON of everything but the description: the hypothesis's identity."""
        return sha256(canonical_json(self.model_dump(mode="json", exclude={"description"})))

    @cached_property
    def thresholds(self) -> Thresholds:
        """The gate's thresholds with this hypothesis's stricter ones."""
        return Thresholds().tighten(self.gate)


@lru_cache(maxsize=1024)
def _try_combinations(content: str) -> None:
    """Raises GridError unless every combination of the grid is valid, and ValueError where the grid is not to blame.

    A gate reads the same hypothesis many times: what was tried is remembered.
    """
    whole = json.loads(content)
    for chosen in grid.combinations(whole["training"]["grid"]):
        try:
            _variant(whole, chosen)
        except GridError as error:
            alone = [{key: value} for key, value in chosen.items()]
            if not any(_is_valid(whole, one) for one in ({}, *alone)):
                reason = str(error).removeprefix(f"{error.place[-1]}: ")
                raise ValueError(reason) from None
            raise


def _variant(content: Mapping[str, Any], chosen: Mapping[str, Any]) -> Hypothesis:
    try:
        return Hypothesis.model_validate(grid.with_values(content, Hypothesis, chosen))
    except ValidationError as error:
        # all keys but one may be right: the first that is wrong by itself is named, else the last
        wrong = next((key for key in chosen if not _is_valid(content, {key: chosen[key]})), [*chosen][-1])
        raise GridError(wrong, f"{wrong}: {grid.reason_of(error)}") from None


def _is_valid(content: Mapping[str, Any], chosen: Mapping[str, Any]) -> bool:
    try:
        Hypothesis.model_validate(grid.with_values(content, Hypothesis, chosen))
    except ValidationError:
        return False
    return True


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
    schema["$defs"]["Training"]["properties"]["grid"]["propertyNames"] = {"enum": [*grid.keys_of(Hypothesis)]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "truebar hypothesis"}


def _sentence(source: YamlSource, problem: ErrorDetails) -> str:
    place = tuple(step for step in problem["loc"] if step != "[key]" and _is_written(source, step))
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, GridError):
        return f"{source.path}, line {source.line(cause.place)}: training.grid: {cause}"
    key = ".".join(str(step) for step in place)
    where = f"{source.path}, line {source.line(place)}"
    match problem["type"]:
        case "extra_forbidden":
            fields = _fields_at(place[:-1])
            close = grid.nearest(str(place[-1]), fields)
            return f"{where}: unknown key {key!r}: allowed here are {', '.join(fields)}{close}"
        case "missing":
            return f"{where}: key {key!r} is missing"
        case "literal_error":
            expected = problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
            close = grid.nearest(str(problem["input"]), expected.split(", "))
            return f"{where}: {key} is {problem['input']!r}: allowed are {expected}{close}"
        case "value_error":
            return f"{where}: {key}: {cause}" if key else f"{where}: {cause}"
        case "string_type":
            return f"{where}: {key} is {problem['input']!r}, not a text: write it in quotes"
        case _:
            return f"{where}: {key} is {problem['input']!r}: {_lower(problem['msg'])}"


def _is_written(source: YamlSource, step: str | int) -> bool:
    """Whether a step of an error's place is a key or an index; steps that name one kind of several are not."""
    return isinstance(step, int) or step.isidentifier() or ("." in step and "[" not in step)


def _fields_at(place: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = Hypothesis
    for step in place:
        annotation = model.model_fields[str(step)].annotation
        model = next(kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type))
    return list(model.model_fields)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
