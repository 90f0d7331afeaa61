"""The only ways into a state, tried one by one against the database."""

import shutil
from dataclasses import replace

import pytest

from execution.ledger import Ledger
from models_registry import registry
from models_registry.package import ModelPackage, PackageError, Proof
from models_registry.registry import RegistryError
from tests.models_registry.conftest import Candidate, made_up_package
from warehouse.connection import connect
from warehouse.settings import load

pytestmark = pytest.mark.database


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
                "select ledger.note_reconciliation(%s, 'close', now(), %s, '[]', '{}')",
                (account, outcome),
            )
    with Ledger.view(account) as ledger:
        for action in halts or []:
            act = {"halt": ledger.halt, "release": ledger.release}[action]
            act("test")


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
    package = candidate("PASSED", "OWN1")
    with pytest.raises(RegistryError, match="is candidate: from there it may become shadow, paper, retired, not live"):
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
    package = candidate("PASSED", f"{len(outcomes)}{len(halts)}")
    registry.advance(package.model_id, "paper", "passed")
    paper_record(package, outcomes, halts)
    with pytest.raises(RegistryError, match=sentence):
        registry.advance(package.model_id, "live", "ready", operator="Ada")
    assert registry.get(package.model_id).state == "paper"


def test_the_same_step_twice_is_one_step(candidate: Candidate) -> None:
    package = candidate("PASSED", "OWN3")
    first = registry.advance(package.model_id, "paper", "passed")
    assert registry.advance(package.model_id, "paper", "passed again") == first


def test_the_same_package_again_restores_its_folder_and_another_is_refused(candidate: Candidate) -> None:
    package = candidate(None)
    folder = load().models_dir / package.model_id
    shutil.rmtree(folder)
    registry.register(package, "again")
    assert registry.load_model(package.model_id) == package
    with pytest.raises(RegistryError, match="is registered with another package"):
        registry.register(made_up_package(package.manifest.trial_id, b"another booster"), "swap")
    assert registry.load_model(package.model_id) == package


def test_a_swapped_package_is_refused_though_its_own_checksums_agree(candidate: Candidate) -> None:
    package = candidate(None)
    made_up_package(package.manifest.trial_id, b"another booster").save(load().models_dir / package.model_id)
    with pytest.raises(PackageError, match="is not the one that was registered"):
        registry.load_model(package.model_id)


def test_a_booster_that_is_not_the_registered_one_never_reaches_xgboost(candidate: Candidate) -> None:
    """Its own checksums agree and it has a proof to repeat: XGBoost would be asked, and a damaged file can end it."""
    package = candidate(None)
    other = made_up_package(package.manifest.trial_id, b"{" * 1000)
    proof = Proof(rows=((1.0,),), predictions=((0.5,),))
    forged = replace(other, manifest=other.manifest.model_copy(update={"proof": proof}))
    forged.save(load().models_dir / package.model_id)
    with pytest.raises(PackageError, match="cannot predict here"):
        ModelPackage.read(load().models_dir / package.model_id).prove()
    with pytest.raises(PackageError, match="is not the one that was registered"):
        registry.load_model(package.model_id)


def test_an_unknown_model_is_said(candidate: Candidate) -> None:
    package = candidate(None)
    with pytest.raises(RegistryError, match=f"there is no model nobody: registered are .*{package.model_id}"):
        registry.load_model("nobody")
