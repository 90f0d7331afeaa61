"""What pages are made of: tables with their SQL, and charts above them."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from report import words
from report.charts import Chart, Spec
from report.reading import Row, Table

_SHOWN_ROWS = 1000
# characters of a text that needs a wide column
_LONG = 20

# outcomes and verdicts that are good news, bad news, or none yet
_STATES = {
    **dict.fromkeys(("PASSED", "passed", "agreed", "identical"), "good"),
    **dict.fromkeys(("FAILED", "failed", "discrepancy", "defect", "halt", "flatten"), "bad"),
    **dict.fromkeys(("INSUFFICIENT_EVIDENCE", "undecided", "awaiting", "reduce", "open"), "open"),
}


@dataclass(frozen=True)
class Block:
    """A table with its SQL, and a chart above it where a picture says more. `empty` says what to do without rows."""

    title: str
    table: Table
    chart: Chart | Markup | None = None
    note: str = ""
    empty: str = ""
    is_open: bool = False

    @property
    def heads(self) -> list[tuple[str, str]]:
        """(name for people, class) of each column: figures stand on the right."""
        first: Row = self.table.rows[0] if self.table else {}
        return [(words.heading(name), words.kind(first.get(name))) for name in self.table.columns]

    @property
    def lines(self) -> list[list[tuple[str, str, str | None]]]:
        """(text, class, address) of each cell of the rows that are shown."""
        return [
            [
                (words.cell(name, row[name]), class_of(name, row[name]), self.address(name, row))
                for name in self.table.columns
            ]
            for row in self.table.rows[:_SHOWN_ROWS]
        ]

    def address(self, column: str, row: Row) -> str | None:
        """Where a cell leads, from the site's root."""
        match column:
            case "trial" if "trial_id" in row:
                return trial_path(row["trial_id"])
            case "hypothesis":
                return hypothesis_path(row["hypothesis"])
        return None


@dataclass(frozen=True)
class Page:
    """A file of the site: where it lies, and what its template is given."""

    path: str
    template: str
    title: str
    context: Mapping[str, Any]


def hypothesis_path(name: str) -> str:
    """Where the page of a hypothesis lies, from the site's root."""
    return f"hypotheses/{_file_name(name)}.html"


def trial_path(trial_id: str) -> str:
    """Where the page of a trial lies, from the site's root."""
    return f"trials/{_file_name(trial_id)}.html"


def _file_name(name: str) -> str:
    """The name itself where it can be a file's; otherwise what is left of it and a hash, so that no two are one."""
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:80]
    return kept if kept == name else f"{kept.strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def chart(draw: Callable[[Sequence[Row]], Spec], rows: Sequence[Row], alt: str) -> Chart | None:
    """A picture of the rows, with words for who does not see it; None where there are none."""
    return Chart(draw(rows), alt) if rows else None


def class_of(column: str, value: Any) -> str:
    """How a cell is drawn."""
    if column in ("verdict", "outcome", "standing", "action", "reconciled"):
        return f"state {state(value)}"
    return "long" if isinstance(value, str) and len(value) > _LONG else words.kind(value)


def state(value: Any) -> str:
    """good, bad, open or plain: the class of a verdict or outcome."""
    return _STATES.get(value, "plain")
