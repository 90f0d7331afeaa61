"""Worlds without an edge and with one, made of a user's own data, through real training and the gate."""

import tracemalloc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training import worlds
from training import calibrate, rows
from training.calibrate import Counted, altered
from training.gate.intervals import wilson
from training.train import Search
from training.trials import FamilyKey

TRAINING = {"start": "2000-01-01", "device": "cpu", "xgboost": {"n_estimators": 30, "max_depth": 1}}


def search(strength: float = 1.2) -> Search:
    return Search(worlds.hypothesis(training=TRAINING), worlds.dataset(strength=strength), "cpu", "run")


def correlation(made: Search) -> float:
    """Of a feature that foretells everything in the world as it was, with what it foretold."""
    data = made.dataset
    earned, known = calibrate._next_returns(data)[:, 0], data.features[:, 0, 0]
    both = ~np.isnan(earned) & ~np.isnan(known)
    return float(np.corrcoef(earned[both], known[both])[0, 1])


def test_a_placebo_keeps_prices_and_features_and_nothing_between_them() -> None:
    real = search()
    placebo = altered(real, np.random.default_rng(3), 0.0, 252)
    assert correlation(real) > 0.4
    assert abs(correlation(placebo)) < 0.1
    assert placebo.dataset.opens.tobytes() == real.dataset.opens.tobytes()
    assert np.nansum(placebo.dataset.features) == pytest.approx(np.nansum(real.dataset.features))
    assert placebo.dataset.ready.sum() == real.dataset.ready.sum()


def test_a_world_holds_one_copy_of_the_panel_and_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PART_VALUES", 10_000)
    narrow = worlds.dataset(count=100_000)
    wide = replace(
        narrow,
        features=np.tile(narrow.features, 10),
        fingerprints={f"{name}_{number}": "v" for number in range(10) for name in narrow.feature_names},
    )
    real = Search(worlds.hypothesis(training=TRAINING), wide, "cpu", "run")
    tracemalloc.start()
    try:
        placebo = altered(real, np.random.default_rng(3), 0.0, 252)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    panel = real.dataset.features
    assert panel.nbytes <= peak < 1.5 * panel.nbytes
    offset = int(np.random.default_rng(3).uniform(0.1, 0.9) * len(panel))
    assert placebo.dataset.features.tobytes() == np.roll(panel, offset, axis=0).tobytes()


def test_a_panel_beyond_memory_stays_in_files_in_every_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEBAR_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(rows, "PART_VALUES", 1000)
    inside = search()
    held = inside.dataset
    filed = rows.empty(held.features.shape, on_disk=True)
    filed[:] = held.features
    beyond = replace(inside, dataset=replace(held, features=filed))
    made, known = (altered(one, np.random.default_rng(3), 1.5, 252).dataset for one in (beyond, inside))
    assert made.is_on_disk
    assert made.digest == known.digest


def test_a_world_is_gone_before_the_next_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref] = []

    def counted(*asked: Any) -> Search:
        assert not [one for one in made if one() is not None]
        world = altered(*asked)
        made.append(weakref.ref(world.dataset.features))
        return world

    monkeypatch.setattr(calibrate, "altered", counted)
    real = search()
    family = FamilyKey.of(real.dataset, real.folds)
    assert [one.worlds for one in calibrate.calibrate([(real, family)], worlds=2, sharpes=[2.0])] == [2, 2]
    assert len(made) == 4


@pytest.mark.parametrize("sharpe", [1.5, 3.0])
def test_a_planted_edge_has_the_size_that_was_asked_for(sharpe: float) -> None:
    planted = altered(search(strength=0.0), np.random.default_rng(4), sharpe, 252)
    rng = np.random.default_rng(4)
    rng.uniform()
    signal = calibrate._signal(planted.dataset, int(rng.integers(2)))
    assert calibrate._followed(planted.dataset, signal, 2e-4, 252) == pytest.approx(sharpe, abs=0.01)


def two_calendars() -> Search:
    """The first symbol trades on every bar of the grid, the second on every third."""
    data = worlds.dataset(count=3600, symbols=("AA", "BB"), strength=0.0)
    expected = np.ones(data.opens.shape, dtype=bool)
    expected[np.arange(3600) % 3 != 0, 1] = False
    features, ready = data.features.copy(), data.ready & expected
    features[~ready] = np.nan
    mixed = replace(
        data, opens=np.where(expected, data.opens, np.nan), expected=expected, ready=ready, features=features
    )
    return Search(worlds.hypothesis(symbols=["AA", "BB"], training=TRAINING), mixed, "cpu", "run")


def test_symbols_of_several_calendars_are_moved_on_their_own() -> None:
    """Moved along the grid they share, two thirds of the second one's rows would lie where it has no bar."""
    real = two_calendars()
    placebo = altered(real, np.random.default_rng(3), 0.0, 252)
    assert placebo.dataset.is_decided.sum(axis=0).tolist() == real.dataset.is_decided.sum(axis=0).tolist()
    assert placebo.dataset.features[placebo.dataset.ready].size == real.dataset.features[real.dataset.ready].size
    assert not np.isnan(placebo.dataset.features[placebo.dataset.ready]).any()
    planted = altered(real, np.random.default_rng(4), 2.0, 252)
    moved = np.log(planted.dataset.opens / real.dataset.opens)
    assert np.nanstd(moved, axis=0).min() > 0, "both have an edge"
    rng = np.random.default_rng(4)
    rng.uniform()
    signal = calibrate._signal(planted.dataset, int(rng.integers(2)))
    assert calibrate._followed(planted.dataset, signal, 2e-4, 252) == pytest.approx(2.0, abs=0.01)
    earned = calibrate._next_returns(planted.dataset)
    for column in (0, 1):
        known = ~np.isnan(earned[:, column])
        assert np.corrcoef(earned[known, column], signal[known, column])[0, 1] > 0.05


def prepared() -> list[tuple[Search, FamilyKey]]:
    made = search(strength=0.0)
    return [(made, FamilyKey.of(made.dataset, made.folds))]


def test_a_member_keeps_its_rows_and_who_is_none_gets_none() -> None:
    """Moved over bars at which it was no member, most of a symbol's rows would be lost to it."""
    real = search()
    bars = np.arange(len(real.dataset.sessions))[:, None]
    member = (bars >= 300) & (bars < 700)
    ready = real.dataset.ready & member
    features = np.where(ready[:, :, None], real.dataset.features, np.nan)
    world = replace(real, dataset=replace(real.dataset, member=member, ready=ready, features=features))
    placebo = altered(world, np.random.default_rng(3), 0.0, 252).dataset
    np.testing.assert_array_equal(placebo.ready, ready)
    assert not np.isnan(placebo.features[member]).any()
    assert not np.array_equal(placebo.features[member], features[member])
    assert np.nansum(placebo.features) == pytest.approx(np.nansum(features))


def test_bars_that_are_missing_after_the_last_change_no_world() -> None:
    real = search()
    there = (np.arange(1200) < 800)[:, None]
    prices = {name: np.where(there, getattr(real.dataset, name), np.nan) for name in ("opens", "highs", "lows")}
    ready = real.dataset.ready & there
    features = np.where(ready[:, :, None], real.dataset.features, np.nan)
    stopped = replace(real.dataset, **prices, ready=ready, features=features, expected=there)
    one, other = (
        altered(replace(real, dataset=dataset), np.random.default_rng(3), 2.0, 252).dataset
        for dataset in (stopped, replace(stopped, expected=np.ones_like(there)))
    )
    for name in ("features", "ready", "opens"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.long
def test_no_edge_never_passes_and_a_large_one_does() -> None:
    none, large = calibrate.calibrate(prepared(), worlds=4, sharpes=[8.0])
    assert (none.passed, none.worlds, large.worlds) == (0, 4, 4)
    assert large.passed >= 3


@pytest.mark.long
def test_ctrl_c_ends_the_count_with_what_was_finished() -> None:
    done = []

    def advance() -> None:
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt

    counted = calibrate.calibrate(prepared(), worlds=50, sharpes=[3.0], advance=advance)
    assert [one.worlds for one in counted] == [2, 1]


def test_a_count_says_how_well_it_is_known() -> None:
    assert Counted(0.0, 0, 20).sentence() == "no edge: something passes in 0 of 20 worlds, 0.0% [0.0%, 16.1%]"
    assert "an edge of net Sharpe 1.5: something passes in 3 of 4 worlds, 75.0%" in Counted(1.5, 3, 4).sentence()
    assert wilson(0, 0) == (0.0, 1.0)
    # Wilson 1927 as in Agresti & Coull 1998: 0 of 10 and 5 of 10
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-3)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-3)
