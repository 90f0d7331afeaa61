"""Max-T circular-shift test: would the same positions have earned as much on other days?

All trials' position paths are shifted against the returns together, by every number of days there is. Shifting keeps
the exposure, the holding times and the clustering of positions, the autocorrelation and volatility of returns, and the
likeness of trials; it destroys only the timing. Nothing is retrained. By the correlation theorem all T shifts of a path
cost one FFT.

Shifts that let a position meet the returns *before* it are not luck: a trend follower holds what has just risen, so on
those days it would have earned what no luck can earn. Left in, they blind the test for a whole search as soon as one
trial looks at past returns: in simulation it never rejected a true null, and had 19 % power where the Reality Check
had 100 %. So the nearest of them, a tenth of all shifts, are replaced by their mirror images: positions late by as
many days as those were early. Dropping them would also drop the neighbours that are like the true timing because
positions persist.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.stats import norm

# A standard deviation estimated from fewer shifts than this is too uncertain to read a tail from.
FEWEST_SHIFTS = 100
EARLY_SHARE = 10
ANCHOR = 0.05


@dataclass(frozen=True, eq=False)
class ShiftTest:
    """Per trial (N,): `z`, the earnings of the true timing in standard deviations of all shifts, and `adjusted_p`.

    `independent` is the number of independent trials that the search is worth in the tail.
    """

    z: np.ndarray
    adjusted_p: np.ndarray
    independent: float


def shift_test(paths: Iterable[tuple[np.ndarray, np.ndarray]]) -> ShiftTest:
    """Test the timing of every trial; `paths` are its positions and asset_returns, both of the shape (T, S).

    S may differ between trials. A trial without rows on some of the days has 0 there.

    p_k = #{shifts d, 0 included: max_j z_j(d) >= z_k(0)} / T. That cannot be smaller than 1/T. Where no other shift
    reaches z_k(0), p is the normal tail of z_k(0), times the number of independent trials that the search is worth;
    this number makes the tail agree with the shifts' own distribution at its 95 % point. Paths that earn the same
    whenever they are shifted, such as a constant one, have z = 0, p = 1 and no part in the maximum.
    """
    columns, sizes = [], []
    for held, moved in paths:
        columns.append(shifted_earnings(held, moved))
        sizes.append(np.sqrt((held**2).sum() * (moved**2).sum()))
    earned, size = without_early_shifts(np.column_stack(columns)), np.array(sizes)
    spread = earned.std(axis=0)
    timed = spread > 1e-12 * size
    z = np.zeros_like(earned)
    z[:, timed] = (earned[:, timed] - earned[:, timed].mean(axis=0)) / spread[timed]
    if not timed.any():
        return ShiftTest(z[0], np.ones(z.shape[1]), 1.0)

    days = z.shape[0]
    largest = z[:, timed].max(axis=1)
    # FFTs of equal paths differ in their last bits; a tie counts as reached.
    reached = days - np.searchsorted(np.sort(largest), z[0] - 1e-9)
    anchor = float(np.quantile(largest, 1 - ANCHOR))
    independent = float(np.clip(ANCHOR / norm.sf(anchor), 1, timed.sum()))
    tail = np.minimum(1 / days, independent * norm.sf(z[0]))
    adjusted_p = np.where(reached <= 1, tail, reached / days)
    return ShiftTest(z[0], np.where(timed, adjusted_p, 1.0), independent)


def shifted_earnings(positions: np.ndarray, asset_returns: np.ndarray) -> np.ndarray:
    """(T,) earnings before costs, sum over t and s of positions[t - d, s] * asset_returns[t, s], for every shift d.

    Costs do not depend on the shift.
    """
    spectrum = fft.rfft(asset_returns, axis=0) * np.conj(fft.rfft(positions, axis=0))
    earned: np.ndarray = fft.irfft(spectrum.sum(axis=1), n=positions.shape[0])
    return earned


def without_early_shifts(earned: np.ndarray) -> np.ndarray:
    """(T, N) with the shifts by -1, ..., -T/10 days (the last rows) replaced by those by 1, ..., T/10 days."""
    early = earned.shape[0] // EARLY_SHARE
    mirrored = earned.copy()
    if early:
        mirrored[-early:] = earned[1 : early + 1][::-1]
    return mirrored
