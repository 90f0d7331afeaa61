"""Charts: Vega-Lite specifications, rendered to SVG that follows the page's colours and asks for nothing outside.

Colours are named in the specification by stand-ins, which become variables of the page's style. So a chart is
light where the page is light.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import count
from typing import Any

from markupsafe import Markup, escape

from report.drawing import Drawing
from report.reading import Row

Spec = dict[str, Any]

INK, MUTED, GRID, MODEL, OTHER, GOOD, BAD, FAINT = (f"#0a0b{n:02x}" for n in range(8))
VARIABLES = dict(
    zip((INK, MUTED, GRID, MODEL, OTHER, GOOD, BAD, FAINT),
        ("ink", "muted", "grid", "model", "other", "good", "bad", "faint"), strict=True)
)  # fmt: skip
WIDTH = 560
_VERDICT_COLOURS = {"Passed": GOOD, "Failed": BAD, "Not enough evidence": OTHER, "Not judged yet": MUTED}

_CONFIG = {
    # the page says in words what a chart shows
    "aria": False,
    "background": None,
    # fonts are measured here and chosen by who reads: a wider one needs room
    "padding": {"left": 24, "right": 12, "top": 5, "bottom": 5},
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        **{"labelColor": INK, "titleColor": INK, "domainColor": MUTED, "tickColor": MUTED, "gridColor": GRID},
        **{
            "labelFontSize": 13,
            "titleFontSize": 13,
            "titleFontWeight": "normal",
            "titlePadding": 10,
            "labelLimit": 220,
        },
    },
    "legend": {
        **{"labelColor": INK, "titleColor": INK, "labelFontSize": 13, "titleFontSize": 13, "labelLimit": 220},
        **{"orient": "top", "title": None, "columnPadding": 28},
    },
    "text": {"color": INK, "fontSize": 12},
    "rule": {"color": MUTED},
    "title": {"color": INK},
}
_numbers = count(1)


@dataclass(frozen=True)
class Chart:
    """What to draw, and words for who does not see it."""

    spec: Spec
    alt: str


def render(chart: Chart, drawing: Drawing) -> Markup:
    """A chart as an SVG element."""
    svg = drawing.svg({"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "config": _CONFIG, **chart.spec})
    for colour, name in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name})")
    # names of parts are the page's: two charts must not share one
    number = next(_numbers)
    svg = re.sub(r'(id="|url\(#)(?=[a-z_]+\d+)', rf"\1c{number}-", svg)
    # within a page the namespaces are known
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg, count=2)
    # a picture is one thing with one name: its parts have roles without any
    svg = re.sub(r"<[a-z][^>]*>", lambda tag: re.sub(r' (?:role|aria-[a-z]+)="[^"]*"', "", tag[0]), svg)
    svg = re.sub(r"^<svg [^>]*viewBox=\"([^\"]*)\"[^>]*>", lambda found: _head(found[1], chart.alt), svg, count=1)
    # Vega has escaped the texts in it
    return Markup(svg)


def _head(box: str, alt: str) -> str:
    width = box.split()[2]
    return f'<svg role="img" aria-label="{escape(alt)}" viewBox="{box}" style="max-width: {width}px">'


def curve(rows: Sequence[Row]) -> Spec:
    """Wealth beside buy-and-hold, the falls below its peak, and the Sharpe ratio of the year before each point."""
    points = [
        {"day": row["day"].isoformat(), "series": series, "wealth": row[wealth], "drawdown": -row[drawdown],
         "sharpe": row["sharpe_of_a_year"] if series == "this trial" else None}
        for row in rows
        for series, wealth, drawdown in (
            ("this trial", "wealth", "drawdown"), ("buy and hold", "buy_and_hold", "drawdown_of_buy_and_hold"),
        )
    ]  # fmt: skip
    colour = {
        "field": "series",
        "type": "nominal",
        "scale": {"domain": ["this trial", "buy and hold"], "range": [MODEL, OTHER]},
    }
    # the first year has no Sharpe ratio, and its axis is that of the others all the same
    span = [rows[0]["day"].isoformat(), rows[-1]["day"].isoformat()]
    day = {"field": "day", "type": "temporal", "title": None, "axis": {"grid": False}, "scale": {"domain": span}}
    # the panels share their days, which the lowest names: measuring a label costs as much as drawing a line
    unnamed = day | {"axis": {"grid": False, "labels": False, "ticks": False}}
    has_sharpe = any(row["sharpe_of_a_year"] is not None for row in rows)
    panels: list[Spec] = [
        panel(190, _line(unnamed, "wealth", "wealth, from 1", colour, logarithmic=True)),
        panel(110, _line(unnamed if has_sharpe else day, "drawdown", "drawdown", colour, form="%")),
    ]
    if has_sharpe:
        sharpe = _line(day, "sharpe", "Sharpe of a year", colour)
        zero = {"mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": {"y": {"datum": 0}}}
        panels.append(panel(110, {"layer": [zero, sharpe], "transform": [{"filter": "isValid(datum.sharpe)"}]}))
    return {"data": {"values": points}, "vconcat": panels, "spacing": 14}


def wealth_of_trials(curves: dict[str, Sequence[Row]], best: str) -> Spec:
    """Every trial of a hypothesis, its best one, and buy-and-hold."""
    series = [
        {"day": row["day"].isoformat(), "trial": trial, "series": "best" if trial == best else "other trials",
         "wealth": row["wealth"]}
        for trial, rows in curves.items()
        for row in rows
    ]  # fmt: skip
    series += [
        {"day": row["day"].isoformat(), "trial": "", "series": "buy and hold", "wealth": row["buy_and_hold"]}
        for row in curves[best]
    ]
    names = ["other trials", "buy and hold", "best"] if len(curves) > 1 else ["buy and hold", "best"]
    colour = {
        "field": "series",
        "type": "nominal",
        "scale": {"domain": names, "range": [FAINT, OTHER, MODEL][-len(names) :]},
    }
    day = {"field": "day", "type": "temporal", "title": None, "axis": {"grid": False}}
    layers = [
        _line(day, "wealth", "wealth, from 1", colour, logarithmic=True)
        | {"transform": [{"filter": f"datum.series == '{name}'"}]}
        for name in names
    ]
    for layer in layers:
        layer["encoding"]["detail"] = {"field": "trial", "type": "nominal"}
    return panel(240, {"data": {"values": series}, "layer": layers})


def sharpes(rows: Sequence[Row]) -> Spec:
    """Net Sharpe ratio of every trial, a line per hypothesis, by verdict."""
    points = [
        {"hypothesis": row["hypothesis"], "sharpe": row["net_sharpe"], "verdict": row["verdict_in_words"]}
        for row in rows
    ]
    return {
        "width": WIDTH - 100,
        "height": {"step": 26},
        "data": {"values": points},
        "layer": [
            {"mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": {"x": {"datum": 0}}},
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 0.75},
                "encoding": {
                    "x": {"field": "sharpe", "type": "quantitative", "title": "net Sharpe ratio, a year"},
                    "y": {"field": "hypothesis", "type": "nominal", "title": None, "sort": None},
                    "shape": {"field": "verdict", "type": "nominal", "scale": _verdict_scale(
                        ["diamond", "cross", "circle", "square"])},
                    "color": {"field": "verdict", "type": "nominal", "scale": _verdict_scale(
                        list(_VERDICT_COLOURS.values()))},
                },
            },
        ],
    }  # fmt: skip


def account(rows: Sequence[Row]) -> Spec:
    """Equity of each account by day, each in a panel of its own: they differ in size, and in what they count in."""
    points = [{"day": row["day"].isoformat(), "account": row["account"], "equity": row["equity"]} for row in rows]
    days = sorted({point["day"] for point in points})
    scale = {"domain": [days[0], days[-1]]} if len(days) > 1 else {}
    panels = [
        panel(
            200,
            {
                "title": {"text": name, "anchor": "start", "color": INK, "fontSize": 13, "fontWeight": "normal"},
                "transform": [{"filter": {"field": "account", "equal": name}}],
                "mark": {"type": "line", "strokeWidth": 1.8},
                "encoding": {
                    "x": {"field": "day", "type": "temporal", "title": None, "axis": {"grid": False}, "scale": scale},
                    "y": {"field": "equity", "type": "quantitative", "scale": {"zero": False}},
                    "color": {"value": MODEL},
                },
            },
        )
        for name in dict.fromkeys(point["account"] for point in points)
    ]
    return {"data": {"values": points}, "vconcat": panels, "spacing": 14}


def slippage(rows: Sequence[Row]) -> Spec:
    """Slippage of each order against the next open, by day."""
    points = [{"day": row["day"].isoformat(), "slippage": row["slippage_bps"], "side": row["side"]} for row in rows]
    return panel(
        150,
        {
            "data": {"values": points},
            "mark": {"type": "point", "filled": True, "size": 45, "opacity": 0.7},
            "encoding": {
                "x": {"field": "day", "type": "temporal", "title": None, "axis": {"grid": False}},
                "y": {"field": "slippage", "type": "quantitative", "title": "slippage, basis points"},
                "color": {"field": "side", "scale": {"domain": ["buy", "sell"], "range": [MODEL, OTHER]}},
                "shape": {"field": "side", "scale": {"domain": ["buy", "sell"], "range": ["circle", "square"]}},
            },
        },
    )


def coverage(rows: Sequence[Row]) -> Spec:
    """Share of the expected daily bars that exist, a line per symbol and a column per month."""
    cells = [
        {
            "symbol": row["symbol"],
            "month": row["month"].isoformat(),
            "missing": 1 - row["bars"] / (row["bars"] + row["missing_explained"] + row["missing_open"]),
            "state": _completeness(row),
        }
        for row in rows
    ]
    months = sorted({row["month"] for row in rows})
    return {
        "width": WIDTH - 60,
        "height": {"step": 24},
        "data": {"values": cells},
        "mark": {"type": "rect", "cornerRadius": 2},
        "encoding": {
            "x": {
                "field": "month", "type": "ordinal", "title": None,
                "scale": {"domain": [month.isoformat() for month in months], "paddingInner": 0.12},
                "axis": {"values": _labels(months), "labelAngle": 0, "domain": False, "ticks": False,
                         "labelExpr": "slice(datum.value, 0, 7)"},
            },
            "y": {"field": "symbol", "type": "nominal", "title": None,
                  "scale": {"paddingInner": 0.12}, "axis": {"domain": False, "ticks": False}},
            "color": {"field": "state", "scale": {
                "domain": ["complete", "explained", "may still come"], "range": [GOOD, OTHER, BAD]}},
            "opacity": {"field": "missing", "type": "quantitative", "legend": None,
                        "scale": {"domain": [0, 0.0001, 1], "range": [0.35, 0.6, 1]}},
        },
    }  # fmt: skip


def counts(rows: Sequence[Row], name: str, amount: str) -> Spec:
    """How many of each, the largest first."""
    totals: dict[str, int] = {}
    for row in rows:
        totals[str(row[name])] = totals.get(str(row[name]), 0) + row[amount]
    bars = [{"name": key, "count": value} for key, value in sorted(totals.items(), key=lambda item: -item[1])[:20]]
    place = {"y": {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 300}}}
    return {
        "width": WIDTH - 240,
        "height": {"step": 26},
        "data": {"values": bars},
        "layer": [
            {"mark": {"type": "bar", "color": MODEL}, "encoding": place | {
                "x": {"field": "count", "type": "quantitative", "title": None,
                      "axis": {"tickCount": 4, "format": "~s"}}}},
            {"mark": {"type": "text", "align": "left", "dx": 4}, "encoding": place | {
                "x": {"field": "count", "type": "quantitative"}, "text": {"field": "count", "format": ","}}},
        ],
    }  # fmt: skip


def _completeness(row: Row) -> str:
    if row["missing_open"]:
        return "may still come"
    return "explained" if row["missing_explained"] else "complete"


def _labels(months: Sequence[date]) -> list[str]:
    """Some six of them, the newest among them."""
    step = max(1, -(-len(months) // 6))
    return [month.isoformat() for month in months[::-1][::step]]


def panel(height: int, spec: Spec) -> Spec:
    """A chart of the usual width."""
    return {"width": WIDTH, "height": height, **spec}


def _line(
    day: Spec, field: str, title: str, colour: Spec, *, form: str | None = None, logarithmic: bool = False
) -> Spec:
    axis = {"tickCount": 5, **({"format": form} if form else {})}
    scale = {"type": "log", "nice": False} if logarithmic else {"zero": field == "drawdown"}
    return {
        "mark": {"type": "line", "strokeWidth": 1.6},
        "encoding": {
            "x": day,
            "y": {"field": field, "type": "quantitative", "title": title, "axis": axis, "scale": scale},
            "color": colour,
        },
    }


def _verdict_scale(values: list[str]) -> Spec:
    return {"domain": list(_VERDICT_COLOURS), "range": values}
