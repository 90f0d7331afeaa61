"""A feature's fingerprint follows everything it is computed from, and nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from warehouse.connection import connect, endpoint

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
QUANTITIES = "macros/features/quantities.sql"

# in a copy of the project: words of people, the layout of an expression, and one constant
EDITS = {
    QUANTITIES: [
        ("{# What several features share, computed once. #}", "{# Shared. #}"),
        ("-- weights 1 to 20, the newest bar the heaviest", "-- the newest bar weighs most"),
        ("{{ ema('close', 12) }} as ema_12,", "{{ ema('close', 13) }}\n        as ema_12,"),
    ],
    "macros/features/groups/momentum.sql": [("close_ago_10') }} as roc_10", "close_ago_10') }}\n    as roc_10")],
    "macros/features/features_model.sql": [("-- the lookback before the watermark,", "-- lookback,")],
}
REACHED = {"ema_12", "ema_12_twice", "close_to_ema_12", "dema_12_to_close", "ppo_12_26"}


def test_a_constant_changes_exactly_the_features_it_reaches(warehouse_db: Path, tmp_path: Path) -> None:
    before = fingerprints(PROJECT, tmp_path)
    edited = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, edited, ignore=shutil.ignore_patterns("target", "logs"))
    for file, changes in EDITS.items():
        content = (edited / file).read_text()
        for old, new in changes:
            assert old in content
            content = content.replace(old, new)
        (edited / file).write_text(content)
    after = fingerprints(edited, tmp_path)
    assert len(set(before.values())) == len(before)
    assert {feature for feature in before if before[feature] != after[feature]} == REACHED

    with connect("transformer") as connection:
        connection.execute("insert into canonical.definitions values ('ohlcv_1d', 'another')")
    below = fingerprints(edited, tmp_path)
    assert all(below[feature] != after[feature] for feature in after), "every feature stands on the bars"


def fingerprints(project: Path, scratch: Path) -> dict[str, str]:
    dbt = str(Path(sys.executable).parent / "dbt")
    folders = ["--project-dir", str(project), "--target-path", str(scratch / "target"), "--log-path", str(scratch)]
    subprocess.run(
        [dbt, "--quiet", "run", "--select", "catalog", *folders],
        env={**os.environ, **endpoint().environment("transformer"), "DBT_PROFILES_DIR": str(project)},
        capture_output=True,
        check=True,
    )
    with connect("analyst") as connection:
        rows = connection.execute("select feature, fingerprint from features.catalog where timeframe = '1d'")
        return dict(rows.fetchall())
