"""The pages of research: one per hypothesis, and one per trial of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from report import charts, model_charts, queries, words
from report.blocks import Block, Page, chart, hypothesis_path, trial_path
from report.month_grid import month_grid
from report.reading import Row, Snapshot, Table


@dataclass(frozen=True)
class _Evidence:
    """What is known of one trial."""

    trial: Row
    checks: Table
    curve: Table
    months: Table
    folds: Table
    calibration: Table
    features: Table
    sheet: Table

    @property
    def name(self) -> str:
        return f"{self.trial['hypothesis']}, trial {self.trial['trial']}"


def research_pages(snapshot: Snapshot, hypotheses: Mapping[str, Sequence[Row]]) -> Iterator[Page]:
    """`hypotheses` has the rows of the leaderboard by name, the best trial first.

    What a hypothesis' pages show is read once for all its trials, so no more than that is held at once.
    """
    sheets = snapshot.tables(queries.TRIAL_SHEETS, "hypothesis", "hypotheses", list(hypotheses))
    for name, trials in hypotheses.items():
        found = _evidence(snapshot, trials, sheets[name])
        yield _hypothesis(name, found, sheets[name])
        yield from map(_trial, found)


def _evidence(snapshot: Snapshot, trials: Sequence[Row], sheets: Table) -> list[_Evidence]:
    ids = [trial["trial_id"] for trial in trials]
    checks, curves, months, folds, calibration, features = (
        snapshot.tables(sql, "trial_id", "trials", ids)
        for sql in (
            *(queries.CHECKS, queries.CURVE, queries.MONTHS, queries.FOLDS),
            *(queries.CALIBRATION, queries.MODEL_FEATURES),
        )
    )
    return [
        _Evidence(
            trial=trial,
            checks=checks[one],
            curve=curves[one],
            months=months[one],
            folds=folds[one],
            calibration=calibration[one],
            features=features[one],
            sheet=_sheet_of(sheets, one),
        )
        for trial, one in zip(trials, ids, strict=True)
    ]


def _hypothesis(name: str, found: Sequence[_Evidence], sheets: Table) -> Page:
    best = found[0]
    picture = None
    if best.curve:
        picture = charts.Chart(
            charts.wealth_of_trials({one.trial["trial_id"]: one.curve.rows for one in found}, best.trial["trial_id"]),
            f"Wealth of {words.plural(len(found), 'trial')} of {name} beside buy-and-hold",
        )
    return Page(
        hypothesis_path(name),
        "hypothesis.html",
        name,
        {
            "trials": [
                (one.trial, trial_path(one.trial["trial_id"]), words.sentence(one.trial, one.checks.rows))
                for one in found
            ],
            "blocks": [
                Block(
                    "Equity of its trials",
                    best.curve,
                    picture,
                    "Out of sample and after costs, on a logarithmic scale. The table is that of the best trial.",
                    "No trial of it has returns.",
                ),
                Block("What tells its trials apart", _apart(sheets), is_open=True),
            ],
        },
    )


def _apart(sheets: Table) -> Table:
    """The sheets with those parameters that differ, in place of all of them."""
    chosen = [row["parameters"] or {} for row in sheets.rows]
    names = sorted({name for parameters in chosen for name in parameters})
    differing = [name for name in names if len({repr(parameters.get(name)) for parameters in chosen}) > 1]
    rows = tuple(
        {**row, "chosen": ", ".join(f"{name} {words.cell(name, parameters.get(name))}" for name in differing)}
        for row, parameters in zip(sheets.rows, chosen, strict=True)
    )
    columns = tuple(name for name in sheets.columns if name not in ("trial_id", "parameters", "left_out", "trial"))
    return Table(("trial", "chosen", *columns), rows, sheets.sql)


def _trial(found: _Evidence) -> Page:
    trial, name = found.trial, found.name
    return Page(
        trial_path(trial["trial_id"]),
        "trial.html",
        name,
        {
            "trial": trial,
            "back": hypothesis_path(trial["hypothesis"]),
            "sentences": [words.sentence(trial, found.checks.rows), words.tail(trial), *words.survivors(trial)],
            "blocks": [
                Block(
                    "Equity, drawdown and rolling Sharpe",
                    found.curve,
                    chart(
                        charts.curve,
                        found.curve.rows,
                        f"Wealth, drawdown and yearly Sharpe ratio of {name}, beside buy-and-hold",
                    ),
                    "Out of sample and after costs. The Sharpe ratio at each point is that of the year before it.",
                    "It has no returns.",
                ),
                Block(
                    "Every check of the gate",
                    found.checks,
                    note="`wanted` is what would have passed.",
                    empty="The gate has not looked at it: `python -m flows train`.",
                    is_open=True,
                ),
                Block(
                    "Months",
                    found.months,
                    month_grid(found.months.rows, f"Returns of {name} by year and month"),
                    "After costs.",
                    "It has no returns.",
                ),
                Block("Folds", found.folds, empty="It has no returns.", is_open=True),
                Block(
                    "Did its scores come true?",
                    found.calibration,
                    chart(
                        model_charts.calibration,
                        found.calibration.rows,
                        f"What came after the scores of {name}, by tenths of the score",
                    ),
                    "Out of sample. The dashed line is where as many rise as was predicted. Returns are of the symbol, "
                    "over the bars that the target spans, before costs.",
                    "It has no scores.",
                ),
                Block(
                    "What moves its scores",
                    found.features,
                    chart(
                        model_charts.contributions,
                        found.features.rows,
                        f"The features that move the score of {name} most",
                    ),
                    "Mean absolute contribution (SHAP) to the margin of the model that was fitted on all data, over "
                    "rows that it was fitted on.",
                    "Only what became a model has a fit of its own on all data. Models registered before this was kept "
                    "have none either.",
                ),
                Block("Its sheet", found.sheet, is_open=True),
            ],
        },
    )


def _sheet_of(sheets: Table, trial_id: str) -> Table:
    """One trial's row, stood on end: a name and a value a line."""
    row = next((row for row in sheets.rows if row["trial_id"] == trial_id), {})
    lines = [{"what": words.heading(name), "value": words.cell(name, value)} for name, value in row.items()]
    return Table(("what", "value"), tuple(lines), sheets.sql)
