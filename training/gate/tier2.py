"""Tier 2, economics: after costs it is worth doing, and better than holding."""

from scipy.stats import norm

from training.gate import power
from training.gate.economics import maximum_drawdown, win_rates
from training.gate.evidence import Search, Trial
from training.gate.reality_check import BOUND_LEVEL
from training.gate.sharpe import annual_sharpe
from training.gate.thresholds import Thresholds
from training.gate.verdict import Check, decided, waiting


def economics(
    trial: Trial, search: Search, *, alpha_lower_bound: float, annual_alpha_sharpe: float, thresholds: Thresholds
) -> list[Check]:
    """The checks of tier 2; `alpha_lower_bound` is per day, from the bootstrap that all trials share."""
    return [
        net_sharpe(trial, search, thresholds),
        win_rate(trial, thresholds),
        alpha_bound(alpha_lower_bound, annual_alpha_sharpe, search, trial, thresholds),
        drawdown(trial, thresholds),
    ]


def net_sharpe(trial: Trial, search: Search, thresholds: Thresholds) -> Check:
    value = annual_sharpe(trial.net_returns, search.periods_per_year)
    meaning = "annual, after costs, corrected for autocorrelation"
    return decided(2, "net_sharpe", value, ">=", thresholds.net_sharpe, meaning)


def win_rate(trial: Trial, thresholds: Thresholds) -> Check:
    won, matched = win_rates(trial.positions, trial.asset_returns)
    meaning = f"win rate {won:.4f}, the same exposure without timing wins {matched:.4f}"
    return decided(2, "win_rate_excess", won - matched, ">", thresholds.win_rate_excess, meaning)


def alpha_bound(
    lower_bound: float, annual_alpha_sharpe: float, search: Search, trial: Trial, thresholds: Thresholds
) -> Check:
    missing = power.years_missing(
        annual_alpha_sharpe,
        power.needed_for_test(norm.isf(BOUND_LEVEL)),
        trial.years(search.periods_per_year),
        thresholds.net_sharpe,
    )
    return waiting(
        2,
        "annual_alpha_lower_bound",
        lower_bound * search.periods_per_year,
        ">",
        thresholds.annual_alpha_lower_bound,
        "5 % lower bound of annual alpha over buy-and-hold",
        missing,
    )


def drawdown(trial: Trial, thresholds: Thresholds) -> Check:
    own, holding = maximum_drawdown(trial.net_at_full_weight), maximum_drawdown(trial.benchmark_returns)
    ratio = own / holding if holding > 0 else float("inf") if own > 0 else 0.0
    meaning = f"maximum drawdown {own:.1%} at full weight, of buy-and-hold {holding:.1%}"
    return decided(2, "drawdown_ratio", ratio, "<=", thresholds.drawdown_ratio, meaning)
