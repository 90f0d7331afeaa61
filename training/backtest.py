"""Out-of-sample evidence of trials: every fold's model decides on bars it has not seen, through the model package.

What is decided at the close of a bar is filled at the next open; `training/accounting.py` says what that earns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from models_registry.package import FeatureColumn, ModelPackage, TrainingWindow, library_versions, model_id
from training import costs, models, targets, tuning, units
from training.accounting import Account, Market, Terms, Wanted
from training.dataset import Dataset, utc
from training.hypothesis import Hypothesis
from training.matrices import Matrices
from training.models import ModelError, Sample
from training.parameters import XGBoostParameters
from training.targets import Values
from training.tuning import Choice
from training.units import HandOut, Unit
from training.walk_forward import UNFINISHED_SESSIONS, Fold, anchored, split


@dataclass(frozen=True)
class TrialPath:
    """What a trial did on the T out-of-sample bars with S symbols, and how well it predicted.

    sessions (T,) datetime64 UTC, starts of the decision bars, and fold (T,); scores (T, S) is NaN where no row was
    ready. positions, trades, asset_returns, costs and interest (T, S) are fractions of equity over the bar that follows
    (see accounting). benchmark_returns (T, S): what each symbol adds to the return of buy-and-hold. left_out: how many
    rows were not used, and why. coverage (S,): share of the expected bars in which somebody traded, NaN where there are
    none. named_returns (T, S): each symbol's share of the return of a named benchmark, None without one.
    """

    sessions: np.ndarray
    fold: np.ndarray
    scores: np.ndarray
    positions: np.ndarray
    trades: np.ndarray
    asset_returns: np.ndarray
    benchmark_returns: np.ndarray
    costs: np.ndarray
    interest: np.ndarray
    skill_in_sample: float
    skill_out_of_sample: float
    left_out: dict[str, int] = field(default_factory=dict)
    coverage: tuple[float, ...] | None = None
    named_returns: np.ndarray | None = None

    @property
    def net_returns(self) -> np.ndarray:
        """(T, S) contribution of each symbol to the net return."""
        return np.asarray(self.positions * self.asset_returns - self.costs + self.interest)


@dataclass(frozen=True)
class FoldResult:
    """Scores and weights (bars, S) of one fold's test.

    in_sample, out_of_sample (2,): the sums of its losses and of the base rate's. whole (bars, S): the weight of a
    position that exits keep, NaN without any. choice: what the search inside the fold chose, None where there is none.
    """

    scores: np.ndarray
    weights: np.ndarray
    whole: np.ndarray
    in_sample: np.ndarray
    out_of_sample: np.ndarray
    choice: Choice | None = None


@dataclass(frozen=True)
class Unfitted:
    """Why a fold of a trial could not be fitted."""

    reason: str


@dataclass(frozen=True)
class Backtest:
    """One trial's hypothesis on its dataset: folds and labels are made once.

    `chosen` is what the search inside each fold chose, by the fold's number, where the hypothesis tunes; a search that
    is not there yet is made when its fold is fitted. `matrices` are those of all fits on the dataset.
    """

    hypothesis: Hypothesis
    dataset: Dataset
    folds: tuple[Fold, ...]
    device: str
    run_id: str
    known_values: Values | None = None
    chosen: dict[int, Choice] = field(default_factory=dict)
    matrices: Matrices = field(default_factory=Matrices)

    @cached_property
    def target_values(self) -> Values:
        """What the target measures at every row of the grid."""
        return self.known_values or targets.values(self.hypothesis.target, self.dataset)

    def package(self, parameters: XGBoostParameters, sessions: np.ndarray, trial_id: str) -> ModelPackage:
        """Fit on the labelled, ready rows of these bars, and wrap the booster. Raises ModelError."""
        usable = self._labelled(sessions)
        dataset, hypothesis = self.dataset, self.hypothesis
        booster = models.fit(
            self.sample(sessions, sessions),
            hypothesis.target,
            parameters,
            device=self.device,
            seed=hypothesis.training.seed,
            matrices=self.matrices,
        )
        used = sessions[usable.any(axis=1)]
        return ModelPackage.build(
            booster,
            model_id=model_id(hypothesis.experiment_id, trial_id),
            experiment_id=hypothesis.experiment_id,
            hypothesis_id=hypothesis.content_hash,
            run_id=self.run_id,
            trial_id=trial_id,
            symbols=dataset.symbols,
            universe=hypothesis.universe,
            timeframe=hypothesis.timeframe,
            features=tuple(
                FeatureColumn(name=name, fingerprint=fingerprint) for name, fingerprint in dataset.fingerprints.items()
            ),
            target=hypothesis.target,
            position_sizing=hypothesis.position_sizing,
            rebalancing=hypothesis.rebalancing,
            exits=hypothesis.exits,
            cost_bps_per_side=hypothesis.costs.bps_per_side,
            parameters=parameters.model_dump(),
            training_window=TrainingWindow(
                start=utc(dataset.sessions[used[0]]),
                end=utc(dataset.sessions[used[-1]]),
                rows=int(usable.sum()),
            ),
            data_watermark=utc(dataset.sessions[-1]),
            library_versions=library_versions(),
        )

    def sample(self, sessions: np.ndarray, train: np.ndarray) -> Sample:
        """The labelled, ready rows of these bars; classes of equal size are cut on the bars `train`."""
        usable = self._labelled(sessions)
        return Sample(
            features=self.dataset.learnt(sessions, usable),
            labels=self._labels(sessions, self._edges(train))[usable],
            names=self.dataset.feature_names,
            bars=np.broadcast_to(sessions[:, None], usable.shape)[usable],
            horizon=self.target_values.longest_of(sessions) - 1,
            counts=self._counts(sessions, usable),
        )

    def _counts(self, sessions: np.ndarray, usable: np.ndarray) -> np.ndarray | None:
        """(n,) what each of the usable rows of these bars counts in a fit on them alone, None where all count alike."""
        if self.hypothesis.training.sample_weights == "equal":
            return None
        used = np.zeros(self.dataset.opens.shape, dtype=bool)
        used[sessions] = usable
        known_at = self.target_values.known_at
        return np.asarray(targets.uniqueness(known_at, used, self.dataset.is_expected)[sessions][usable])

    def run(self, trials: Mapping[str, XGBoostParameters]) -> dict[str, TrialPath]:
        """The out-of-sample path of every trial (trial_id -> parameters) of this one hypothesis."""
        return run({trial_id: (self, parameters) for trial_id, parameters in trials.items()})

    def fold(self, fold: Fold, parameters: XGBoostParameters, trial_id: str) -> FoldResult:
        """Fit on the fold's training bars and decide its test bars. Raises ModelError, which names the fold."""
        try:
            package = self.package(self.tuned(parameters, fold.train, fold.number), fold.train, trial_id)
        except ModelError as error:
            raise ModelError(
                f"{self.hypothesis.experiment_id}, fold {fold.number} of {len(self.folds)} "
                f"({len(fold.train)} bars): {error}"
            ) from error
        decided = pd.concat([package.target_weights(rows) for rows in self.dataset.rows_in_parts(fold.test)])
        shape = (len(fold.test), len(self.dataset.symbols))
        edges = self._edges(fold.train)
        base = models.base_rate(package.target, self._labels(fold.train, edges)[self._labelled(fold.train)])
        return FoldResult(
            scores=decided["score"].to_numpy().reshape(shape),
            weights=decided["weight"].to_numpy().reshape(shape),
            whole=decided["whole"].to_numpy().reshape(shape) if "whole" in decided else np.full(shape, np.nan),
            in_sample=self._losses(package, fold.train, edges, base),
            out_of_sample=self._losses(package, fold.test, edges, base),
            choice=self.chosen.get(fold.number),
        )

    def attempt(self, fold: Fold, parameters: XGBoostParameters, trial_id: str) -> FoldResult | Unfitted:
        """What `fold` returns, or why it cannot be fitted: that is one trial's affair, and other trials go on."""
        try:
            return self.fold(fold, parameters, trial_id)
        except ModelError as error:
            return Unfitted(str(error))

    def tuned(self, parameters: XGBoostParameters, train: np.ndarray, number: int) -> XGBoostParameters:
        """The parameters to fit on the training bars of a fold: those searched there, or the given ones."""
        if self.hypothesis.training.tune is None:
            return parameters
        if number not in self.chosen:
            self.chosen[number] = tuning.choose(self, train, parameters, number=number)
        return self.chosen[number].parameters

    @property
    def tested(self) -> np.ndarray:
        """(T,) numbers of the out-of-sample bars."""
        return np.concatenate([fold.test for fold in self.folds])

    @cached_property
    def left_out(self) -> dict[str, int]:
        """Rows of the out-of-sample window that decided, taught or traded nothing, by reason.

        expected: bars that the calendars ask for; missing: that are not there; silent: in which nobody traded; unready:
        whose features are not; unlabelled: of ready rows, those whose outcome cannot be known. assumed_delistings:
        symbols that ended in the window with a result that nobody knows, for which the worst is assumed.
        """
        dataset, tested = self.dataset, self.tested
        member = dataset.is_member[tested]
        expected, traded = dataset.is_expected[tested] & member, dataset.is_traded[tested] & member
        there, decided = np.isfinite(dataset.opens[tested]) & member, dataset.is_decided[tested]
        return {
            "expected": int(expected.sum()),
            "missing": int((expected & ~there).sum()),
            "silent": int((there & ~traded).sum()),
            "unready": int((traded & ~dataset.ready[tested]).sum()),
            "unlabelled": int((decided & np.isnan(self.target_values.values[tested])).sum()),
            "assumed_delistings": sum(
                one.result is None and tested[0] < one.bar <= tested[-1] + UNFINISHED_SESSIONS
                for one in dataset.delistings
            ),
        }

    @cached_property
    def coverage(self) -> tuple[float, ...]:
        """(S,) of each symbol's expected out-of-sample bars, the share in which somebody traded; NaN of none."""
        expected = (self.dataset.is_expected & self.dataset.is_member)[self.tested]
        traded = self.dataset.is_traded[self.tested]
        counts = expected.sum(axis=0)
        shares = np.where(counts > 0, (expected & traded).sum(axis=0) / np.maximum(counts, 1), np.nan)
        return tuple(shares.tolist())

    @cached_property
    def terms(self) -> Terms:
        """What the trial trades on."""
        rates = costs.rates(self.hypothesis.costs, self.dataset.classes_of_symbols)
        one = self.hypothesis
        return Terms(rates, one.rebalancing, one.position_sizing.limits, one.exits)

    def _edges(self, sessions: np.ndarray) -> tuple[float, ...]:
        return self.hypothesis.target.edges(self.target_values.values[sessions][self._labelled(sessions)])

    def _labels(self, sessions: np.ndarray, edges: tuple[float, ...]) -> np.ndarray:
        return self.hypothesis.target.label(self.target_values.values[sessions], edges)

    def _labelled(self, sessions: np.ndarray) -> np.ndarray:
        return np.asarray(self.dataset.is_decided[sessions] & ~np.isnan(self.target_values.values[sessions]))

    def _losses(
        self, package: ModelPackage, sessions: np.ndarray, edges: tuple[float, ...], base: np.ndarray
    ) -> np.ndarray:
        usable = self._labelled(sessions)
        if not usable.any():
            return np.zeros(2)
        labels = self._labels(sessions, edges)[usable]
        rows = self.dataset.learnt(sessions, usable)
        predictions = np.concatenate([package.predict(part) for part in rows.parts()])
        predicted, of_base = (models.losses(package.target, labels, one) for one in (predictions, base))
        return np.array([predicted.sum(), of_base.sum()])


def run(
    trials: Mapping[str, tuple[Backtest, XGBoostParameters]],
    hand_out: HandOut | None = None,
    unfitted: dict[str, str] | None = None,
) -> dict[str, TrialPath]:
    """The out-of-sample path of every trial by its id, of hypotheses on one grid with the same out-of-sample bars.

    `hand_out` says where folds are fitted: without it in this process, side by side on a CPU. A trial that cannot be
    fitted is left out and its reason put into `unfitted`; without that, or when no trial can, ModelError is raised.
    """
    hand_out = hand_out or units.local(next(iter(trials.values()))[0])
    for one, _ in trials.values():
        one.target_values  # noqa: B018 (once, not once per thread)
    folds = {(trial, fold.number): fold for trial, (one, _) in trials.items() for fold in one.folds}
    # all of one fold first: they share its matrix
    in_turn = sorted(folds, key=lambda place: place[1])

    def fitted(unit: Unit) -> FoldResult | Unfitted:
        one, parameters = trials[unit.trial]
        return one.attempt(folds[unit.trial, unit.fold], parameters, unit.trial)

    asked = [Unit(trial, number, trials[trial][0].chosen.get(number)) for trial, number in in_turn]
    found: dict[tuple[str, int], FoldResult] = {}
    failed: dict[tuple[int, str], str] = {}
    for unit, result in hand_out(asked, fitted):
        if isinstance(result, Unfitted):
            failed[unit.fold, unit.trial] = result.reason
            if unfitted is None:
                break
            continue
        found[unit.trial, unit.fold] = result
        if result.choice is not None:
            trials[unit.trial][0].chosen[unit.fold] = result.choice
    # of several folds of a trial the first one says why
    without = {trial: failed[number, trial] for number, trial in sorted(failed, reverse=True)}
    if failed and (unfitted is None or len(without) == len(trials)):
        raise ModelError(failed[min(failed)])
    if unfitted is not None:
        unfitted |= without
    results = {
        trial: [found[trial, fold.number] for fold in one.folds]
        for trial, (one, _) in trials.items()
        if trial not in without
    }
    return _paths([trials[trial][0] for trial in results], results)


def _paths(backtests: Sequence[Backtest], results: Mapping[str, list[FoldResult]]) -> dict[str, TrialPath]:
    tested = backtests[0].tested
    market = Market(backtests[0].dataset, int(tested[0]), int(tested[-1]))
    scores = [np.concatenate([fold.scores for fold in folds]) for folds in results.values()]
    weights = [np.concatenate([fold.weights for fold in folds]) for folds in results.values()]
    whole = [np.concatenate([fold.whole for fold in folds]) for folds in results.values()]
    wanted = Wanted(np.stack(weights), np.stack(scores), np.stack(whole))
    accounts = market.run(wanted, [backtest.terms for backtest in backtests])
    return {
        trial_id: _path(backtest, market, folds, score, account)
        for (trial_id, folds), backtest, score, account in zip(
            results.items(), backtests, scores, accounts, strict=True
        )
    }


def _path(
    backtest: Backtest, market: Market, results: list[FoldResult], scores: np.ndarray, account: Account
) -> TrialPath:
    return TrialPath(
        sessions=backtest.dataset.sessions[backtest.tested],
        fold=np.concatenate([np.full(len(fold.test), fold.number) for fold in backtest.folds]),
        scores=market.scores_in_force(scores),
        positions=account.positions,
        trades=account.trades,
        asset_returns=market.returns_of(account.positions),
        benchmark_returns=market.held * market.returns,
        costs=account.costs,
        interest=account.interest,
        skill_in_sample=_pooled_skill([result.in_sample for result in results]),
        skill_out_of_sample=_pooled_skill([result.out_of_sample for result in results]),
        left_out=backtest.left_out,
        coverage=backtest.coverage,
        named_returns=market.named_returns,
    )


def folds_of(hypothesis: Hypothesis, values: Values) -> tuple[Fold, ...]:
    """The folds of one trial's hypothesis, whose target has these values. Raises TooFewSessions, HorizonTooLong."""
    training = hypothesis.training
    # symbols of several calendars share a grid, on which a label may span more bars than the horizon has
    longest = values.longest or 1 + hypothesis.target.horizon
    if training.fold_bars is not None and training.first_train_bars is not None:
        return anchored(
            values.known_at,
            first_train_bars=training.first_train_bars,
            fold_bars=training.fold_bars,
            horizon=longest - 1,
            window=training.window_bars,
        )
    return split(
        len(values.values),
        folds=training.folds,
        out_of_sample_fraction=training.out_of_sample_fraction,
        horizon=longest - 1,
        window=training.window_bars,
    )


def _pooled_skill(folds: list[np.ndarray]) -> float:
    return models.skill(*np.sum(folds, axis=0))
