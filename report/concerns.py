"""What needs a person: each as a sentence, the page that shows more, and a command where one helps."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from report import queries
from report.reading import Snapshot, Table
from report.words import percent, plural

# a collector says every ten seconds that it is alive
_DEAD_AFTER = timedelta(minutes=2)
_STANDINGS = {
    "halt": "is halted and sends nothing",
    "reduce": "may only make positions smaller",
    "flatten": "is being closed out",
}


# of fewer days a band says little: one bad day is out of it
_LEAST_DAYS = 20


@dataclass(frozen=True)
class Concern:
    """A sentence that names what is wrong, where to read more, and what to run next."""

    text: str
    page: str
    command: str | None = None


@dataclass(frozen=True)
class Health:
    """The tables that concerns are read from."""

    leaderboard: Table
    accounts: Table
    feeds: Table
    freshness: Table
    gaps: Table
    suspected_actions: Table
    parity: Table
    drift: Table
    expected: Table


def concerns(health: Health, now: datetime) -> list[Concern]:
    """The most urgent first: money, then data, then models that wait."""
    return [
        *_accounts(health.accounts),
        *_parity(health.parity),
        *_feeds(health.feeds, now),
        *_data(health),
        *_drift(health.drift),
        *_below_expectation(health.expected),
        *_models(health.leaderboard),
    ]


def _accounts(accounts: Table) -> Iterator[Concern]:
    for account in accounts.rows:
        name = account["account"]
        if account["standing"] != "release":
            yield Concern(
                f"Account {name} {_STANDINGS[account['standing']]}: {account['reason']}",
                "paper.html",
                f'python -m execution release --account {name} --reason "…"',
            )
        if account["reconciled"] == "discrepancy":
            yield Concern(
                f"Ledger and broker of account {name} differ in a way that nothing explains.",
                "paper.html",
                f"python -m execution reconcile --broker {account['broker']}",
            )
        elif account["reconciled"] == "awaiting":
            yield Concern(
                f"Ledger and broker of account {name} differ in what lag may explain; nothing is sent meanwhile.",
                "paper.html",
                f"python -m execution reconcile --broker {account['broker']}",
            )


def _parity(parity: Table) -> Iterator[Concern]:
    defects = sum(row["decisions"] for row in parity.rows if row["verdict"] == "defect")
    if defects:
        yield Concern(
            f"{plural(defects, 'decision')} stood on other values than what was known then: live and history differ.",
            "parity.html",
        )


def _feeds(feeds: Table, now: datetime) -> Iterator[Concern]:
    for feed in feeds.rows:
        name = f"{feed['source']} {feed['timeframe']}"
        again = f"python -m loaders collect --source {feed['source']} --timeframe {feed['timeframe']}"
        if feed["state"] == "failed":
            yield Concern(f"The live feed {name} has failed: {feed['last_error']}", "data.html", again)
        elif feed["state"] != "stopped" and now - feed["heartbeat_at"] > _DEAD_AFTER:
            yield Concern(
                f"The collector of {name} has died: it was last alive at {feed['heartbeat_at']:%Y-%m-%d %H:%M} UTC.",
                "data.html",
                again,
            )
        elif feed["state"] == "silent":
            yield Concern(f"The live feed {name} is connected and sends nothing.", "data.html")
        if feed["mute_symbols"]:
            mute = ", ".join(feed["mute_symbols"])
            yield Concern(f"The live feed {name} sends nothing of {mute}, of which the vendor has bars.", "data.html")


def _data(health: Health) -> Iterator[Concern]:
    if count := len(health.suspected_actions.rows):
        yield Concern(
            f"{plural(count, 'split, dividend or step', 'splits, dividends or steps')} "
            f"{'waits' if count == 1 else 'wait'} for a decision; features over them are not ready.",
            "data.html",
            "edit dbt_project/seeds/confirmations.csv, then python -m flows build",
        )
    stale = [row for row in health.freshness.rows if row["stale_from"] is not None]
    if stale:
        yield Concern(
            f"Features of {plural(len({row['symbol'] for row in stale}), 'symbol')} no longer follow from what has "
            "landed, and execution refuses their bars.",
            "data.html",
            "python -m flows build",
        )
    gaps = [row for row in health.gaps.rows if row["outcome"] == "open"]
    if bars := sum(row["bars"] for row in gaps):
        yield Concern(
            f"{plural(bars, 'expected bar')} of {plural(len({row['symbol'] for row in gaps}), 'symbol')} "
            f"{'is' if bars == 1 else 'are'} missing and may still come.",
            "data.html",
            "python -m flows fill-gaps",
        )


def _drift(drift: Table) -> Iterator[Concern]:
    for row in drift.rows:
        if row["quantity"] == "score" and row["is_drifting"]:
            yield Concern(
                f"The newest scores of model {row['model']} are unlike those it was judged on: its index is "
                f"{row['index']:.2f}, and was up to {row['largest_in_training']:.2f} then.",
                "paper.html",
                "python -m flows drift",
            )


def _below_expectation(expected: Table) -> Iterator[Concern]:
    # the last day of each model counts
    for row in {row["model"]: row for row in expected.rows}.values():
        if row["realised"] < row["band_low"] and row["counted_days"] >= _LEAST_DAYS:
            yield Concern(
                f"The decisions of model {row['model']} have made {percent(row['realised'])} "
                f"in {plural(row['counted_days'], 'day')}; "
                f"its record lets one expect {percent(row['band_low'])} at least.",
                "paper.html",
                f'python -m models_registry retire {row["model"]} --reason "…"',
            )


def _models(leaderboard: Table) -> Iterator[Concern]:
    unjudged = [row for row in leaderboard.rows if row["verdict"] is None]
    if unjudged:
        yield Concern(
            f"{plural(len(unjudged), 'trial')} {'was' if len(unjudged) == 1 else 'were'} never judged.",
            "leaderboard.html",
            "python -m flows train",
        )
    for row in leaderboard.rows:
        if row["model_state"] == "candidate" and row["verdict"] == "PASSED":
            yield Concern(
                f"Model {row['model']} has passed and waits, because another of its symbols trades.",
                "leaderboard.html",
                f"python -m models_registry promote {row['model']}",
            )


def health(snapshot: Snapshot, leaderboard: Table, accounts: Table) -> Health:
    """Read what concerns are found in."""
    return Health(
        leaderboard=leaderboard,
        accounts=accounts,
        feeds=snapshot.table(queries.FEEDS),
        freshness=snapshot.table(queries.FRESHNESS),
        gaps=snapshot.table(queries.GAPS),
        suspected_actions=snapshot.table(queries.SUSPECTED_ACTIONS),
        parity=snapshot.table(queries.PARITY),
        drift=snapshot.table(queries.DRIFT),
        expected=snapshot.table(queries.EXPECTED, states=["paper", "live"]),
    )
