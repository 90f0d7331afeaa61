"""Pages name what the code names."""

import re
from pathlib import Path

from execution.withdrawals import Action, Cause
from flows.truebar import COMMANDS
from tests.dbt_project.reasons import classes, returned
from tests.machine import ROOT

MODELS, MACROS = ROOT / "dbt_project" / "models" / "canonical", ROOT / "dbt_project" / "macros" / "canonical"


def reasons(*paths: Path) -> set[str]:
    """What the code may say of a row: texts of more than a word, without comments and what it notes for itself."""
    found: set[str] = set()
    for path in paths:
        code = re.sub(r"(?ms)^comment on .*?;$|--[^\n]*|^\s*judged\.doubt := .*?;$", "", path.read_text())
        found |= {text.strip() for text in re.findall(r"'([,a-z][^'\n]* [^'\n]*)'", code)}
    return found


def named_in(page: str, heading: str) -> dict[str, str]:
    """The first column of a section's table, and the example beside it."""
    section = page.split(heading)[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {name: row[1].strip() for row in rows for name in re.findall("`([^`]+)`", row[0])}


def test_the_page_of_what_is_missing_names_every_reason() -> None:
    """And no other one, each with an example."""
    page = (ROOT / "docs" / "missing-bars.md").read_text()
    migrations = (ROOT / "warehouse" / "migrations").glob("*.sql")
    judgements = [path for path in migrations if "function canonical.judge_" in path.read_text()]
    refused = reasons(*judgements, MACROS / "judged.sql")
    suspected = reasons(MODELS / "suspected_actions.sql") - {"price accept"}
    kinds = set(re.findall(r"(?:then|else) '(\w+)'", (MACROS / "missing.sql").read_text()))
    kinds |= set(re.findall(r"(?:then|else) '(\w+)'", (MODELS / "gaps.sql").read_text())) - {"explained", "open"}
    assert min(len(refused), len(suspected), len(kinds)) > 5
    for heading, said in (("canonical.gaps`", kinds), ("canonical.quarantine`", refused)):
        named = named_in(page, f": `{heading}")
        assert named.keys() == said, heading
        assert all(named.values())
    named = named_in(page, ": `canonical.suspected_actions`")
    # a day or a currency is part of some
    parts = {part.strip(" ,") for name in named for part in name.split("…") if part.strip(" ,")}
    assert parts == {part.strip(" ,") for part in suspected}
    assert all(named.values())


def test_the_runbook_names_every_reason_of_execution() -> None:
    """Why a bar is not decided or an order refused: each is a line that a person can look up at night."""
    page = (ROOT / "docs" / "runbook.md").read_text()
    execution = ROOT / "execution"
    said = set().union(
        *(
            returned(execution / file, ("validate", "late_because", "waits_for_price"))
            for file in ("validation/account.py", "validation/bars.py", "validation/orders.py", "timing.py")
        )
    )
    assert len(said) > 35
    assert {reason for reason in said if reason not in page} == set()


def test_the_runbook_names_every_finding_and_state() -> None:
    page = (ROOT / "docs" / "runbook.md").read_text()
    findings = classes(ROOT / "execution" / "findings.py") - {"RecordedFill"}
    assert len(findings) > 12
    models = (ROOT / "dbt_project" / "models" / "results" / "_results__models.yml").read_text()
    parity = re.search(r"values: \[(identical[^]]+)\]", models)
    feeds = re.search(r"check \(state in \(([^)]+)\)", (ROOT / "warehouse/migrations/0011_feeds.sql").read_text())
    assert parity
    assert feeds
    words = {
        *findings,
        *Action,
        *Cause,
        *re.findall(r"'(\w+)'", feeds[1]),
        *(set(parity[1].split(", ")) - {"identical"}),
    }
    assert {word for word in words if f"`{word}`" not in page} == set()


def test_links_between_pages_lead_somewhere() -> None:
    """Of the README and docs/: files, and headings in them."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    broken = []
    for page in pages:
        for address in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, heading = address.partition("#")
            target = (page.parent / path).resolve() if path else page
            is_outside = path.startswith("http")
            if not is_outside and not (target.exists() and (not heading or heading in _headings(target))):
                broken.append(f"{page.name}: {address}")
    assert broken == []


def _headings(page: Path) -> set[str]:
    """As GitHub names them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_page_is_found_from_the_readme() -> None:
    """docs/NAME.md is linked from the README's table, so that nobody has to guess it."""
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"docs/{page.name}" not in readme] == []


def test_commands_that_pages_name_exist() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    named = {
        (page.name, word)
        for page in pages
        for word in re.findall(r"(?:`|\(|^)truebar ([a-z][a-z-]*)", page.read_text(), re.MULTILINE)
    }
    assert len({word for _, word in named}) > 15
    assert {(page, word) for page, word in named if word not in {*COMMANDS, "docs", "completion"}} == set()
