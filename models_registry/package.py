"""The model package: the one object that training writes and execution reads.

On disk it is a folder with `manifest.json` (what the model is) and `booster.ubj` (XGBoost's own format, no pickle).
`target_weights` is the only way from feature rows to weights: the backtest and the live session both call it.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
import pyarrow
from pydantic import AwareDatetime, Field, ValidationError

from models_registry.exits import Exits
from models_registry.frozen import Frozen, canonical_json, sha256
from models_registry.rebalancing import Rebalancing
from models_registry.scoring import PositionSizing, Target
from warehouse.errors import Stop

if TYPE_CHECKING:
    import xgboost

MANIFEST = "manifest.json"
BOOSTER = "booster.ubj"


class PackageError(Stop):
    """The package on disk is incomplete, was altered, or does not fit the rows it was given."""


class FingerprintMismatch(Stop):
    """The warehouse computes a feature differently from when the model was trained: retrain or restore the feature."""


class FeatureColumn(Frozen):
    """An input of the booster: its name, its type in the warehouse, the fingerprint of the SQL that computes it."""

    name: str
    type: Literal["float8"] = "float8"
    fingerprint: str


class TrainingWindow(Frozen):
    """Which decisions the booster was fitted on: UTC starts of the first and the last bar, and their number."""

    start: AwareDatetime
    end: AwareDatetime
    rows: int = Field(ge=1)


class Proof(Frozen):
    """Finite feature rows, values in the package's order, and what the booster predicted of each where it was made."""

    rows: tuple[tuple[float, ...], ...] = Field(min_length=1)
    predictions: tuple[tuple[float, ...], ...] = Field(min_length=1)


class Manifest(Frozen):
    """Everything about a model but its trees. Times are UTC."""

    format_version: Literal[1] = 1
    model_id: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    experiment_id: str
    hypothesis_id: str
    run_id: str
    trial_id: str
    symbols: tuple[str, ...] = Field(min_length=1)
    universe: str | None = None
    timeframe: str
    features: tuple[FeatureColumn, ...] = Field(min_length=1)
    target: Target
    position_sizing: PositionSizing
    rebalancing: Rebalancing = Rebalancing()
    exits: Exits | None = None
    cost_bps_per_side: float
    parameters: dict[str, Any]
    training_window: TrainingWindow
    data_watermark: AwareDatetime
    gate_evidence: dict[str, Any] | None = None
    library_versions: dict[str, str]
    booster_sha256: str
    proof: Proof | None = None


@dataclass(frozen=True)
class ModelPackage:
    """A trained model and everything needed to use it, refuse it or explain it. Immutable.

    `members` are those of its universe now, where a session trades it; None elsewhere.
    """

    manifest: Manifest
    booster: bytes
    members: frozenset[str] | None = None

    @classmethod
    def build(cls, booster: bytes, **manifest: Any) -> Self:
        """A package of a booster in UBJ form and the manifest's fields; the checksum is taken here."""
        whole = Manifest(booster_sha256=sha256(booster), **manifest)
        # with every default written out: the package keeps its meaning when a default changes. Without exits it is the
        # package that it was before there were any
        absent = {"exits"} if whole.exits is None else set()
        return cls(Manifest.model_validate(whole.model_dump(exclude=absent)), bytes(booster))

    @property
    def model_id(self) -> str:
        """`<experiment>-<8 hex digits of the trial>`."""
        return self.manifest.model_id

    @property
    def symbols(self) -> tuple[str, ...]:
        """The only symbols it gives weights for: those it was trained on, and members that joined since."""
        return tuple(sorted({*self.manifest.symbols, *(self.members or ())}))

    def trading(self, members: Iterable[str]) -> Self:
        """The package among the members that its universe has now: who has left is sold, who has joined is ranked."""
        return replace(self, members=frozenset(members))

    @property
    def timeframe(self) -> str:
        """Timeframe of its bars, from `1m` to `1d`."""
        return self.manifest.timeframe

    @property
    def target(self) -> Target:
        """What it predicts."""
        return self.manifest.target

    @property
    def sizing(self) -> PositionSizing:
        """How its scores become weights."""
        return self.manifest.position_sizing

    @property
    def rebalancing(self) -> Rebalancing:
        """What its backtest did about drift, and a session does too."""
        return self.manifest.rebalancing

    @property
    def exits(self) -> Exits | None:
        """When its positions are left, or kept, beside what its scores say; None where the scores say it all."""
        return self.manifest.exits

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Feature columns in the order the booster reads them."""
        return tuple(feature.name for feature in self.manifest.features)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Feature name -> fingerprint of the SQL that computed it at training."""
        return {feature.name: feature.fingerprint for feature in self.manifest.features}

    @cached_property
    def sha256(self) -> str:
        """Checksum of the whole package: the manifest, which holds the booster's own."""
        return sha256(canonical_json(self._document()))

    def _document(self) -> dict[str, Any]:
        """The manifest as it is written: a key that a package was made without is not added to it later."""
        return self.manifest.model_dump(mode="json", exclude_unset=True)

    def proven(self, rows: np.ndarray) -> Self:
        """The package with its predictions of these finite feature rows (n, features), which each load repeats."""
        proof = Proof(rows=rows.tolist(), predictions=self.predict(rows).reshape(len(rows), -1).tolist())
        return replace(self, manifest=self.manifest.model_copy(update={"proof": proof}))

    def prove(self) -> Self:
        """Repeat the stored predictions, bit by bit, and return the package; one without a proof is returned as it is.

        Here XGBoost sees the booster for the first time, and a damaged one can end the process: check first that it is
        the package that you expect. Raises PackageError when it predicts something else than where it was made.
        """
        proof = self.manifest.proof
        if proof is None:
            return self
        rows = np.array(proof.rows, dtype=np.float64)
        try:
            here = self.predict(rows).reshape(len(rows), -1).tolist()
        except ValueError as error:  # XGBoost's own among them
            raise PackageError(f"model {self.model_id} cannot predict here: {str(error).splitlines()[0]}") from None
        if here != [list(row) for row in proof.predictions]:
            there = self.manifest.library_versions.get("xgboost", "an unknown version")
            raise PackageError(
                f"model {self.model_id} predicts something else here than where it was trained: it was made with "
                f"XGBoost {there}, here is {version('xgboost')}; install that version, or train the model again"
            )
        return self

    def check_fingerprints(self, catalog: Mapping[str, str]) -> None:
        """Compare with the warehouse's current {feature: fingerprint}. Raises FingerprintMismatch with what changed."""
        missing = [name for name in self.feature_names if name not in catalog]
        changed = [name for name, known in self.fingerprints.items() if catalog.get(name, known) != known]
        problems = [
            f"{kind}: {', '.join(names)}" for kind, names in (("changed", changed), ("missing", missing)) if names
        ]
        if problems:
            raise FingerprintMismatch(
                f"model {self.model_id} was trained on other features than the warehouse has now "
                f"({'; '.join(problems)}): retrain it, or restore the SQL of these features"
            )

    def target_weights(self, features: pyarrow.Table | pd.DataFrame) -> pd.DataFrame:
        """Scores and target weights for feature rows, in the order given.

        `features` holds symbol, bar_start (UTC), is_ready and every column of `feature_names`; others are ignored.
        Returns symbol, bar_start, score (float64) and weight (float64, signed fraction of equity, to be held from the
        next bar's open). Where a package has exits its weights are what the scores say, before what
        `models_registry.exits.decide` makes of them, and whole (float64) is the weight, without a sign, of a position
        that they keep. A row that is not ready has score NaN and weight 0; that of a symbol which left the universe has
        0 and 0. The result of a row is the same bits whichever rows come with it; where symbols are ranked, whichever
        bars come with its own. Raises PackageError for a missing column, a foreign symbol, or a ready row without a
        finite value.
        """
        self._check_columns(features)
        symbols, bar_start = _objects(features, "symbol"), _column(features, "bar_start")
        if foreign := sorted(set(symbols) - set(self.symbols)):
            raise PackageError(
                f"model {self.model_id} knows {', '.join(self.symbols)} and was given {', '.join(foreign)}"
            )
        ready = _flags(features, "is_ready")
        left = np.zeros(len(ready), dtype=bool)
        if self.members is not None:
            left = ~pd.Series(symbols).isin(self.members).to_numpy()
        scores = np.full(len(ready), np.nan)
        if (scored := ready & ~left).any():
            scores[scored] = self.target.score(self.predict(self._matrix(features, scored)))
        volatility = self._volatility(features)
        weights = self.sizing.weights(
            scores, len(self.symbols), volatility=volatility, bars=bar_start.to_numpy(), target=self.target
        )
        answer = pd.DataFrame(
            {
                "symbol": symbols,
                "bar_start": bar_start,
                "score": np.where(ready & left, 0.0, scores),
                "weight": weights,
            }
        )
        if self.exits is not None:
            answer["whole"] = self.sizing.whole(scores, len(self.symbols), volatility=volatility, target=self.target)
        return answer

    @property
    def is_panel(self) -> bool:
        """Whether the weights of a bar depend on one another, so that all symbols have to be scored together."""
        return self.sizing.policy == "top_bottom_k"

    def _volatility(self, features: pyarrow.Table | pd.DataFrame) -> np.ndarray | None:
        if not self.sizing.needs_volatility:
            return None
        return _column(features, self.sizing.volatility).to_numpy(dtype=np.float64, na_value=np.nan)

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """What the booster predicts for a matrix, shape (n, features), columns in the order of `feature_names`.

        Returns P(up), shape (n,), P of each class, shape (n, k), or the predicted value, shape (n,).
        """
        # the booster splits on float32; converting here makes that explicit and the same everywhere
        values = matrix.astype(np.float32)
        if self.manifest.parameters.get("booster") == "gblinear":
            import xgboost

            # XGBoost predicts in place with trees only
            margins = self._predictor.predict(xgboost.DMatrix(values, nthread=1), output_margin=True)
        else:
            margins = self._predictor.inplace_predict(values, predict_type="margin")
        return self.target.predict(margins)

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """How much each feature moves the margins, shape (features,): the mean absolute SHAP value over the rows.

        `matrix` (n, features) is as for `predict`, with a row at least; of several classes the values are summed. The
        values of one row sum to its margin less the mean one (Lundberg and others, Nature Machine Intelligence 2020).
        """
        import xgboost

        values = xgboost.DMatrix(matrix.astype(np.float32), nthread=1)
        found = np.abs(self._predictor.predict(values, pred_contribs=True)[..., :-1])
        by_class = found.reshape(len(matrix), -1, len(self.feature_names)).sum(axis=1, dtype=np.float64)
        return np.asarray(by_class.mean(axis=0))

    @cached_property
    def _predictor(self) -> "xgboost.Booster":
        # imported here: a second and a half, which commands that only name models need not wait
        import xgboost

        booster = xgboost.Booster()
        booster.load_model(bytearray(self.booster))
        # whatever it was trained on, it predicts on the CPU with one thread: one arithmetic for backtest and live
        booster.set_param({"device": "cpu", "nthread": 1})
        return booster

    def _check_columns(self, features: pyarrow.Table | pd.DataFrame) -> None:
        present = set(features.column_names if isinstance(features, pyarrow.Table) else features.columns)
        sized_by = (self.sizing.volatility,) if self.sizing.needs_volatility else ()
        needed = ("symbol", "bar_start", "is_ready", *dict.fromkeys((*self.feature_names, *sized_by)))
        if missing := [name for name in needed if name not in present]:
            raise PackageError(f"model {self.model_id} needs columns that are not there: {', '.join(missing)}")

    def _matrix(self, features: pyarrow.Table | pd.DataFrame, ready: np.ndarray) -> np.ndarray:
        matrix = np.column_stack([_numbers(features, name) for name in self.feature_names])[ready]
        finite = np.isfinite(matrix).all(axis=0)
        if not finite.all():
            without = [name for name, good in zip(self.feature_names, finite, strict=True) if not good]
            raise PackageError(f"a row is marked ready and has no finite value in {', '.join(without)}")
        return np.asarray(matrix)

    def save(self, folder: Path) -> None:
        """Write the package to a folder, whole or not at all; what was there before is replaced."""
        document = {**self._document(), "manifest_sha256": self.sha256}
        fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        (fresh / BOOSTER).write_bytes(self.booster)
        (fresh / MANIFEST).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a package and verify both checksums; XGBoost does not see the booster yet.

        Raises PackageError when it is incomplete or was altered.
        """
        document = _read_manifest(folder / MANIFEST)
        claimed = document.pop("manifest_sha256", None)
        try:
            manifest = Manifest.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise PackageError(f"{folder / MANIFEST}: {where}: {first['msg']}") from None
        try:
            booster = (folder / BOOSTER).read_bytes()
        except OSError as error:
            raise PackageError(f"{folder / BOOSTER} cannot be read: {error.strerror}") from None
        package = cls(manifest, booster)
        if claimed != package.sha256:
            raise PackageError(f"{folder / MANIFEST} was altered after it was written: its checksum does not match")
        if sha256(booster) != manifest.booster_sha256:
            raise PackageError(f"{folder / BOOSTER} was altered after it was written: its checksum does not match")
        return package


def library_versions() -> dict[str, str]:
    """Versions of the libraries whose arithmetic a model depends on."""
    return {"numpy": np.__version__, "xgboost": version("xgboost")}


def model_id(experiment_id: str, trial_id: str) -> str:
    """The name of the model that a trial becomes."""
    return f"{experiment_id}-{trial_id[:8]}"


def _column(rows: pyarrow.Table | pd.DataFrame, name: str) -> pd.Series:
    if isinstance(rows, pyarrow.Table):
        return pd.Series(rows.column(name).to_pandas())
    return rows[name].reset_index(drop=True)


def _objects(rows: pyarrow.Table | pd.DataFrame, name: str) -> np.ndarray:
    """A column as Python's own values, shape (n,)."""
    if isinstance(rows, pyarrow.Table):
        # a session asks for a row at a time, and most of what pandas takes for that is its own keep
        return np.asarray(rows.column(name).to_numpy())
    return _column(rows, name).to_numpy(dtype=object)


def _flags(rows: pyarrow.Table | pd.DataFrame, name: str) -> np.ndarray:
    """A column of truth values, shape (n,), null as false."""
    if isinstance(rows, pyarrow.Table):
        column = rows.column(name)
        return np.asarray((column.fill_null(False) if column.null_count else column).to_numpy(), dtype=bool)
    return _column(rows, name).to_numpy(dtype=bool, na_value=False)


def _numbers(rows: pyarrow.Table | pd.DataFrame, name: str) -> np.ndarray:
    """A column as float64, shape (n,), null as NaN."""
    if isinstance(rows, pyarrow.Table):
        column = rows.column(name)
        # pandas takes a millisecond for what is a copy of a few numbers
        if pyarrow.types.is_float64(column.type):
            return np.asarray(column.to_numpy())
    return _column(rows, name).to_numpy(dtype=np.float64, na_value=np.nan)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise PackageError(f"{path} is not JSON: the package was damaged") from None
    if not isinstance(document, dict):
        raise PackageError(f"{path} does not hold a JSON object: the package was damaged")
    return document
