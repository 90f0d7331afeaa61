"""dbt's documentation is one file that needs no server, and shows what follows from what."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.dbt_command import target_dir
from report.site import documentation
from tests.machine import ROOT, SEEDED, lend_parsed, running_warehouse


@pytest.mark.whole
def test_the_documentation_holds_the_lineage(tmp_path: Path) -> None:
    with running_warehouse(tmp_path / "state", SEEDED):
        lend_parsed(target_dir())
        subprocess.run([sys.executable, "-m", "flows", "dbt-docs"], cwd=ROOT, check=True)
        page = documentation().read_text()
    # the page holds the manifest, from which it draws; the first of these two is where it begins
    manifest, _ = json.JSONDecoder().raw_decode(page, page.index('{"metadata": {"dbt_schema_version"'))
    parents = manifest["parent_map"]
    assert "model.truebar.ohlcv_1d" in parents["model.truebar.features_1d"]
    assert "source.truebar.raw.feeds" in parents["model.truebar.stg_raw__feeds"]
    assert "model.truebar.features_1d" in parents["exposure.truebar.execution_1d"]
