"""The gate between a trained model and an order: three tiers of checks built to reject luck. Arrays in, verdicts out.

verdicts = judge(Search(trials, periods_per_year=252), look_no=1, thresholds=Thresholds(), seed=7)
"""

from training.gate.evidence import GateInputError, Search, Trial, days_per_year
from training.gate.judge import judge
from training.gate.thresholds import ThresholdError, Thresholds, level_of_look
from training.gate.verdict import Check, Verdict

__all__ = [
    "Check",
    "GateInputError",
    "Search",
    "ThresholdError",
    "Thresholds",
    "Trial",
    "Verdict",
    "days_per_year",
    "judge",
    "level_of_look",
]
