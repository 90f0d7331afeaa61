"""Four hours of a pair and hours of a stock: from the tape to a verdict, to a package, and back to the same bits."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import psycopg
import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from models_registry import registry
from sandbox.tape.minutes import minutes
from tests.canonical.market import as_frame, land_minutes
from tests.machine import BUILT, as_owner, running_warehouse
from training import hypothesis as hypotheses
from training.data_evidence import recording_tests
from training.hypothesis import Hypothesis
from training.look import judge_families
from training.look_ahead import audit
from training.parity import compare
from training.replay import signals
from training.train import prepare, train
from warehouse.connection import connect

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[2]
FIRST, DAYS = date(2024, 1, 2), 150
START = datetime(2024, 1, 2, tzinfo=UTC)
HOLE, SILENT = START + timedelta(days=100), START + timedelta(days=130)
FOUR_HOURS = timedelta(hours=4)
FILES = {"4h": "btc_xgb_4h_momentum", "1h": "us_hourly_momentum"}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Five months of AAPL's minutes and of the exchange's own four-hour bars of BTCUSDT.

    Of these nobody asked for one, and in another nobody traded.
    """
    with running_warehouse(tmp_path_factory.mktemp("timeframes"), BUILT):
        with connect("loader") as connection:
            for calendar in ("XNYS", "24x7"):
                ensure_sessions(connection, calendar, date(2024, 12, 31))
            tape = as_frame(minutes(["AAPL"], [], FIRST, DAYS, seed=15))
            land_minutes(connection, tape, START, START + timedelta(days=DAYS))
            land_four_hours(connection)
            connection.execute("select raw.refresh_statistics()")
        run_dbt("run", "--select", "staging", "canonical", "features_4h", "features_1h", "catalog")
        yield


def land_four_hours(connection: psycopg.Connection) -> None:
    generator = np.random.default_rng(4)
    closes = 40_000 * np.exp(np.cumsum(0.01 * generator.standard_normal(6 * DAYS)))
    with connection.cursor().copy(
        "copy raw.binance_klines (symbol, interval, open_time, open, high, low, close, volume, close_time,"
        " quote_volume, trades, taker_buy_volume, taker_buy_quote_volume) from stdin"
    ) as stream:
        before = 40_000.0
        for number, close in enumerate(closes):
            moment = START + timedelta(hours=4 * number)
            prices = [before, max(before, close) * 1.002, min(before, close) * 0.998, close]
            before = close
            if moment in (HOLE, SILENT):
                continue
            written = [Decimal(f"{price:.2f}") for price in prices]
            volume = Decimal(f"{generator.uniform(10, 100):.5f}")
            stream.write_row(("BTCUSDT", "4h", moment, *written, volume, moment + timedelta(hours=4), 0, 0, 0, 0))
    for window in ((START, HOLE), (HOLE + FOUR_HOURS, START + timedelta(days=DAYS))):
        connection.execute(
            "insert into raw.coverage (source, dataset, symbol, timeframe, window_start, window_end, rows_received,"
            " rows_landed) values ('binance', 'bars', 'BTCUSDT', '4h', %s, %s, 0, 0)",
            window,
        )


def of_file(timeframe: str) -> Hypothesis:
    """The shipped experiment of this timeframe, on the days and the symbol that are here, with one small trial."""
    shipped = hypotheses.load(ROOT / "experiments" / f"{FILES[timeframe]}.yaml")
    content = shipped.model_dump(mode="json")
    content["symbols"] = ["BTCUSDT"] if timeframe == "4h" else ["AAPL"]
    content["training"] |= {"start": FIRST.isoformat(), "device": "cpu", "grid": {"max_depth": [1, 2]}}
    content["training"]["xgboost"] |= {"n_estimators": 10, "min_child_weight": 5, "early_stopping_rounds": None}
    content["position_sizing"]["entry"] = 0.0
    return Hypothesis.model_validate(content)


@pytest.mark.parametrize(("timeframe", "years"), [("4h", 365.25 * 6), ("1h", 252 * 7)])
def test_from_the_tape_to_a_verdict_and_back(market: None, timeframe: str, years: float) -> None:
    hypothesis = of_file(timeframe)
    run = train(hypothesis, source_file="x.yaml")
    assert run.is_new
    assert not train(hypothesis, source_file="x.yaml").is_new, "the same again is no second run"

    search, family = prepare(hypothesis)
    assert family.periods_per_year == pytest.approx(years, rel=0.05), "counted on the data's own bars"
    assert audit(timeframe) > 500
    with recording_tests([timeframe]):
        run_dbt("test", "--select", f"features_{timeframe}", f"ohlcv_{timeframe}", "catalog")
    verdicts = judge_families([run.family_id])
    assert set(verdicts) == set(run.trial_ids)
    assert "PASSED" not in {verdict.verdict for verdict in verdicts.values()}, "a random walk"

    decide_some_bars(search, run.trial_ids[0])


def decide_some_bars(search: object, trial: str) -> None:
    """A package decides bars one at a time, as a session does, and again in bulk: the same bits."""
    _, backtest = search.trials[trial]
    every = np.arange(len(search.dataset.sessions))
    package = backtest.package(backtest.hypothesis.training.xgboost, every, trial)
    record = package.manifest.model_copy(update={"hypothesis_id": search.hypothesis.content_hash})
    package = type(package)(record, package.booster)
    registry.register(package, "for a test")
    rows = search.dataset.rows(every[-6:])
    bars = [moment.to_pydatetime() for moment in rows["bar_start"]]
    together = signals(package, bars[0], bars[-1])
    names = list(package.feature_names)
    with as_owner() as owner:
        owner.execute("insert into ledger.accounts values ('test', 'alpaca', 'paper') on conflict do nothing")
        for number, bar in enumerate(bars):
            alone = signals(package, bar, bar)
            assert alone["score"].to_numpy().tobytes() == together["score"].to_numpy()[[number]].tobytes()
            row = rows.iloc[number]
            own = package.target_weights(rows.iloc[[number]]).iloc[0]
            owner.execute(
                "insert into ledger.decisions (decision_id, account_id, model_id, symbol, timeframe, bar_start,"
                " bar_end, broker_time, feature_names, feature_values, score, target_weight)"
                " values (%s, 'test', %s, %s, %s, %s, %s, now(), %s, %s, %s, %s)",
                (f"{package.model_id}-{number}", package.model_id, row["symbol"], package.timeframe, bar, bar, names,
                 [float(row[name]) for name in names], float(own["score"]), float(own["weight"])),
            )  # fmt: skip
    parity = compare()
    assert parity.decisions >= 6
    assert parity.differences == ()


def test_a_missing_bar_is_a_hole_and_one_without_trades_is_dead(market: None) -> None:
    search, _ = prepare(of_file("4h"))
    dataset = search.dataset
    hole, silent = (
        int(np.searchsorted(dataset.sessions, np.datetime64(moment.replace(tzinfo=None), "us")))
        for moment in (HOLE, SILENT)
    )
    assert np.isnan(dataset.opens[hole, 0])
    assert dataset.is_expected[hole, 0]
    assert not dataset.is_decided[hole : hole + 60].any(), "no feature looks across it"
    assert np.isfinite(dataset.opens[silent, 0])
    assert not dataset.is_traded[silent, 0]
    _, backtest = next(iter(search.trials.values()))
    assert (backtest.left_out["missing"], backtest.left_out["silent"]) == (1, 1)
    assert np.isnan(backtest.target_values.values[[hole - 1, hole, silent - 1, silent], 0]).all()


def test_a_stock_and_a_pair_share_a_grid(market: None) -> None:
    """Hours of a stock have no part in four hours of a pair; in one timeframe each keeps its own bars."""
    content = of_file("4h").model_dump(mode="json") | {"experiment_id": "mixed", "symbols": ["AAPL", "BTCUSDT"]}
    run_dbt("run", "--select", "ohlcv_4h", "features_4h")
    search, _ = prepare(Hypothesis.model_validate(content))
    dataset = search.dataset
    stock, pair = dataset.is_expected.T
    assert not (stock & pair).any(), "four hours from a session's open are no four hours of UTC"
    assert dataset.asset_classes == ("equity", "crypto")
    _, backtest = next(iter(search.trials.values()))
    known = backtest.target_values.known_at
    for column, own in ((0, stock), (1, pair)):
        decided = np.flatnonzero(known[:, column] >= 0)
        rows = np.flatnonzero(own)
        assert (np.searchsorted(rows, known[decided, column]) - np.searchsorted(rows, decided) == 4).all()
    for fold in backtest.folds:
        assert known[fold.train].max() < fold.test[0], "no label reaches into the test"
