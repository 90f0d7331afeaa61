"""A vendor's budget holds for all processes together."""

import subprocess
import sys
from pathlib import Path

import pytest

from loaders.client.rate_limit import RequestBudget
from tests.machine import ROOT
from warehouse.connection import connect
from warehouse.errors import Retry

pytestmark = pytest.mark.database

# sends as fast as the budget allows, and prints how long it was told to wait at most, and when it was to send: a busy
# machine wakes it up late
_SENDER = """
import sys, time
from loaders.client.rate_limit import RequestBudget

late = longest = 0.0

def sleep(seconds):
    global late, longest
    longest = max(longest, seconds)
    due = time.time() + seconds
    time.sleep(seconds)
    late = time.time() - due

budget = RequestBudget("two processes", limit=40, period_s=2.0, sleep=sleep)
sent = []
print("ready", flush=True)
sys.stdin.readline()
for _ in range(60):
    late = 0.0
    budget.take()
    sent.append(time.time() - late)
print(longest, *sent)
"""


def test_two_processes_stay_within_one_budget(warehouse_db: Path) -> None:
    """In no period do both together send more than the limit, and nobody waits longer than for the other's request."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _SENDER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=300)[0].split() for process in processes]
    moments = sorted(float(moment) for _, *sent in printed for moment in sent)
    assert len(moments) == 2 * 60
    # the database's clock reads a moment before the process's does
    crowded = max(sum(1 for moment in moments if start <= moment < start + 2.0) for start in moments)
    assert crowded <= 40 + 1
    # a request costs the 36th part of a period: a tenth of the limit may be sent at once
    assert max(float(longest) for longest, *_ in printed) < 3 * 2.0 / 36


def test_one_is_told_to_wait_and_all_do(warehouse_db: Path) -> None:
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        # as if the time had passed
        with connect("loader") as connection:
            connection.execute("update raw.request_budgets set closed_until = 'epoch' where vendor = 'closed'")

    told = RequestBudget("closed", limit=600)
    told.take()
    told.close(200)
    RequestBudget("closed", limit=600, sleep=sleep).take()
    assert len(waited) == 1
    assert 100 < waited[0] <= 200


def test_being_told_while_waiting_counts(warehouse_db: Path) -> None:
    """The second closure comes while the first is waited for."""
    first = RequestBudget("closed twice", limit=600)
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        with connect("loader") as connection:
            connection.execute("update raw.request_budgets set closed_until = 'epoch' where vendor = 'closed twice'")
        if len(waits) == 1:
            first.close(250)

    first.close(200)
    RequestBudget("closed twice", limit=600, sleep=sleep).take()
    assert len(waits) == 2
    assert 100 < waits[0] <= 200 < waits[1] <= 250


def test_a_closure_of_hours_is_not_waited_for(warehouse_db: Path) -> None:
    RequestBudget("banned", limit=600).close(7_200)
    with pytest.raises(Retry, match="no more requests") as caught:
        RequestBudget("banned", limit=600, sleep=pytest.fail).take()
    assert 7_100 < caught.value.after <= 7_200


def test_a_heavy_request_costs_its_weight(warehouse_db: Path) -> None:
    waited = []
    budget = RequestBudget("heavy", limit=100, period_s=9.0, sleep=waited.append)
    for _ in range(3):
        budget.take(20)
    assert [round(wait) for wait in waited] == [2, 4]
