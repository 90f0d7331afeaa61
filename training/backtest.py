"""Out-of-sample evidence of one trial: every fold's model decides on days it has not seen, through the model package.

Decide at the close of bar t, hold the target weight from the open of t+1 to the open of t+2, pay costs on every change.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import cast

import numpy as np

from models_registry.package import FeatureColumn, ModelPackage, TrainingWindow, library_versions, model_id
from training import models
from training.dataset import Dataset
from training.hypothesis import Hypothesis, XGBoostParameters
from training.walk_forward import Fold


@dataclass(frozen=True)
class TrialPath:
    """What a trial did on the T out-of-sample sessions with S symbols, and how well it predicted.

    sessions (T,) datetime64 UTC and fold (T,); score (T, S) is NaN where no row was ready; positions, asset_returns and
    costs (T, S) are fractions of equity. Sessions without a bar to trade on have 0 in position and return.
    """

    sessions: np.ndarray
    fold: np.ndarray
    scores: np.ndarray
    positions: np.ndarray
    asset_returns: np.ndarray
    costs: np.ndarray
    skill_in_sample: float
    skill_out_of_sample: float

    @property
    def net_returns(self) -> np.ndarray:
        """(T, S) contribution of each symbol to the net return."""
        return np.asarray(self.positions * self.asset_returns - self.costs)


@dataclass(frozen=True)
class _FoldResult:
    """Scores and weights (sessions, S) of one fold's test; losses and base-rate losses in and out of sample."""

    scores: np.ndarray
    weights: np.ndarray
    in_sample: tuple[np.ndarray, np.ndarray]
    out_of_sample: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Backtest:
    """A hypothesis on its dataset: folds and labels are made once, trials share them."""

    hypothesis: Hypothesis
    dataset: Dataset
    folds: tuple[Fold, ...]
    device: str
    run_id: str

    @cached_property
    def labels(self) -> np.ndarray:
        """(T, S) labels, NaN where the return they need is not known."""
        return self.hypothesis.target.label(self.dataset.forward_returns(self.hypothesis.target.horizon))

    def package(self, parameters: XGBoostParameters, sessions: np.ndarray, trial_id: str) -> ModelPackage:
        """Fit on the labelled, ready rows of these sessions, and wrap the booster. Raises ModelError."""
        usable = self._labelled(sessions)
        booster = models.fit(
            self.dataset.features[sessions][usable],
            self.labels[sessions][usable],
            self.hypothesis.target,
            parameters,
            device=self.device,
            seed=self.hypothesis.training.seed,
        )
        used = sessions[usable.any(axis=1)]
        hypothesis = self.hypothesis
        return ModelPackage.build(
            booster,
            model_id=model_id(hypothesis.experiment_id, trial_id),
            experiment_id=hypothesis.experiment_id,
            hypothesis_id=hypothesis.content_hash,
            run_id=self.run_id,
            trial_id=trial_id,
            symbols=hypothesis.symbols,
            timeframe=hypothesis.timeframe,
            features=tuple(
                FeatureColumn(name=name, fingerprint=fingerprint)
                for name, fingerprint in self.dataset.fingerprints.items()
            ),
            target=hypothesis.target,
            position_sizing=hypothesis.position_sizing,
            cost_bps_per_side=hypothesis.costs.bps_per_side,
            parameters=parameters.model_dump(),
            training_window=TrainingWindow(
                start=_utc(self.dataset.sessions[used[0]]),
                end=_utc(self.dataset.sessions[used[-1]]),
                rows=int(usable.sum()),
            ),
            data_watermark=_utc(self.dataset.sessions[-1]),
            library_versions=library_versions(),
        )

    def run(self, trials: Mapping[str, XGBoostParameters]) -> dict[str, TrialPath]:
        """The out-of-sample path of every trial (trial_id -> parameters). Fits run side by side, one thread each."""
        # the GPU is one device: fits that share it only wait for each other
        workers = 1 if self.device == "cuda" else os.cpu_count() or 1
        pool = ThreadPoolExecutor(workers)
        try:
            running = {
                trial_id: [pool.submit(self._fold, fold, parameters, trial_id) for fold in self.folds]
                for trial_id, parameters in trials.items()
            }
            return {
                trial_id: self._path([result.result() for result in results]) for trial_id, results in running.items()
            }
        finally:
            # after an error or Ctrl-C, what has not begun is not begun
            pool.shutdown(cancel_futures=True)

    def _fold(self, fold: Fold, parameters: XGBoostParameters, trial_id: str) -> _FoldResult:
        package = self.package(parameters, fold.train, trial_id)
        decided = package.target_weights(self.dataset.rows(fold.test))
        shape = (len(fold.test), len(self.dataset.symbols))
        base = models.base_rate(package.target, self.labels[fold.train][self._labelled(fold.train)])
        return _FoldResult(
            scores=decided["score"].to_numpy().reshape(shape),
            weights=decided["weight"].to_numpy().reshape(shape),
            in_sample=self._losses(package, fold.train, base),
            out_of_sample=self._losses(package, fold.test, base),
        )

    def _labelled(self, sessions: np.ndarray) -> np.ndarray:
        return np.asarray(self.dataset.ready[sessions] & ~np.isnan(self.labels[sessions]))

    def _losses(self, package: ModelPackage, sessions: np.ndarray, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        usable = self._labelled(sessions)
        labels = self.labels[sessions][usable]
        predictions = package.predict(self.dataset.features[sessions][usable])
        return models.losses(package.target, labels, predictions), models.losses(package.target, labels, base)

    def _path(self, results: list[_FoldResult]) -> TrialPath:
        sessions = np.concatenate([fold.test for fold in self.folds])
        returns = self.dataset.forward_returns(1)[sessions]
        tradable = ~np.isnan(returns)
        positions = np.where(tradable, np.concatenate([result.weights for result in results]), 0.0)
        changes = np.abs(np.diff(positions, axis=0, prepend=0.0))
        return TrialPath(
            sessions=self.dataset.sessions[sessions],
            fold=np.concatenate([np.full(len(fold.test), fold.number) for fold in self.folds]),
            scores=np.concatenate([result.scores for result in results]),
            positions=positions,
            asset_returns=np.where(tradable, returns, 0.0),
            costs=self.hypothesis.costs.bps_per_side / 1e4 * changes,
            skill_in_sample=_pooled_skill([result.in_sample for result in results]),
            skill_out_of_sample=_pooled_skill([result.out_of_sample for result in results]),
        )


def _pooled_skill(folds: list[tuple[np.ndarray, np.ndarray]]) -> float:
    return models.skill(*(np.concatenate(kind) for kind in zip(*folds, strict=True)))


def _utc(moment: np.datetime64) -> datetime:
    return cast("datetime", moment.astype("datetime64[us]").item()).replace(tzinfo=UTC)
