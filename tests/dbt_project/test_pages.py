"""Pages name what the code names."""

import re
from pathlib import Path

from tests.machine import ROOT

MODELS, MACROS = ROOT / "dbt_project" / "models" / "canonical", ROOT / "dbt_project" / "macros" / "canonical"
WRITTEN_REASON = re.compile(r"(?:then|else|held :=|verdict :=|return) '([a-z][^']+ [^']+)'")


def reasons(*paths: Path) -> set[str]:
    """What the code may say of a row: literals of more than a word."""
    return {reason for path in paths for reason in WRITTEN_REASON.findall(path.read_text())}


def test_the_page_of_what_is_missing_names_every_reason() -> None:
    page = (ROOT / "docs" / "missing-bars.md").read_text()
    judgement = next((ROOT / "warehouse" / "migrations").glob("*_judged_prices.sql"))
    doubts = set(re.findall(r"doubt := '([^']+)'", judgement.read_text()))
    said = reasons(judgement, MACROS / "judged.sql", MODELS / "suspected_actions.sql") - doubts
    kinds = set(re.findall(r"then '(\w+)'|else '(\w+)'", (MACROS / "missing.sql").read_text()))
    assert len(said) > 20
    assert {reason for reason in said if reason.strip() not in page} == set()
    assert {name for pair in kinds for name in pair if name and f"`{name}`" not in page} == set()
