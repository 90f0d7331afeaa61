"""Returns of months as a table with a row per year: figures can be read, copied and spoken, and are tinted by size."""

from calendar import month_abbr
from collections.abc import Sequence

from markupsafe import Markup

from report import words
from report.reading import Row

# percent of the colour that the largest month has: figures stay legible on it in light and dark
_DARKEST = 30


def month_grid(rows: Sequence[Row], caption: str) -> Markup | None:
    """`rows` hold `month`, its first day, and `net_return`, a fraction; None where there are none."""
    if not rows:
        return None
    returns = {(row["month"].year, row["month"].month): row["net_return"] for row in rows}
    largest = max(abs(value) for value in returns.values()) or 1.0
    heads = Markup("").join(
        Markup('<th scope="col" class="number">{}</th>').format(month_abbr[n]) for n in range(1, 13)
    )
    lines = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            year, Markup("").join(_cell(returns.get((year, month)), largest) for month in range(1, 13))
        )
        for year in sorted({year for year, _ in returns})
    )
    return Markup(
        '<div class="wide" role="region" aria-label="{0}" tabindex="0"><table class="months"><caption>{0}</caption>'
        '<thead><tr><th scope="col">year</th>{1}</tr></thead><tbody>{2}</tbody></table></div>'
    ).format(caption, heads, lines)


def _cell(value: float | None, largest: float) -> Markup:
    if value is None:
        return Markup("<td></td>")
    return Markup('<td class="number {}" style="--tint: {}%">{}</td>').format(
        "loss" if value < 0 else "gain", round(_DARKEST * abs(value) / largest), words.percent(value)
    )
