"""What is kept beside a run's log: a server that is away costs a warning, and never what was done."""

import os
import subprocess
import sys

import pytest

from flows.artifacts import _in_json
from tests.machine import ROOT

KEPT = """
import logging
from flows.artifacts import keep_link, keep_table
logging.basicConfig(format="%(message)s")
keep_table("verdicts", "words", [{"net Sharpe": float("nan")}])
keep_link("report", "words", "file:///tmp/site")
print("goes on")
"""


@pytest.mark.long
def test_a_server_that_is_away_is_told_and_the_run_goes_on() -> None:
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
    done = subprocess.run(
        [sys.executable, "-c", KEPT],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "goes on\n"
    for key in ("verdicts", "report"):
        assert f"the artifact {key} was not kept: " in done.stderr


def test_what_json_cannot_hold_is_text() -> None:
    given = (None, True, 3, "x", 1.5, float("nan"), float("inf"), ("a",))
    assert [_in_json(value) for value in given] == [None, True, 3, "x", 1.5, "nan", "inf", "('a',)"]
