"""A symbol belongs to one model that trades: another one that passes waits for a person, or takes its place by one."""

import threading

import psycopg
import pytest

from models_registry import __main__ as command
from models_registry import registry
from models_registry.registry import RegistryError
from tests.models_registry.conftest import Candidate
from warehouse.connection import connect

pytestmark = pytest.mark.database


def test_a_model_does_not_displace_another_by_itself(candidate: Candidate) -> None:
    trading, later, elsewhere = (
        candidate("PASSED", "A1", "A2"),
        candidate("PASSED", "A2", "A3"),
        candidate("PASSED", "A4"),
    )
    registry.advance(trading.model_id, "paper", "passed")
    registry.advance(elsewhere.model_id, "paper", "passed")
    assert [rival.model_id for rival in registry.rivals(later.model_id)] == [trading.model_id]
    with pytest.raises(RegistryError, match=f"stays a candidate, because {trading.model_id} in state paper trades A2"):
        registry.advance(later.model_id, "paper", "passed")
    with connect("gate") as gate, pytest.raises(psycopg.errors.RaiseException, match=r"which model .* trades already"):
        gate.execute("select research.admit_model(%s, 'passed')", (later.model_id,))
    assert registry.get(trading.model_id).state == "paper"
    assert registry.get(later.model_id).state == "candidate"

    # who is gone is no rival
    registry.advance(trading.model_id, "retired", "done")
    assert registry.advance(later.model_id, "paper", "passed").state == "paper"


def test_a_person_puts_it_in_the_others_place(candidate: Candidate, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, later = candidate("PASSED", "B1"), candidate("PASSED", "B2"), candidate("PASSED", "B1", "B2")
    for package in (first, second):
        registry.advance(package.model_id, "paper", "passed")
    assert command.main(["promote", later.model_id, "--by", "Ada", "--reason", "three more months"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"model {first.model_id} is retired: replaced by model {later.model_id} (by Ada)",
        f"model {second.model_id} is retired: replaced by model {later.model_id} (by Ada)",
        f"model {later.model_id} is paper: three more months (by Ada)",
    ]


def test_what_the_gate_did_not_pass_takes_nobodys_place(candidate: Candidate) -> None:
    trading, failed, without = candidate("PASSED", "C1"), candidate("FAILED", "C1"), candidate(None, "C1")
    registry.advance(trading.model_id, "paper", "passed")
    for package, sentence in ((failed, "verdict on model .* is FAILED"), (without, "has not been judged")):
        with pytest.raises(RegistryError, match=sentence):
            registry.replace_rivals(package.model_id, "please", operator="Ada")
        with connect("operator") as operator, pytest.raises(psycopg.errors.RaiseException, match="has not passed"):
            operator.execute("select research.replace_rivals(%s, 'Ada', 'please')", (package.model_id,))
    with pytest.raises(RegistryError, match="is paper: only a candidate"):
        registry.replace_rivals(trading.model_id, "please", operator="Ada")
    assert registry.get(trading.model_id).state == "paper"


def test_nobody_takes_a_live_models_place(candidate: Candidate) -> None:
    live, later = candidate("PASSED", "D1"), candidate("PASSED", "D1")
    registry.advance(live.model_id, "paper", "passed")
    with connect("operator") as operator:
        operator.execute("select research.promote_model(%s, 'Ada', 'ready')", (live.model_id,))
    with pytest.raises(RegistryError, match=f"{live.model_id} is live and trades D1 too: retire it first"):
        registry.replace_rivals(later.model_id, "please", operator="Ada")
    with connect("operator") as operator, pytest.raises(psycopg.errors.RaiseException, match="retire it first"):
        operator.execute("select research.replace_rivals(%s, 'Ada', 'please')", (later.model_id,))
    assert [registry.get(package.model_id).state for package in (live, later)] == ["live", "candidate"]


def test_of_two_that_enter_at_once_one_does(candidate: Candidate) -> None:
    """The database looks for rivals and enters the state under one lock."""
    packages = [candidate("PASSED", "E1") for _ in range(4)]
    begin, refused = threading.Barrier(len(packages)), []

    def admit(model_id: str) -> None:
        with connect("gate") as gate:
            gate.execute("select 1")
            begin.wait()
            try:
                gate.execute("select research.admit_model(%s, 'passed')", (model_id,))
            except psycopg.errors.RaiseException as error:
                refused.append(str(error))

    threads = [threading.Thread(target=admit, args=(package.model_id,)) for package in packages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(registry.get(package.model_id).state for package in packages) == ["candidate"] * 3 + ["paper"]
    assert len(refused) == 3


def test_what_a_person_asks_is_answered(candidate: Candidate, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = candidate("PASSED", "F1"), candidate("PASSED", "F1", "F2")
    assert command.main(["list", "--state", "candidate"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[0].split() == ["model", "state", "since", "(UTC)", "bars", "symbols", "trained", "through"]
    assert any(line.split()[:2] == [one.model_id, "candidate"] for line in listed)
    assert command.main(["show", one.model_id]) == 0
    assert "UTC candidate: for a test" in capsys.readouterr().out
    assert command.main(["diff", one.model_id, other.model_id]) == 1
    assert [line.split() for line in capsys.readouterr().out.splitlines()][1:] == [["symbols", "F1", "F1,", "F2"]]
    assert command.main(["diff", one.model_id, one.model_id]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "nobody"], "there is no model nobody"),
        (["diff", "nobody", "nobody"], "there is no model nobody"),
        (["promote", "nobody", "--by", " ", "--reason", "why"], "--by is empty"),
        (["promote", "nobody", "--by", "Ada", "--reason", " "], "--reason is empty"),
        (["retire", "nobody", "--reason", "why"], "there is no model nobody"),
        (["promote", "nobody", "--to", "live", "--by", "Ada", "--reason", "why"], "there is no model nobody"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    candidate: Candidate, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert command.main(arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
