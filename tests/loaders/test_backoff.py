"""Delays between attempts, for feeds that fail once or for weeks."""

import random

from hypothesis import given
from hypothesis import strategies as st

from loaders.client.backoff import Backoff

seconds = st.floats(0.001, 1e5)


@given(first=seconds, longest=seconds, failures=st.integers(1, 3_000), seed=st.integers())
def test_delays_double_up_to_the_longest_and_are_shortened_by_half_at_most(
    first: float, longest: float, failures: int, seed: int
) -> None:
    backoff = Backoff(first, longest, random.Random(seed).uniform)
    delays = [backoff.next() for _ in range(failures)]
    for number, delay in enumerate(delays):
        full = min(longest, first * 2.0 ** min(number, 500))
        assert full / 2 <= delay <= full
    backoff.reset()
    assert backoff.next() <= min(first, longest)


@given(seeds=st.lists(st.integers(0, 2**64), min_size=20, max_size=20, unique=True))
def test_those_who_failed_together_come_back_apart(seeds: list[int]) -> None:
    delays = {Backoff(1.0, 60.0, random.Random(seed).uniform).next() for seed in seeds}
    assert len(delays) > 15
