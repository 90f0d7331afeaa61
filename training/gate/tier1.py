"""Tier 1, sanity: it traded, it predicts, it was not fed anything it should not have seen."""

from math import isnan

from training.gate.evidence import Trial
from training.gate.thresholds import Thresholds
from training.gate.verdict import Check, decided, waiting

# A strategy that does not trade enough within this long a record trades too rarely to be judged at all.
LONG_RECORD_YEARS = 10.0


def sanity(trial: Trial, years: float, thresholds: Thresholds) -> list[Check]:
    """The checks of tier 1; `years` is the length of the record, in days with data."""
    return [
        turnover(trial, years, thresholds),
        exposure(trial, thresholds),
        coverage(trial, thresholds),
        record(years, thresholds),
        skill(trial, thresholds),
        skill_gap(trial, thresholds),
        *hygiene(trial),
    ]


def turnover(trial: Trial, years: float, thresholds: Thresholds) -> Check:
    """Summed |change of position| at full weight. Undecided when this pace reaches the threshold within ten years."""
    total = trial.position_changes.sum() / trial.max_weight
    needed = thresholds.turnover * years / total if total > 0 else float("inf")
    waits = years < needed <= LONG_RECORD_YEARS
    meaning = f"summed |change of position| at full weight, {total / years if years else 0.0:.3g} a year"
    missing = float(needed - years) if waits else None
    return waiting(1, "turnover", total, ">=", thresholds.turnover, meaning, missing)


def exposure(trial: Trial, thresholds: Thresholds) -> Check:
    mean = abs(trial.positions).sum(axis=1).mean() / trial.max_weight
    return decided(1, "exposure", mean, ">", thresholds.exposure, "mean summed |position| at full weight")


def coverage(trial: Trial, thresholds: Thresholds) -> Check:
    """A flat or missing day earns nothing and loses nothing, which looks like safety and is ignorance.

    The symbol with the fewest of its bars counts: one that trades hides no other that does not.
    """
    share = float(trial.has_data.mean())
    meaning = f"{trial.has_data.sum()} of {len(trial.has_data)} days have a price that moved"
    if trial.coverage is not None and not isnan(least := min(trial.coverage, key=lambda own: (isnan(own), own))):
        symbol = trial.symbols[trial.coverage.index(least)]
        share, meaning = min(share, least), f"{meaning}, and {symbol} traded in {least:.1%} of its bars"
    remedy = "Fill the gaps of its symbols (canonical.gaps), or begin where they trade."
    return decided(1, "coverage", share, ">=", thresholds.coverage, meaning, remedy)


def record(years: float, thresholds: Thresholds) -> Check:
    """A record of some weeks decides nothing, however good: everybody has many of those to choose from."""
    missing = max(thresholds.record_years - years, 0.0)
    meaning = "years of days with data out of sample"
    return waiting(1, "record_years", years, ">=", thresholds.record_years, meaning, missing)


def skill(trial: Trial, thresholds: Thresholds) -> Check:
    meaning = "out-of-sample loss against that of the training base rate, 0 is no better"
    return decided(1, "skill_out_of_sample", trial.skill_out_of_sample, ">", thresholds.skill_out_of_sample, meaning)


def skill_gap(trial: Trial, thresholds: Thresholds) -> Check:
    """Every model fits its training rows better than others, the more the fewer they are: that much is expected."""
    gap = trial.skill_in_sample - trial.skill_out_of_sample
    expected = 0.0 if isnan(trial.memorised) else max(trial.memorised, 0.0)
    meaning = (
        f"skill {trial.skill_in_sample:.3f} in sample, {trial.skill_out_of_sample:.3f} out of it, less the gap of "
        f"{expected:.3f} that the same model shows on shuffled labels"
    )
    remedy = "The model memorises: fewer or shallower trees, or fewer features."
    return decided(1, "skill_gap", gap - expected, "<", thresholds.skill_gap, meaning, remedy)


def hygiene(trial: Trial) -> list[Check]:
    """What no experiment can tighten: it holds or it does not."""
    audit = "Run `python -m flows look-ahead`: it audits the features as they are computed now."
    tests = "Run `python -m flows build`: it tests the data as they are now."
    return [
        decided(1, "unready_rows", trial.unready_rows, "<=", 0, "feature rows used before they were ready"),
        decided(
            1,
            "lookahead_audit",
            trial.lookahead_audit_passed,
            ">=",
            1,
            "whether each of its features, as it was computed, passed the look-ahead audit",
            audit,
        ),
        decided(
            1,
            "data_tests",
            trial.data_tests_passed,
            ">=",
            1,
            "whether the tests of its data passed since they grew",
            tests,
        ),
    ]
