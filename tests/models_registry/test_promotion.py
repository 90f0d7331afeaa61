"""Models stand beside each other on a symbol, or one that passes waits for a person and takes its rival's place."""

import threading
import zlib

import psycopg
import pytest

from models_registry import __main__ as command
from models_registry import registry
from models_registry.registry import RegistryError
from models_registry.scoring import PositionSizing
from tests.machine import as_owner
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


LONG = PositionSizing(policy="long_flat")
MAY_SHORT = PositionSizing(policy="proportional", short=True)


def test_models_of_two_ideas_stand_beside_each_other_where_neither_may_be_short(candidate: Candidate) -> None:
    first = candidate("PASSED", "G1", experiment="momentum", sizing=LONG)
    beside = candidate("PASSED", "G1", "G2", experiment="reversal", sizing=PositionSizing(policy="top_bottom_k", top=1))
    third = candidate("PASSED", "G1", experiment="drift", sizing=PositionSizing(policy="proportional"))
    for package in (first, beside, third):
        assert registry.rivals(package.model_id) == []
        assert registry.advance(package.model_id, "paper", "passed").state == "paper"
    # a new version takes its forerunner's place, and nobody else's
    later = candidate("PASSED", "G1", experiment="momentum", sizing=LONG)
    assert [rival.model_id for rival in registry.rivals(later.model_id)] == [first.model_id]
    with pytest.raises(RegistryError, match=r"trades G1 too, and both are of momentum: `python"):
        registry.advance(later.model_id, "paper", "passed")
    registry.replace_rivals(later.model_id, "better", operator="Ada")
    states = [registry.get(package.model_id).state for package in (first, beside, third, later)]
    assert states == ["retired", "paper", "paper", "paper"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sizing": MAY_SHORT}, "may be short, and shares of one position are all long"),
        ({"sizing": PositionSizing(policy="long_short")}, "may be short"),
        ({"sizing": PositionSizing(policy="top_bottom_k", top=1, bottom=1)}, "may be short"),
        ({"sizing": PositionSizing(policy="kelly"), "chosen": {"position_sizing.short": True}}, "may be short"),
        # what says nothing may be
        ({}, "may be short"),
        ({"sizing": LONG, "timeframe": "1h"}, "they decide by 1d and 1h bars|they decide by 1h and 1d bars"),
    ],
)
def test_what_may_be_short_or_decides_by_other_bars_stands_beside_nobody(
    candidate: Candidate, request: pytest.FixtureRequest, changes: dict, sentence: str
) -> None:
    symbol = f"H{zlib.crc32(request.node.name.encode())}"
    long = candidate("PASSED", symbol, experiment="momentum", sizing=LONG)
    other = candidate("PASSED", symbol, experiment="reversal", **changes)
    for trading, later in ((long, other), (other, long)):
        registry.advance(trading.model_id, "paper", "passed")
        with pytest.raises(RegistryError, match=f"{trading.model_id} in state paper trades .*({sentence})"):
            registry.advance(later.model_id, "paper", "passed")
        with connect("gate") as gate, pytest.raises(psycopg.errors.RaiseException, match=sentence):
            gate.execute("select research.admit_model(%s, 'passed')", (later.model_id,))
        with as_owner(past_triggers=True) as owner:
            owner.execute(
                "delete from research.model_states where model_id = %s and state = 'paper'", (trading.model_id,)
            )


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
