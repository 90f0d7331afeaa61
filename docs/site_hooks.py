"""What the site has beside docs/: README, CONTRIBUTING, CHANGELOG and LICENSE, which lie at the top of a checkout."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent

# file of the checkout's folder -> page of the site
BESIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "LICENSE.txt",
}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Take them in."""
    for name, page in BESIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links between the two places lead where the pages of the site are."""
    is_beside = page.file.src_uri in BESIDE.values()

    def moved(found: re.Match[str]) -> str:
        path, mark, heading = found[1].partition("#")
        name = path if is_beside else path.removeprefix("../")
        if is_beside:
            path = path.removeprefix("docs/")
        return f"]({BESIDE[name] if name in BESIDE and (is_beside or name != path) else path}{mark}{heading})"

    return re.sub(r"\]\(([^)\s]+)\)", moved, markdown)
