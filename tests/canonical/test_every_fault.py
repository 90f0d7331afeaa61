"""All vendors with every fault there is, against the tape: what any of them had right is published, nothing else is."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pyarrow.parquet as pq
import pytest
import yaml

from flows.dbt_command import run_dbt
from loaders.client import http
from loaders.client.base import Source
from loaders.client.rate_limit import RequestBudget
from loaders.history import gap_fill
from loaders.history.ingest import ingest
from loaders.vendors.binance import BinanceSource
from loaders.vendors.coingecko import CoinGeckoSource
from loaders.vendors.geckoterminal import GeckoTerminalSource
from loaders.vendors.polygon import PolygonSource
from sandbox.faults import plan as fault_plan
from sandbox.faults.bars import BarFaults
from sandbox.tape import files as tape
from sandbox.tape.minutes import daily, minutes
from sandbox.timekeeping import micros
from tests.canonical.market import PRICES, as_frame, bars, kept_ledgers_differ
from tests.loaders import landings
from tests.machine import ROOT
from warehouse.connection import connect
from warehouse.errors import OperatorError

EQUITIES, PAIRS = ("AAPL", "IBM", "MSFT"), ("BTCUSDT", "ETHUSDT", "SOLUSDT")
# best ranked first, as in the seed
VENDORS = {
    "AAPL": ("polygon",), "IBM": ("polygon",), "MSFT": ("polygon",), "SOLUSDT": ("binance",),
    "BTCUSDT": ("geckoterminal", "binance"), "ETHUSDT": ("geckoterminal", "binance"),
}  # fmt: skip
BAR_FAULTS = [
    {"fault": "missing_bars", "rate": 0.01},
    {"fault": "late_revision", "rate": 0.02, "after_minutes": 30},
    {"fault": "bad_tick", "rate": 0.006},
    {"fault": "unit_error", "rate": 0.003},
    {"fault": "duplicates", "rate": 0.01},
    {"fault": "disorder", "rate": 0.02},
]
ANSWER_FAULTS = [
    {"fault": "stall", "rate": 0.02, "seconds": 3},
    {"fault": "unauthorized", "rate": 0.02},
    {"fault": "rate_limited", "rate": 0.03},
    {"fault": "server_error", "rate": 0.03, "status": 503},
    {"fault": "no_results", "rate": 0.02},
    {"fault": "truncated_json", "rate": 0.03},
]
RENAMED = {"polygon": ("o", "opening"), "geckoterminal": ("ohlcv_list", "candles")}
WRONG = ("missing_bars", "bad_tick", "unit_error")


def plan_of(seed: int) -> dict:
    vendors = {}
    for vendor in ("polygon", "binance", "geckoterminal", "coingecko"):
        faults = [dict(fault) for fault in (*BAR_FAULTS, *ANSWER_FAULTS)]
        if vendor == "binance":
            faults.append({"fault": "banned", "rate": 0.01, "retry_after": 1})
        if vendor in RENAMED:
            field, to = RENAMED[vendor]
            faults.append({"fault": "renamed_field", "rate": 0.02, "field": field, "to": to})
        vendors[vendor] = faults
    return {"seed": seed, "vendors": vendors}


@contextmanager
def sandbox_of(tape_dir: Path, faults: Path, clock: datetime) -> Iterator[str]:
    process = subprocess.Popen(
        [
            sys.executable, "-m", "sandbox", "--tape", str(tape_dir), "--faults", str(faults), "--port", "0",
            "--clock", clock.isoformat(), "--polygon-key", "key", "--coingecko-key", "key",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        yield process.stdout.readline().split()[3].rstrip(":")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def advance(url: str, to: datetime) -> None:
    body = json.dumps({"advance_to": to.isoformat()}).encode()
    urllib.request.urlopen(f"{url}/sandbox/clock", data=body, timeout=60).close()


def sources(url: str) -> dict[str, Callable[[], Source]]:
    def budget(vendor: str) -> RequestBudget:
        return RequestBudget(vendor, limit=60_000)

    return {
        "polygon": lambda: PolygonSource("key", url, budget("polygon")),
        "binance": lambda: BinanceSource(f"{url}/binance", budget("binance")),
        "geckoterminal": lambda: GeckoTerminalSource(f"{url}/geckoterminal/api/v2", budget("geckoterminal")),
        "coingecko": lambda: CoinGeckoSource(budget("coingecko"), api_key="key", base_url=f"{url}/coingecko"),
    }


def persist(action: Callable[[], object]) -> int:
    """Start again after every failure, as a schedule does; how often it failed."""
    for failures in range(60):
        try:
            action()
        except OperatorError:
            continue
        return failures
    raise AssertionError("it fails and fails")


def pull_all(connection: psycopg.Connection, url: str, first: date) -> int:
    made = sources(url)
    failures = 0
    for name, symbols in (("polygon", EQUITIES), ("binance", PAIRS), ("geckoterminal", PAIRS[:2])):

        def pull(name: str = name, symbols: tuple[str, ...] = symbols) -> None:
            try:
                ingest(connection, made[name](), symbols=symbols, history_start=first, timeframe="1m")
            finally:
                connection.rollback()

        failures += persist(pull)

    def pull_candles() -> None:
        try:
            ingest(connection, made["coingecko"](), symbols=PAIRS, history_start=first, timeframe="4h")
        finally:
            connection.rollback()

    return failures + persist(pull_candles)


def build() -> None:
    run_dbt("run", "--select", "staging", "canonical")


def struck(plan: fault_plan.FaultPlan, vendor: str, symbol: str, starts: np.ndarray) -> dict[str, np.ndarray]:
    hit = BarFaults(plan, vendor, lambda: 0).struck(symbol, "1m", starts)
    return {fault: hit.get(fault, np.zeros(len(starts), dtype=bool)) for fault in WRONG}


@pytest.mark.parametrize(
    ("first", "days", "seed"),
    [
        pytest.param(date(2026, 7, 7), 2, 11, marks=pytest.mark.whole),
        pytest.param(date(2026, 2, 20), 30, 12, marks=pytest.mark.slow),
    ],
)
def test_canonical_bars_are_the_tapes(
    first: date, days: int, seed: int, seeded_by_dbt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TIMEOUT_S", (1.0, 1.5))
    tape_dir, faults = tmp_path / "tape", tmp_path / "faults.yaml"
    tape_dir.mkdir()
    table = minutes(EQUITIES, PAIRS, first, days, seed=seed, quiet={"MSFT": 0.1})
    pq.write_table(table, tape_dir / "minutes.parquet")
    pq.write_table(daily(table, EQUITIES), tape_dir / "days.parquet")
    seeds = pd.read_csv(ROOT / "dbt_project" / "seeds" / "vendor_symbols.csv").query("vendor == 'geckoterminal'")
    pools = {row.symbol: {"pool": row.vendor_symbol.split("/")[1]} for row in seeds.itertuples()}
    (tape_dir / "crypto.yaml").write_text(yaml.safe_dump(pools | {"SOLUSDT": {}}))
    faults.write_text(yaml.safe_dump(plan_of(seed)))

    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = start + timedelta(days=days)
    with sandbox_of(tape_dir, faults, end - timedelta(hours=20)) as url, connect("loader") as loader:
        failures = pull_all(loader, url, first)
        build()
        for moment in (end, end + timedelta(minutes=45)):
            advance(url, moment)
            failures += pull_all(loader, url, first)
        build()
        made = sources(url)
        failures += persist(lambda: gap_fill.fill(loader, lambda name: made[name](), build))
    assert failures > 1, "the plan was to be harder than that"
    assert landings.differing() == [], "history, revisions and what closed gaps"
    assert kept_ledgers_differ() == []

    check_against_tape(as_frame(table), faults, tape_dir, end)


def first_of(series: pd.DataFrame, holes: pd.DataFrame, symbol: str) -> int:
    first = series["bar_no"].min()
    return min(first, holes.loc[symbol]["bar_no"].min()) if symbol in holes.index else first


def check_against_tape(frame: pd.DataFrame, faults: Path, tape_dir: Path, end: datetime) -> None:
    plan = fault_plan.load(faults, tape.load(tape_dir))
    published = bars("1m").set_index(["symbol", "bar_start"])
    with connect("analyst") as connection:
        cursor = connection.execute(
            "select symbol, bar_start, bar_no, kind, has_flat_bar from canonical.gaps where timeframe = '1m'"
        )
        gaps = pd.DataFrame(cursor.fetchall(), columns=["symbol", "bar_start", "bar_no", "kind", "has_flat_bar"])
    gaps["bar_start"] = pd.to_datetime(gaps["bar_start"], utc=True)
    assert not gaps.duplicated(["symbol", "bar_start"]).any()
    gaps = gaps.set_index(["symbol", "bar_start"])
    assert (gaps["kind"] != "not_covered").all(), "every vendor was asked for everything"

    right, confirmed = {}, set()
    for symbol, part in frame.groupby("symbol"):
        starts = np.array([micros(moment.to_pydatetime()) for moment in part["bar_start"]])
        hits = {vendor: struck(plan, vendor, symbol, starts) for vendor in VENDORS[symbol]}
        good = {vendor: ~np.logical_or.reduce(list(hit.values())) for vendor, hit in hits.items()}
        sent = {vendor: ~hit["missing_bars"] for vendor, hit in hits.items()}
        for number, row in enumerate(part.itertuples(index=False)):
            key = (symbol, row.bar_start)
            right[key] = [vendor for vendor in VENDORS[symbol] if good[vendor][number]]
            if right[key]:
                bar = published.loc[key]
                assert not bar["is_silent"], key
                assert [bar[name] for name in PRICES] == [getattr(row, name) for name in PRICES], key
                assert bar["source"] == right[key][0], key
                if "geckoterminal" in right[key] and "binance" not in right[key]:
                    assert bar["is_volume_estimated"], key
                else:
                    assert bar["volume"] == row.volume, key
                assert key not in gaps.index, key
            elif len(hits) > 1 and all(hit["bad_tick"][number] for hit in hits.values()) and key not in gaps.index:
                # two vendors that tell the same wrong price in the same minute confirm each other
                confirmed.add(key)
            else:
                expected = "quarantined" if any(sent[vendor][number] for vendor in VENDORS[symbol]) else "no_trade"
                assert gaps.loc[key, "kind"] == expected, key

    # what is published beside the tape's bars is flat, says so, and is in the ledger
    assert len(confirmed) < 3
    extra = published[[not right.get(key) and key not in confirmed for key in published.index]]
    assert extra["is_silent"].all()
    assert (extra["volume"] == 0).all()
    assert all(len({bar[name] for name in PRICES}) == 1 for _, bar in extra.iterrows())
    assert set(extra.index) == set(gaps[gaps["has_flat_bar"]].index)
    assert (gaps.loc[extra.index, "kind"] == "no_trade").all()

    # the ledger and the series together are every expected minute
    holes = gaps[~gaps["has_flat_bar"]]
    for symbol in VENDORS:
        series = published.loc[symbol]
        until = series.index.max()
        missing = (holes.loc[symbol].index < until).sum() if symbol in holes.index else 0
        assert len(series) + missing == series["bar_no"].max() - first_of(series, holes, symbol) + 1, symbol
        assert until >= frame.loc[frame["symbol"] == symbol, "bar_start"].max()
    # a vendor's own hour stands only where its minutes make none, and a silent one is nobody's
    coarse = bars("1h")
    assert set(coarse["source"].dropna()) <= {"aggregate", "binance"}
    assert coarse[coarse["source"].isna()]["is_silent"].all()
