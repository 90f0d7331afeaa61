"""A search inside a fold sees the fold's training bars alone, chooses what is better there, and is the same again."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training import worlds
from training import trials, tuning
from training.hypothesis import Hypothesis
from training.models import ModelError
from training.train import Search

SPACE = {
    "max_depth": {"low": 1, "high": 3},
    "n_estimators": [1, 40],
    "learning_rate": {"low": 0.02, "high": 0.3, "log": True},
}
TRAINING = {"start": "2000-01-01", "device": "cpu", "folds": 3, "tune": {"rounds": 4, "inner_folds": 2, "space": SPACE}}


def tuned(**changes: object) -> Hypothesis:
    return worlds.hypothesis(training={**TRAINING, **changes})


def search(hypothesis: Hypothesis, data: object = None) -> Search:
    return Search(hypothesis, data or worlds.dataset(), "cpu", "run")


@pytest.mark.long
def test_each_fold_is_searched_on_its_training_bars_and_the_whole_is_one_trial() -> None:
    found = search(tuned())
    assert len(found.trials) == 1
    (_, one), *_ = found.trials.values()
    path = one.run({"t0000000": one.hypothesis.training.xgboost})["t0000000"]
    assert sorted(one.chosen) == [1, 2, 3]
    assert {choice.parameters.n_estimators for choice in one.chosen.values()} == {40}, "one tree learns next to nothing"
    assert all(choice.inner_skill > 0.05 and choice.rounds == 4 for choice in one.chosen.values())
    assert len({choice.parameters.learning_rate for choice in one.chosen.values()}) == 3, "each fold has its own"
    assert path.skill_out_of_sample > 0.05

    # what comes after the first fold's training bars, out-of-sample days above all, changes nothing of its choice
    first = one.folds[0]
    data = worlds.dataset()
    generator = np.random.default_rng(1)
    opens, features = data.opens.copy(), data.features.copy()
    begins = first.test[0] + 1
    opens[begins:] *= np.exp(0.1 * generator.standard_normal(opens[begins:].shape))
    features[begins:] = generator.standard_normal(features[begins:].shape)
    (_, other), *_ = search(tuned(), replace(data, opens=opens, features=features)).trials.values()
    again = tuning.choose(other, first.train, other.hypothesis.training.xgboost, number=1)
    assert again == one.chosen[1]
    assert tuning.choose(other, first.train, other.hypothesis.training.xgboost, number=2) != again, "another seed"


def test_a_label_of_the_inner_training_is_known_before_the_inner_test() -> None:
    hypothesis = worlds.hypothesis(training=TRAINING, target={"kind": "binary", "horizon": 10})
    (_, one), *_ = search(hypothesis).trials.values()
    fold = one.folds[1]
    parts = tuning._inner(one, fold.train, 2)
    assert len(parts) == 2
    for train, test in parts:
        assert one.target_values.known_at[train].max() < test[0]
        assert fold.train[0] <= train[0]
        assert test[-1] <= fold.train[-1]
    assert parts[0][1][-1] + 1 == parts[1][1][0]


@pytest.mark.long
def test_what_was_chosen_before_is_not_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    (_, one), *_ = search(tuned()).trials.values()
    whole = one.run({"t0000000": one.hypothesis.training.xgboost})["t0000000"]
    (_, again), *_ = search(tuned()).trials.values()
    again = replace(again, chosen=dict(one.chosen))
    monkeypatch.setattr(tuning, "choose", None)
    path = again.run({"t0000000": again.hypothesis.training.xgboost})["t0000000"]
    assert path.net_returns.tobytes() == whole.net_returns.tobytes()


def test_what_cannot_be_fitted_is_said() -> None:
    data = worlds.dataset()
    flat = replace(data, opens=np.full_like(data.opens, 7.0))
    (_, one), *_ = search(tuned(), flat).trials.values()
    with pytest.raises(ModelError, match=r"fold 1 of 3 .* none of 4 sets of parameters could be fitted"):
        one.run({"t0000000": one.hypothesis.training.xgboost})


def test_another_search_is_another_trial() -> None:
    names = set()
    for rounds in (4, 5):
        hypothesis = tuned(tune={"rounds": rounds, "space": SPACE})
        names.add(trials.trial_id("run", trials.stored_parameters(hypothesis, {})))
        assert hypothesis.variant({}).training.tune == hypothesis.training.tune
    names.add(trials.trial_id("run", trials.stored_parameters(tuned(tune=None), {})))
    assert len(names) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tune": {"space": {"max_dept": [1, 2]}}}, "space.max_dept is no parameter of the booster"),
        ({"tune": {"space": {"max_depth": {"low": 3, "high": 1}}}}, r"low \(3\) must be below high \(1\)"),
        ({"tune": {"space": {"gamma": {"low": 0, "high": 1, "log": True}}}}, "a log range starts above 0"),
        ({"tune": {"space": {"max_depth": {"low": 1, "high": 99}}}}, "space.max_depth: 99: Input should be less"),
        ({"tune": {"space": {"max_depth": [2, 2]}}}, "a list of different values"),
        ({"grid": {"max_depth": [1, 2]}}, "max_depth is in grid and in tune.space: keep it in one of them"),
    ],
)
def test_a_search_that_cannot_be_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tuned(**changes)
