"""A site as a browser would read it, without one."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import unquote


def pages(index: Path) -> dict[str, ElementTree.Element]:
    """Every page below the start page's folder by its path. Raises ParseError for what is not well-formed."""
    root = index.parent.resolve()
    return {
        str(path.relative_to(root)): ElementTree.fromstring(path.read_text(encoding="utf-8"))
        for path in sorted(root.rglob("*.html"))
    }


def references(page: ElementTree.Element) -> list[str]:
    """Every address that a page names, in whatever attribute."""
    return [
        value
        for element in page.iter()
        for name, value in element.attrib.items()
        if name.rpartition("}")[2] in ("href", "src", "srcset", "action", "data", "poster", "background")
    ]


def target(site: Path, page: str, address: str) -> tuple[Path, str]:
    """The file that a link of a page leads to, and the part of it."""
    path, _, fragment = address.partition("#")
    return ((site / page).parent / unquote(path) if path else site / page), fragment


def text(page: ElementTree.Element) -> str:
    return " ".join("".join(page.itertext()).split())
