"""From target weights to what an account would have earned: fills, drift, costs, borrow, interest, and the last exit.

A decision at the close of a symbol's bar is filled at the open of the next bar in which somebody traded; until then the
position stays what it was. A price is known at such opens only: the whole move across a hole, or a night, is earned at
the first open after it, by the strategy and by buy-and-hold alike. Nothing about a bar depends on whether a later one
exists. Everything is a fraction of the equity at the open before it is traded.

A position that a stop, a target or its age ends is left at the next open too (see `models_registry.exits`).

Where trading ends for good, a position is closed at what its holder got. Where nobody knows that, the worst is assumed:
a long position loses all, and a short one gains nothing after the last close.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models_registry.exits import Exits, Held, Levels, decide
from models_registry.rebalancing import Rebalancing
from models_registry.rebalancing import trades as trades_of
from training.costs import Rates
from training.dataset import Dataset

_YEAR_IN_SECONDS = 31_557_600.0  # 365.25 days


@dataclass(frozen=True)
class Terms:
    """What a trial trades on: its rates, what it does about drift, its limits of gross and net, when it leaves."""

    rates: Rates
    rebalancing: Rebalancing
    limits: tuple[float, float] = (np.inf, np.inf)
    exits: Exits | None = None


@dataclass(frozen=True)
class Account:
    """What happened after each of T decisions with S symbols, all (T, S) and fractions of equity.

    Row t covers the bar of the grid after it, from its open to the open that follows. positions: held then, after the
    trades; trades: the signed change at its open; costs: of trading and borrowing; interest: on what was not invested,
    each symbol its share. The last row's cost holds the exit. Once everything is lost nothing is held any more.
    """

    positions: np.ndarray
    trades: np.ndarray
    costs: np.ndarray
    interest: np.ndarray


@dataclass(frozen=True)
class Wanted:
    """What N trials want at T decisions of S symbols, each (N, T, S).

    weights: targets, NaN decides nothing. scores: what they follow from. whole: weight of a position that is kept
    though its score asks for none. The last two are read where a trial has exits.
    """

    weights: np.ndarray
    scores: np.ndarray | None = None
    whole: np.ndarray | None = None


class _Since:
    """What N trials hold in S symbols, and the prices since each entry; all (N, S)."""

    def __init__(self, exits: list[Exits | None], symbols: int) -> None:
        shape = (len(exits), symbols)
        self.levels = Levels.of(exits)
        self.side, self.barred, self.bars = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.entry, self.low, self.high = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)

    def decide(self, weights: np.ndarray, scores: np.ndarray, whole: np.ndarray, held: np.ndarray) -> np.ndarray:
        """The weights (N, S) that decisions lead to where `held` is held at their close."""
        # what a delisting or a total loss ended is held no more
        self.side = np.where(np.sign(held) == self.side, self.side, 0.0)
        since = Held(self.side, self.bars, self.entry, self.low, self.high)
        targets, self.barred, _ = decide(self.levels, weights, scores, whole, since, self.barred)
        return targets

    def follow(
        self, position: np.ndarray, price: np.ndarray, low: np.ndarray, high: np.ndarray, is_traded: np.ndarray
    ) -> None:
        """What is held after the fills at `price` (S,), and the bar that follows; a NaN `low` or `high` is no price."""
        side = np.sign(position)
        is_new = (side != 0.0) & (side != self.side)
        self.entry = np.where(is_new, price, self.entry)
        self.low, self.high = np.where(is_new, price, self.low), np.where(is_new, price, self.high)
        self.bars = np.where(is_new, 0.0, self.bars) + is_traded
        self.low, self.high = np.fmin(self.low, low), np.fmax(self.high, high)
        self.side = side


@dataclass(frozen=True)
class _Ended:
    """A delisting as an account meets it: `row` of the fills at which it settles."""

    row: int
    column: int
    after_open: float
    result: float | None


@dataclass(frozen=True)
class Market:
    """The out-of-sample bars of a dataset, as an account meets them: `first` to `last` are numbers of decision bars.

    Row t of what follows belongs to decision bar first + t, whose fill is at the open of the grid's next bar.
    """

    dataset: Dataset
    first: int
    last: int

    @cached_property
    def prices(self) -> np.ndarray:
        """(T + 1, S) newest open at which somebody traded, at the fill of each row and at the end; NaN before any."""
        opens = np.where(self.dataset.is_traded, self.dataset.opens, np.nan)[: self.last + 3]
        newest = np.maximum.accumulate(np.where(np.isnan(opens), -1, np.arange(len(opens))[:, None]), axis=0)
        filled = np.where(newest >= 0, np.take_along_axis(opens, np.maximum(newest, 0), axis=0), np.nan)
        window = np.asarray(filled[self.first + 1 : self.last + 3])
        for ended in self._ended:
            result = -1.0 if ended.result is None else ended.result
            window[ended.row :, ended.column] *= (1.0 + ended.after_open) * (1.0 + result)
        return window

    @cached_property
    def _ended(self) -> tuple["_Ended", ...]:
        """Delistings after the first fill and up to the end."""
        rows = [(one.bar - self.first - 1, one) for one in self.dataset.delistings]
        last_row = self.last - self.first + 1
        return tuple(_Ended(row, one.column, one.after_open, one.result) for row, one in rows if 0 < row <= last_row)

    @cached_property
    def settled(self) -> np.ndarray:
        """(T + 1, S) whether a position is closed by the symbol's delisting at the fill of each row, or at the end."""
        settled = np.zeros(self.prices.shape, dtype=bool)
        for ended in self._ended:
            settled[ended.row, ended.column] = True
        return settled

    @cached_property
    def returns(self) -> np.ndarray:
        """(T, S) simple return over each row's bar; 0 where the price is not known or has not moved."""
        with np.errstate(invalid="ignore"):  # after a total loss there is no return
            change = self.prices[1:] / self.prices[:-1] - 1.0
        return np.where(np.isnan(change), 0.0, change)

    @cached_property
    def short_returns(self) -> np.ndarray:
        """(T, S) the same for short positions, which gain nothing by a delisting whose result nobody knows."""
        returns = self.returns.copy()
        for ended in self._ended:
            if ended.result is None:
                returns[ended.row - 1, ended.column] = ended.after_open
        return returns

    def returns_of(self, positions: np.ndarray) -> np.ndarray:
        """(T, S) returns of what an account held: `positions` (T, S), signed."""
        return np.where(positions < 0.0, self.short_returns, self.returns)

    @cached_property
    def ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """(T, S) low and high of each row's bar; its open where they are doubtful, NaN where nobody traded."""
        window = slice(self.first + 1, self.last + 2)
        opens = np.where(self.dataset.is_traded, self.dataset.opens, np.nan)[window]
        if self.dataset.lows is None or self.dataset.highs is None:
            return opens, opens
        of_bars = (prices[window] for prices in (self.dataset.lows, self.dataset.highs))
        low, high = (np.where(np.isnan(prices), opens, np.where(np.isnan(opens), np.nan, prices)) for prices in of_bars)
        return low, high

    @cached_property
    def years(self) -> np.ndarray:
        """(T,) length of each row's bar, to the next open, in years."""
        moments = self.dataset.sessions[self.first + 1 : self.last + 3]
        return np.asarray(np.diff(moments) / np.timedelta64(1, "s") / _YEAR_IN_SECONDS)

    @cached_property
    def decided_by(self) -> np.ndarray:
        """(T, S) row of the decision that is filled at each row, -1 where none is.

        Only the newest decision since the symbol was last traded waits for a fill, and a fill needs a bar with trades.
        """
        window = slice(self.first, self.last + 2)
        traded, decided = self.dataset.is_traded[window], self.dataset.is_acted_on[window].copy()
        decided[-1] = False
        numbers = np.arange(len(traded))[:, None]
        newest_decision = np.maximum.accumulate(np.where(decided, numbers, -1), axis=0)[:-1]
        newest_trade = np.maximum.accumulate(np.where(traded, numbers, -1), axis=0)[:-1]
        # a decision is made in a bar with trades: one after it would have filled it
        waits = (newest_decision >= 0) & (newest_decision == newest_trade)
        return np.where(waits & traded[1:], newest_decision, -1)

    @cached_property
    def held(self) -> np.ndarray:
        """(T, S) what buy-and-hold has in each symbol: equal money in all that have a price at the first open and are
        traded afterwards, at that price. A symbol that is listed later is not part of it; once all is lost, 0."""
        bought = (
            np.isfinite(self.prices[0])
            & self.dataset.is_member[self.first]
            & self.dataset.is_traded[self.first + 1 : self.last + 3].any(axis=0)
        )
        if not bought.any():
            return np.zeros_like(self.returns)
        wealth = np.where(bought, self.prices[:-1] / np.where(bought, self.prices[0], 1.0), 0.0)
        total = wealth.sum(axis=1, keepdims=True)
        return np.asarray(np.divide(wealth, total, out=np.zeros_like(wealth), where=total > 0.0))

    @cached_property
    def named_returns(self) -> np.ndarray | None:
        """(T, S) each symbol's even share of the return of a named benchmark; None where none is named."""
        if self.dataset.benchmark is None:
            return None
        prices = self.dataset.benchmark[self.first + 1 : self.last + 3]
        shares = (prices[1:] / prices[:-1] - 1.0) / len(self.dataset.symbols)
        return np.repeat(shares[:, None], len(self.dataset.symbols), axis=1)

    def scores_in_force(self, scores: np.ndarray) -> np.ndarray:
        """(T, S) scores (T, S) by decision bar, a row with a fill with that of the decision which is filled there.

        It may be an earlier bar's.
        """
        of_fill = np.take_along_axis(scores, np.maximum(self.decided_by, 0), axis=0)
        return np.where(self.decided_by >= 0, of_fill, scores)

    def run(self, wanted: Wanted, terms: list[Terms]) -> list[Account]:
        """The accounts of N trials side by side."""
        count, length, symbols = wanted.weights.shape
        side = np.stack([one.rates.side for one in terms])
        borrow = np.stack([one.rates.borrow for one in terms])
        cash = np.array([[one.rates.cash] for one in terms])
        band = np.array([[one.rebalancing.band] for one in terms])
        gross = np.array([[one.limits[0]] for one in terms])
        net_limit = np.array([[one.limits[1]] for one in terms])
        lets_run = np.array([[one.rebalancing.drift == "let_run"] for one in terms])
        positions, trades = np.zeros((count, length, symbols)), np.zeros((count, length, symbols))
        costs, interest = np.zeros((count, length, symbols)), np.zeros((count, length, symbols))
        held, aimed_at = np.zeros((count, symbols)), np.full((count, symbols), np.nan)
        ruined = np.zeros((count, 1), dtype=bool)
        since = _Since([one.exits for one in terms], symbols) if any(one.exits for one in terms) else None
        for row in range(length):
            targets = self._decided(wanted.weights, row)
            if since is not None:
                scores, whole = (self._decided(said, row) for said in (wanted.scores, wanted.whole))
                targets = since.decide(targets, scores, whole, held)
            # a delisting has made room before anything else is traded
            kept = np.where(self.settled[row], 0.0, held)
            trade, aimed_at = trades_of(
                kept, targets, aimed_at, band=band, lets_run=lets_run, gross=gross, net=net_limit
            )
            trade = np.where(self.settled[row], -held, trade)
            trade[ruined[:, 0]] = 0.0
            position = held + trade
            if since is not None:
                low, high = (prices[row] for prices in self.ranges)
                since.follow(position, self.prices[row], low, high, self._has_trades[row])
            returns = np.where(position < 0.0, self.short_returns[row], self.returns[row])
            # what a delisting closes was sold to nobody: it pays no spread
            paid = side * np.where(self.settled[row], 0.0, np.abs(trade))
            cost = paid + borrow * np.maximum(-position, 0.0) * self.years[row]
            idle = np.maximum(1.0 - np.maximum(position, 0.0).sum(axis=1, keepdims=True), 0.0)
            earned = np.where(ruined, 0.0, cash * idle * self.years[row] / symbols)
            net = (position * returns - cost + earned).sum(axis=1, keepdims=True)
            positions[:, row], trades[:, row], costs[:, row], interest[:, row] = position, trade, cost, earned
            ruined |= net <= -1.0
            held = np.where(ruined, 0.0, position * (1.0 + returns) / np.where(ruined, 1.0, 1.0 + net))
            if row == length - 1:
                # as a fraction of the equity that the row began with
                leaves = np.where(self.settled[row + 1], 0.0, np.abs(held))
                costs[:, row] += side * leaves * np.maximum(1.0 + net, 0.0)
        return [Account(*parts) for parts in zip(positions, trades, costs, interest, strict=True)]

    def _decided(self, said: np.ndarray | None, row: int) -> np.ndarray:
        """(N, S) what the decisions that are filled at a row say; NaN where there is none."""
        if said is None:
            raise ValueError("exits are judged by scores and whole weights, which were not given")
        source = self.decided_by[row]
        return np.where(source >= 0, said[:, np.maximum(source, 0), np.arange(said.shape[2])], np.nan)

    @cached_property
    def _has_trades(self) -> np.ndarray:
        """(T, S) whether somebody traded in each row's bar."""
        return self.dataset.is_traded[self.first + 1 : self.last + 2]
