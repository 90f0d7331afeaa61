"""SQL reads alike everywhere: sqlfluff with dbt's own templater over every model."""

import os
import subprocess
import sys
from pathlib import Path

from warehouse.connection import endpoint

ROOT = Path(__file__).resolve().parent.parent.parent


def test_sqlfluff_finds_nothing(warehouse_db: Path) -> None:
    linted = subprocess.run(
        [str(Path(sys.executable).parent / "sqlfluff"), "lint", "dbt_project/models", "dbt_project/tests"],
        cwd=ROOT,
        env={**os.environ, **endpoint().environment("transformer"), "DBT_TARGET_PATH": str(warehouse_db / "sqlfluff")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr
