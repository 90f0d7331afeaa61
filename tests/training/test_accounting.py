"""The account equals one kept event by event, on anything: holes, dead bars, several calendars, shorts, ruin."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_registry.exits import Exits
from models_registry.rebalancing import Rebalancing, trades
from models_registry.scoring import PositionSizing
from tests.training.slow_account import SlowAccount
from training.accounting import Market, Terms, Wanted
from training.costs import Costs, Rates, rates
from training.dataset import Dataset, Delisting

KEPT = 0.3
EXITS = st.builds(
    lambda **keys: Exits(**keys) if any(value is not None for value in keys.values()) else None,
    score=st.sampled_from([None, -0.3, 0.1]),
    min_bars=st.sampled_from([None, 1, 3]),
    max_bars=st.sampled_from([None, 3, 5]),
    stop_loss=st.sampled_from([None, 0.01, 0.1, 0.5]),
    take_profit=st.sampled_from([None, 0.02, 0.3]),
)
WEIGHTS = st.sampled_from([-1.0, -0.4, 0.0, 0.0, 0.3, 0.31, 1.0, float("nan")])


def a_dataset(
    opens: np.ndarray,
    traded: np.ndarray,
    ready: np.ndarray,
    hours: np.ndarray,
    delistings: tuple[Delisting, ...] = (),
) -> Dataset:
    start = np.datetime64("2020-01-01T00:00:00", "us")
    return Dataset(
        symbols=tuple(f"S{number}" for number in range(opens.shape[1])),
        timeframe="1h",
        sessions=start + hours.cumsum() * np.timedelta64(3600, "s"),
        opens=opens,
        features=np.zeros((*opens.shape, 1)),
        ready=ready,
        fingerprints={"f": "1"},
        unready_rows=0,
        traded=traded,
        delistings=delistings,
    )


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_it_equals_an_account_of_money_and_units(data: st.DataObject) -> None:
    length, symbols = data.draw(st.integers(6, 30)), data.draw(st.integers(1, 3))
    shape = (length, symbols)
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    wild = data.draw(st.sampled_from([0.01, 0.2, 0.9]))
    opens = 50 * np.exp(np.cumsum(wild * generator.standard_normal(shape), axis=0))
    opens[generator.random(shape) < data.draw(st.sampled_from([0.0, 0.3]))] = np.nan
    traded = np.isfinite(opens) & (generator.random(shape) >= data.draw(st.sampled_from([0.0, 0.3])))
    ready = generator.random(shape) >= data.draw(st.sampled_from([0.0, 0.3]))
    hours = generator.integers(1, 70, length)
    delistings, ends = (), {}
    if data.draw(st.booleans()):
        bar, result = data.draw(st.integers(2, length - 1)), data.draw(st.sampled_from([None, -1.0, -0.3, 0.1]))
        opens[bar:, 0], traded[bar:, 0] = np.nan, False
        delistings = (Delisting(0, bar, 0.02, result),)
        if traded[:, 0].any():
            close = opens[np.flatnonzero(traded[:, 0])[-1], 0] * 1.02
            ends[0] = (bar, close * (1 + (-1.0 if result is None else result)), close * (1 + (result or 0.0)))
    first, last = data.draw(st.integers(0, 2)), length - 3
    draws = data.draw(st.lists(WEIGHTS, min_size=(last - first + 1) * symbols, max_size=(last - first + 1) * symbols))
    weights = np.array(draws).reshape(last - first + 1, symbols)
    side = generator.uniform(0, 0.01, symbols)
    borrow = generator.uniform(0, 2, symbols)
    cash_rate = data.draw(st.sampled_from([0.0, 0.3]))
    rebalancing = Rebalancing(
        drift=data.draw(st.sampled_from(["traded", "let_run"])), band=data.draw(st.sampled_from([0.0, 0.05]))
    )

    spread = np.exp(0.5 * wild * np.abs(generator.standard_normal((2, *shape))))
    lows, highs = opens / spread[0], opens * spread[1]
    highs[generator.random(shape) < 0.2] = np.nan
    dataset = replace(a_dataset(opens, traded, ready, hours, delistings), lows=lows, highs=highs)
    market = Market(dataset, first, last)
    limits = data.draw(st.sampled_from([(np.inf, np.inf), (0.5, 1.0), (1.0, 0.2), (0.7, 0.0)]))
    exits = data.draw(st.none() | EXITS)
    terms = Terms(Rates(side, borrow, cash_rate), rebalancing, limits, exits)
    # beside another trial, as in a search
    signals = generator.choice([-0.6, -0.2, 0.0, 0.2, 0.6], weights.shape)
    wanted = Wanted(np.stack([weights, -weights]), np.stack([signals, -signals]), np.full((2, *weights.shape), KEPT))
    account, _ = market.run(wanted, [terms, replace(terms, exits=None)])
    net = (account.positions * market.returns_of(account.positions) - account.costs + account.interest).sum(axis=1)

    decided = dataset.is_decided[first : last + 1]
    scores = market.scores_in_force(np.where(decided, 1.0, np.nan))
    chosen = (account.trades != 0) & ~market.settled[:-1]
    assert not np.isnan(scores[chosen]).any(), "what is traded has the score that it was decided on"

    slow = SlowAccount(
        [*side], [*borrow], cash_rate, rebalancing.band, rebalancing.drift == "let_run", *limits, exits=exits, ends=ends
    )
    expected = slow.run(opens, traded, ready, weights, dataset.sessions, first, last, signals, (lows, highs), KEPT)
    np.testing.assert_allclose(net, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(5, 15))
def test_nothing_depends_on_whether_a_later_bar_exists(seed: int, cut: int) -> None:
    """R1: what is held and what it earned by a bar is the same whatever comes, or is missing, after it."""
    generator = np.random.default_rng(seed)
    opens = 50 * np.exp(np.cumsum(0.1 * generator.standard_normal((20, 2)), axis=0))
    ready, hours = np.ones(opens.shape, dtype=bool), np.ones(20, dtype=np.int64)
    weights = generator.choice([-0.5, 0.0, 0.5], (18, 2))
    terms = Terms(rates(Costs(bps_per_side=5), ("equity", "crypto")), Rebalancing())
    later = opens.copy()
    later[cut + 1 :] = np.where(generator.random(later[cut + 1 :].shape) < 0.5, np.nan, 7.0)
    accounts = []
    for prices in (opens, later):
        market = Market(a_dataset(prices, np.isfinite(prices), ready, hours), 0, 17)
        accounts.append((market.run(Wanted(weights[None]), [terms])[0], market.returns))
    (before, returns), (after, other_returns) = accounts
    # a row is over when its second open is there: row r ends at the open of bar r + 2
    assert (before.positions[: cut - 1] == after.positions[: cut - 1]).all()
    assert (returns[: cut - 1] == other_returns[: cut - 1]).all()
    assert (before.costs[: cut - 1] == after.costs[: cut - 1]).all()


def one_symbol(opens: list[float], weights: list[float], **terms: object) -> tuple[np.ndarray, np.ndarray]:
    """Net returns, and trades, of one equity whose bars are a day apart."""
    prices = np.array(opens)[:, None]
    dataset = a_dataset(prices, np.isfinite(prices), np.ones(prices.shape, dtype=bool), np.full(len(opens), 24))
    market = Market(dataset, 0, len(opens) - 3)
    costs = {"bps_per_side": 1, **{name: value for name, value in terms.items() if name in Costs.model_fields}}
    rebalancing = {name: value for name, value in terms.items() if name in Rebalancing.model_fields}
    trial = Terms(rates(Costs(**costs), ("equity",)), Rebalancing(**rebalancing))
    account = market.run(Wanted(np.array(weights)[None, :, None]), [trial])[0]
    return (account.positions * market.returns - account.costs + account.interest).sum(axis=1), account.trades[:, 0]


def test_a_short_pays_for_drift_borrow_and_the_exit() -> None:
    """R11."""
    prices = [100.0, 100.0, 120.0, 120.0, 120.0]
    _, traded = one_symbol(prices, [-0.5, -0.5, -0.5], band=0.0)
    assert traded[1] == pytest.approx(-0.5 + 0.5 * 1.2 / (1 - 0.1), rel=1e-3), "bought back what it grew by"
    _, left = one_symbol(prices, [-0.5, -0.5, -0.5], drift="let_run")
    assert (left[1:] == 0).all()
    free, _ = one_symbol([100.0] * 5, [-0.5] * 3, borrow_rate=0.0)
    lent, _ = one_symbol([100.0] * 5, [-0.5] * 3, borrow_rate=0.365)
    assert free - lent == pytest.approx([0.0005, 0.0005, 0.0005], rel=1e-2)
    assert free == pytest.approx([-0.5e-4, 0, -0.5e-4], abs=1e-8), "in and out, a basis point each"


def test_idle_cash_earns_what_the_file_says() -> None:
    net, _ = one_symbol([100.0] * 5, [0.4] * 3, cash_rate=0.365)
    assert net == pytest.approx([0.0006 - 0.4e-4, 0.0006, 0.0006 - 0.4e-4], rel=1e-2)


def test_costs_have_a_floor_by_asset_class_and_broker() -> None:
    free = rates(Costs(bps_per_side=0), ("equity", "crypto"))
    assert free.side.tolist() == [0.0001, 0.001]
    assert rates(Costs(bps_per_side=0, broker="alpaca"), ("crypto",)).side.tolist() == [0.0025]
    assert rates(Costs(bps_per_side=40), ("equity", "crypto")).side.tolist() == [0.004, 0.004]
    assert (free.borrow > 0).all()


def test_a_change_of_sign_closes_first() -> None:
    """Brokers refuse an order that crosses zero; a session closes, and opens with the next bar."""
    _, traded = one_symbol([100.0] * 6, [0.5, -0.5, -0.5, -0.5])
    assert traded == pytest.approx([0.5, -0.5, -0.5, 0.0], abs=1e-4)
    _, left = one_symbol([100.0] * 6, [0.5, -0.5, -0.5, -0.5], drift="let_run")
    assert left == pytest.approx([0.5, -0.5, -0.5, 0.0], abs=1e-4)


def test_buy_and_hold_is_bought_and_held() -> None:
    """R10: equal money in what there is at the first open; no rebalancing, and nothing later joins."""
    opens = np.array([[10, 10, np.nan], [10, 10, np.nan], [20, 5, np.nan], [40, 5, 8], [40, 5, 16], [40, 5, 16.0]])
    dataset = a_dataset(opens, np.isfinite(opens), np.ones(opens.shape, dtype=bool), np.full(6, 24))
    market = Market(dataset, 0, 3)
    wealth = np.cumprod(1 + (market.held * market.returns).sum(axis=1))
    assert wealth == pytest.approx([1.25, 2.25, 2.25, 2.25])


def test_buy_and_hold_holds_each_calendar_of_a_panel() -> None:
    """Bars of the two alternate, so at no bar both are traded."""
    opens = np.array([[10, np.nan], [np.nan, 10], [20, np.nan], [np.nan, 10], [20, np.nan], [np.nan, 20], [20, np.nan]])
    dataset = a_dataset(opens, np.isfinite(opens), np.ones(opens.shape, dtype=bool), np.full(7, 12))
    for first in (1, 2):
        assert (Market(dataset, first, 4).held > 0).all()


def delisted(weight: float, result: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Net returns, trades and positions of one symbol whose trading ends after three bars, held before."""
    opens = np.array([100.0, 100.0, 100.0, np.nan, np.nan, np.nan])[:, None]
    traded = np.isfinite(opens)
    dataset = a_dataset(opens, traded, traded, np.full(6, 24), (Delisting(0, 3, -0.1, result),))
    market = Market(dataset, 0, 3)
    terms = Terms(rates(Costs(bps_per_side=10, borrow_rate=0), ("equity",)), Rebalancing())
    account = market.run(Wanted(np.full((1, 4, 1), weight)), [terms])[0]
    returns = market.returns_of(account.positions)
    net = (account.positions * returns - account.costs + account.interest).sum(axis=1)
    return net, account.trades[:, 0], account.positions[:, 0]


def test_a_delisting_costs_what_it_costs() -> None:
    """The last close is a tenth below the last open, and the holder got half of that; nobody pays a spread for it."""
    net, trades, positions = delisted(0.5, -0.5)
    assert net == pytest.approx([-0.5e-3, 0.5 * (0.9 * 0.5 - 1), 0.0, 0.0], abs=2e-4)
    assert trades[2] == pytest.approx(-positions[1] * 0.45 / (1 + net[1]))
    assert positions[2:].tolist() == [0.0, 0.0]


def test_a_delisting_that_nobody_knows_the_result_of_is_the_worst() -> None:
    """A long position loses all; a short one gains what the last close says, and nothing after it."""
    assert delisted(0.5, None)[0][1] == pytest.approx(-0.5, abs=1e-3)
    assert delisted(-0.5, None)[0][1] == pytest.approx(0.05, abs=1e-3)
    assert delisted(-0.5, -1.0)[0][1] == pytest.approx(0.5, abs=1e-3)


def test_buy_and_hold_holds_nothing_once_all_that_was_bought_died() -> None:
    opens = np.array([100.0, 100.0, 100.0, np.nan, np.nan, np.nan])[:, None]
    traded = np.isfinite(opens)
    market = Market(a_dataset(opens, traded, traded, np.full(6, 24), (Delisting(0, 3, -0.1, None),)), 0, 3)
    assert (market.held * market.returns).sum(axis=1).tolist() == [0.0, -1.0, 0.0, 0.0]


def test_a_rank_that_is_not_filled_leaves_no_room_for_the_next() -> None:
    """S0 was the best and has no bar when S1 is: until it is sold, S1 gets what the gross limit leaves."""
    opens = np.full((7, 3), 100.0)
    opens[2:4, 0] = np.nan
    traded = np.isfinite(opens)
    market = Market(a_dataset(opens, traded, traded, np.full(7, 24)), 0, 4)
    weights = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0], [0, 1.0, 0], [0, 1.0, 0]])
    free = Rates(np.zeros(3), np.zeros(3), 0.0)
    trial = Terms(free, Rebalancing(), PositionSizing(policy="top_bottom_k", top=1).limits)
    positions = market.run(Wanted(weights[None]), [trial])[0].positions
    assert np.abs(positions).sum(axis=1).max() == 1.0
    assert positions[:, 0].tolist() == [1, 1, 1, 0, 0]
    assert positions[:, 1].tolist() == [0, 0, 0, 1, 1], "what was cut is bought when there is room"
    unlimited = market.run(Wanted(weights[None]), [Terms(free, Rebalancing())])[0].positions
    assert np.abs(unlimited).sum(axis=1).max() == 2.0


def test_a_short_side_that_is_not_filled_leaves_no_room_for_the_long() -> None:
    sizing = PositionSizing(policy="top_bottom_k", top=1, bottom=1, max_net=0.2)
    gross, net = sizing.limits
    held, wanted = np.zeros(2), np.array([0.5, np.nan])
    trade, aimed_at = trades(held, wanted, np.full(2, np.nan), band=0.01, lets_run=False, gross=gross, net=net)
    assert trade == pytest.approx([0.2, 0.0])
    assert np.isnan(aimed_at).all(), "it is asked for again"
    less, _ = trades(np.array([0.9, -0.1]), np.array([0.5, np.nan]), wanted, band=0.01, lets_run=False, net=0.0)
    assert less == pytest.approx([-0.4, 0.0]), "what makes a position smaller is not cut"
