"""What a model makes of feature rows, in a session and in the shadow: no clock, no account, no input or output.

A model is somebody's code: whatever it raises is its own affair.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from execution.market_view import FeatureRow, MarketView, Package
from execution.timing import SessionTimes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model makes of a row; `whole` where it has exits, the weight of a position that they keep."""

    score: float
    weight: float
    whole: float = math.nan


@dataclass(frozen=True, slots=True)
class TooFew:
    """Why a panel has no weight for a bar though the model answered."""

    words: str


def _with_fresh_bar(package: Package, market: MarketView) -> list[str]:
    """Symbols of the panel whose newest row is of the bar that ended last."""
    fresh = []
    for symbol in package.symbols:
        row, bar = market.rows.get((package.model_id, symbol)), market.bars.get(symbol)
        times = market.sessions.get(symbol, SessionTimes())
        if row and bar and row.bar_start == bar.bar_start and bar.bar_end == times.newest_close:
            fresh.append(symbol)
    return fresh


def incomplete(package: Package, market: MarketView, now: datetime) -> str | None:
    """In words, for whose bar the panel waits; None when all are there, or half of the window has passed.

    What has never had a row, and a market whose session has ended for good before this bar, are not waited for.
    """
    fresh = _with_fresh_bar(package, market)
    ends = {market.bars[symbol].bar_end for symbol in fresh}
    missing = []
    for symbol in package.symbols:
        times = market.sessions.get(symbol, SessionTimes())
        if symbol in fresh or (package.model_id, symbol) not in market.rows or times.window is None:
            continue
        # of another calendar than those that are there it has no bar that ends with theirs
        if times.newest_close in ends and now < times.newest_close + times.window / 2:
            missing.append(symbol)
    return f"it waits for the bar of {', '.join(missing)}" if missing else None


def ranked(package: Package, market: MarketView, symbols: list[str]) -> dict[str, Answer | TooFew | str]:
    """The answers of a panel: all that have the bar are scored together, decided before or not.

    Nobody is ranked for a bar without trades, as in a backtest. A row alone would be ranked first, so a panel that
    fails is not asked again row by row.
    """
    rows = market.rows
    among = [
        symbol
        for symbol in _with_fresh_bar(package, market)
        if rows[package.model_id, symbol].is_ready
        and market.bars[symbol].is_traded
        and (symbol in symbols or _is_whole(rows[package.model_id, symbol]))
    ]
    try:
        scored = _scored(package, market, among)
    except Exception as error:  # noqa: BLE001 (whatever a model raises)
        return dict.fromkeys(symbols, f"{type(error).__name__}: {error}")
    few = f"only {len(among)} of {len(package.symbols)} symbols have this bar, too few to rank: no decision"
    found: dict[str, Answer | TooFew | str] = {}
    for symbol in symbols:
        weight = scored[symbol][1]
        is_too_few = len(among) < len(package.symbols) and weight is not None and weight != weight
        found[symbol] = TooFew(few) if is_too_few else _answer(*scored[symbol])
    return found


def _is_whole(row: FeatureRow) -> bool:
    return not any(value is None or math.isnan(value) for value in row.values)


def _scored(package: Package, market: MarketView, symbols: list[str]) -> dict[str, tuple[Any, ...]]:
    """Score and weight, and with exits the whole weight, of each symbol's newest row, as the model says.

    Raises whatever the model raises.
    """
    told = package.target_weights(market.table(package, symbols))
    if list(told["symbol"]) != symbols:
        raise ValueError("it answered for other rows than it was given")
    said = [name for name in ("score", "weight", "whole") if name in told]
    return dict(zip(symbols, zip(*(told[name] for name in said), strict=True), strict=True))


def answers(package: Package, market: MarketView, symbols: list[str]) -> dict[str, Answer | TooFew | str]:
    """What the model says of each symbol's newest row, or in words why it says nothing.

    A model is somebody's code: whatever it raises is its own affair, and of one row that row's, when it can answer for
    the others alone.
    """
    if not symbols:
        return {}
    try:
        return {symbol: _answer(*said) for symbol, said in _scored(package, market, symbols).items()}
    except Exception as error:  # noqa: BLE001 (whatever a model raises)
        if len(symbols) > 1:
            alone = (answers(package, market, [symbol]) for symbol in symbols)
            return {symbol: answer for said in alone for symbol, answer in said.items()}
        return {symbols[0]: f"{type(error).__name__}: {error}"}


def _answer(score: object, weight: object, whole: object = math.nan) -> Answer | str:
    try:
        # what is no number raises here
        answer = Answer(float(score), float(weight), float(whole))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return f"its score is {score!r} and its weight {weight!r}: numbers are needed"
    if not (math.isfinite(answer.score) and math.isfinite(answer.weight)):
        return f"its score is {answer.score} and its weight {answer.weight}: finite numbers are needed"
    return answer
