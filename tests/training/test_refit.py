"""What trades is fitted anew on newer bars and judged, which is a look; nothing that trades changes by it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from models_registry import registry
from tests.training import worlds
from training.commit import commit_passing
from training.look import judge_families
from training.refit import Refitted, Trading, judge_refits, trading
from training.train import Run, train
from warehouse.connection import arrow, connect

pytestmark = pytest.mark.usefixtures("made_up_warehouse")

RELATIONS = ("features.features_1d", "canonical.ohlcv_1d")
OPEN_ENDED = {**worlds.GRID, "grid": {}}


def looks() -> list[int]:
    return arrow("analyst", "select look_no from research.gate_looks order by look_no")["look_no"].to_pylist()


def hide(relation: str) -> None:
    """Put aside the bars that have not come yet."""
    with connect("transformer") as connection:
        connection.execute(f"create table {relation}_late as select * from {relation} where bar_start >= '2004-06-01'")
        connection.execute(f"delete from {relation} where bar_start >= '2004-06-01'")


def test_a_refit_is_a_look_and_moves_nothing() -> None:
    for relation in RELATIONS:
        hide(relation)
    hypothesis = worlds.hypothesis(training=OPEN_ENDED)
    first = train(hypothesis, source_file="experiments/made_up.yaml")
    judge_families([first.family_id])
    model = commit_passing(first.run_id)
    assert model is not None
    assert (model.state, looks()) == ("paper", [1])

    (one,) = trading()
    assert (one.model_id, one.cannot) == (model.model_id, None)
    assert one.hypothesis.content_hash == hypothesis.content_hash
    (nothing,) = judge_refits([(one, train(one.hypothesis, source_file=one.source_file))])
    assert (nothing.is_new, looks()) == (False, [1]), "no bar has come: nothing is tried, and no look spent"

    for relation in RELATIONS:
        with connect("transformer") as connection:
            connection.execute(f"insert into {relation} select * from {relation}_late")
    run = train(one.hypothesis, source_file=one.source_file)
    (found,) = judge_refits([(one, run)])
    assert found.is_new
    assert looks() == [1, 2], "the days overlap those of the first look"
    assert found.verdicts == ("PASSED",)
    assert found.successor is not None
    assert [registry.get(name).state for name in (model.model_id, found.successor)] == ["paper", "candidate"]
    assert f"promote {found.successor}` puts it in the place of {model.model_id}" in str(found)

    (again,) = judge_refits([(one, train(one.hypothesis, source_file=one.source_file))])
    assert (again.successor, looks()) == (found.successor, [1, 2])
    registry.advance(model.model_id, "retired", "for a test", operator="Ada")
    assert trading() == ()


def test_a_file_that_ends_its_data_has_nothing_newer() -> None:
    hypothesis = worlds.hypothesis(experiment_id="ends", training={**OPEN_ENDED, "end": "2004-01-02"})
    run = train(hypothesis, source_file="experiments/ends.yaml")
    judge_families([run.family_id])
    model = commit_passing(run.run_id)
    assert model is not None
    assert model.state == "paper"
    (one,) = trading()
    assert one.cannot is not None
    assert "experiments/ends.yaml ends its data at 2004-01-02" in one.cannot

    run = train(worlds.hypothesis(experiment_id="ends", training=OPEN_ENDED), source_file="experiments/ends.yaml")
    registry.advance(model.model_id, "retired", "while its refit ran", operator="Ada")
    (found,) = judge_refits([(one, run)])
    assert found.successor is not None
    assert registry.get(found.successor).state == "candidate", "nothing begins to trade by itself, rival or none"


def test_what_does_not_pass_any_more_is_said_with_the_command_that_ends_it() -> None:
    one = Trading("edge-1", "run", datetime(2012, 9, 28, tzinfo=UTC), "experiments/edge.yaml", {})
    run = Run("newer", "edge", "h", "f", ("t",), 1, 0, "cpu", True)
    found = Refitted(one, run, ("FAILED", "FAILED"), None, "edge: FAILED, its trial")
    assert found.is_doubted
    assert "edge-1 trades on, and its hypothesis fails with the bars that came since" in str(found)
    assert "models_registry retire edge-1" in str(found)
    assert not replace(found, verdicts=("FAILED", "INSUFFICIENT_EVIDENCE")).is_doubted, "its record is too short"
    assert not replace(found, verdicts=()).is_doubted, "its data were not tested, and it waits"
