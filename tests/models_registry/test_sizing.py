"""Each policy's sentence, in numbers; and that a bar's weights never depend on other bars."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_registry.scoring import PositionSizing, Target

SCORES = np.array([-0.4, -0.05, 0.0, 0.05, 0.4, np.nan])


def weights(scores: np.ndarray = SCORES, symbols: int = 2, target: dict | None = None, **keys: object) -> list[float]:
    volatility = np.full(len(scores), 0.02)
    return (
        PositionSizing(**keys)
        .weights(scores, symbols, volatility=volatility, target=Target(**(target or {"kind": "binary"})))
        .tolist()
    )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"policy": "long_flat", "entry": 0.1}, [0, 0, 0, 0, 0.5, 0]),
        ({"policy": "long_short", "entry": 0.1}, [-0.5, 0, 0, 0, 0.5, 0]),
        ({"policy": "proportional", "full_at": 0.2}, [0, 0, 0, 0.125, 0.5, 0]),
        ({"policy": "proportional", "full_at": 0.2, "short": True}, [-0.5, -0.125, 0, 0.125, 0.5, 0]),
        ({"policy": "volatility_target", "target_volatility": 0.01}, [0, 0, 0, 0.25, 0.25, 0]),
        ({"policy": "volatility_target", "target_volatility": 0.04}, [0, 0, 0, 0.5, 0.5, 0]),
        ({"policy": "kelly", "fraction": 0.1, "short": True}, [-0.5, -0.25, 0, 0.25, 0.5, 0]),
    ],
)
def test_a_policy_does_what_it_says(keys: dict, expected: list[float]) -> None:
    assert weights(**keys) == pytest.approx(expected)


def test_kelly_is_the_expected_return_over_the_variance() -> None:
    # 0.0004 expected over four bars of 2 % volatility: 0.0004 / 0.0016 = 0.25, half of it
    regression = {"kind": "regression", "horizon": 4}
    assert weights(np.array([0.0004]), 1, regression, policy="kelly", fraction=0.5) == pytest.approx([0.125])
    in_volatilities = {"kind": "volatility_scaled", "horizon": 4}
    assert weights(np.array([0.01]), 1, in_volatilities, policy="kelly", fraction=0.5) == pytest.approx([0.125])


def test_the_best_are_long_and_the_worst_short() -> None:
    scores = np.array([0.1, 0.3, -0.2, 0.2, np.nan])
    sizing = PositionSizing(policy="top_bottom_k", top=2, bottom=1)
    assert sizing.weights(scores, 5) == pytest.approx([0, 1 / 3, -1 / 3, 1 / 3, 0])
    neutral = PositionSizing(policy="top_bottom_k", top=2, bottom=1, max_net=0.0)
    assert neutral.weights(scores, 5) == pytest.approx([0, 1 / 6, -1 / 3, 1 / 6, 0])
    bearish = PositionSizing(policy="top_bottom_k", top=1, bottom=2, max_net=0.1)
    assert bearish.weights(scores, 5) == pytest.approx([-1.3 / 6, 1 / 3, -1.3 / 6, 0, 0])
    assert sizing.may_short
    assert not PositionSizing(policy="top_bottom_k", top=2).may_short


def test_a_panel_that_is_not_there_decides_nothing() -> None:
    sizing = PositionSizing(policy="top_bottom_k", top=2, bottom=1)
    made = sizing.weights(np.array([0.1, 0.3, np.nan]), 3)
    assert np.isnan(made[:2]).all()
    assert made[2] == 0


@given(st.lists(st.lists(st.sampled_from([-1.0, -0.2, 0.2, 0.2, 1.0]), min_size=3, max_size=3), min_size=1, max_size=6))
def test_a_bar_is_ranked_alone(panel: list[list[float]]) -> None:
    sizing = PositionSizing(policy="top_bottom_k", top=1, bottom=1)
    bars = np.repeat(np.arange(len(panel)), 3)
    together = sizing.weights(np.ravel(panel), 3, bars=bars)
    alone = np.concatenate([sizing.weights(np.array(scores), 3) for scores in panel])
    assert together.tobytes() == alone.tobytes()
    assert np.abs(together.reshape(-1, 3)).sum(axis=1) == pytest.approx(np.ones(len(panel)))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"policy": "long_flat", "short": True}, "short goes with"),
        ({"policy": "volatility_target"}, "needs target_volatility"),
        ({"policy": "top_bottom_k"}, "needs top or bottom"),
        ({"policy": "long_flat", "top": 3}, "needs top or bottom, or both; no other does"),
        ({"policy": "proportional", "entry": 0.3}, "full_at .* must be above entry"),
        ({"policy": "top_bottom_k", "top": 1, "entry": 0.1}, "leave entry out"),
        ({"policy": "long_flat", "entry": True}, "entry"),
        ({"policy": "top_bottom_k", "top": "1"}, "top"),
    ],
)
def test_contradictions_are_said(keys: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PositionSizing(**keys)
