"""What the gate answers: checks with their values and thresholds, and the verdict they add up to."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Literal

Outcome = Literal["passed", "failed", "undecided"]
Conclusion = Literal["PASSED", "FAILED", "INSUFFICIENT_EVIDENCE"]
COMPARISONS = {">=": ge, ">": gt, "<=": le, "<": lt}


@dataclass(frozen=True)
class Check:
    """One check of one trial. It passes when `value comparison threshold` holds; a NaN value never passes.

    `undecided` means: not passed, and the record is too short to hold that against the trial; `years_missing` says how
    many more years of record the check would take.
    """

    tier: int
    name: str
    value: float
    threshold: float
    comparison: str
    outcome: Outcome
    explanation: str
    years_missing: float | None = None


@dataclass(frozen=True)
class Verdict:
    """The gate's answer for one trial at one look. All Sharpe ratios are annual.

    FAILED when any check failed, INSUFFICIENT_EVIDENCE when none failed but some are undecided, else PASSED.
    `years_missing` is the longest wait among the undecided checks, if the effect is what it looked like so far.
    The numbers after it are shown and never gated on: None where they do not exist (`pbo` of a single trial,
    `minimum_track_record_years` of a loss). `tail_cost` is what a crash would take, a fraction of equity, and
    `tail_cost_years` how many years of its earnings that is.
    """

    trial_id: str
    look_no: int
    verdict: Conclusion
    explanation: str
    checks: tuple[Check, ...]
    years_missing: float | None
    net_sharpe: float
    shrunk_sharpe: float
    deflated_sharpe_probability: float
    minimum_track_record_years: float | None
    pbo: float | None
    tail_cost: float
    tail_cost_years: float | None


def decided(
    tier: int, name: str, value: float, comparison: str, threshold: float, meaning: str, remedy: str = ""
) -> Check:
    """A check whose value stands, however short the record."""
    return _check(tier, name, value, comparison, threshold, meaning, remedy, None)


def waiting(
    tier: int, name: str, value: float, comparison: str, threshold: float, meaning: str, years_missing: float | None
) -> Check:
    """A check that, when not passed, is undecided if `years_missing` more years of record would decide it."""
    return _check(tier, name, value, comparison, threshold, meaning, "", years_missing)


def _check(
    tier: int,
    name: str,
    value: float,
    comparison: str,
    threshold: float,
    meaning: str,
    remedy: str,
    years_missing: float | None,
) -> Check:
    value, threshold = float(value), float(threshold)
    text = f"{name} is {value:.4g} ({meaning})"
    outcome: Outcome
    if COMPARISONS[comparison](value, threshold):
        outcome, years_missing, text = "passed", None, f"{text}; it takes {comparison} {threshold:.4g}."
    elif years_missing is not None:
        outcome = "undecided"
        text = (
            f"{text}; {comparison} {threshold:.4g} would have passed. The record is too short to decide: about "
            f"{years_missing:.1f} more years, if the effect is as large as it looked so far."
        )
    else:
        outcome = "failed"
        text = f"{text}; {comparison} {threshold:.4g} would have passed.{' ' + remedy if remedy else ''}"
    return Check(tier, name, value, threshold, comparison, outcome, text, years_missing)


def conclude(checks: Sequence[Check]) -> tuple[Conclusion, str, float | None]:
    """(verdict, explanation, years missing) that a list of checks adds up to."""
    failed = [check for check in checks if check.outcome == "failed"]
    undecided = [check for check in checks if check.outcome == "undecided"]
    if failed:
        return "FAILED", " ".join(check.explanation for check in failed), None
    if undecided:
        return (
            "INSUFFICIENT_EVIDENCE",
            " ".join(check.explanation for check in undecided),
            max(check.years_missing or 0.0 for check in undecided),
        )
    return "PASSED", f"All {len(checks)} checks passed.", None
