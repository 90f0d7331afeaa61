"""The only ways into a state, tried one by one against the database."""

import itertools
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models_registry import registry
from models_registry.package import FeatureColumn, ModelPackage, PackageError, TrainingWindow, model_id
from models_registry.registry import RegistryError
from models_registry.scoring import PositionSizing, Target
from warehouse.connection import connect
from warehouse.settings import load

NOW = datetime(2012, 9, 28, 13, 30, tzinfo=UTC)
_numbers = itertools.count(1)

Candidate = Callable[[str | None], ModelPackage]


@pytest.fixture
def candidate(warehouse_db: Path) -> Candidate:
    """Makes a registered candidate whose trial has this verdict, or none."""

    def make(verdict: str | None) -> ModelPackage:
        trial = f"{next(_numbers):08x}"
        with connect("trainer") as connection:
            for statement in (
                "insert into research.hypotheses (hypothesis_id, experiment_id, content, source_file) "
                "values ('reg', 'reg', '{}', 'x') on conflict do nothing",
                "insert into research.families (family_id, symbols, timeframe, oos_start, oos_end, oos_bars, "
                "periods_per_year) values ('reg', '{X}', '1d', now(), now(), 1, 252) on conflict do nothing",
                "insert into research.runs (run_id, hypothesis_id, family_id, data_start, data_watermark, rows_used, "
                "rows_unready, device, feature_fingerprints, library_versions) "
                "values ('reg', 'reg', 'reg', now(), now(), 1, 0, 'cpu', '{}', '{}') on conflict do nothing",
                "insert into research.gate_looks (family_id, look_no, trials, alpha) values ('reg', 1, 1, 0.025) "
                "on conflict do nothing",
            ):
                connection.execute(statement)
            connection.execute(
                "insert into research.trials (trial_id, run_id, hypothesis_id, family_id, trial_no, parameters) "
                "values (%s, 'reg', 'reg', 'reg', %s, '{}')",
                (trial, int(trial, 16)),
            )
            if verdict:
                connection.execute(
                    "insert into research.verdicts (trial_id, look_no, family_id, verdict, explanation) "
                    "values (%s, 1, 'reg', %s, '')",
                    (trial, verdict),
                )
        package = _package(trial)
        registry.register(package, "for a test")
        return package

    return make


def _package(trial: str, booster: bytes = b"not used here") -> ModelPackage:
    return ModelPackage.build(
        booster,
        model_id=model_id("reg", trial),
        experiment_id="reg",
        hypothesis_id="reg",
        run_id="reg",
        trial_id=trial,
        symbols=("X",),
        timeframe="1d",
        features=(FeatureColumn(name="f", fingerprint="1"),),
        target=Target(kind="binary"),
        position_sizing=PositionSizing(policy="long_flat"),
        cost_bps_per_side=2.0,
        parameters={},
        training_window=TrainingWindow(start=NOW, end=NOW, rows=1),
        data_watermark=NOW,
        library_versions={},
    )


def paper_record(package: ModelPackage, outcomes: list[str], halts: list[str] | None = None) -> None:
    account = f"paper of {package.model_id}"
    with connect("executor") as connection:
        connection.execute(
            "insert into ledger.accounts (account_id, broker, mode) values (%s, 'b', 'paper')", (account,)
        )
        connection.execute(
            "insert into ledger.decisions (decision_id, account_id, model_id, symbol, timeframe, bar_start, bar_end, "
            "broker_time, feature_names, feature_values, score, target_weight) "
            "values (%s, %s, %s, 'X', '1d', now(), now(), now(), '{f}', '{1}', 0, 0)",
            (account, account, package.model_id),
        )
        for outcome in outcomes:
            connection.execute(
                "insert into ledger.reconciliations (account_id, occasion, broker_time, outcome, findings) "
                "values (%s, 'close', now(), %s, '[]')",
                (account, outcome),
            )
        for action in halts or []:
            connection.execute(
                "insert into ledger.halts (account_id, action, reason) values (%s, %s, 'test')", (account, action)
            )


def test_a_candidate_is_saved_and_listed(candidate: Candidate) -> None:
    package = candidate(None)
    record = registry.get(package.model_id)
    assert (record.state, record.package_sha256) == ("candidate", package.sha256)
    assert record in registry.models("candidate")
    assert registry.load_model(package.model_id) == package


@pytest.mark.parametrize("verdict", [None, "FAILED", "INSUFFICIENT_EVIDENCE"])
def test_paper_needs_a_passed_gate(candidate: Candidate, verdict: str | None) -> None:
    package = candidate(verdict)
    with pytest.raises(RegistryError, match="paper needs"):
        registry.advance(package.model_id, "paper", "please")
    assert registry.get(package.model_id).state == "candidate"


def test_live_needs_an_operator_and_a_clean_paper_record(candidate: Candidate) -> None:
    package = candidate("PASSED")
    with pytest.raises(RegistryError, match="is candidate: from there it may become paper, retired, not live"):
        registry.advance(package.model_id, "live", "at once", operator="Ada")
    registry.advance(package.model_id, "paper", "passed")
    with pytest.raises(RegistryError, match="has no paper record"):
        registry.advance(package.model_id, "live", "ready", operator="Ada")
    paper_record(package, ["discrepancy", "agreed"])
    with pytest.raises(RegistryError, match="by an operator who gives a name"):
        registry.advance(package.model_id, "live", "ready")
    record = registry.advance(package.model_id, "live", "ready", operator="Ada")
    assert (record.state, record.reason) == ("live", "ready (by Ada)")
    assert registry.advance(package.model_id, "retired", "done").state == "retired"
    with pytest.raises(RegistryError, match="is retired: from there it may become nothing"):
        registry.advance(package.model_id, "paper", "again")


@pytest.mark.parametrize(
    ("outcomes", "halts", "sentence"),
    [
        ([], [], "was never reconciled"),
        (["agreed", "discrepancy"], [], "has an open discrepancy"),
        (["agreed"], ["halt"], "is halted"),
        (["agreed"], ["halt", "release", "halt"], "is halted"),
    ],
)
def test_an_unclean_paper_record_is_refused(
    candidate: Candidate, outcomes: list[str], halts: list[str], sentence: str
) -> None:
    package = candidate("PASSED")
    registry.advance(package.model_id, "paper", "passed")
    paper_record(package, outcomes, halts)
    with pytest.raises(RegistryError, match=sentence):
        registry.advance(package.model_id, "live", "ready", operator="Ada")
    assert registry.get(package.model_id).state == "paper"


def test_the_same_step_twice_is_one_step(candidate: Candidate) -> None:
    package = candidate("PASSED")
    first = registry.advance(package.model_id, "paper", "passed")
    assert registry.advance(package.model_id, "paper", "passed again") == first


def test_the_same_package_again_restores_its_folder_and_another_is_refused(candidate: Candidate) -> None:
    package = candidate(None)
    folder = load().models_dir / package.model_id
    shutil.rmtree(folder)
    registry.register(package, "again")
    assert registry.load_model(package.model_id) == package
    with pytest.raises(RegistryError, match="is registered with another package"):
        registry.register(_package(package.manifest.trial_id, b"another booster"), "swap")
    assert registry.load_model(package.model_id) == package


def test_a_swapped_package_is_refused_though_its_own_checksums_agree(candidate: Candidate) -> None:
    package = candidate(None)
    _package(package.manifest.trial_id, b"another booster").save(load().models_dir / package.model_id)
    with pytest.raises(PackageError, match="is not the one that was registered"):
        registry.load_model(package.model_id)


def test_an_unknown_model_is_said(candidate: Candidate) -> None:
    package = candidate(None)
    with pytest.raises(RegistryError, match=f"there is no model nobody: registered are .*{package.model_id}"):
        registry.load_model("nobody")
