"""dbt's own unit tests of the SQL pass: a build of the flows leaves them out."""

from pathlib import Path

from flows.dbt_command import run_dbt
from tests.machine import BUILT, running_warehouse


def test_they_pass(tmp_path: Path) -> None:
    with running_warehouse(tmp_path / "state", BUILT):
        tests = [node for node in run_dbt("test", "--select", "test_type:unit") if node.kind == "unit_test"]
    assert {node.status for node in tests} == {"pass"}
