"""Fitting a booster, and how much better than the base rate it predicts."""

import json
import warnings
from functools import cache
from typing import Any

import numpy as np
import xgboost

from models_registry.scoring import Target
from training.hypothesis import XGBoostParameters
from warehouse.errors import Stop

OBJECTIVES: dict[str, dict[str, Any]] = {
    "binary": {"objective": "binary:logistic"},
    "multiclass": {"objective": "multi:softprob", "num_class": 3},
    "regression": {"objective": "reg:squarederror"},
}


class ModelError(Stop):
    """The data or the device do not allow this model to be fitted."""


def resolve_device(asked: str) -> str:
    """`cpu` or `cuda` for auto, cpu or cuda. Raises ModelError when CUDA is asked for and there is none."""
    if asked == "cpu":
        return "cpu"
    if has_cuda():
        return "cuda"
    if asked == "cuda":
        raise ModelError("training.device is cuda, and XGBoost finds no CUDA device here: use auto or cpu")
    return "cpu"


@cache
def has_cuda() -> bool:
    """Whether XGBoost can train on a CUDA device: it falls back to the CPU by itself when it cannot."""
    if not xgboost.build_info().get("USE_CUDA", False):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        probe = xgboost.train({"device": "cuda", "nthread": 1}, xgboost.DMatrix(np.eye(2), [0.0, 1.0]), 1)
    device: str = json.loads(probe.save_config())["learner"]["generic_param"]["device"]
    return device.startswith("cuda")


def fit(
    features: np.ndarray, labels: np.ndarray, target: Target, parameters: XGBoostParameters, *, device: str, seed: int
) -> bytes:
    """Fit on features (n, F) and labels (n,), and return the booster in UBJ form.

    One thread: the sums of a histogram, and so the trees, must not depend on how many cores there are. Fits run beside
    each other instead. Raises ModelError when the labels are all alike or XGBoost refuses.
    """
    if len(labels) == 0 or (target.kind != "regression" and len(np.unique(labels)) < 2):
        raise ModelError("every label in the training window is the same: there is nothing to learn from")
    settings = parameters.model_dump()
    rounds = settings.pop("n_estimators")
    settings |= {**OBJECTIVES[target.kind], "tree_method": "hist", "device": device, "nthread": 1, "seed": seed}
    try:
        matrix = xgboost.QuantileDMatrix(features.astype(np.float32), labels, nthread=1)
        return bytes(xgboost.train(settings, matrix, rounds).save_raw("ubj"))
    except xgboost.core.XGBoostError as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"XGBoost could not fit with {parameters.model_dump()} on {device}: {reason}") from error


def base_rate(target: Target, labels: np.ndarray) -> np.ndarray:
    """What the training labels alone predict: P(up) or the mean, shape (), or the shares of the classes, (3,)."""
    if target.kind == "multiclass":
        return np.bincount(labels.astype(np.int64), minlength=3) / len(labels)
    return np.asarray(np.mean(labels))


def losses(target: Target, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """(n,) Brier score (over all classes for multiclass; Brier 1950) or squared error of each prediction."""
    if target.kind == "multiclass":
        outcomes = np.eye(3)[labels.astype(np.int64)]
        return np.asarray(((np.broadcast_to(predictions, outcomes.shape) - outcomes) ** 2).sum(axis=1))
    return np.asarray((predictions - labels) ** 2)


def skill(loss: np.ndarray, base_loss: np.ndarray) -> float:
    """1 - loss / loss of the base rate, pooled: 0 is no better than the base rate, 1 is perfect."""
    return float(1.0 - loss.sum() / base_loss.sum())
