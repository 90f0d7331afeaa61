"""Recursions that a silent market lets decay."""

import struct
from itertools import pairwise
from pathlib import Path

import pytest

from warehouse.connection import connect

pytestmark = pytest.mark.database

DECAY = """
select features.ema(case when n = 1 then {start}::float8 else 0 end, {alpha}) over (order by n)
from generate_series(1, {rows}) as n
"""


@pytest.mark.parametrize("alpha", [0.5, 2 / 13, 0.999])
def test_a_recursion_arrives_at_what_it_decays_to(warehouse_db: Path, alpha: float) -> None:
    """Ten thousand silent bars: the state goes to zero and stays, and a tail that starts anywhere has the same bits."""
    with connect("analyst") as connection:
        states = [row[0] for row in connection.execute(DECAY.format(start=50, alpha=alpha, rows=10_000))]
        assert states[-1] == 0
        assert all(later <= earlier for earlier, later in pairwise(states))
        for cut in (1, 700, 1_075, 4_000, 4_600, 9_999):
            tail = DECAY.format(start=repr(states[cut - 1]), alpha=alpha, rows=10_001 - cut)
            again = [row[0] for row in connection.execute(tail)]
            assert [struct.pack("d", x) for x in again] == [struct.pack("d", x) for x in states[cut - 1 :]]
