"""What the flow that fits anew tells of what trades, and when it fails."""

from datetime import UTC, datetime

import pytest

from flows import refit
from flows.attention import NeedsAttention
from training.models import ModelError
from training.refit import Refitted, Trading
from training.train import Run

CONTENT = {
    "experiment_id": "edge",
    "symbols": ["EDGE"],
    "timeframe": "1d",
    "model_type": "xgboost",
    "feature_groups": ["volume"],
    "target": {"kind": "binary"},
    "position_sizing": {"policy": "long_flat"},
    "costs": {"bps_per_side": 2},
    "training": {"start": "2000-01-01"},
}


def trading(name: str, **training: str) -> Trading:
    content = {**CONTENT, "training": {**CONTENT["training"], **training}}
    return Trading(name, "before", datetime(2012, 9, 28, tzinfo=UTC), f"experiments/{name}.yaml", content)


def test_without_newer_bars_nothing_is_tested_or_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refit, "trading", lambda: (trading("ended", end="2012-09-28"),))
    monkeypatch.setattr(refit, "gather_evidence", lambda timeframes: pytest.fail("there is nothing to fit"))
    assert refit.refit.fn() == 0


def test_what_cannot_be_fitted_and_what_fails_now_are_named_and_the_others_are_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged: list[str] = []

    def fit(one: object, file: str) -> Run:
        if file == "experiments/lost.yaml":
            raise ModelError("every label in the training window is the same")
        return Run("after", "edge", "h", "f", ("t",), 1, 0, "cpu", True)

    def judge(runs: list[tuple[Trading, Run]]) -> tuple[Refitted, ...]:
        judged.extend(model.model_id for model, _ in runs)
        return tuple(
            Refitted(model, run, ("FAILED",) if model.model_id == "faded" else ("PASSED",), None, "edge: told")
            for model, run in runs
        )

    monkeypatch.setattr(refit, "trading", lambda: tuple(trading(name) for name in ("faded", "fine", "lost")))
    monkeypatch.setattr(refit, "gather_evidence", lambda timeframes: None)
    monkeypatch.setattr(refit, "fit", fit)
    monkeypatch.setattr(refit, "judge_again", judge)
    with pytest.raises(NeedsAttention) as said:
        refit.refit.fn()
    assert judged == ["faded", "fine"]
    assert str(said.value).startswith(
        "models fitted anew and judged: 2; model lost trades on and was not fitted anew: every label"
    )
    assert "; model faded trades on, and its hypothesis fails with the bars that came since" in str(said.value)
    assert "fine" not in str(said.value)
