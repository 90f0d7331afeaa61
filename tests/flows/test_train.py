"""What the flow that trains does with what goes wrong around its searches."""

import pytest

from flows import cluster, train
from training.models import ModelError
from training.remote import ClusterError
from warehouse.errors import Stop
from warehouse.settings import PROJECT_DIR

EXPERIMENTS = [str(PROJECT_DIR / "experiments" / name) for name in ("planted_edge.yaml", "planted_coin.yaml")]


def test_a_cluster_that_fails_spends_no_look_on_half_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[str] = []

    def fit(one: object, file: str, address: str | None) -> object:
        if fitted:
            raise ClusterError("the Dask scheduler is gone")
        fitted.append(file)
        return object()

    monkeypatch.setattr(cluster, "check", lambda address: None)
    monkeypatch.setattr(train, "gather_evidence", lambda timeframes: None)
    monkeypatch.setattr(train, "fit", fit)
    monkeypatch.setattr(train, "judge", lambda runs: pytest.fail("half of the files were judged"))
    with pytest.raises(ClusterError, match=r"^experiments/planted_coin.yaml: the Dask scheduler is gone"):
        train.train.fn(EXPERIMENTS, "tcp://127.0.0.1:1")
    assert fitted == ["experiments/planted_edge.yaml"]


def test_a_file_that_cannot_be_fitted_is_named_and_the_others_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """R12: what is wrong with one file is no other's affair."""
    judged: list[object] = []

    def fit(one: object, file: str, address: str | None) -> str:
        if file.endswith("planted_coin.yaml"):
            raise ModelError("planted_coin, fold 2 of 5 (400 bars): every label in the training window is the same")
        return file

    monkeypatch.setattr(train, "gather_evidence", lambda timeframes: None)
    monkeypatch.setattr(train, "fit", fit)
    monkeypatch.setattr(train, "judge", lambda runs: judged.extend(runs) or [])
    files = [*reversed(EXPERIMENTS), str(PROJECT_DIR / "experiments" / "pure_noise.yaml")]
    with pytest.raises(
        Stop, match=r"^1 of 3 hypotheses were not trained: experiments/planted_coin.yaml: planted_coin, fo"
    ):
        train.train.fn(files)
    assert judged == ["experiments/planted_edge.yaml", "experiments/pure_noise.yaml"]
