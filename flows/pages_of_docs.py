"""The pages of docs/, for a terminal."""

import sys

from warehouse.settings import PROJECT_DIR

_FOLDER = PROJECT_DIR / "docs"


def print_page(name: str | None) -> int:
    """Print a page, or the list of all with their titles. Exit status 2 when there is no such page."""
    pages = {path.stem: path for path in sorted(_FOLDER.glob("*.md"))}
    if name is None:
        for stem, path in pages.items():
            print(f"{stem:<14} {path.read_text().partition(chr(10))[0].lstrip('# ')}")
        return 0
    if name not in pages:
        print(f"truebar: there is no page {name!r}: one of {', '.join(pages)}", file=sys.stderr)
        return 2
    print(pages[name].read_text(), end="")
    return 0
