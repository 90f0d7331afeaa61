"""The stationary bootstrap (Politis & Romano 1994) as matrices of counts.

A resample of T days is a list of blocks of consecutive days, wrapped around the end, of geometric length. Every
statistic the gate bootstraps is a function of sums over days, so all it needs of a resample is how often each day
occurs in it. One row of counts serves every trial: their dependence on each other survives, and a whole family is one
matrix product.
"""

from collections.abc import Iterator

import numpy as np
from arch.bootstrap import optimal_block_length

# A week: autocorrelation that short is not always visible in the estimate, and costs little to respect.
SHORTEST_BLOCK = 5.0
FEWEST_BLOCKS = 20
CHUNK = 500


def shared_block_length(series: np.ndarray) -> float:
    """Mean block length in days that serves every column of `series` (T, N): the longest that any of them asks for.

    Patton, Politis & White 2009. At least a week, and short enough that a resample holds 20 blocks.
    """
    longest_allowed = max(series.shape[0] / FEWEST_BLOCKS, 1.0)
    if longest_allowed <= SHORTEST_BLOCK:
        return float(longest_allowed)
    # A column that stands still for long has no autocorrelation to estimate: NaN, and no say.
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = optimal_block_length(series)["stationary"].to_numpy()
    return float(np.clip(np.nanmax(np.append(wanted, SHORTEST_BLOCK)), SHORTEST_BLOCK, longest_allowed))


def bootstrap_counts(rng: np.random.Generator, days: int, block_length: float, resamples: int) -> Iterator[np.ndarray]:
    """Chunks (<= CHUNK, T) of counts, `resamples` rows in all; each row sums to T."""
    for start in range(0, resamples, CHUNK):
        yield _counts(*draw_blocks(rng, days, block_length, min(CHUNK, resamples - start)), days)


def draw_blocks(
    rng: np.random.Generator, days: int, block_length: float, resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """(first day, length) of the blocks of each resample, both (resamples, M); lengths of a row sum to T.

    The block that crosses T is cut there and those after it have length 0.
    """
    expected = days / block_length
    columns = int(expected + 6 * np.sqrt(expected)) + 10
    lengths = rng.geometric(1 / block_length, (resamples, columns))
    while lengths.sum(axis=1).min() < days:
        lengths = np.hstack([lengths, rng.geometric(1 / block_length, (resamples, columns))])
    begins = np.cumsum(lengths, axis=1) - lengths
    return rng.integers(0, days, lengths.shape), np.clip(days - begins, 0, lengths)


def _counts(first: np.ndarray, lengths: np.ndarray, days: int) -> np.ndarray:
    """Counts from blocks: +1 where a block begins, -1 where it ends, summed up along two turns of the calendar."""
    resamples = first.shape[0]
    rows = np.arange(resamples)[:, None] * (2 * days)
    size = resamples * 2 * days
    steps = np.bincount((rows + first).ravel(), minlength=size)
    steps -= np.bincount((rows + first + lengths).ravel(), minlength=size)
    depth = np.cumsum(steps.reshape(resamples, 2 * days), axis=1)
    return (depth[:, :days] + depth[:, days:]).astype(float)
