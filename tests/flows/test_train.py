"""What the flow that trains does with what goes wrong around its searches."""

import pytest

from flows import cluster, train
from training.remote import ClusterError
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
