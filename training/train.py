"""Training one hypothesis: every combination of its grid becomes a trial with stored out-of-sample evidence."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from models_registry.frozen import canonical_json
from training import backtest, memorised, targets, trials, units
from training.backtest import Backtest, folds_of
from training.budget import Budget
from training.dataset import Dataset, read
from training.fitted import Fitted
from training.hypothesis import Hypothesis
from training.matrices import Matrices
from training.models import LINEAR, ModelError, resolve_device
from training.targets import Values
from training.trials import FamilyKey
from training.units import HandOut, Unit
from training.walk_forward import Fold
from warehouse.connection import connect
from warehouse.errors import OperatorError


@dataclass(frozen=True)
class Run:
    """A run of a hypothesis on one state of the data. `is_new` is False when it was already stored, trials and all."""

    run_id: str
    experiment_id: str
    hypothesis_id: str
    family_id: str
    trial_ids: tuple[str, ...]
    rows_used: int
    rows_unready: int
    device: str
    is_new: bool
    # what is told of a panel that memory does not hold; None where it does
    beyond_memory: str | None = None


@dataclass(frozen=True)
class Search:
    """A hypothesis with its grid on one state of the data: what its trials have in common."""

    hypothesis: Hypothesis
    dataset: Dataset
    device: str
    run_id: str
    matrices: Matrices = field(default_factory=Matrices, compare=False)

    def __post_init__(self) -> None:
        """Raise ModelError for what cannot be fitted on a panel that memory does not hold."""
        if not self.dataset.is_on_disk:
            return
        if self.device == "cuda":
            raise ModelError(
                f"the panel of {self.hypothesis.experiment_id} exceeds the memory of a search, and external memory is "
                "fitted on the CPU: set training.device to cpu, or raise TRUEBAR_TRAINING_MEMORY_GB"
            )
        if any(one.training.xgboost.booster == "gblinear" for _, one in self.hypothesis.trials):
            raise ModelError(f"booster gblinear of {self.hypothesis.experiment_id} {LINEAR}")

    @cached_property
    def trials(self) -> dict[str, tuple[dict[str, Any], Backtest]]:
        """By trial_id: what the grid chose, with the booster's parameters, and the trial's own backtest.

        All have the same out-of-sample bars.
        """
        found = {}
        for chosen, hypothesis in self.hypothesis.trials:
            parameters = trials.stored_parameters(hypothesis, chosen)
            found[trials.trial_id(self.run_id, parameters)] = parameters, self.backtest(hypothesis)
        return found

    @property
    def folds(self) -> tuple[Fold, ...]:
        """Folds of the first trial."""
        return next(iter(self.trials.values()))[1].folds

    def backtest(self, hypothesis: Hypothesis) -> Backtest:
        """The backtest of one of the trials' hypotheses. What trials share is made once."""
        features = canonical_json([hypothesis.feature_groups, hypothesis.named_features, hypothesis.exclude_features])
        if features not in self._datasets:
            self._datasets[features] = self.dataset.chosen_by(hypothesis)
        dataset = self._datasets[features]
        target = canonical_json(hypothesis.target.model_dump(mode="json"))
        if target not in self._values:
            self._values[target] = targets.values(hypothesis.target, dataset)
        values = self._values[target]
        return Backtest(
            hypothesis, dataset, folds_of(hypothesis, values), self.device, self.run_id, values, matrices=self.matrices
        )

    def do(self, unit: Unit) -> Any:
        """What a process does of the search by itself; `unit` brings along what was chosen in its fold before."""
        _, one = self.trials[unit.trial]
        if unit.choice is not None:
            one.chosen[unit.fold] = unit.choice
        if unit.is_control:
            return memorised.gap_of(one)
        fold = next(fold for fold in one.folds if fold.number == unit.fold)
        return one.attempt(fold, one.hypothesis.training.xgboost, unit.trial)

    @cached_property
    def _datasets(self) -> dict[str, Dataset]:
        return {}

    @cached_property
    def _values(self) -> dict[str, Values]:
        return {}


def train(hypothesis: Hypothesis, *, source_file: str, elsewhere: Callable[[Search], HandOut] | None = None) -> Run:
    """Fit and backtest every trial of a hypothesis and store them. The same run again returns the stored one.

    `elsewhere` hands out the fits of a search to other processes; without it they are made in this one. A run that
    fails is recorded as failed, with its reason, and the error goes on. Raises OperatorError.
    """
    search, family = prepare(hypothesis)
    dataset, device = search.dataset, search.device
    tried = search.trials
    with connect("trainer") as connection:
        trials.start_run(connection, hypothesis, dataset, family, source_file=source_file, device=device)
        is_new = trials.outcome(connection, search.run_id) != "succeeded"
    if is_new:
        _try(search, family, tried, None if elsewhere is None else elsewhere(search))
    return Run(
        run_id=search.run_id,
        experiment_id=hypothesis.experiment_id,
        hypothesis_id=hypothesis.content_hash,
        family_id=family.family_id,
        trial_ids=tuple(tried),
        rows_used=int(dataset.is_decided.sum()),
        rows_unready=dataset.unready_rows,
        device=device,
        is_new=is_new,
        beyond_memory=Budget.of_settings().told(dataset.load) if dataset.is_on_disk else None,
    )


def prepare(hypothesis: Hypothesis) -> tuple[Search, FamilyKey]:
    """Read the data of a hypothesis, and name the run and the family it belongs to. Writes nothing."""
    dataset = read(hypothesis)
    asked = hypothesis.training.device
    # a GPU is handed parts in memory of its own only
    device = resolve_device("cpu" if dataset.is_on_disk and asked == "auto" else asked)
    matrices = Matrices(Budget.of_settings().room_for_matrices(dataset.load))
    search = Search(hypothesis, dataset, device, trials.run_id(hypothesis, dataset), matrices)
    return search, FamilyKey.of(dataset, search.folds)


def _try(
    search: Search,
    family: FamilyKey,
    tried: Mapping[str, tuple[dict[str, Any], Backtest]],
    hand_out: HandOut | None,
) -> None:
    with connect("trainer", read_only=True) as connection:
        kept = Fitted(connection, search.run_id, search.device)
        for (trial, fold), choice in trials.stored_choices(connection, search.run_id, search.device).items():
            tried[trial][1].chosen[fold] = choice
    hand_out = kept.beside(hand_out or units.local(next(iter(tried.values()))[1]))
    unfitted: dict[str, str] = {}
    try:
        asked = {trial: (one, one.hypothesis.training.xgboost) for trial, (_, one) in tried.items()}
        paths = backtest.run(asked, hand_out, unfitted)
        gaps = memorised.gaps({trial: one for trial, (_, one) in tried.items() if trial in paths}, hand_out)
    except (OperatorError, MemoryError) as error:
        with connect("trainer") as connection:
            trials.record_outcome(connection, search.run_id, "failed", str(error) or type(error).__name__)
        raise
    with connect("trainer") as connection:
        is_first = trials.claim_finish(connection, search.run_id)
        kept.clear(connection)
        if not is_first:
            return
        evidence = {
            trial: (parameters, one.dataset.feature_names, paths.get(trial))
            for trial, (parameters, one) in tried.items()
        }
        trials.finish_run(connection, search.run_id, search.hypothesis, family, evidence, unfitted)
        memorised.store(connection, gaps)
