"""Invented symbols that say so in their names: a stock and a coin with a planted, tradable edge, a stock with none.

SYNTHEDGE: today's volume tells the return from tomorrow's open to the open after, and nothing else does. With
``u_t ~ N(0, 1)`` independent each day,

    volume_t                = base · weekday_t · exp(u_t / 2)
    log open_{t+2}/open_{t+1} = drift + sigma · (k · tanh(u_t) + sqrt(1 - k² · Var[tanh u]) · e_t),   e_t ~ N(0, 1)

so deciding at the close of t and trading at the next open earns it. Close, high and low are drawn between two opens as
points of a Brownian path, and carry no news about the next one.

SYNTHUSDT: the same edge in a coin, whose days are longer, wilder, and end where the next one begins.

SYNTHNOISE: a GARCH(1, 1) random walk with fat tails; volume is persistent and swells with the size of the move, as in
real markets, but nothing in it predicts the direction.

Random numbers come from numpy's legacy generator, whose streams are frozen: the same seed gives the same tape for ever.
"""

from dataclasses import dataclass

import numpy as np

DAILY_VOLATILITY, COIN_VOLATILITY = 0.012, 0.03
ANNUAL_DRIFT = 0.04
EDGE = 0.55
"""k: chosen so that the oracle's long/flat rule has a true net Sharpe ratio of 3 to 4 at 2 basis points a side.

So it has on the coin, at 12 basis points a side: it is held on Saturdays too.
"""
VARIANCE_OF_TANH = 0.394294
"""Var[tanh u] for u ~ N(0, 1), by quadrature; keeps the daily volatility where it is said to be."""
INTRADAY_SHARE = 0.75
"""Share of a day's variance that happens between open and close; the rest is the gap to the next open."""
WEEKDAY_VOLUME = np.array([0.97, 1.00, 1.01, 1.00, 1.02, 1.0, 1.0])


@dataclass(frozen=True)
class Prices:
    """One invented series: five float64 arrays of the same length; prices in whole cents.

    Volume is in whole shares, or in coins to three decimals.
    """

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray


def planted_edge(weekdays: np.ndarray, seed: int = 20121, edge: float = EDGE) -> Prices:
    """SYNTHEDGE over sessions with these weekdays (0 = Monday)."""
    random = np.random.RandomState(seed)
    growth, swell = _told_by_volume(random, weekdays, DAILY_VOLATILITY, ANNUAL_DRIFT / 252, edge)
    return _bars(random, growth, np.full(len(weekdays), DAILY_VOLATILITY), 2_000_000 * swell, first_open=50.0)


def planted_coin(weekdays: np.ndarray, seed: int = 20123, edge: float = EDGE) -> Prices:
    """SYNTHUSDT over days in UTC with these weekdays (0 = Monday)."""
    random = np.random.RandomState(seed)
    growth, swell = _told_by_volume(random, weekdays, COIN_VOLATILITY, ANNUAL_DRIFT / 365, edge)
    deviation = np.full(len(weekdays), COIN_VOLATILITY)
    return _bars(random, growth, deviation, 2_000 * swell, first_open=1_000.0, intraday_share=1.0, volume_decimals=3)


def _told_by_volume(
    random: np.random.RandomState, weekdays: np.ndarray, volatility: float, drift: float, edge: float
) -> tuple[np.ndarray, np.ndarray]:
    """Open-to-open log returns, and how far each day's volume is from its base, as a factor."""
    count = len(weekdays)
    signal = random.standard_normal(count)
    shock = random.standard_normal(count)
    unexplained = np.sqrt(1 - edge**2 * VARIANCE_OF_TANH)
    # growth[t] is earned from open t to open t+1; what it owes to volume was visible at the close of t-1.
    growth = drift - volatility**2 / 2 + volatility * unexplained * shock
    growth[1:] += volatility * edge * np.tanh(signal[:-1])
    return growth, WEEKDAY_VOLUME[weekdays] * np.exp(signal / 2)


def pure_noise(weekdays: np.ndarray, seed: int = 20122) -> Prices:
    """SYNTHNOISE over sessions with these weekdays (0 = Monday)."""
    random = np.random.RandomState(seed)
    count = len(weekdays)
    freedom = 6
    shock = random.standard_t(freedom, count) / np.sqrt(freedom / (freedom - 2))
    murmur = random.standard_normal(count)
    reaction, memory = 0.08, 0.90
    variance = np.full(count, DAILY_VOLATILITY**2)
    activity = np.zeros(count)
    for t in range(1, count):
        surprise = variance[t - 1] * shock[t - 1] ** 2
        variance[t] = (1 - reaction - memory) * DAILY_VOLATILITY**2 + reaction * surprise + memory * variance[t - 1]
        activity[t] = 0.6 * activity[t - 1] + 0.2 * murmur[t] + 0.1 * (abs(shock[t]) - 0.75)
    deviation = np.sqrt(variance)
    growth = ANNUAL_DRIFT / 252 - variance / 2 + deviation * shock
    volume = 3_000_000 * WEEKDAY_VOLUME[weekdays] * np.exp(activity)
    return _bars(random, growth, deviation, volume, first_open=60.0)


def _bars(
    random: np.random.RandomState,
    growth: np.ndarray,
    deviation: np.ndarray,
    volume: np.ndarray,
    first_open: float,
    *,
    intraday_share: float = INTRADAY_SHARE,
    volume_decimals: int = 0,
) -> Prices:
    """Draw close, high and low inside each open-to-open move and round to cents."""
    count = len(growth)
    opens = first_open * np.exp(np.concatenate([[0.0], np.cumsum(growth[:-1])]))
    # A Brownian bridge from one open to the next, looked at when the session closes.
    bridge = deviation * np.sqrt(intraday_share * (1 - intraday_share)) * random.standard_normal(count)
    intraday = intraday_share * growth + bridge
    spread = intraday_share * deviation**2
    highest = bridge_maximum(intraday, spread, random.random_sample(count))
    lowest = -bridge_maximum(-intraday, spread, random.random_sample(count))
    return Prices(
        open=_cents(opens),
        high=_cents(opens * np.exp(highest)),
        low=_cents(opens * np.exp(lowest)),
        close=_cents(opens * np.exp(intraday)),
        volume=np.round(volume, volume_decimals),
    )


def bridge_maximum(end: np.ndarray, variance: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """The highest point of a Brownian bridge from 0 to `end`: inverse of P(M > m) = exp(-2 m (m - end) / variance)."""
    return (end + np.sqrt(end**2 - 2 * variance * np.log1p(-uniform))) / 2


def _cents(prices: np.ndarray) -> np.ndarray:
    return np.round(prices, 2)
