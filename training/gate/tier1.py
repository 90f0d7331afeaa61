"""Tier 1, sanity: it traded, it predicts, it was not fed anything it should not have seen."""

from training.gate.evidence import Trial
from training.gate.thresholds import Thresholds
from training.gate.verdict import Check, decided, waiting

# A strategy that does not trade enough within this long a record trades too rarely to be judged at all.
LONG_RECORD_YEARS = 10.0


def sanity(trial: Trial, years: float, thresholds: Thresholds) -> list[Check]:
    """The checks of tier 1; `years` is the length of the record."""
    return [
        turnover(trial, years, thresholds),
        exposure(trial, thresholds),
        skill(trial, thresholds),
        skill_gap(trial, thresholds),
        *hygiene(trial),
    ]


def turnover(trial: Trial, years: float, thresholds: Thresholds) -> Check:
    """Summed |change of position|. Undecided when this pace reaches the threshold within a ten-year record."""
    total = trial.position_changes.sum()
    needed = thresholds.turnover * years / total if total > 0 else float("inf")
    waits = years < needed <= LONG_RECORD_YEARS
    meaning = f"summed |change of position|, {total / years:.3g} a year"
    missing = float(needed - years) if waits else None
    return waiting(1, "turnover", total, ">=", thresholds.turnover, meaning, missing)


def exposure(trial: Trial, thresholds: Thresholds) -> Check:
    mean = abs(trial.positions).sum(axis=1).mean()
    return decided(1, "exposure", mean, ">", thresholds.exposure, "mean summed |position|")


def skill(trial: Trial, thresholds: Thresholds) -> Check:
    meaning = "out-of-sample loss against that of the training base rate, 0 is no better"
    return decided(1, "skill_out_of_sample", trial.skill_out_of_sample, ">", thresholds.skill_out_of_sample, meaning)


def skill_gap(trial: Trial, thresholds: Thresholds) -> Check:
    gap = trial.skill_in_sample - trial.skill_out_of_sample
    meaning = f"skill {trial.skill_in_sample:.3f} in sample, {trial.skill_out_of_sample:.3f} out of it"
    remedy = "The model memorises: fewer or shallower trees, or fewer features."
    return decided(1, "skill_gap", gap, "<", thresholds.skill_gap, meaning, remedy)


def hygiene(trial: Trial) -> list[Check]:
    """What no experiment can tighten: it holds or it does not."""
    return [
        decided(1, "unready_rows", trial.unready_rows, "<=", 0, "feature rows used before they were ready"),
        decided(1, "lookahead_audit", trial.lookahead_audit_passed, ">=", 1, "no used feature sees the future: 1"),
        decided(1, "dbt_build", trial.dbt_build_passed, ">=", 1, "the build that made the data passed its tests: 1"),
    ]
