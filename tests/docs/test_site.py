"""The site of docs/ is built strictly, and a browser that opens it asks nobody outside."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import ROOT

pytestmark = pytest.mark.long

SOURCES = ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE")

# what a browser fetches by itself, and not when a person follows a link
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|embed)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?![^>]*rel=["']?(?:canonical|alternate|next|prev))[^>]*\bhref=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|@import\s+["']?(?:url\()?["']?(?:https?:)?//[^"')\s]+|url\(["']?(?:https?:)?//[^"')\s]+""",
    re.IGNORECASE,
)


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        # with --quiet it counts no warning, and is not strict
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=folder,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_on_it(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert [page for page in pages if not (site / str(page).replace("README", "index")).exists()] == []
    start = (site / "index.html").read_text()
    for linked in ("contributing.html", "deploying.html", "decisions/index.html", "LICENSE.txt"):
        assert linked in start
        assert (site / linked).exists()
    assert not (site / "packages").exists()


def test_nobody_outside_is_asked(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css", ".svg")]
    asked = {(path.name, found) for path in files for found in FETCHED.findall(path.read_text())}
    assert asked == set()
    # the theme would fetch a drawer of such pictures
    assert [path.name for path in files if 'class="mermaid"' in path.read_text()] == []
    assert (site / "search" / "search_index.json").exists()


@pytest.mark.parametrize(
    "broken", ["[there](no-such-page.md)", "[there](gate.md#no-such-heading)", "[x](../NOTHING.md)"]
)
def test_a_broken_link_stops_it(broken: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in SOURCES:
        shutil.copy(ROOT / name, tmp_path)
    page = tmp_path / "docs" / "faq.md"
    page.write_text(f"{page.read_text()}\n{broken}\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert "faq.md" in done.stdout + done.stderr
