"""How a quantity was distributed where a model was trained, and by how much a window of bars differed from that.

The measure is the population stability index: the sum over bins of (p - q) ln(p / q), p and q the shares of the values
in a bin now and then (N. Siddiqi, Credit Risk Scorecards, 2006, who takes more than 0.25 for a change). It assumes
independent values, and bars are not: a month of a slow feature never looks like ten years of it. So the largest index
that any window of the training data had beside the whole of it is kept, too. Few values scatter more than many, so
windows of less than half the usual number of values, such as those before most symbols were listed, are left out.

`results.drift` computes the same from what the model reads later.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

BINS = 10
# bars that are compared at once, and how many such windows must fit into the training data
WINDOW, WINDOWS = 60, 5
SCORE = "score"


@dataclass(frozen=True)
class Distribution:
    """The bins of a quantity: E bounds ascending, E + 1 shares; of windows the usual number of values and the largest
    index, both None if there are too few windows. `contribution`: see `ModelPackage.contributions`; None of scores.

    A value on a bound belongs to the bin above it. A value that is there often has a bin of its own.
    """

    quantity: str
    edges: tuple[float, ...]
    shares: tuple[float, ...]
    window_rows: int | None
    largest_psi: float | None
    contribution: float | None = None


def distributions(quantities: Iterable[tuple[str, np.ndarray]], bars: np.ndarray) -> tuple[Distribution, ...]:
    """Of each named quantity (n,), on the bars (n,) numbered ascending. One without a finite value has none."""
    return tuple(found for name, values in quantities if (found := _distribution(name, values, bars)) is not None)


def smoothed(counts: np.ndarray) -> np.ndarray:
    """Shares of counts (..., B), each bin with half a value more: an empty bin's logarithm would be infinite."""
    shares: np.ndarray = (counts + 0.5) / (counts.sum(axis=-1, keepdims=True) + 0.5 * counts.shape[-1])
    return shares


def stability_index(now: np.ndarray, then: np.ndarray) -> np.ndarray:
    """The population stability index of shares (..., B) beside others (B,)."""
    index: np.ndarray = ((now - then) * np.log(now / then)).sum(axis=-1)
    return index


def _distribution(name: str, values: np.ndarray, bars: np.ndarray) -> Distribution | None:
    finite = np.isfinite(values)
    values, bars = values[finite], bars[finite]
    if len(values) == 0:
        return None
    edges = _edges(values)
    bins = np.searchsorted(edges, values, side="right")
    shares = smoothed(np.bincount(bins, minlength=len(edges) + 1).astype(float))
    found = _of_windows(bins, np.unique(bars, return_inverse=True)[1], shares)
    return Distribution(name, tuple(edges.tolist()), tuple(shares.tolist()), *found)


def _edges(values: np.ndarray) -> np.ndarray:
    """The deciles, and above one that many rows have a second bound: all that is greater would be in its bin."""
    deciles = np.unique(np.quantile(values, np.arange(1, BINS) / BINS))
    frequent = [decile for decile in deciles if np.mean(values == decile) > 0.5 / BINS]
    return np.unique([*deciles, *np.nextafter(frequent, np.inf)])


def _of_windows(bins: np.ndarray, places: np.ndarray, shares: np.ndarray) -> tuple[int | None, float | None]:
    """The usual number of values and the largest index. `places` (n,) are the bars' ordinals from 0.

    Windows overlap by half.
    """
    bars = int(places.max()) + 1
    if bars < WINDOW * WINDOWS:
        return None, None
    by_bar = np.zeros((bars, len(shares)))
    np.add.at(by_bar, (places, bins), 1.0)
    until = np.vstack([np.zeros(len(shares)), by_bar.cumsum(axis=0)])
    starts = np.arange(0, bars - WINDOW + 1, WINDOW // 2)
    windows = until[starts + WINDOW] - until[starts]
    rows = windows.sum(axis=1)
    usual = float(np.median(rows))
    return int(usual), float(stability_index(smoothed(windows[rows >= usual / 2]), shares).max())
