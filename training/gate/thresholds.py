"""What a trial must reach to pass. An experiment may ask for more, never for less."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from warehouse.errors import Stop

STRICT_LUCK_P = 0.005
# A test of the last two folds at 10 %: what an edge that died before them passes it with.
RECENT_ALPHA_T = 1.28
# A window that overlaps no other counts as a first look. If short records could pass, every week would be a new ticket.
LEAST_RECORD_YEARS = 1.5
# Of linear models without an edge, most that the lock lets through pass the other checks too: the lock is the promise.
TOTAL_LEVEL = 0.02
HEAD_START = 2


class ThresholdError(Stop):
    """A hypothesis asks the gate for something it does not know or for less than it demands."""


def at_least(default: float, *, ge: float, le: float | None = None) -> Any:
    """A threshold that values must reach: a higher one is stricter."""
    return Field(default=default, ge=ge, le=le, allow_inf_nan=False, json_schema_extra={"stricter": "higher"})


def at_most(default: float, *, ge: float = 0.0) -> Any:
    """A threshold that values must stay under: a lower one is stricter."""
    return Field(default=default, ge=ge, allow_inf_nan=False, json_schema_extra={"stricter": "lower"})


class Thresholds(BaseModel):
    """Thresholds of the gate; each carries the name of the check it belongs to.

    turnover: summed |change of position|, in units of equity. exposure: mean summed |position|; these and the drawdown
    at full weight. coverage: share of days with data, and of the bars of the symbol that has fewest. record_years:
    years out of sample. skill_out_of_sample: 1 - loss / base-rate loss. skill_gap:
    in-sample minus out-of-sample, less what shuffled labels show. net_sharpe: annual, after costs.
    win_rate_excess: win rate minus the exposure-matched one. annual_alpha_lower_bound: 5 % lower bound.
    drawdown_ratio: maximum drawdown over that of buy-and-hold. positive_alpha_folds: share of the folds.
    leave_one_fold_out_alpha, double_cost_sharpe, double_cost_alpha: annual. cscv_loss: probability.
    luck_p: what all looks at related trials may spend together. last_fold_alpha_t,
    recent_alpha_t: t statistics, the second of the last two folds. strict: luck_p at 0.005.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    turnover: float = at_least(100.0, ge=0)
    exposure: float = at_least(0.02, ge=0)
    coverage: float = at_least(0.8, ge=0, le=1)
    record_years: float = at_least(LEAST_RECORD_YEARS, ge=0)
    skill_out_of_sample: float = at_least(0.0, ge=0, le=1)
    skill_gap: float = at_most(0.10)
    net_sharpe: float = at_least(0.7, ge=0)
    win_rate_excess: float = at_least(0.0, ge=0, le=1)
    annual_alpha_lower_bound: float = at_least(0.0, ge=0)
    drawdown_ratio: float = at_most(1.0)
    positive_alpha_folds: float = at_least(0.8, ge=0, le=1)
    leave_one_fold_out_alpha: float = at_least(0.0, ge=0)
    double_cost_sharpe: float = at_least(0.0, ge=0)
    double_cost_alpha: float = at_least(0.0, ge=0)
    cscv_loss: float = at_most(0.20)
    luck_p: float = at_most(TOTAL_LEVEL, ge=1e-6)
    last_fold_alpha_t: float = at_least(-1.0, ge=-1)
    recent_alpha_t: float = at_least(RECENT_ALPHA_T, ge=0)
    strict: bool = False

    def tighten(self, overrides: Mapping[str, Any]) -> Self:
        """These thresholds with some of them stricter.

        Raises ThresholdError, in one sentence, for a name that does not exist, a value out of range, or a looser value.
        """
        for name in overrides:
            if name not in type(self).model_fields:
                allowed = ", ".join(type(self).model_fields)
                raise ThresholdError(f"gate.{name} is not a threshold of the gate; there are: {allowed}.")
        try:
            tightened = type(self).model_validate(self.model_dump() | dict(overrides))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise ThresholdError(f"gate.{name} is {first['input']!r}: {first['msg']}.") from error
        for name in overrides:
            self._refuse_looser(name, getattr(self, name), getattr(tightened, name))
        return tightened

    def _refuse_looser(self, name: str, current: float, asked: float) -> None:
        if name == "strict":
            if current and not asked:
                raise ThresholdError("gate.strict may only be turned on: it is true, false would be looser.")
            return
        extra = type(self).model_fields[name].json_schema_extra
        higher_is_stricter = isinstance(extra, dict) and extra["stricter"] == "higher"
        if asked < current if higher_is_stricter else asked > current:
            sign = ">=" if higher_is_stricter else "<="
            raise ThresholdError(
                f"gate.{name} may only be tightened: {asked:g} is looser than {current:g}; allowed: {sign} {current:g}."
            )

    def luck_level(self, look_no: int) -> float:
        """What the look_no-th look at related trials may spend on the question whether it was luck."""
        return level_of_look(min(self.luck_p, STRICT_LUCK_P) if self.strict else self.luck_p, look_no)


def level_of_look(level: float, look_no: int) -> float:
    """alpha_k = level c / ((k + c - 1) (k + c)), c = HEAD_START: the sum over all looks k = 1, 2, ... is `level`.

    With c = 1 the first look spends half of everything. c was chosen by the power at looks 1, 5 and 20 together, on 120
    searches of 40 trials at true net Sharpe ratios of 1, 1.5 and 2 over 2.4 years (worlds of `bench/gate.py` with
    another seed): its sum over these nine is 4.23, 4.35, 4.33, 4.28 and 4.25 for c = 1 to 5.
    """
    return level * HEAD_START / ((look_no + HEAD_START - 1) * (look_no + HEAD_START))
