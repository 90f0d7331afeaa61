"""Training one hypothesis: every combination of its grid becomes a trial with stored out-of-sample evidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training import trials
from training.backtest import Backtest
from training.dataset import read
from training.hypothesis import Hypothesis
from training.models import resolve_device
from training.trials import FamilyKey
from training.walk_forward import split
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


def train(hypothesis: Hypothesis, *, source_file: str) -> Run:
    """Fit and backtest every trial of a hypothesis and store them. The same run again returns the stored one.

    A run that fails is recorded as failed, with its reason, and the error goes on. Raises OperatorError.
    """
    backtest, family = prepare(hypothesis)
    dataset, device = backtest.dataset, backtest.device
    grid = {trials.trial_id(backtest.run_id, choice): choice for choice in hypothesis.training.combinations()}
    with connect("trainer") as connection:
        trials.start_run(connection, hypothesis, dataset, family, source_file=source_file, device=device)
        is_new = trials.outcome(connection, backtest.run_id) != "succeeded"
    if is_new:
        _try(backtest, family, grid)
    return Run(
        run_id=backtest.run_id,
        experiment_id=hypothesis.experiment_id,
        hypothesis_id=hypothesis.content_hash,
        family_id=family.family_id,
        trial_ids=tuple(grid),
        rows_used=int(dataset.ready.sum()),
        rows_unready=dataset.unready_rows,
        device=device,
        is_new=is_new,
    )


def prepare(hypothesis: Hypothesis) -> tuple[Backtest, FamilyKey]:
    """Read the data of a hypothesis, and name the run and the family it belongs to. Writes nothing."""
    training = hypothesis.training
    dataset = read(hypothesis)
    folds = split(
        len(dataset.sessions),
        folds=training.folds,
        out_of_sample_fraction=training.out_of_sample_fraction,
        horizon=hypothesis.target.horizon,
    )
    device = resolve_device(training.device)
    return Backtest(hypothesis, dataset, folds, device, trials.run_id(hypothesis, dataset)), FamilyKey.of(
        dataset, folds
    )


def _try(backtest: Backtest, family: FamilyKey, grid: Mapping[str, Any]) -> None:
    try:
        paths = backtest.run(grid)
    except (OperatorError, MemoryError) as error:
        with connect("trainer") as connection:
            trials.record_outcome(connection, backtest.run_id, "failed", str(error) or type(error).__name__)
        raise
    with connect("trainer") as connection:
        if not trials.claim_finish(connection, backtest.run_id):
            return
        evidence = {trial: (grid[trial], path) for trial, path in paths.items()}
        trials.finish_run(connection, backtest.run_id, backtest.hypothesis, family, evidence)
