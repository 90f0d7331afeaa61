"""The dataset of a hypothesis: features, prices and readiness on one grid of bars x symbols.

Features are read from the relation that execution reads too. A decision taken at the close of a symbol's bar is traded
at the open of its next one; a return over h bars runs from that open to the open h bars later. The grid holds the bars
that the symbols' calendars expect, so a missing bar is a hole in it and never shortens a horizon. Symbols of several
calendars share one grid: where a calendar has no bar the symbol has none, and that is no hole.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from models_registry.frozen import canonical_json
from training import panel_grid, panel_rows
from training import rows as disk_rows
from training.budget import FEW_BINS, PART_VALUES, Budget, Load
from training.hypothesis import Hypothesis
from training.panel_grid import Places
from training.rows import Rows
from warehouse.errors import Stop

log = logging.getLogger("truebar")


@dataclass(frozen=True)
class Delisting:
    """The end of a symbol's trading: `column` of the grid, and `bar`, the first at which nobody could trade it.

    after_open: return from the last traded open to the close of that bar. result: what a holder got for that close, as
    a return; None where nobody knows.
    """

    column: int
    bar: int
    after_open: float
    result: float | None


@dataclass(frozen=True)
class Dataset:
    """A grid of T bars x S symbols with F features. Arrays are read-only by convention.

    sessions: (T,) UTC starts of the bars, datetime64[us]. opens, highs, lows: (T, S) adjusted prices, NaN where there
    is no bar; highs and lows also where they are doubtful. expected: (T, S), the symbol's calendar has that bar,
    from its first one to its delisting, or to the newest bar of all. traded: (T, S), the bar is there and somebody
    traded in it. features: (T, S, F) float64, NaN where not ready. ready: (T, S), the row's lookback is complete and
    each of the F features has a value.
    fingerprints: of the F features, in their order. unready_rows: rows of the feature relation that were skipped
    because they are not ready. groups: of the F features. delistings: of the symbols that ended by the grid's last bar.
    member: (T, S), the symbol belonged to the universe then. benchmark: (T,), newest open with trades of what the
    hypothesis names as its benchmark, at each bar. Without `member` every symbol always does, without
    `expected` every bar is, without `traded` every bar that has an open was, without `asset_classes` all are
    equities.
    """

    symbols: tuple[str, ...]
    timeframe: str
    sessions: np.ndarray
    opens: np.ndarray
    features: np.ndarray
    ready: np.ndarray
    fingerprints: dict[str, str]
    unready_rows: int
    highs: np.ndarray | None = None
    lows: np.ndarray | None = None
    expected: np.ndarray | None = None
    traded: np.ndarray | None = None
    asset_classes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    delistings: tuple[Delisting, ...] = ()
    member: np.ndarray | None = None
    benchmark: np.ndarray | None = None
    load_of_search: Load | None = None

    @property
    def load(self) -> Load:
        """What a search on the grid holds in memory; of a part of its features, the search on the whole."""
        return self.load_of_search or Load(self.features.size)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The F features, in the order of the last axis."""
        return tuple(self.fingerprints)

    @cached_property
    def is_expected(self) -> np.ndarray:
        """(T, S) the symbol's calendar has this bar."""
        return np.ones(self.opens.shape, dtype=bool) if self.expected is None else self.expected

    @cached_property
    def is_traded(self) -> np.ndarray:
        """(T, S) somebody traded in this bar: its open is a price that a fill can have."""
        there = np.isfinite(self.opens)
        return np.asarray(there if self.traded is None else there & self.traded)

    @cached_property
    def is_member(self) -> np.ndarray:
        """(T, S) the symbol belonged to the panel then. Who does not is neither learnt from nor ranked."""
        return np.ones(self.opens.shape, dtype=bool) if self.member is None else self.member

    @cached_property
    def is_acted_on(self) -> np.ndarray:
        """(T, S) rows that may lead to a trade: those decided, and those of symbols that have left and are sold."""
        return np.asarray(self.is_decided | (self.is_traded & ~self.is_member))

    @cached_property
    def is_decided(self) -> np.ndarray:
        """(T, S) rows that a model may decide on: ready, of a bar in which somebody traded."""
        return np.asarray(self.ready & self.is_traded)

    @cached_property
    def classes_of_symbols(self) -> tuple[str, ...]:
        """Asset class of each symbol."""
        return self.asset_classes or ("equity",) * len(self.symbols)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of every value in the grid: the same digest is the same data."""
        arrays = [
            self.sessions.astype(np.int64),
            self.opens,
            self.features,
            self.ready,
            self.is_expected,
            self.is_traded,
            self.is_member,
        ]
        arrays += [prices for prices in (self.highs, self.lows, self.benchmark) if prices is not None]
        ended = [astuple(delisting) for delisting in self.delistings]
        names = canonical_json([self.symbols, self.timeframe, self.feature_names, self.classes_of_symbols, ended])
        found = hashlib.sha256(names.encode())
        for array in arrays:
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()

    @property
    def is_on_disk(self) -> bool:
        """Whether the features lie in a file, because memory does not hold them."""
        return disk_rows.is_on_disk(self.features)

    def learnt(self, sessions: np.ndarray, usable: np.ndarray) -> Rows:
        """Feature rows of bar numbers (t,), of the symbols that `usable` (t, S) says, bar by bar."""
        bars, columns = np.nonzero(usable)
        places = sessions[bars] * len(self.symbols) + columns
        return Rows(self.features.reshape(-1, len(self.feature_names)), places)

    def feature(self, name: str) -> np.ndarray:
        """(T, S) values of one feature, NaN where not ready."""
        return np.asarray(self.features[:, :, self.feature_names.index(name)])

    def select(self, names: Sequence[str]) -> "Dataset":
        """The same grid with these features only. A row that lacks another feature may be ready here."""
        if tuple(names) == self.feature_names:
            return self
        places = [self.feature_names.index(name) for name in names]
        return replace(
            self,
            features=disk_rows.select(self.features, places),
            fingerprints={name: self.fingerprints[name] for name in names},
            groups=tuple(self.groups[place] for place in places) if self.groups else (),
        )

    def chosen_by(self, hypothesis: Hypothesis) -> "Dataset":
        """The same grid with the features that a hypothesis asks for, of those that are here."""
        return self.select(_chosen(self.feature_names, self.groups, hypothesis)) if self.groups else self

    def rows(self, sessions: np.ndarray) -> pd.DataFrame:
        """Feature rows of the given bar numbers, bar by bar, symbols in order: what a package reads."""
        count = len(self.symbols)
        values = self.features[sessions].reshape(-1, len(self.feature_names))
        frame = pd.DataFrame(values, columns=list(self.feature_names))
        frame.insert(0, "symbol", np.tile(np.array(self.symbols, dtype=object), len(sessions)))
        frame.insert(1, "bar_start", pd.DatetimeIndex(np.repeat(self.sessions[sessions], count), tz="UTC"))
        frame["is_ready"] = self.is_decided[sessions].reshape(-1)
        return frame

    def rows_in_parts(self, sessions: np.ndarray) -> Iterator[pd.DataFrame]:
        """`rows` of some bars at a time: what is ranked is ranked within a bar."""
        of_bar = len(self.symbols) * max(len(self.feature_names), 1)
        for bars in np.array_split(sessions, -(-len(sessions) * of_bar // PART_VALUES) or 1):
            yield self.rows(bars)


def read(hypothesis: Hypothesis, *, role: str = "trainer", budget: Budget | None = None) -> Dataset:
    """Read the data of a hypothesis and of all its trials, as a role that may read them.

    Features that a budget has no memory for, without one that of the settings, lie in a file and have the same values.
    A row is ready when every feature of any trial has a value there, so that the trials of a grid see the same rows.
    Where they do, that is said before they are read. Raises DatasetError when symbols, features or bars are missing, or
    a symbol's data could not be computed, and Stop where memory does not hold one fit from files either.
    """
    members = panel_rows.read_members(role, hypothesis)
    symbols, timeframe = sorted(set(members["symbol"])) or list(hypothesis.symbols), hypothesis.timeframe
    instruments = panel_rows.read_instruments(role, symbols)
    catalog = panel_rows.read_chosen_features(role, hypothesis)
    bars = panel_rows.read_bars(role, symbols, hypothesis)
    panel_rows.refuse_without_bars(symbols, hypothesis, bars)
    grid, place = _prices(role, hypothesis, instruments, members, bars)
    names, window = list(catalog["feature"]), (bars["bar_start"].min(), bars["bar_start"].max())
    shape = (*grid.opens.shape, len(names))
    load = load_of(hypothesis, catalog, shape)
    try:
        beyond_memory = (budget or Budget.of_settings()).told(load)
    except Stop as error:
        raise Stop(f"{hypothesis.experiment_id}: {error}") from None
    if beyond_memory:
        log.warning("%s: %s", hypothesis.experiment_id, beyond_memory)
    values, ready, unready = disk_rows.empty(shape, on_disk=bool(beyond_memory)), np.zeros(shape[:2], dtype=bool), 0
    for some, first, last in panel_grid.parts(symbols, grid.sessions, len(names), window):
        features = panel_rows.read_features(role, some, timeframe, first, last, names)
        ready |= place.spread(features, features["is_ready"].astype(np.float64)) == 1
        place.put(values, features, features[names])
        unready += int((~features["is_ready"]).sum())
    ready &= grid.is_member
    values[~ready] = np.nan
    return replace(
        grid,
        features=values,
        ready=ready,
        fingerprints=dict(zip(catalog["feature"], catalog["fingerprint"], strict=True)),
        unready_rows=unready,
        groups=tuple(catalog["feature_group"]),
        benchmark=panel_rows.read_benchmark(role, hypothesis, grid.sessions),
        load_of_search=load,
    )


def _chosen(names: Sequence[str], groups: Sequence[str], hypothesis: Hypothesis) -> tuple[str, ...]:
    """Those of the features that one hypothesis asks for, in their order."""
    of_groups = {name for name, group in zip(names, groups, strict=False) if group in hypothesis.feature_groups}
    wanted = (of_groups - {*hypothesis.exclude_features}) | {*hypothesis.named_features}
    return tuple(name for name in names if name in wanted)


def load_of(hypothesis: Hypothesis, catalog: pd.DataFrame, shape: tuple[int, ...]) -> Load:
    """What a search on a grid of a shape holds: a copy of it for each choice of some of its features."""
    variants, names = [one for _, one in hypothesis.trials], list(catalog["feature"])
    choices = {_chosen(names, list(catalog["feature_group"]), one) for one in variants}
    copied = sum(len(choice) for choice in choices if len(choice) < len(names))
    return Load(
        int(np.prod(shape)),
        int(np.prod(shape[:2])) * copied,
        is_fine=any(one.training.most_bins > FEW_BINS for one in variants),
        rows=int(np.prod(shape[:2])),
    )


def read_prices(hypothesis: Hypothesis, symbols: Sequence[str] = (), *, role: str = "trainer") -> Dataset:
    """Prices and membership of a hypothesis's symbols and of `symbols`, without features: no row of it is ready.

    A symbol may have no bar in the window; of a universe, who never belonged to it then is no member. Raises
    DatasetError when a symbol is unknown, none has a bar, or a symbol's data could not be computed.
    """
    members = panel_rows.read_members(role, hypothesis)
    everybody = sorted({*symbols, *hypothesis.symbols, *members["symbol"]})
    instruments = panel_rows.read_instruments(role, everybody)
    bars = panel_rows.read_bars(role, everybody, hypothesis)
    if bars.empty:
        panel_rows.refuse_without_bars(everybody, hypothesis, bars)
    return _prices(role, hypothesis, instruments, members, bars)[0]


def _prices(
    role: str, hypothesis: Hypothesis, instruments: pd.DataFrame, members: pd.DataFrame, bars: pd.DataFrame
) -> tuple[Dataset, Places]:
    """The grid of some bars without features, and where rows lie on it."""
    timeframe, symbols = hypothesis.timeframe, list(instruments["symbol"])
    first, last = bars["bar_start"].min(), bars["bar_start"].max()
    panel_rows.refuse_failed(role, sorted(set(bars["symbol"])), timeframe, last)
    delisted = panel_rows.read_delistings(role, symbols, hypothesis)
    starts, on_calendar = panel_grid.bars_of(
        role, instruments, timeframe, first, max([last, *(one["settled_at"] for one in delisted)])
    )
    place = Places(starts, symbols)
    is_there = place.spread(bars, bars["adj_open"]) > 0
    ends = np.full(len(symbols), place.bar(last) + 1)
    for one in delisted:
        ends[symbols.index(one["symbol"])] = place.bar(one["settled_at"])
    ranges = {name: bars[name].where(~bars["is_range_doubtful"]) for name in ("adj_high", "adj_low")}
    grid = Dataset(
        symbols=tuple(symbols),
        timeframe=timeframe,
        sessions=starts,
        opens=place.spread(bars, bars["adj_open"]),
        features=np.empty((*is_there.shape, 0)),
        ready=np.zeros(is_there.shape, dtype=bool),
        fingerprints={},
        unready_rows=0,
        highs=place.spread(bars, ranges["adj_high"]),
        lows=place.spread(bars, ranges["adj_low"]),
        expected=on_calendar & panel_grid.from_first_bar_to_end(is_there, ends),
        traded=place.spread(bars, bars["is_traded"].astype(np.float64)) == 1,
        asset_classes=tuple(instruments["asset_class"]),
        member=panel_grid.membership(members, symbols, starts) if hypothesis.universe else None,
        delistings=tuple(
            Delisting(symbols.index(one["symbol"]), place.bar(one["settled_at"]), one["after_open"], one["result"])
            for one in delisted
        ),
    )
    return grid, place


def utc(moment: np.datetime64) -> datetime:
    """A start of a bar as the dataset holds it, as an aware moment."""
    return cast("datetime", moment.astype("datetime64[us]").item()).replace(tzinfo=UTC)


def frame(path: Path | str) -> pd.DataFrame:
    """What the first trial of a hypothesis file learns from and is tested on, as analyst: one row per bar and symbol.

    Columns: bar_start (UTC) and symbol; the features; is_decided, whether a model may decide on the row; value,
    what the target measures, NaN where nobody can know it; label, the class or number that is learnt, NaN also
    where classes are cut by each fold's own rows; known_at (UTC), when that was known; weight, what the row counts
    in a fit on all rows; fold, in which the row is out of sample, 0 before; and train_1, train_2, ..., whether that
    fold is fitted on it.
    Raises HypothesisError, and what `read` raises.
    """
    # the folds and labels of a dataset are made of it
    from training import models, targets
    from training.backtest import folds_of
    from training.hypothesis import load

    _, hypothesis = load(path).trials[0]
    grid = read(load(path), role="analyst").chosen_by(hypothesis)
    measured = targets.values(hypothesis.target, grid)
    every = np.arange(len(grid.sessions))
    rows = grid.rows(every).rename(columns={"is_ready": "is_decided"})
    rows["value"] = measured.values.reshape(-1)
    is_cut = hypothesis.target.quantiles is not None
    rows["label"] = np.nan if is_cut else hypothesis.target.label(measured.values).reshape(-1)
    known = measured.known_at.reshape(-1)
    rows["known_at"] = pd.DatetimeIndex(grid.sessions[np.maximum(known, 0)], tz="UTC").where(known >= 0)
    is_learnt = rows["is_decided"].to_numpy() & rows["label"].notna().to_numpy()
    counts = None
    if hypothesis.training.sample_weights == "uniqueness":
        used = is_learnt.reshape(grid.opens.shape)
        counts = targets.uniqueness(measured.known_at, used, grid.is_expected)[used]
    labels = rows["label"].to_numpy()[is_learnt]
    weights = models.weights(labels, hypothesis.target, hypothesis.training.xgboost, counts)
    rows["weight"] = np.where(is_learnt, 1.0, 0.0)
    if weights is not None:
        rows.loc[is_learnt, "weight"] = weights
    folds = folds_of(hypothesis, measured)
    width = len(grid.symbols)
    rows["fold"] = np.repeat(np.sum([fold.number * np.isin(every, fold.test) for fold in folds], axis=0), width)
    for fold in folds:
        rows[f"train_{fold.number}"] = np.repeat(np.isin(every, fold.train), width) & rows["is_decided"]
    return rows
