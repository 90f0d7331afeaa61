"""Write the site so that a reader never meets half of one: it is made aside, and a link is turned to it at once."""

import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from report import pages
from report.blocks import Page
from report.drawing import AT_ONCE, drawing
from report.reading import snapshot
from warehouse.errors import Stop
from warehouse.locks import exclusive
from warehouse.settings import load, make_state_dir

# where the site has dbt's documentation, when there is one
_COLUMNS = "columns.html"
# as many as a usual hypothesis has trials: they are drawn while the next is read
_PAGES_AHEAD = 24


def documentation() -> Path:
    """Where `python -m flows dbt-docs` leaves dbt's documentation. A site that is written then has it, and links it."""
    return load().state_dir / "dbt-docs.html"


@dataclass(frozen=True)
class Site:
    """A site that was written: its start page, and how many pages it has."""

    index: Path
    pages: int


def write(folder: Path) -> Site:
    """Write the site of this moment to a folder, which is a link to the newest of some.

    Raises Stop where the folder is somebody else's or cannot be written, Unreachable when no database answers.
    """
    folder = Path(os.path.abspath(folder))
    if folder == folder.parent:
        raise Stop(f"{folder} cannot be a report: name a folder that does not exist")
    versions = folder.with_name(f"{folder.name}.versions")
    if os.path.lexists(folder) and not _leads_into(versions, folder):
        raise Stop(f"{folder} is no report of ours: name a folder that does not exist")
    try:
        make_state_dir(folder.parent)
        versions.mkdir(exist_ok=True)
        with exclusive(versions / "lock", "writing a report", wait=600):
            before = folder.resolve()
            made = Path(tempfile.mkdtemp(prefix="site-", dir=versions))
            made.chmod(0o755)
            try:
                count = _write_pages(made)
                _turn(folder, made)
            except BaseException:
                # Ctrl-C too leaves no half of a site
                shutil.rmtree(made, ignore_errors=True)
                raise
            _forget(versions, keep=(made, before))
    except OSError as error:
        raise Stop(f"the report cannot be written to {folder}: {error.strerror or error}") from None
    return Site(folder / "index.html", count)


def _write_pages(folder: Path) -> int:
    """Pages are read one after another, and drawn and written on all cores meanwhile."""
    columns = _linked_documentation(folder)
    with snapshot() as moment, drawing() as processes, ThreadPoolExecutor(AT_ONCE) as writers:
        site = pages.environment(processes)

        def write_one(page: Page) -> None:
            path = folder / page.path
            path.parent.mkdir(exist_ok=True)
            path.write_text(pages.render(page, site, moment.taken_at, columns), encoding="utf-8")

        return sum(1 for _ in _in_turn(writers, write_one, pages.pages(moment)))


def _in_turn(workers: Executor, work: Callable[[Page], None], given: Iterable[Page]) -> Iterator[None]:
    """As `map` of the workers, but never further ahead than some pages: what waits is held in memory."""
    waiting: deque[Future[None]] = deque()
    for page in given:
        waiting.append(workers.submit(work, page))
        while len(waiting) > _PAGES_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _linked_documentation(folder: Path) -> pages.Documentation | None:
    """The documentation, when there is one; then it is in the folder too."""
    try:
        written_at = datetime.fromtimestamp(documentation().stat().st_mtime, UTC)
        # megabytes that never change: whoever writes a new one writes another file
        os.link(documentation(), folder / _COLUMNS)
    except FileNotFoundError:
        return None
    except OSError:
        shutil.copyfile(documentation(), folder / _COLUMNS)
    return pages.Documentation(_COLUMNS, written_at)


def _leads_into(versions: Path, link: Path) -> bool:
    """Whether it is a link as this module makes them: to a site in the folder of versions."""
    if not link.is_symlink():
        return False
    target = Path(os.path.abspath(link.parent / link.readlink()))
    return target.parent == Path(os.path.abspath(versions)) and target.name.startswith("site-")


def _turn(link: Path, folder: Path) -> None:
    """A rename puts the new link in the old one's place: there is no moment without a site."""
    aside = folder.with_name(f"{folder.name}.link")
    aside.symlink_to(os.path.relpath(folder, link.parent))
    aside.replace(link)


def _forget(versions: Path, keep: Collection[Path]) -> None:
    """Remove all but this site and the one before it, whose pages somebody may be reading."""
    for path in versions.glob("site-*"):
        # the link that a run left that was killed before it turned it
        if path.is_symlink():
            path.unlink(missing_ok=True)
        elif path.resolve() not in {kept.resolve() for kept in keep}:
            with suppress(OSError):
                shutil.rmtree(path)
