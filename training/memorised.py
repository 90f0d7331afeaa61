"""How much a model memorises: the gap between its skills where there is nothing to learn.

A small training set is memorised more than a large one, by the same model. So the gate does not ask for a small gap but
for one that is not much larger than on shuffled labels.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import psycopg

from training import models, units
from training.backtest import Backtest
from training.units import HandOut, Unit
from training.walk_forward import Fold


def gaps(trials: Mapping[str, Backtest], hand_out: HandOut | None = None) -> dict[str, float | None]:
    """By trial_id: skill in sample minus out of sample of the middle fold's fit, with shuffled training labels.

    None where such a fit is not possible. `hand_out` says where the fits are made, as in `backtest.run`.
    """
    hand_out = hand_out or units.local(next(iter(trials.values())))
    asked = [
        Unit(trial, fold.number, one.chosen.get(fold.number), is_control=True)
        for trial, one in trials.items()
        for fold in [middle(one)]
    ]
    found = {unit.trial: gap for unit, gap in hand_out(asked, lambda unit: gap_of(trials[unit.trial]))}
    return {trial: found[trial] for trial in trials}


def middle(one: Backtest) -> Fold:
    """The fold whose fit is made again with shuffled labels."""
    return one.folds[len(one.folds) // 2]


def store(connection: psycopg.Connection, found: Mapping[str, float | None]) -> None:
    """Write the gaps beside their trials."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into research.trial_controls (trial_id, memorised) values (%s, %s)", list(found.items())
        )


def gap_of(backtest: Backtest) -> float | None:
    """The gap of one trial, None where its fit is not possible. Raises Stop for what says nothing of the trial."""
    fold = middle(backtest)
    hypothesis, seed = backtest.hypothesis, backtest.hypothesis.training.seed
    train, test = backtest.sample(fold.train, fold.train), backtest.sample(fold.test, fold.train)
    shuffled = replace(train, labels=np.random.default_rng(seed).permutation(train.labels))
    target = hypothesis.target
    try:
        parameters = backtest.tuned(hypothesis.training.xgboost, fold.train, fold.number)
        booster = models.fit(
            shuffled, target, parameters, device=backtest.device, seed=seed, matrices=backtest.matrices
        )
    except models.ModelError:
        return None
    base = models.base_rate(target, shuffled.labels)
    skills = []
    for sample in (shuffled, test):
        if not len(sample.labels):
            return None
        predicted = target.predict(models.margins(booster, sample.features))
        losses = models.losses(target, sample.labels, predicted), models.losses(target, sample.labels, base)
        skills.append(models.skill(*losses))
    return skills[0] - skills[1] if np.isfinite(skills).all() else None
