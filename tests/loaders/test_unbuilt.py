"""Commands of loaders in a warehouse that is migrated, and was never built: it knows no instrument."""

from pathlib import Path

import pytest

from loaders.__main__ import main

pytestmark = pytest.mark.database


@pytest.mark.parametrize("arguments", [["ingest", "--source", "binance"], ["collect", "--source", "binance"]])
def test_what_is_missing_is_told(
    arguments: list[str], empty_warehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        "loaders: the warehouse knows no instrument yet: run `truebar build`, which brings the seeds in\n"
    )
