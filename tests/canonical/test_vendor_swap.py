"""Another vendor in Binance's place: one new file among the loaders, and lines of CSV. Nothing else knows."""

import csv
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.canonical.market import Market
from tests.machine import ROOT, lend_parsed
from warehouse.connection import connect, endpoint

VENDOR = '''"""A vendor that has the last two days of one pair, and no SDK."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from loaders.client.base import VENDOR_BARS, Notes, Page, RawTable, Window, known_timeframe
from warehouse.settings import Settings

NOW = datetime(2025, 12, 1, 12, 0, tzinfo=UTC)


class OtherSource:
    name = "other"
    timeframes = ("1m",)
    bars_table: RawTable = VENDOR_BARS
    notes = Notes()

    def now(self) -> datetime:
        return NOW

    def reach(self, timeframe: str) -> timedelta | None:
        return None

    def bars(self, vendor_symbol: str, timeframe: str, window: Window) -> Iterator[Page]:
        length = known_timeframe(self, timeframe)
        starts = [window.start + number * length for number in range(window.length // length)]
        yield Page([
            {"source": "other", "vendor_symbol": vendor_symbol, "timeframe": timeframe, "bar_start": start,
             "open": 100, "high": 101, "low": 99, "close": 100 + number % 2, "volume": number}
            for number, start in enumerate(starts)
        ], window)


def make(settings: Settings) -> OtherSource:
    return OtherSource()
'''


def run(project: Path, *command: str) -> str:
    environment = {**os.environ, **endpoint().environment("transformer"), "PYTHONPATH": str(project)}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.whole
def test_a_vendor_is_one_file_and_seed_lines(market: Market, tmp_path: Path) -> None:
    project = tmp_path / "project"
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in tracked.stdout.splitlines():
        if (ROOT / name).exists() and not name.startswith("tests/"):
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project / name)
    lend_parsed(project / "dbt_project" / "target")
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}

    (project / "loaders" / "vendors" / "other.py").write_text(VENDOR)
    seeds = project / "dbt_project" / "seeds"
    with (seeds / "vendor_symbols.csv").open("a") as file:
        csv.writer(file, lineterminator="\n").writerow(["ETHUSDT", "other", "eth-usdt", "", ""])
    ranks = (seeds / "precedence.csv").read_text()
    (seeds / "precedence.csv").write_text(ranks.replace("crypto,1m,binance,", "crypto,1m,other,"))

    run(project, "dbt.cli.main", "seed", "--project-dir", "dbt_project", "--profiles-dir", "dbt_project")
    said = run(project, "loaders", "ingest", "--source", "other", "--timeframe", "1m", "--from", "2025-11-30")
    assert "landed" in said
    run(
        project, "dbt.cli.main", "run", "--project-dir", "dbt_project", "--profiles-dir", "dbt_project",
        "--select", "stg_vendors__symbols", "ohlcv_1m",
    )  # fmt: skip
    with connect("analyst") as connection:
        found = connection.execute(
            "select source, count(*), min(bar_start) from canonical.ohlcv_1m where symbol = 'ETHUSDT' group by source"
        ).fetchall()
    assert found == [("other", 36 * 60, datetime(2025, 11, 30, tzinfo=UTC))]

    after = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    touched = {
        str(path.relative_to(project))
        for path in after
        if after[path] != before.get(path)
        and "__pycache__" not in str(path)
        and path.suffix not in (".log", ".msgpack")
        and "target" not in path.parts
    }
    touched -= {name for name in touched if name.startswith((".", "dbt_project/logs", "logs"))}
    assert touched == {
        "loaders/vendors/other.py", "dbt_project/seeds/vendor_symbols.csv", "dbt_project/seeds/precedence.csv"
    }  # fmt: skip
    lint_imports = Path(sys.executable).parent / "lint-imports"
    kept = subprocess.run([lint_imports, "--no-cache"], cwd=project, capture_output=True, text=True, check=False)
    assert kept.returncode == 0, kept.stdout
