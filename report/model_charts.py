"""Charts of what a model predicts: whether its scores came true, which features move them, and what to expect of it."""

from collections.abc import Sequence

from report.charts import FAINT, MODEL, OTHER, WIDTH, Spec, panel
from report.reading import Row


def calibration(rows: Sequence[Row]) -> Spec:
    """What came by tenths of the score: of a binary target the share that rose beside the promised one, and returns."""
    panels: list[Spec] = []
    if rows[0]["predicted_up"] is not None:
        promised = {"field": "predicted_up", "type": "quantitative", "axis": {"format": ".0%", "tickCount": 6},
                    "title": "predicted to rise", "scale": {"zero": False, "nice": False}}  # fmt: skip
        came = {"type": "quantitative", "title": "share that rose", "axis": {"format": ".0%", "tickCount": 5},
                "scale": {"zero": False}}  # fmt: skip
        truth = {"mark": {"type": "line", "strokeDash": [4, 3], "strokeWidth": 1.6, "color": OTHER},
                 "encoding": {"x": promised, "y": {"field": "predicted_up", **came}}}  # fmt: skip
        points = {"mark": {"type": "line", "point": {"filled": True, "size": 55, "color": MODEL}, "strokeWidth": 1.6,
                           "color": MODEL},
                  "encoding": {"x": promised, "y": {"field": "share_up", **came}}}  # fmt: skip
        panels.append(panel(190, {"layer": [truth, points]}))
    panels.append(
        panel(
            130,
            {
                "mark": {"type": "bar", "color": MODEL},
                "encoding": {
                    "x": {"field": "tenth", "type": "ordinal", "axis": {"labelAngle": 0},
                          "title": "tenth of the scores, the lowest first"},
                    "y": {"field": "mean_return", "type": "quantitative", "title": "mean return",
                          "axis": {"format": ".2%", "tickCount": 4}},
                },
            },
        )
    )  # fmt: skip
    return {"data": {"values": [dict(row) for row in rows]}, "vconcat": panels, "spacing": 18}


def contributions(rows: Sequence[Row]) -> Spec:
    """The features that move a model's score most."""
    return {
        "width": WIDTH - 240,
        "height": {"step": 24},
        "data": {"values": [{"feature": row["feature"], "share": row["share_of_all"]} for row in rows[:20]]},
        "mark": {"type": "bar", "color": MODEL},
        "encoding": {
            "y": {"field": "feature", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 300}},
            "x": {"field": "share", "type": "quantitative", "title": "share of all contributions",
                  "axis": {"format": ".0%", "tickCount": 4}},
        },
    }  # fmt: skip


def expected(rows: Sequence[Row]) -> Spec:
    """What each model's decisions made, in the band that its record lets one expect; a panel for each."""
    points = [
        {"day": row["day"].isoformat(), **{name: row[name] for name in ("model", *_BAND)}, "series": series,
         "value": row[name]}
        for row in rows
        for name, series in (("realised", "made"), ("expected", "expected"))
    ]  # fmt: skip
    day = {"field": "day", "type": "temporal", "title": None, "axis": {"grid": False}}
    panels = [
        panel(
            180,
            {
                "title": {"text": model, "anchor": "start", "fontSize": 13, "fontWeight": "normal"},
                "transform": [{"filter": {"field": "model", "equal": model}}],
                "layer": [
                    {
                        "mark": {"type": "area", "color": FAINT, "opacity": 0.35},
                        "encoding": {
                            "x": day,
                            "y": {"field": "band_low", "type": "quantitative", "title": "return",
                                  "axis": {"format": ".0%", "tickCount": 5}},
                            "y2": {"field": "band_high"},
                        },
                    },
                    {
                        "mark": {"type": "line", "strokeWidth": 1.8},
                        "encoding": {
                            "x": day,
                            "y": {"field": "value", "type": "quantitative"},
                            "color": {"field": "series", "type": "nominal",
                                      "scale": {"domain": ["made", "expected"], "range": [MODEL, OTHER]}},
                        },
                    },
                ],
            },
        )
        for model in dict.fromkeys(row["model"] for row in rows)
    ]  # fmt: skip
    return {"data": {"values": points}, "vconcat": panels, "spacing": 14}


_BAND = ("band_low", "band_high")
