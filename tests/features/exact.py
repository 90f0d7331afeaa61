"""Features once more, in decimals of 60 digits: textbook formulas over whole windows, from exact adjusted bars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, getcontext
from fractions import Fraction

getcontext().prec = 60
ZERO = Decimal(0)
Window = Sequence[Decimal]


@dataclass(frozen=True)
class Bars:
    """One symbol's adjusted bars, oldest first."""

    open: list[Decimal]
    high: list[Decimal]
    low: list[Decimal]
    close: list[Decimal]
    volume: list[Decimal]


def decimal(fraction: Fraction) -> Decimal:
    return Decimal(fraction.numerator) / Decimal(fraction.denominator)


def mean(x: Window) -> Decimal:
    return sum(x, ZERO) / len(x)


def moment(x: Window, power: int) -> Decimal:
    centre = mean(x)
    return mean([(value - centre) ** power for value in x])


def covariance(x: Window, y: Window) -> Decimal:
    """Sample covariance."""
    centre_x, centre_y = mean(x), mean(y)
    return sum(((a - centre_x) * (b - centre_y) for a, b in zip(x, y, strict=True)), ZERO) / (len(x) - 1)


def deviation(x: Window) -> Decimal:
    return covariance(x, x).sqrt()


def smoothed(x: Sequence[Decimal | None], alpha: Decimal, n: int) -> list[Decimal | None]:
    """s + alpha * (x - s), started by the mean of the first n values."""
    states: list[Decimal | None] = []
    warm: list[Decimal] = []
    state: Decimal | None = None
    for value in x:
        if value is not None:
            if len(warm) < n:
                warm.append(value)
                state = mean(warm) if len(warm) == n else None
            else:
                assert state is not None
                state += alpha * (value - state)
        states.append(state)
    return states


def features(bars: Bars) -> dict[str, Callable[[int], Decimal | None]]:
    """{feature: its value at the t-th bar, 61 bars or more into the series}; None where it divides by nothing."""
    o, h, low, c, v = bars.open, bars.high, bars.low, bars.close, bars.volume
    count = len(c)
    r = [ZERO, *((c[t] / c[t - 1]).ln() for t in range(1, count))]
    change = [ZERO, *(c[t] - c[t - 1] for t in range(1, count))]
    true_range = [ZERO, *(max(h[t], c[t - 1]) - min(low[t], c[t - 1]) for t in range(1, count))]
    buying = [ZERO, *(c[t] - min(low[t], c[t - 1]) for t in range(1, count))]
    volume_return = [ZERO, *(((v[t] + 1) / (v[t - 1] + 1)).ln() for t in range(1, count))]
    typical = [(h[t] + low[t] + c[t]) / 3 for t in range(count)]
    money = [typical[t] * v[t] for t in range(count)]
    inflow = [ZERO, *(money[t] if typical[t] > typical[t - 1] else ZERO for t in range(1, count))]
    outflow = [ZERO, *(money[t] if typical[t] < typical[t - 1] else ZERO for t in range(1, count))]
    located = [ZERO if h[t] == low[t] else (2 * c[t] - h[t] - low[t]) / (h[t] - low[t]) * v[t] for t in range(count)]
    signed = [v[t] * (1 if change[t] > 0 else -1 if change[t] < 0 else 0) for t in range(count)]
    body = [c[t] - o[t] for t in range(count)]
    gap = [ZERO, *((o[t] / c[t - 1]).ln() for t in range(1, count))]
    session = [(c[t] / o[t]).ln() for t in range(count)]
    up, down = [(h[t] / o[t]).ln() for t in range(count)], [(low[t] / o[t]).ln() for t in range(count)]
    ema_12, ema_26 = smoothed(c, Decimal(2) / 13, 12), smoothed(c, Decimal(2) / 27, 26)
    atr = smoothed([None, *true_range[1:]], Decimal(1) / 14, 14)
    gains = smoothed([None, *(max(x, ZERO) for x in change[1:])], Decimal(1) / 14, 14)
    losses = smoothed([None, *(max(-x, ZERO) for x in change[1:])], Decimal(1) / 14, 14)

    def last(x: Sequence[Decimal], n: int, t: int) -> Window:
        return x[t - n + 1 : t + 1]

    def total(x: Sequence[Decimal], n: int, t: int) -> Decimal:
        return sum(last(x, n, t), ZERO)

    def ratio(a: Decimal, b: Decimal) -> Decimal | None:
        return a / b if b else None

    def slope(t: int) -> Decimal:
        return covariance(last(c, 20, t), [Decimal(n) for n in range(20)]) / 35

    def correlation(x: Window, y: Window) -> Decimal | None:
        return ratio(covariance(x, y), deviation(x) * deviation(y))

    def ultimate(t: int) -> Decimal | None:
        parts = [ratio(total(buying, n, t), total(true_range, n, t)) for n in (5, 20, 60)]
        return None if None in parts else 100 * sum(w * x for w, x in zip((4, 2, 1), parts, strict=True)) / 7

    def yang_zhang(t: int) -> Decimal:
        k = Decimal("0.34") / (Decimal("1.34") + Decimal(21) / 19)
        rogers = [up[s] * (up[s] - session[s]) + down[s] * (down[s] - session[s]) for s in range(t - 19, t + 1)]
        spread = covariance(last(gap, 20, t), last(gap, 20, t)) + (1 - k) * mean(rogers)
        return (spread + k * covariance(last(session, 20, t), last(session, 20, t))).sqrt()

    return {
        "ret_1": lambda t: r[t],
        "ret_5": lambda t: (c[t] / c[t - 5]).ln(),
        "ret_60": lambda t: (c[t] / c[t - 60]).ln(),
        "volatility_5": lambda t: deviation(last(r, 5, t)),
        "volatility_20": lambda t: deviation(last(r, 20, t)),
        "volatility_60": lambda t: deviation(last(r, 60, t)),
        "parkinson_20": lambda t: (
            sum(((h[s] / low[s]).ln() ** 2 for s in range(t - 19, t + 1)), ZERO) / (80 * Decimal(2).ln())
        ).sqrt(),
        "yang_zhang_20": yang_zhang,
        "sharpe_20": lambda t: ratio(mean(last(r, 20, t)), deviation(last(r, 20, t))),
        "skewness_20": lambda t: ratio(moment(last(r, 20, t), 3), moment(last(r, 20, t), 2) ** Decimal("1.5")),
        "kurtosis_20": lambda t: (
            moment(last(r, 20, t), 4) / moment(last(r, 20, t), 2) ** 2 - 3 if deviation(last(r, 20, t)) else None
        ),
        "autocorrelation_20": lambda t: correlation(last(r, 20, t), last(r, 20, t - 1)),
        "close_to_sma_5": lambda t: c[t] / mean(last(c, 5, t)) - 1,
        "close_to_sma_20": lambda t: c[t] / mean(last(c, 20, t)) - 1,
        "close_to_sma_60": lambda t: c[t] / mean(last(c, 60, t)) - 1,
        "wma_20_to_close": lambda t: (
            sum(w * x for w, x in zip(range(1, 21), last(c, 20, t), strict=True)) / 210 / c[t] - 1
        ),
        "linear_slope_20": lambda t: slope(t) / c[t],
        "efficiency_20": lambda t: ratio(c[t] - c[t - 20], sum((abs(x) for x in last(change, 20, t)), ZERO)),
        "ultosc_5_20_60": ultimate,
        "imi_20": lambda t: ratio(
            100 * sum((max(x, ZERO) for x in last(body, 20, t)), ZERO),
            sum((abs(x) for x in last(body, 20, t)), ZERO),
        ),
        "true_range_to_mean_20": lambda t: (
            true_range[t] / mean(last(true_range, 20, t)) - 1 if any(last(true_range, 20, t)) else None
        ),
        "close_to_ema_12": lambda t: c[t] / ema_12[t] - 1,
        "close_to_ema_26": lambda t: c[t] / ema_26[t] - 1,
        "atr_14_ratio": lambda t: atr[t] / c[t],
        "rsi_14": lambda t: 100 * gains[t] / (gains[t] + losses[t]) if gains[t] + losses[t] else ZERO,
        "volume_to_mean_20": lambda t: ratio(v[t], mean(last(v, 20, t))) - 1 if any(last(v, 20, t)) else None,
        "mfi_20": lambda t: ratio(100 * total(inflow, 20, t), total(inflow, 20, t) + total(outflow, 20, t)),
        "money_flow_20": lambda t: ratio(total(located, 20, t), total(v, 20, t)),
        "obv_change_20": lambda t: ratio(total(signed, 20, t), total(v, 20, t)),
        "close_to_vwap_20": lambda t: c[t] * total(v, 20, t) / total(money, 20, t) - 1 if total(money, 20, t) else None,
        # of less than a ten millionth of a lot nobody vouches for it
        "return_volume_correlation_20": lambda t: (
            correlation(last(r, 20, t), last(volume_return, 20, t)) if total(v, 20, t) >= Decimal("1e-7") else None
        ),
    }
