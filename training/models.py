"""Fitting a booster, and how much better than the base rate it predicts."""

import json
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import xgboost

from models_registry.scoring import Target
from training.matrices import BeforeEachRound, Matrices, quantize
from training.parameters import XGBoostParameters
from training.rows import Rows, folder
from warehouse.errors import Stop

# what XGBoost says of memory that is not there, on a machine or a GPU
_MEMORY = ("bad_alloc", "out of memory", "cudaErrorMemoryAllocation", "Insufficient memory")


# why a panel that memory does not hold is refused
LINEAR = (
    "reads a whole fold at once, and the panel exceeds the memory of a search: take gbtree or dart, or raise "
    "TRUEBAR_TRAINING_MEMORY_GB"
)


class ModelError(Stop):
    """The data or the device do not allow this model to be fitted."""


@dataclass(frozen=True)
class Sample:
    """What a booster is fitted on: features of n rows, labels (n,), names of the F features, and rows to stop early on.

    `bars` (n,) are the bar numbers of the rows, ascending. `horizon` is how many bars a label spans. `counts` (n,) is
    what each row counts beside what its class does, None where all count the same.
    """

    features: Rows
    labels: np.ndarray
    names: tuple[str, ...]
    bars: np.ndarray
    horizon: int
    counts: np.ndarray | None = None

    def inner(self, fraction: float) -> tuple["Sample", "Sample"]:
        """The rows before the last `fraction` of the bars, and that part; labels that reach into it are left out."""
        numbers = np.unique(self.bars)
        begins = numbers[int(len(numbers) * (1.0 - fraction))]
        before, after = self.bars + self.horizon + 1 < begins, self.bars >= begins
        return self._rows(before), self._rows(after)

    def _rows(self, chosen: np.ndarray) -> "Sample":
        counts = None if self.counts is None else self.counts[chosen]
        return Sample(
            self.features.take(chosen), self.labels[chosen], self.names, self.bars[chosen], self.horizon, counts
        )


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
    sample: Sample,
    target: Target,
    parameters: XGBoostParameters,
    *,
    device: str,
    seed: int,
    matrices: Matrices | None = None,
) -> bytes:
    """Fit a sample and return the booster in UBJ form. `matrices` has those of other fits, which may be the same.

    One thread: the sums of a histogram, and so the trees, must not depend on how many cores there are. Fits run beside
    each other instead. Raises ModelError when the labels are all alike or XGBoost refuses, and another Stop when memory
    is short or files cannot be read.
    """
    _refuse_one_class(sample, target)
    settings = {
        **parameters.for_xgboost(sample.names),
        **_objective(target),
        "device": "cpu" if parameters.booster == "gblinear" else device,
        "nthread": 1,
        "seed": seed,
    }
    try:
        matrices = matrices or Matrices()
        with matrices.turn(sample.features):
            return _trained(sample, target, parameters, settings, matrices)
    except xgboost.core.XGBoostError as error:
        reason = str(error).splitlines()[0]
        if any(word in str(error) for word in _MEMORY):
            # nothing is known of the hypothesis: stored as a failed fit, it would count against it for good
            raise Stop(f"there is too little memory on {device} to fit: {reason}") from error
        if sample.features.is_on_disk and not _refuses(settings, sample, parameters.max_bin):
            raise Stop(
                f"XGBoost could not fit from its files in {folder()}: {reason}; see that this disk is sound and has "
                "room, then run the same command again"
            ) from error
        raise ModelError(f"XGBoost could not fit with {parameters.model_dump()} on {device}: {reason}") from error


def _refuses(settings: dict[str, Any], sample: Sample, max_bin: int) -> bool:
    """Whether XGBoost refuses the parameters themselves: in memory too, for one tree on a few rows."""
    few = np.arange(min(len(sample.labels), 100))
    try:
        matrix = quantize(Rows.of(sample.features.take(few).stored()), sample.labels[few], None, max_bin)
        xgboost.train(settings, matrix, 1)
    except xgboost.core.XGBoostError:
        return True
    return False


def _trained(
    sample: Sample, target: Target, parameters: XGBoostParameters, settings: dict[str, Any], matrices: Matrices
) -> bytes:
    rounds = parameters.n_estimators
    if parameters.early_stopping_rounds is None:
        matrix = _matrix(sample, target, parameters, matrices)
        return bytes(xgboost.train(settings, matrix, rounds, callbacks=[BeforeEachRound(matrix)]).save_raw("ubj"))
    fitted, judged = sample.inner(parameters.validation_fraction)
    _refuse_one_class(fitted, target)
    matrix = _matrix(fitted, target, parameters, matrices)
    by_row = weights(judged.labels, target, parameters, judged.counts)
    other = quantize(judged.features, judged.labels, by_row, parameters.max_bin, like=matrix)
    booster = xgboost.train(
        settings,
        matrix,
        rounds,
        evals=[(other, "inner")],
        early_stopping_rounds=parameters.early_stopping_rounds,
        verbose_eval=False,
        callbacks=[BeforeEachRound(matrix, other)],
    )
    return bytes(booster[: booster.best_iteration + 1].save_raw("ubj"))


def _matrix(sample: Sample, target: Target, parameters: XGBoostParameters, matrices: Matrices) -> xgboost.DMatrix:
    by_row = weights(sample.labels, target, parameters, sample.counts)
    if parameters.booster == "gblinear":
        if sample.features.is_on_disk:
            raise ModelError(f"booster gblinear {LINEAR}")
        # it sorts the columns in place at its first fit, so it is not shared
        return xgboost.DMatrix(sample.features.whole(), sample.labels, weight=by_row, nthread=1)
    return matrices.quantized(sample.features, sample.labels, by_row, parameters.max_bin)


def weights(
    labels: np.ndarray, target: Target, parameters: XGBoostParameters, counts: np.ndarray | None = None
) -> np.ndarray | None:
    """(n,) weight of each row: by its class, times what it counts, whose mean is 1. None where all weigh the same."""
    by_class = _weights_of_classes(labels, target, parameters)
    if counts is None:
        return by_class
    shares = np.asarray(counts / counts.mean())
    return shares if by_class is None else np.asarray(by_class * shares)


def _weights_of_classes(labels: np.ndarray, target: Target, parameters: XGBoostParameters) -> np.ndarray | None:
    asked = parameters.class_weights
    if asked is None:
        return None
    classes = labels.astype(np.int64)
    if asked == "balanced":
        counts = np.bincount(classes, minlength=target.classes)
        return np.asarray((len(labels) / (target.classes * np.maximum(counts, 1)))[classes])
    return np.array(asked, dtype=np.float64)[classes]


def _objective(target: Target) -> dict[str, Any]:
    if target.kind == "binary":
        return {"objective": "binary:logistic"}
    if target.classes:
        return {"objective": "multi:softprob", "num_class": target.classes}
    return {"objective": "reg:squarederror"}


def _refuse_one_class(sample: Sample, target: Target) -> None:
    if len(sample.labels) == 0:
        raise ModelError("no row of the training window is ready and has a label: there is nothing to learn from")
    if target.classes and len(np.unique(sample.labels)) < 2:
        raise ModelError(
            f"every label in the training window is the same: all {len(sample.labels)} are of class "
            f"{sample.labels[0]:g}, so there is nothing to learn from"
        )


def margins(fitted: bytes, rows: Rows) -> np.ndarray:
    """What a booster in UBJ form says of rows before its link, (n,) or (n, k); a linear one cannot predict in place."""
    booster = xgboost.Booster()
    booster.load_model(bytearray(fitted))
    # what is loaded has forgotten with how many threads it was fitted
    booster.set_param({"nthread": 1})
    return np.concatenate(
        [booster.predict(xgboost.DMatrix(part, nthread=1), output_margin=True) for part in rows.parts()]
    )


def base_rate(target: Target, labels: np.ndarray) -> np.ndarray:
    """What the training labels alone predict: P(up) or the mean, shape (), or the shares of the classes, (k,)."""
    if target.classes > 2 or target.kind == "multiclass":
        return np.bincount(labels.astype(np.int64), minlength=target.classes) / len(labels)
    return np.asarray(np.mean(labels))


def losses(target: Target, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """(n,) Brier score (over all classes where there are k; Brier 1950) or squared error of each prediction."""
    if target.classes > 2 or target.kind == "multiclass":
        outcomes = np.eye(target.classes)[labels.astype(np.int64)]
        return np.asarray(((np.broadcast_to(predictions, outcomes.shape) - outcomes) ** 2).sum(axis=1))
    return np.asarray((predictions - labels) ** 2)


def skill(loss: np.ndarray, base_loss: np.ndarray) -> float:
    """1 - loss / loss of the base rate, pooled: 0 is no better than the base rate, 1 is perfect."""
    return float(1.0 - loss.sum() / base_loss.sum())
