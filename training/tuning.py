"""Tuning that costs no luck: a search inside a training fold, judged on days before those that the gate will see.

Optuna tries sets of parameters on an inner walk-forward over the fold's training bars. Only the best of them is fitted
on the whole fold and meets its out-of-sample bars, so the whole search is one trial.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import optuna
from pydantic import Field, ValidationError, model_validator

from models_registry.frozen import Frozen
from models_registry.scoring import Flag, Number, Whole
from training import models
from training.models import ModelError
from training.parameters import XGBoostParameters

if TYPE_CHECKING:
    from training.backtest import Backtest

# The inner walk-forward tests on this last part of a fold's training bars, as the outer one does by default.
INNER_FRACTION = 0.6
# What is tried before the sampler learns from it.
LEARNT_FROM = 10

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Between(Frozen):
    """A range, both ends included; `log`: as likely between 0.01 and 0.1 as between 0.1 and 1."""

    low: Whole | Number
    high: Whole | Number
    log: Flag = False

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range starts above 0, not at {self.low:g}")
        return self


Choices = tuple[Whole | Number | str, ...]


class Tune(Frozen):
    """What is searched inside each training fold: parameters of the booster, each between two values or one of several.

    `rounds` sets of parameters are tried on `inner_folds` folds of the training bars. One thread and one seed: the same
    search again chooses the same.
    """

    rounds: Whole = Field(20, ge=2, le=500)
    inner_folds: Whole = Field(3, ge=2, le=5)
    space: dict[str, Between | Choices] = Field(min_length=1, description="booster parameter -> range, or list")

    @model_validator(mode="after")
    def _can_be_fitted(self) -> Self:
        fields = XGBoostParameters.model_fields
        for name, values in self.space.items():
            if name not in fields:
                raise ValueError(f"space.{name} is no parameter of the booster: there are {', '.join(fields)}")
            ends = (values.low, values.high) if isinstance(values, Between) else values
            if isinstance(values, tuple) and len(set(values)) < max(len(values), 2):
                raise ValueError(f"space.{name} needs a list of different values, at least two")
            for value in ends:
                try:
                    XGBoostParameters.model_validate({name: value})
                except ValidationError as error:
                    raise ValueError(f"space.{name}: {value!r}: {error.errors()[0]['msg']}") from None
        return self


@dataclass(frozen=True)
class Choice:
    """What a search chose: the parameters, their skill on the inner walk-forward, and how many sets were tried."""

    parameters: XGBoostParameters
    inner_skill: float
    rounds: int


def choose(backtest: "Backtest", train: np.ndarray, parameters: XGBoostParameters, *, number: int) -> Choice:
    """Search on the training bars `train` of the fold with this number; `parameters` are those that are not searched.

    Raises ModelError where no set of parameters can be fitted.
    """
    tune = backtest.hypothesis.training.tune
    assert tune is not None
    parts = _inner(backtest, train, tune.inner_folds)

    def tried(trial: optuna.Trial) -> float:
        one = with_values(parameters, {name: _suggested(trial, name, values) for name, values in tune.space.items()})
        try:
            return _skill(backtest, parts, one)
        except (ModelError, ValidationError) as error:
            raise optuna.TrialPruned(str(error)) from error

    seed = backtest.hypothesis.training.seed * 1000 + number
    sampler = optuna.samplers.TPESampler(seed=seed % 2**32, n_startup_trials=min(LEARNT_FROM, tune.rounds // 2 + 1))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(tried, n_trials=tune.rounds)
    if not any(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials):
        raise ModelError(f"none of {tune.rounds} sets of parameters could be fitted on an inner walk-forward")
    return Choice(with_values(parameters, study.best_params), study.best_value, tune.rounds)


def with_values(parameters: XGBoostParameters, values: Mapping[str, Any]) -> XGBoostParameters:
    """The parameters with some of them replaced, validated."""
    return XGBoostParameters.model_validate({**parameters.model_dump(), **values})


def _suggested(trial: optuna.Trial, name: str, values: Between | Choices) -> Any:
    if not isinstance(values, Between):
        return trial.suggest_categorical(name, values)
    # what XGBoost counts is a whole number, whatever the file writes
    if isinstance(XGBoostParameters.model_fields[name].default, int):
        return trial.suggest_int(name, int(values.low), int(values.high), log=values.log)
    return trial.suggest_float(name, values.low, values.high, log=values.log)


def _inner(backtest: "Backtest", train: np.ndarray, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(train, test) of an inner walk-forward; labels that were not known before a test begins are left out."""
    size = int(len(train) * INNER_FRACTION) // folds
    known_at = backtest.target_values.known_at.max(axis=1)
    parts = []
    for back in range(folds, 0, -1):
        test = train[len(train) - back * size : len(train) - (back - 1) * size]
        before = train[train < test[0]] if len(test) else train
        parts.append((before[known_at[before] < test[0]], test))
    return parts


def _skill(backtest: "Backtest", parts: list[tuple[np.ndarray, np.ndarray]], parameters: XGBoostParameters) -> float:
    target, losses, base_losses = backtest.hypothesis.target, [], []
    for train, test in parts:
        fitted_on, judged = backtest.sample(train, train), backtest.sample(test, train)
        booster = models.fit(
            fitted_on,
            target,
            parameters,
            device=backtest.device,
            seed=backtest.hypothesis.training.seed,
            matrices=backtest.matrices,
        )
        predicted = target.predict(models.margins(booster, judged.features))
        losses.append(models.losses(target, judged.labels, predicted))
        base_losses.append(models.losses(target, judged.labels, models.base_rate(target, fitted_on.labels)))
    return models.skill(np.concatenate(losses), np.concatenate(base_losses))
