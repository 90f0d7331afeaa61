"""What a session knows of the market while it decides: bars, feature rows, freshness, calendars and model states."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow

from execution.brokers.base import BrokerClock, Mode
from execution.timing import SessionTimes
from execution.validation.rules import BarEvidence


class Package(Protocol):
    """What a session needs of a model package."""

    @property
    def model_id(self) -> str: ...
    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def timeframe(self) -> str: ...
    @property
    def feature_names(self) -> tuple[str, ...]: ...
    @property
    def fingerprints(self) -> Mapping[str, str]: ...
    @property
    def is_panel(self) -> bool:
        """Whether the weights of a bar depend on one another."""

    def target_weights(self, features: pyarrow.Table) -> pd.DataFrame:
        """Feature rows to symbol, bar_start, score and weight; with exits also whole, see `ModelPackage`."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A canonical bar: UTC start and end, unadjusted close, and whether anybody traded in it."""

    bar_start: datetime
    bar_end: datetime
    close: Decimal
    is_traded: bool = True


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """The newest feature row of a symbol, values in the order of the package's features."""

    symbol: str
    bar_start: datetime
    is_ready: bool | None
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class MarketView:
    """What `Market.read` found: newest bars and feature rows, calendars, freshness, catalog and model states."""

    sessions: Mapping[str, SessionTimes] = field(default_factory=dict)
    bars: Mapping[str, Bar] = field(default_factory=dict)
    # by symbol: from when on, and why
    stale: Mapping[str, tuple[datetime | None, str | None]] = field(default_factory=dict)
    rows: Mapping[tuple[str, str], FeatureRow] = field(default_factory=dict)
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    # by symbol, in words: what takes effect between the newest close and the open after it
    splits: Mapping[str, tuple[str, ...]] | None = None

    def evidence(
        self, package: Package, symbol: str, clock: BrokerClock, mode: Mode, unpriced: tuple[str, ...] | None
    ) -> BarEvidence:
        """Everything the bar rules ask about a symbol's newest bar. `sessions` are by symbol."""
        row, bar = self.rows.get((package.model_id, symbol)), self.bars.get(symbol)
        times = self.sessions.get(symbol, SessionTimes())
        return BarEvidence(
            symbol=symbol,
            mode=mode,
            now=clock.now,
            market_is_open=clock.is_open,
            newest_close=times.newest_close,
            next_open=times.next_open,
            window=times.window,
            feature_bar_start=row.bar_start if row else None,
            canonical_bar_start=bar.bar_start if bar else None,
            bar_end=bar.bar_end if bar else None,
            is_traded=bar.is_traded if bar else None,
            is_ready=row.is_ready if row else None,
            undefined_features=_undefined(package, row) if row else (),
            freshness_is_known=symbol in self.stale,
            stale_from=self.stale.get(symbol, (None, None))[0],
            stale_because=self.stale.get(symbol, (None, None))[1],
            changed_features=self.changed.get(package.model_id),
            model_state=self.states.get(package.model_id),
            unpriced=unpriced,
            splits=None if self.splits is None else self.splits.get(symbol, ()),
        )

    def restated(self, held: Mapping[str, Decimal], splits: Mapping[str, tuple[Decimal, Decimal]]) -> "MarketView":
        """With the closes of symbols that were split since their newest bar in the shares that are `held` now.

        `splits` says by symbol how many units a split added and how many were traded since. A close is left out where
        they say no ratio: what is held has no price then.
        """
        bars = dict(self.bars)
        for symbol, (added, traded) in splits.items():
            before = held.get(symbol, Decimal(0)) - traded - added
            if before == 0 or before + added == 0:
                bars.pop(symbol, None)
            elif symbol in bars:
                close = bars[symbol].close * before / (before + added)
                bars[symbol] = replace(bars[symbol], close=close)
        return replace(self, bars=bars)

    def table(self, package: Package, symbols: Sequence[str]) -> pyarrow.Table:
        """The feature rows of these symbols, as `target_weights` takes them."""
        rows = [self.rows[package.model_id, symbol] for symbol in symbols]
        columns = [
            pyarrow.array([row.symbol for row in rows], pyarrow.string()),
            pyarrow.array([row.bar_start for row in rows], pyarrow.timestamp("us", tz="UTC")),
            pyarrow.array([row.is_ready for row in rows], pyarrow.bool_()),
        ]
        # all features at once: a conversion of its own for each takes ten times as long
        values = np.array([row.values for row in rows], dtype=np.float64).reshape(len(rows), len(package.feature_names))
        columns += map(pyarrow.array, np.ascontiguousarray(values.T))
        return pyarrow.Table.from_arrays(columns, names=["symbol", "bar_start", "is_ready", *package.feature_names])


def may_short(package: Package) -> bool:
    """Whether the package's sizing takes short positions; of one that does not say, it may."""
    sizing = getattr(package, "sizing", None)
    return sizing is None or bool(sizing.may_short)


def not_beside(one: Package, other: Package) -> str | None:
    """In words, why two packages may not trade one symbol of an account beside each other; None when they may.

    Shares of a position are all on one side, and a symbol's newest bar is one. The registry asks the same, in
    `research.rivals`, and which of two is a new version of the other.
    """
    if one.timeframe != other.timeframe:
        return f"they decide by {one.timeframe} and {other.timeframe} bars"
    for package in (one, other):
        if may_short(package):
            return f"{package.model_id} may be short, and shares of one position are all long"
    return None


def _undefined(package: Package, row: FeatureRow) -> tuple[str, ...]:
    """Names of the features without a finite value."""
    pairs = zip(package.feature_names, row.values, strict=True)
    return tuple(name for name, value in pairs if value is None or not math.isfinite(value))
