"""The package gives the same bits for one row and for many, and refuses anything that was altered."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from models_registry.frozen import canonical_json, sha256
from models_registry.package import (
    BOOSTER,
    MANIFEST,
    FeatureColumn,
    FingerprintMismatch,
    Manifest,
    ModelPackage,
    PackageError,
    TrainingWindow,
    library_versions,
)
from models_registry.scoring import PositionSizing, Target

FEATURES = ("volume_ratio", "momentum_5", "volatility_20")
SYMBOLS = ("AAA", "BBB")
START = datetime(2010, 1, 4, 14, 30, tzinfo=UTC)
OBJECTIVES = {
    "binary": {"objective": "binary:logistic"},
    "multiclass": {"objective": "multi:softprob", "num_class": 3},
    "regression": {"objective": "reg:squarederror"},
}


def rows(count: int, seed: int = 1) -> pd.DataFrame:
    """Feature rows: both symbols, half the days each, the first two not ready."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(generator.normal(size=(count, len(FEATURES))), columns=list(FEATURES))
    frame.insert(0, "symbol", [SYMBOLS[number % 2] for number in range(count)])
    frame.insert(1, "bar_start", [START + timedelta(days=number // 2) for number in range(count)])
    frame["is_ready"] = np.arange(count) >= 2
    frame.loc[:1, list(FEATURES)] = np.nan
    return frame


def package(kind: str = "binary", policy: str = "long_flat") -> ModelPackage:
    """A small model of the first feature."""
    target = Target(kind=kind, threshold=0.005 if kind == "multiclass" else 0.0)
    frame = rows(600)[2:]
    noise = np.random.default_rng(2).normal(size=len(frame))
    labels = target.label(0.01 * (frame[FEATURES[0]].to_numpy() + noise))
    matrix = xgboost.DMatrix(frame[list(FEATURES)].to_numpy(np.float32), labels)
    booster = xgboost.train({"max_depth": 3, "nthread": 1, **OBJECTIVES[kind]}, matrix, 20)
    return ModelPackage.build(
        booster.save_raw("ubj"),
        model_id="test-0123abcd",
        experiment_id="test",
        hypothesis_id="h",
        run_id="r",
        trial_id="0123abcd",
        symbols=SYMBOLS,
        timeframe="1d",
        features=tuple(FeatureColumn(name=name, fingerprint=f"of {name}") for name in FEATURES),
        target=target,
        position_sizing=PositionSizing(policy=policy),
        cost_bps_per_side=2.0,
        parameters={"max_depth": 3},
        training_window=TrainingWindow(start=START, end=START + timedelta(days=300), rows=598),
        data_watermark=START + timedelta(days=300),
        library_versions=library_versions(),
    )


@pytest.mark.long
@pytest.mark.parametrize("kind", OBJECTIVES)
@pytest.mark.parametrize("policy", ["long_flat", "long_short", "proportional"])
def test_a_row_alone_has_the_same_bits_as_among_others(kind: str, policy: str) -> None:
    model, features = package(kind, policy), rows(300, seed=7)
    together = model.target_weights(features)
    alone = pd.concat([model.target_weights(features.iloc[[place]]) for place in range(len(features))])
    for column in ("score", "weight"):
        assert together[column].to_numpy().tobytes() == alone[column].to_numpy().tobytes()
    assert together["weight"].nunique() > 1, "a constant weight would prove nothing"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 199), min_size=1, max_size=90))
def test_any_selection_in_any_order_has_the_same_bits(places: list[int]) -> None:
    features = rows(200, seed=9)
    whole = MODEL.target_weights(features)["score"].to_numpy()
    assert MODEL.target_weights(features.iloc[places])["score"].to_numpy().tobytes() == whole[places].tobytes()


MODEL = package()


def test_arrow_and_pandas_give_the_same() -> None:
    features = rows(50)
    from_pandas = MODEL.target_weights(features)
    from_arrow = MODEL.target_weights(pyarrow.Table.from_pandas(features, preserve_index=False))
    pd.testing.assert_frame_equal(from_pandas, from_arrow, check_exact=True, check_dtype=False)
    assert list(from_pandas.columns) == ["symbol", "bar_start", "score", "weight"]


def test_rows_that_are_not_ready_weigh_nothing() -> None:
    weights = MODEL.target_weights(rows(10))
    assert weights["score"].isna().tolist() == [True] * 2 + [False] * 8
    assert weights["weight"][:2].tolist() == [0.0, 0.0]


def test_weights_share_the_equity_among_symbols() -> None:
    assert set(MODEL.target_weights(rows(100))["weight"]) == {0.0, 0.5}


def test_who_left_the_universe_is_sold_and_who_joined_is_ranked() -> None:
    made = package()
    sizing = PositionSizing(policy="top_bottom_k", top=1)
    ranked = replace(made, manifest=made.manifest.model_copy(update={"position_sizing": sizing, "universe": "index"}))
    now = ranked.trading(["BBB", "NEW"])
    assert now.symbols == ("AAA", "BBB", "NEW")
    frame = rows(6)[2:4]
    both = pd.concat([frame, frame.iloc[:1].assign(symbol="NEW")])
    decided = now.target_weights(both)
    assert decided["symbol"].tolist() == ["AAA", "BBB", "NEW"]
    assert decided.loc[0, ["score", "weight"]].tolist() == [0.0, 0.0]
    assert decided["weight"].sum() == 1.0
    assert decided.loc[1, "score"] == ranked.target_weights(frame).loc[1, "score"]
    for members in (["AAA", "NEW"], ["BBB", "NEW"]):
        weights = ranked.trading(members).target_weights(frame)
        assert weights["weight"].tolist() == [float(symbol in members) for symbol in SYMBOLS]
    with pytest.raises(PackageError, match="was given NEW"):
        ranked.target_weights(both)


def test_save_and_load_keep_every_bit(tmp_path: Path) -> None:
    MODEL.save(tmp_path / "m")
    loaded = ModelPackage.read(tmp_path / "m")
    assert (loaded.manifest, loaded.booster, loaded.sha256) == (MODEL.manifest, MODEL.booster, MODEL.sha256)
    features = rows(100)
    assert (
        loaded.target_weights(features)["score"].to_numpy().tobytes()
        == MODEL.target_weights(features)["score"].to_numpy().tobytes()
    )
    assert sorted(path.name for path in tmp_path.rglob("*")) == [BOOSTER, "m", MANIFEST]


def test_an_altered_manifest_is_refused(tmp_path: Path) -> None:
    MODEL.save(tmp_path)
    document = json.loads((tmp_path / MANIFEST).read_text())
    document["position_sizing"]["max_weight"] = 0.9
    (tmp_path / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(PackageError, match=r"manifest\.json was altered"):
        ModelPackage.read(tmp_path)


def test_an_altered_booster_is_refused(tmp_path: Path) -> None:
    MODEL.save(tmp_path)
    damaged = bytearray(MODEL.booster)
    damaged[-40] ^= 1
    (tmp_path / BOOSTER).write_bytes(damaged)
    with pytest.raises(PackageError, match=r"booster\.ubj was altered"):
        ModelPackage.read(tmp_path)


@pytest.mark.parametrize("name", [MANIFEST, BOOSTER])
def test_an_incomplete_package_is_refused(tmp_path: Path, name: str) -> None:
    MODEL.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(PackageError, match="cannot be read"):
        ModelPackage.read(tmp_path)


def test_changed_and_missing_features_are_named() -> None:
    MODEL.check_fingerprints({**MODEL.fingerprints, "unrelated": "x"})
    with pytest.raises(FingerprintMismatch, match=r"changed: volume_ratio; missing: momentum_5"):
        MODEL.check_fingerprints({"volume_ratio": "other", "volatility_20": "of volatility_20"})


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(PackageError, match="columns that are not there: momentum_5"):
        MODEL.target_weights(rows(5).drop(columns="momentum_5"))
    with pytest.raises(PackageError, match="was given ZZZ"):
        MODEL.target_weights(rows(5).assign(symbol="ZZZ"))
    holed = rows(5)
    holed.loc[4, "momentum_5"] = np.inf
    with pytest.raises(PackageError, match="no finite value in momentum_5"):
        MODEL.target_weights(holed)


@pytest.mark.parametrize("kind", sorted(OBJECTIVES))
def test_a_package_predicts_at_load_what_it_did_where_it_was_made(kind: str, tmp_path: Path) -> None:
    proven = package(kind).proven(rows(12)[2:][list(FEATURES)].to_numpy())
    proven.save(tmp_path / "proven")
    assert ModelPackage.read(tmp_path / "proven").prove() == proven

    # as another library would: one prediction differs in its last bit
    proof = proven.manifest.proof
    first, *others = proof.predictions
    moved = proof.model_copy(update={"predictions": ((np.nextafter(first[0], 1.0).item(), *first[1:]), *others)})
    other = ModelPackage(proven.manifest.model_copy(update={"proof": moved}), proven.booster)
    other.save(tmp_path / "other")
    with pytest.raises(PackageError, match="predicts something else here than where it was trained: it was made with"):
        ModelPackage.read(tmp_path / "other").prove()


def test_a_package_without_a_proof_keeps_its_checksum(tmp_path: Path) -> None:
    """Packages from before there were proofs are registered under theirs."""
    package().save(tmp_path / "old")
    document = json.loads((tmp_path / "old" / MANIFEST).read_text())
    document.pop("manifest_sha256")
    document.pop("proof")
    old = ModelPackage(Manifest.model_validate(document), (tmp_path / "old" / BOOSTER).read_bytes())
    assert old.sha256 == sha256(canonical_json(document))
    old.save(tmp_path / "again")
    assert ModelPackage.read(tmp_path / "again").sha256 == old.sha256
