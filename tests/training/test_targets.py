"""Each target against a slow reading of its own sentence, on random prices with holes and dead bars."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_registry.scoring import Target
from training.dataset import Dataset
from training.targets import uniqueness, values

KINDS = {
    "regression": {},
    "volatility_scaled": {},
    "triple_barrier": {"up": 0.03, "down": 0.02},
    "triple_barrier in volatility": {"up": 1.0, "down": 0.5, "barriers": "volatility"},
    "rank": {},
}


def a_panel(seed: int, length: int, symbols: int, holes: float) -> Dataset:
    generator = np.random.default_rng(seed)
    shape = (length, symbols)
    opens = 50 * np.exp(np.cumsum(0.02 * generator.standard_normal(shape), axis=0))
    highs, lows = opens * np.exp(generator.uniform(0, 0.03, shape)), opens * np.exp(-generator.uniform(0, 0.03, shape))
    gone = generator.random(shape) < holes
    opens[gone] = highs[gone] = lows[gone] = np.nan
    return Dataset(
        symbols=tuple(f"S{number}" for number in range(symbols)),
        timeframe="1d",
        sessions=np.datetime64("2020-01-01", "us") + np.arange(length) * np.timedelta64(1, "D"),
        opens=opens,
        highs=highs,
        lows=lows,
        features=generator.uniform(0.01, 0.03, (*shape, 1)),
        ready=np.ones(shape, dtype=bool),
        fingerprints={"volatility_20": "v"},
        unready_rows=0,
        # calendars of their own: a symbol has bars where another has none
        expected=generator.random(shape) < 0.8,
        traded=generator.random(shape) >= holes,
    )


def slowly(target: Target, data: Dataset, own: list[int], place: int, column: int) -> float:
    """The value of the decision at the symbol's own bar number `place`, bar by bar."""
    bars = own[place : place + target.horizon + 2]
    if len(bars) < target.horizon + 2:
        return math.nan
    decision, entry, *_, leaving = bars
    if not all(data.is_traded[bar, column] for bar in (decision, entry, leaving)):
        return math.nan
    start, end = data.opens[entry, column], data.opens[leaving, column]
    scale = data.features[decision, column, 0] * math.sqrt(target.horizon)
    if target.kind == "volatility_scaled":
        return (end / start - 1) / scale
    if target.kind != "triple_barrier":
        return end / start - 1
    distance = scale if target.barriers == "volatility" else 1.0
    for bar in bars[1:-1]:
        high, low = data.highs[bar, column], data.lows[bar, column]
        if math.isnan(high) or math.isnan(low):
            return math.nan
        if low <= start * (1 - target.down * distance):
            return 0.0
        if high >= start * (1 + target.up * distance):
            return 2.0
    return 1.0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(sorted(KINDS)),
    horizon=st.integers(1, 5),
    symbols=st.integers(2, 3),
    holes=st.sampled_from([0.0, 0.15]),
)
def test_a_target_is_what_its_sentence_says(seed: int, kind: str, horizon: int, symbols: int, holes: float) -> None:
    data = a_panel(seed, 30, symbols, holes)
    target = Target(kind=kind.split()[0], horizon=horizon, **KINDS[kind])
    made = values(target, data)
    expected = np.full(data.opens.shape, np.nan)
    for column in range(symbols):
        own = np.flatnonzero(data.is_expected[:, column]).tolist()
        for place, bar in enumerate(own):
            expected[bar, column] = slowly(target, data, own, place, column)
            if not math.isnan(made.values[bar, column]):
                assert made.known_at[bar, column] == own[place + 1 + horizon]
    if target.kind == "rank":
        for row in expected:
            there = row[~np.isnan(row)]
            order = {value: 2 * sorted(there).index(value) / max(len(there) - 1, 1) - 1 for value in there}
            row[:] = [order[value] if len(there) > 1 and not math.isnan(value) else math.nan for value in row]
    np.testing.assert_allclose(made.values, expected, rtol=1e-12)
    assert (made.known_at[np.isnan(made.values)] == -1).all()


def test_a_bar_that_reaches_both_barriers_counts_against_the_strategy() -> None:
    data = a_panel(1, 5, 1, 0.0)
    shape = data.opens.shape
    wide = {
        "opens": np.full(shape, 100.0), "highs": np.full(shape, 110.0), "lows": np.full(shape, 90.0),
        "expected": np.ones(shape, dtype=bool), "traded": np.ones(shape, dtype=bool),
    }  # fmt: skip
    both = Dataset(**{**data.__dict__, **wide})
    target = Target(kind="triple_barrier", up=0.05, down=0.05)
    assert values(target, both).values[:3, 0].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("target", "returns", "labels"),
    [
        ({"kind": "binary", "threshold": 0.01}, [0.01, 0.02, -0.5], [0, 1, 0]),
        ({"kind": "binary", "threshold": -0.01}, [-0.01, 0.0], [0, 1]),
        ({"kind": "multiclass", "threshold": 0.01}, [-0.02, -0.01, 0.0, 0.01, 0.02], [0, 1, 1, 1, 2]),
        ({"kind": "multiclass", "thresholds": (-0.02, 0.0, 0.02)}, [-0.03, -0.01, 0.0, 0.01, 0.03], [0, 1, 1, 2, 3]),
        ({"kind": "multiclass", "quantiles": 4}, [4.0, 3.0, 2.0, 1.0], [3, 2, 1, 0]),
    ],
)
def test_classes(target: dict, returns: list[float], labels: list[int]) -> None:
    made = Target(**target).label(np.array([*returns, np.nan]))
    assert made[:-1].tolist() == labels
    assert np.isnan(made[-1])


def test_quantiles_are_cut_by_the_training_labels_alone() -> None:
    target = Target(kind="multiclass", quantiles=2)
    edges = target.edges(np.array([1.0, 2.0, 3.0, np.nan]))
    assert edges == (2.0,)
    assert target.label(np.array([2.0, 2.1, 100.0]), edges).tolist() == [0, 1, 1]


def test_scores_of_classes_are_their_mean_place() -> None:
    three = Target(kind="multiclass", threshold=0.01)
    probabilities = np.array([[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]])
    assert three.score(probabilities).tolist() == [0.5 - 0.2, -0.6]
    five = Target(kind="multiclass", quantiles=5)
    assert five.score(np.array([[0.0, 0.0, 0.0, 0.0, 1.0], [0.2] * 5])) == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize("kind", KINDS)
def test_bars_that_are_missing_after_the_last_change_no_value(kind: str) -> None:
    data = a_panel(3, 60, 3, 0.1)
    there = np.arange(60) < 40
    prices = {name: np.where(there[:, None], getattr(data, name), np.nan) for name in ("opens", "highs", "lows")}
    stopped = replace(data, **prices, expected=data.expected & there[:, None])
    target = Target(kind=kind.partition(" ")[0], horizon=3, **KINDS[kind])
    one, other = (values(target, panel) for panel in (stopped, replace(stopped, expected=data.expected)))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.known_at, other.known_at)


def test_a_label_counts_for_what_it_shares_with_no_other() -> None:
    """Horizon 2 on bars 0 to 5 of a symbol, whose calendar lacks bar 2 of the grid; nobody decides at bar 1."""
    expected = np.array([[1], [1], [0], [1], [1], [1], [1]], dtype=bool)
    known_at = np.array([[4], [5], [-1], [6], [-1], [-1], [-1]])
    used = np.array([[1], [0], [0], [1], [0], [0], [0]], dtype=bool)
    # bar 0 spans bars 1 and 3, and bar 3 spans 4 and 5
    assert uniqueness(known_at, used, expected)[:, 0].tolist() == [1, 0, 0, 1, 0, 0, 0]
    used[1] = True
    # bar 1 spans bars 3 and 4, of which one is the first label's too and one the last's
    assert uniqueness(known_at, used, expected)[:, 0].tolist() == [0.75, 0.5, 0, 0.75, 0, 0, 0]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), horizon=st.integers(1, 6), holes=st.sampled_from([0.0, 0.2]))
def test_what_is_unique_of_a_label_is_counted_bar_by_bar(seed: int, horizon: int, holes: float) -> None:
    data = a_panel(seed, 40, 2, holes)
    known_at = values(Target(kind="regression", horizon=horizon), data).known_at
    used = (known_at >= 0) & (np.random.default_rng(seed).random(known_at.shape) < 0.7)
    made = uniqueness(known_at, used, data.is_expected)
    for column in range(2):
        own = np.flatnonzero(data.is_expected[:, column])
        spans = {bar: own[(own > bar) & (own < known_at[bar, column])] for bar in np.flatnonzero(used[:, column])}
        for bar in range(40):
            shares = [1 / sum(one in other for other in spans.values()) for one in spans.get(bar, [])]
            assert made[bar, column] == pytest.approx(np.mean(shares) if shares else 0)
