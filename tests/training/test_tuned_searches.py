"""A tuned search forgets and repeats nothing, wherever it ends, and its folds are not of two machines."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training import worlds
from training import models, trials, tuning
from training.fitted import Fitted
from training.look import judge_families
from training.models import ModelError
from training.reproduction import reproduced
from training.train import prepare, train
from training.units import Unit
from warehouse.connection import arrow, connect

pytestmark = pytest.mark.usefixtures("made_up_warehouse")

TUNED = {**worlds.GRID, "grid": {}, "folds": 3, "tune": {"rounds": 2, "inner_folds": 2, "space": {"max_depth": [1, 2]}}}
CHOICES = "select fold, parameters, rounds, device from research.tuned_folds where run_id = $1 order by fold, device"

# What a machine does that loses its power in the third fold: two choices are stored, and the third search has begun.
KILLED = """
import os, signal
from tests.training import worlds
from training import tuning
from training.train import train
choose, begun = tuning.choose, []

def in_the_third(*arguments, number, **named):
    begun.append(number)
    if len(begun) < 3:
        return choose(*arguments, number=number, **named)
    skill = tuning._skill

    def killed(*of_round):
        skill(*of_round)
        os.kill(os.getpid(), signal.SIGKILL)

    tuning._skill = killed
    return choose(*arguments, number=number, **named)

tuning.choose = in_the_third
os.environ["TRUEBAR_TRAINING_THREADS"] = "1"
train(worlds.hypothesis(experiment_id="was_killed", training={training!r}), source_file="x.yaml")
"""


def test_a_tuned_search_that_is_killed_in_mid_fold_forgets_and_repeats_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    script = KILLED.replace("{training!r}", repr(TUNED))
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    hypothesis = worlds.hypothesis(experiment_id="was_killed", training=TUNED)
    run_id = prepare(hypothesis)[0].run_id
    kept = arrow("analyst", CHOICES, (run_id,)).to_pylist()
    assert [row["fold"] for row in kept] == [1, 2]
    before = worlds.counts()
    assert arrow("analyst", "select 1 from research.run_outcomes where run_id = $1", (run_id,)).num_rows == 0

    again, choose = [], tuning.choose
    monkeypatch.setattr(
        tuning, "choose", lambda *arguments, number, **named: again.append(number) or choose(*arguments, number=number)
    )
    run = train(hypothesis, source_file="x.yaml")
    assert (again, run.is_new, len(run.trial_ids)) == ([3], True, 1)
    stored = arrow("analyst", CHOICES, (run_id,)).to_pylist()
    assert (stored[:2], [row["fold"] for row in stored]) == (kept, [1, 2, 3])
    after = worlds.counts()
    assert (after["runs"], after["trials"], after["run_outcomes"]) == (
        before["runs"], before["trials"] + 1, before["run_outcomes"] + 1,
    )  # fmt: skip
    assert not train(hypothesis, source_file="x.yaml").is_new


# A machine that loses its power when the sixth fit of a grid begins: five are there.
KILLED_IN_A_GRID = """
import os, signal
from tests.training import worlds
from training import models
from training.train import train
fit, begun = models.fit, []

def until_the_sixth(*arguments, **named):
    begun.append(1)
    if len(begun) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return fit(*arguments, **named)

models.fit = until_the_sixth
os.environ["TRUEBAR_TRAINING_THREADS"] = "1"
train(worlds.hypothesis(experiment_id="grid_was_killed", training={training!r}), source_file="x.yaml")
"""
CAME_OF_IT = """
    select
        trial_no, symbol, bar_start, fold, score, position, trade, cost, net_return, skill_in_sample,
        skill_out_of_sample, memorised
    from research.trials
    inner join research.trial_returns using (trial_id)
    inner join research.trial_controls using (trial_id)
    where run_id = $1
    order by trial_no, symbol, bar_start
"""


def test_a_grid_that_is_killed_fits_only_what_was_not_fitted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    script = KILLED_IN_A_GRID.replace("{training!r}", repr(worlds.GRID))
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    before = worlds.counts()

    begun, fit = [], models.fit
    monkeypatch.setattr(models, "fit", lambda *arguments, **named: begun.append(1) or fit(*arguments, **named))
    undisturbed = train(worlds.hypothesis(experiment_id="was_left_alone", training=worlds.GRID), source_file="x.yaml")
    every = len(begun)
    assert every == 12, "five folds of two trials, and a control of each"
    left_alone = worlds.counts()
    begun.clear()
    caplog.set_level("INFO", logger="truebar")
    run = train(worlds.hypothesis(experiment_id="grid_was_killed", training=worlds.GRID), source_file="x.yaml")
    assert len(begun) == every - 5
    assert "5 of 10 fits are there from an earlier attempt" in caplog.text
    after = worlds.counts()
    assert {name: after[name] - left_alone[name] for name in ("hypotheses", "runs", "families")} == {
        "hypotheses": 0, "runs": 0, "families": 0,
    }  # fmt: skip
    for name in ("trials", "trial_returns", "run_outcomes"):
        assert after[name] - left_alone[name] == left_alone[name] - before[name], name
    assert arrow("analyst", CAME_OF_IT, (run.run_id,)).equals(arrow("analyst", CAME_OF_IT, (undisturbed.run_id,)))
    assert reproduced(run.trial_ids[0]) is not None
    with connect("analyst") as connection:
        assert connection.execute("select count(*) from research.fitted_folds").fetchone() == (0,)


def test_what_other_code_or_another_device_has_fitted_is_fitted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    hypothesis = worlds.hypothesis(experiment_id="fitted_by_others", training=worlds.GRID)
    # as where an attempt ends before its run has succeeded
    monkeypatch.setattr(Fitted, "clear", lambda kept, connection: None)
    run = train(hypothesis, source_file="x.yaml")
    search, _ = prepare(hypothesis)
    asked = [Unit(trial, fold.number) for trial in search.trials for fold in search.folds]

    def handed_out(device: str) -> int:
        left: list[Unit] = []
        with connect("trainer", read_only=True) as connection:
            kept = Fitted(connection, run.run_id, device)
        found = [*kept.beside(lambda units, do: iter(left.extend(units) or ()))(asked, search.do)]
        assert len(found) + len(left) == len(asked)
        return len(left)

    assert handed_out("cpu") == 0
    assert handed_out("cuda") == len(asked)
    monkeypatch.setattr("training.fitted.versions", lambda: {"truebar": "of another commit"})
    assert handed_out("cpu") == len(asked)


def test_a_search_that_goes_on_elsewhere_mixes_no_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    hypothesis = worlds.hypothesis(experiment_id="moved_on", training=TUNED)
    search, _ = prepare(hypothesis)
    run = train(hypothesis, source_file="x.yaml")
    with connect("trainer", read_only=True) as connection:
        here = trials.stored_choices(connection, run.run_id, "cpu")
        assert sorted(fold for _, fold in here) == [1, 2, 3]
        assert trials.stored_choices(connection, run.run_id, "cuda") == {}
        with monkeypatch.context() as patch:
            patch.setattr("optuna.__version__", "0.0.1")
            assert trials.stored_choices(connection, run.run_id, "cpu") == {}
    choice = next(iter(here.values()))
    with connect("trainer") as connection:
        trials.store_choice(connection, run.run_id, run.trial_ids[0], 1, choice, "cuda")
    assert [row["device"] for row in arrow("analyst", CHOICES, (run.run_id,)).to_pylist()] == [
        "cpu",
        "cuda",
        "cpu",
        "cpu",
    ]
    assert reproduced(run.trial_ids[0]) is not None
    assert search.run_id == run.run_id


def test_a_tuned_run_that_ends_early_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    tune = {"rounds": 2, "inner_folds": 2, "space": {"max_depth": [1, 2]}}
    hypothesis = worlds.hypothesis(training={**worlds.GRID, "grid": {}, "folds": 3, "tune": tune})
    searched, choose = [], tuning.choose

    def two_then_none(*arguments: object, number: int, **named: object) -> tuning.Choice:
        if len(searched) == 2:
            raise ModelError("the machine went away")
        searched.append(number)
        return choose(*arguments, number=number, **named)

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "choose", two_then_none)
        patch.setenv("TRUEBAR_TRAINING_THREADS", "1")
        with pytest.raises(ModelError, match="went away"):
            train(hypothesis, source_file="x.yaml")
    stored = "select fold, parameters, inner_skill, rounds from research.tuned_folds where run_id = $1 order by fold"
    run_id = prepare(hypothesis)[0].run_id
    before = arrow("analyst", stored, (run_id,)).to_pylist()
    assert [row["fold"] for row in before] == searched == [1, 2]

    again = []
    monkeypatch.setattr(
        tuning, "choose", lambda *arguments, number, **named: again.append(number) or choose(*arguments, number=number)
    )
    run = train(hypothesis, source_file="x.yaml")
    assert again == [3]
    assert len(run.trial_ids) == 1
    after = arrow("analyst", stored, (run_id,)).to_pylist()
    assert after[:2] == before
    assert [(row["fold"], row["rounds"]) for row in after] == [(1, 2), (2, 2), (3, 2)]
    assert judge_families([run.family_id])[run.trial_ids[0]].verdict
