"""Values and verdicts in words and figures that people read."""

import json
import math
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from report.reading import Row

NOTHING = "\N{EN DASH}"

_FRACTIONS = (
    *("total_return", "benchmark_total_return", "drawdown", "benchmark_drawdown", "net_return", "buy_and_hold_return"),
    *("tail_cost", "symbol_return", "drawdown_of_buy_and_hold", "exposure", "charged", "interest", "share_of_all"),
    *("named_total_return", "named_drawdown"),
    *("expected", "band_low", "band_high", "realised", "earned", "predicted_up", "share_up", "weight"),
)
_MONEY = (
    *("cash", "invested", "equity", "worth", "profit", "paper", "backtest", "difference"),
    *("from_price", "from_timing", "from_refusal", "from_cost"),
)
# what has no room beside others is in the SQL
_LONGEST = 400

_VERDICTS = {
    "PASSED": "Passed",
    "FAILED": "Failed",
    "INSUFFICIENT_EVIDENCE": "Not enough evidence",
    None: "Not judged yet",
}


def cell(column: str, value: Any) -> str:
    """A value of a column as a person writes it: two decimals of money, percent of fractions, UTC without seconds."""
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case date():
            return value.isoformat()
        case int():
            return f"{value:,}"
        case float() if column in _FRACTIONS:
            return percent(value)
        case float() if column in _MONEY:
            return f"{value:,.2f}"
        case float():
            return number(value)
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(value) or NOTHING
        case list() | dict():
            return _short(json.dumps(value, ensure_ascii=False)) if value else NOTHING
        case _:
            return verdict(value) if column == "verdict" else _short(str(value))


def kind(value: Any) -> str:
    """How a value stands in a table: figures on the right, dates on one line."""
    match value:
        case bool():
            return "text"
        case int() | float():
            return "number"
        case date():
            return "when"
    return "text"


def percent(value: float) -> str:
    return f"{100 * value:,.1f}\u202f%" if math.isfinite(value) else str(value)


def number(value: float) -> str:
    """Four digits that count; whole numbers as such."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.4g}"


def heading(column: str) -> str:
    return column.replace("_", " ")


def verdict(name: str | None) -> str:
    return _VERDICTS.get(name, str(name))


def sentence(trial: Row, checks: Iterable[Row]) -> str:
    """A trial's verdict, and what would have changed it."""
    newest = [check for check in checks if check["look"] == trial["look"]]
    failed = [check["check"] for check in newest if check["outcome"] == "failed"]
    undecided = [check["check"] for check in newest if check["outcome"] == "undecided"]
    match trial["verdict"]:
        case None:
            return "The gate has not looked at this trial yet."
        case "PASSED":
            return f"It passed all {len(newest)} checks of the gate at look {trial['look']}."
        case "FAILED":
            also = f" {len(undecided)} more could not be decided: {', '.join(undecided)}." if undecided else ""
            return f"It failed {len(failed)} of {len(newest)} checks: {', '.join(failed)}.{also}"
    missing = (
        f" About {number(trial['years_missing'])} more years of record would decide." if trial["years_missing"] else ""
    )
    return f"Nothing failed, and {len(undecided)} checks could not be decided: {', '.join(undecided)}.{missing}"


def tail(trial: Row) -> str:
    """What calm data cannot show."""
    if trial["tail_cost"] is None:
        return "The gate has not looked at its tail yet."
    years = trial["tail_cost_years"]
    earned = (
        f", which is {number(years)} years of its mean earnings"
        if years is not None
        else "; it earns nothing to make up for it"
    )
    return (
        "The worst moves of its asset class would take "
        f"{percent(trial['tail_cost'])} of equity at the largest positions it held{earned}."
    )


def survivors(trial: Row) -> list[str]:
    """What a long list of symbols that all lived means for a trial; nothing for others."""
    if not trial["survivors_only"]:
        return []
    return [
        "None of its many symbols was delisted or left its universe while it was tried: chosen later, they are "
        "those that lived, and it earned what nobody could have known."
    ]


def plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
