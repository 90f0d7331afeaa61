"""The pages: which tables and charts each has, and what is said where there are none."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from report import charts, queries, words
from report.blocks import Block, Page, chart, hypothesis_path, state
from report.concerns import Health, concerns, health
from report.drawing import Drawing
from report.reading import Row, Snapshot, Table
from report.research import research_pages
from report.trading import account_block, paper_page, shadow_page

NAVIGATION = (
    ("index.html", "What happened"),
    ("leaderboard.html", "Leaderboard"),
    ("paper.html", "Paper trading"),
    ("shadow.html", "Shadow"),
    ("data.html", "Data health"),
    ("parity.html", "Parity"),
)


def pages(snapshot: Snapshot) -> Iterator[Page]:
    """Every page of the site, or the one that says what to run first."""
    if missing := snapshot.missing():
        yield _beginning("Nothing has been built yet", missing)
        return
    leaderboard = snapshot.table(queries.LEADERBOARD)
    accounts = snapshot.table(queries.ACCOUNTS)
    found = health(snapshot, leaderboard, accounts)
    if not leaderboard and not found.freshness and not accounts:
        yield _beginning("Nothing has landed yet", [])
        return
    equity = snapshot.table(queries.EQUITY)
    hypotheses = _by_hypothesis(leaderboard)
    yield _index(snapshot, found, equity, hypotheses)
    yield _leaderboard(leaderboard)
    yield paper_page(snapshot, accounts, equity, found.expected)
    yield shadow_page(snapshot)
    yield _data(snapshot, found)
    yield _parity(snapshot, found.parity)
    yield from research_pages(snapshot, hypotheses)


@dataclass(frozen=True)
class Documentation:
    """Where a site has dbt's documentation, and when that was written (UTC)."""

    path: str
    written_at: datetime


def render(page: Page, site: Environment, taken_at: datetime, columns: Documentation | None = None) -> str:
    """A page as HTML that is XML too, which a test reads as such. `columns`: dbt's documentation, if there is one."""
    return site.get_template(page.template).render(
        page=page,
        root="../" * page.path.count("/"),
        navigation=NAVIGATION,
        taken_at=taken_at,
        columns=columns,
        **page.context,
    )


def environment(drawing: Drawing) -> Environment:
    """Templates in which everything is escaped but what this package has drawn."""
    made = Environment(
        loader=PackageLoader("report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.globals |= {"verdict": words.verdict, "state": state, "picture": partial(_picture, drawing)}
    return made


def _picture(drawing: Drawing, chart: charts.Chart | Markup) -> Markup:
    """What stands above a table: a chart, or what is a picture in HTML."""
    return charts.render(chart, drawing) if isinstance(chart, charts.Chart) else chart


def _beginning(title: str, missing: list[str]) -> Page:
    return Page("index.html", "beginning.html", title, {"missing": missing})


def _by_hypothesis(leaderboard: Table) -> dict[str, list[Row]]:
    """Trials of each hypothesis, the best first, as the leaderboard is ordered."""
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in leaderboard.rows:
        grouped[row["hypothesis"]].append(row)
    return grouped


def _index(snapshot: Snapshot, found: Health, equity: Table, hypotheses: Mapping[str, Sequence[Row]]) -> Page:
    verdicts = Block(
        "Hypotheses and the gate",
        snapshot.table(queries.HYPOTHESES),
        chart(charts.sharpes, _in_words(found.leaderboard.rows), f"Net Sharpe ratios of {len(hypotheses)} hypotheses"),
        "Each point is a trial. What passed the gate is a model, and trades on paper.",
        "No hypothesis was tried yet: `python -m flows train`.",
        is_open=True,
    )
    newest = Block(
        "Newest bars",
        _newest_by_timeframe(found.freshness),
        note="Of each timeframe that has any; times are UTC.",
        empty="No bar has landed yet: `python -m flows ingest`, then `python -m flows build`.",
        is_open=True,
    )
    return Page(
        "index.html",
        "index.html",
        "What happened",
        {
            "concerns": concerns(found, snapshot.taken_at),
            "blocks": [verdicts, account_block(equity), newest],
            "links": [(hypothesis_path(name), name, _best_in_words(trials)) for name, trials in hypotheses.items()],
        },
    )


def _leaderboard(leaderboard: Table) -> Page:
    lucky = leaderboard.rows[0]["expected_lucky_models"] if leaderboard else 0.0
    passed = sum(row["verdict"] == "PASSED" for row in leaderboard.rows)
    block = Block(
        "Every trial",
        leaderboard.without("expected_lucky_models", "parameters", "trial_id"),
        chart(
            charts.sharpes, _in_words(leaderboard.rows), "Net Sharpe ratio of every trial, by hypothesis and verdict"
        ),
        "Failures are here too. The shrunk Sharpe ratio is what is left after the luck of such a search. "
        "Survivors only: twenty symbols or more, of which none was delisted or left its universe while it was tried.",
        "No hypothesis was tried yet: `python -m flows train`.",
        is_open=True,
    )
    return Page(
        "leaderboard.html",
        "leaderboard.html",
        "Leaderboard",
        {
            "lucky": f"{lucky:.3g}",
            "passed": words.plural(passed, "trial"),
            "blocks": [block],
        },
    )


def _data(snapshot: Snapshot, found: Health) -> Page:
    covered, gaps = snapshot.table(queries.DATA_HEALTH), found.gaps
    quarantined = snapshot.table(queries.QUARANTINE)
    return Page(
        "data.html",
        "blocks.html",
        "Data health",
        {
            "lead": "What is there, what is missing, and what was not believed.",
            "blocks": [
                Block(
                    "Actions that wait for a person",
                    found.suspected_actions,
                    note="A line in dbt_project/seeds/confirmations.csv decides; the next build takes it from here.",
                    empty="None waits.",
                    is_open=True,
                ),
                Block(
                    "Daily bars, by symbol and month",
                    covered,
                    chart(charts.coverage, covered.rows, "Months of each symbol: complete, or with missing daily bars"),
                    "The newest three years. The stronger the colour, the more of the month is missing.",
                    "No daily bar is there yet: `python -m flows ingest`, then `python -m flows build`.",
                ),
                Block(
                    "Sources and corrections",
                    snapshot.table(queries.SOURCES),
                    note="Of daily bars: whose they are, and how many are a vendor's later word. "
                    "Aggregate: made of minutes. Without a source: nobody traded.",
                    empty="No daily bar is there yet: `python -m flows ingest`, then `python -m flows build`.",
                    is_open=True,
                ),
                Block(
                    "Missing bars",
                    gaps,
                    chart(lambda rows: charts.counts(rows, "kind", "bars"), gaps.rows, "Missing bars by kind"),
                    "docs/missing-bars.md says what each kind means.",
                    "No expected bar is missing.",
                ),
                Block(
                    "Quarantine",
                    quarantined,
                    chart(
                        lambda rows: charts.counts(rows, "reason", "rows"),
                        quarantined.rows,
                        "Quarantined rows by reason",
                    ),
                    "Rows of vendors that were not published, with the reason.",
                    "Every row that came was published.",
                ),
                Block(
                    "Live feeds",
                    found.feeds,
                    note="A heartbeat that grows old is a collector that has died.",
                    empty="No collector was ever started: `python -m loaders collect`.",
                    is_open=True,
                ),
                Block(
                    "Newest features",
                    found.freshness,
                    note="Rows with a stale_from no longer follow from what has landed; a build mends them.",
                    empty="There are no features yet: `python -m flows build`.",
                ),
            ],
        },
    )


def _parity(snapshot: Snapshot, parity: Table) -> Page:
    return Page(
        "parity.html",
        "blocks.html",
        "Parity",
        {
            "lead": "Each audited decision, computed again from what was known then. Identical means to the bit.",
            "blocks": [
                Block(
                    "Decisions by verdict",
                    parity,
                    chart(
                        lambda rows: charts.counts(rows, "verdict", "decisions"),
                        parity.rows,
                        "Audited decisions by verdict",
                    ),
                    "Revised since: a vendor corrected a bar later. Redefined: the features' SQL has changed. "
                    "Defect: live and history differ, which must not be.",
                    "No decision was audited yet: a build audits the newest ones.",
                    is_open=True,
                ),
                Block(
                    "Decisions that differ",
                    snapshot.table(queries.PARITY_DIFFERENCES),
                    note="The newest 100, with the features whose values differ.",
                    empty="None differs.",
                    is_open=True,
                ),
            ],
        },
    )


def _newest_by_timeframe(freshness: Table) -> Table:
    lines = []
    for timeframe, grouped in groupby(freshness.rows, key=lambda row: row["timeframe"]):
        rows = list(grouped)
        newest = max((row["newest_bar"] for row in rows if row["newest_bar"]), default=None)
        lines.append(
            {"timeframe": timeframe, "symbols": len(rows), "newest_bar": newest,
             "stale_symbols": sum(row["stale_from"] is not None for row in rows)}
        )  # fmt: skip
    return Table(("timeframe", "symbols", "newest_bar", "stale_symbols"), tuple(lines), freshness.sql)


def _best_in_words(trials: Sequence[Row]) -> str:
    best = trials[0]
    judged = words.verdict(best["verdict"]).lower()
    sharpe = "" if best["net_sharpe"] is None else f", best net Sharpe {words.number(best['net_sharpe'])}"
    return f"{words.plural(len(trials), 'trial')}{sharpe}, {judged}"


def _in_words(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "verdict_in_words": words.verdict(row["verdict"])} for row in rows if row["net_sharpe"] is not None]
