"""Where a site is written to: what is somebody else's stays, and what a killed run left goes."""

import os
from pathlib import Path

import pytest

from report.site import write
from tests.report import reading_pages
from warehouse.errors import Stop

pytestmark = pytest.mark.database


def test_what_was_never_built_is_named(empty_warehouse: Path, tmp_path: Path) -> None:
    """Migrations alone: no relation of results exists."""
    said = reading_pages.text(reading_pages.pages(write(tmp_path / "site").index)["index.html"])
    assert "Nothing has been built yet" in said
    assert "results.leaderboard" in said


def test_a_link_of_somebody_else_is_left_alone(empty_warehouse: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for target in ("photos", "nowhere"):
        link = tmp_path / f"to-{target}"
        link.symlink_to(target)
        with pytest.raises(Stop, match="is no report of ours"):
            write(link)
        assert os.readlink(link) == target
    write(tmp_path / "mine")
    assert write(tmp_path / "mine").index.is_file()


def test_what_a_killed_report_left_goes_with_the_next(empty_warehouse: Path, tmp_path: Path) -> None:
    (tmp_path / "site.versions").mkdir()
    left = tmp_path / "site.versions" / "site-killed.link"
    left.symlink_to("site.versions/site-killed")
    assert write(tmp_path / "site").index.is_file()
    assert not left.is_symlink()
