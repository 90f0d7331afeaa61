"""Fits that share a matrix come to the bits of fits that have one of their own, side by side too."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xgboost

from tests.training import worlds
from training import budget, matrices, memorised, models
from training.matrices import Matrices
from training.models import Sample
from training.parameters import XGBoostParameters
from training.rows import Rows
from training.train import Search
from warehouse.errors import Stop

pytestmark = pytest.mark.long


def sample(rows: int = 3000, seed: int = 1) -> Sample:
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((rows, 8))
    features[generator.random(features.shape) < 0.05] = np.nan
    labels = (np.nan_to_num(features[:, 0]) + generator.standard_normal(rows) > 0).astype(float)
    return Sample(Rows.of(features), labels, tuple(f"f{number}" for number in range(8)), np.arange(rows), 1)


VARIED = [
    {"max_depth": depth, "subsample": share, "booster": booster, **more}
    for depth in (2, 5)
    for share in (0.6, 1.0)
    for booster, more in (
        ("gbtree", {}),
        ("gbtree", {"max_bin": 16}),
        ("gbtree", {"max_bin": 700}),
        ("gbtree", {"class_weights": "balanced", "colsample_bytree": 0.5}),
        ("gbtree", {"early_stopping_rounds": 3}),
        ("gbtree", {"monotone_constraints": {"f0": 1}}),
        ("dart", {"rate_drop": 0.2}),
        ("gblinear", {}),
    )
]


@pytest.mark.parametrize("room", [budget.KEPT, 1])
def test_what_is_shared_changes_no_bit(room: int) -> None:
    """Several threads read a shared matrix; its `max_bin` has to be that of the fit, xgboost#7976."""
    target = worlds.hypothesis().target
    asked = [XGBoostParameters(n_estimators=15, **one) for one in VARIED]
    asked *= 2
    alone = [models.fit(sample(), target, one, device="cpu", seed=3) for one in asked]
    shared = Matrices(room)
    with ThreadPoolExecutor(8) as pool:
        together = list(
            pool.map(lambda one: models.fit(sample(), target, one, device="cpu", seed=3, matrices=shared), asked)
        )
    assert together == alone


def test_a_fold_has_one_matrix_for_all_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Counted(xgboost.QuantileDMatrix):
        def __init__(self, features: np.ndarray, *arguments: object, **named: object) -> None:
            made.append(len(features))
            super().__init__(features, *arguments, **named)

    monkeypatch.setattr(matrices.xgboost, "QuantileDMatrix", Counted)
    training = {"start": "2000-01-01", "device": "cpu", "folds": 3, "grid": {"max_depth": [1, 2], "gamma": [0, 1]}}
    search = Search(worlds.hypothesis(training=training), worlds.dataset(), "cpu", "run")
    trials = {trial: one for trial, (_, one) in search.trials.items()}
    models_of = {trial: one.run({trial: one.hypothesis.training.xgboost})[trial] for trial, one in trials.items()}
    assert len(models_of) == 4
    assert len(made) == 3 == len(set(made)), "one per fold"


def test_what_a_matrix_follows_from_tells_it_apart() -> None:
    one = sample()
    features, labels = one.features.whole(), one.labels
    shared = Matrices()
    first = shared.quantized(Rows.of(features), labels, None, 256)
    assert shared.quantized(Rows.of(features.copy()), labels.copy(), None, 256) is first
    ones, others = np.ones(len(labels)), features.copy()
    others[-1, -1] += 1
    for rows, *asked in (
        (features, labels, None, 255),
        (features, 1 - labels, None, 256),
        (features, labels, ones, 256),
        (others, labels, None, 256),
        (features[:-1], labels[:-1], None, 256),
    ):
        assert shared.quantized(Rows.of(rows), *asked) is not first


@pytest.mark.parametrize("said", ["std::bad_alloc", "cudaErrorMemoryAllocation: out of memory"])
def test_short_memory_is_no_finding_about_the_hypothesis(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise xgboost.core.XGBoostError(said)

    monkeypatch.setattr(models.xgboost, "train", fails)
    with pytest.raises(Stop, match="too little memory on cpu") as short:
        models.fit(sample(), worlds.hypothesis().target, XGBoostParameters(), device="cpu", seed=3)
    assert not isinstance(short.value, models.ModelError)
    training = {"start": "2000-01-01", "device": "cpu", "folds": 3}
    [(_, one)] = Search(worlds.hypothesis(training=training), worlds.dataset(), "cpu", "run").trials.values()
    with pytest.raises(Stop, match="too little memory on cpu"):
        memorised.gap_of(one)


def test_a_matrix_that_cannot_be_made_is_asked_for_again() -> None:
    one = sample()
    features, shared = one.features, Matrices()
    for _ in range(2):
        with pytest.raises(xgboost.core.XGBoostError):
            shared.quantized(features, np.full(3, 0.5), None, 256)
    assert shared.quantized(features, one.labels, None, 256).num_row() == len(one.labels)
