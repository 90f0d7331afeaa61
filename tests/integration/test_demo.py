"""The walking skeleton as a user meets it: interrupted, finished, run again."""

import re

import pytest

from tests.execution.agreement import assert_agree
from tests.execution.spot import assert_spot_agrees
from tests.machine import ROOT, Demo
from training import hypothesis
from training.parity import compare
from training.replay import signals
from training.train import prepare
from warehouse.connection import arrow, connect, endpoint, open_connection

pytestmark = pytest.mark.xdist_group("demo")


DECIDED = """
    select bar_start, symbol, score from research.trial_returns where trial_id = $1 and fold = $2
    order by bar_start, symbol
"""


def query(sql: str) -> list[tuple]:
    with connect("analyst") as connection:
        return connection.execute(sql).fetchall()


def test_ctrl_c_says_what_happens_next(demo: Demo) -> None:
    assert demo.interrupted.returncode == 130
    assert "`make demo` continues from there" in demo.interrupted.output
    assert "Traceback" not in demo.interrupted.output


def test_the_next_run_finishes(demo: Demo) -> None:
    assert demo.first.returncode == 0, demo.first.output
    assert len(re.findall(r"done in [\d.]+ s", demo.first.output)) >= 10
    index = demo.state_dir / "report" / "index.html"
    assert index.as_uri() in demo.first.output
    assert "planted_edge" in index.read_text()
    assert "planted_coin" in index.read_text()
    assert index.stat().st_size < 1_000_000


def test_a_second_demo_does_nothing_twice(demo: Demo) -> None:
    assert demo.second.returncode == 0, demo.second.output
    assert demo.rows_after_second == demo.rows_after_first
    for source in ("polygon", "binance"):
        assert re.search(rf"{source}: \d+ rows received, 0 landed", demo.second.output)
    assert "trials walked forward" not in demo.second.output
    assert re.search(r"0 orders at alpaca, 0 sessions and 0 orders at binance", demo.second.output)


def test_the_planted_edges_pass_and_noise_does_not(demo: Demo) -> None:
    verdicts = dict(
        query("select experiment_id, bool_or(verdict = 'PASSED') from results.leaderboard group by experiment_id")
    )
    assert verdicts["planted_edge"] is True
    assert verdicts["planted_coin"] is True
    assert verdicts["pure_noise"] is False
    assert query("select count(*) from results.leaderboard where verdict is null") == [(0,)]


def test_the_ranking_panel_comes_to_a_verdict_and_decides_a_bar_alone_as_its_backtest_did(demo: Demo) -> None:
    """Each bar by itself, through the package, as a session asks it: the bits of the trial's stored scores."""
    search, _ = prepare(hypothesis.load(ROOT / "experiments" / "four_stock_ranking.yaml"))
    ((trial, (_, backtest)),) = search.trials.items()
    assert len(query(f"select verdict from results.leaderboard where trial_id = '{trial}'")) == 1
    fold = backtest.folds[-1]
    package = backtest.package(backtest.hypothesis.training.xgboost, fold.train, trial)
    stored = arrow("analyst", DECIDED, (trial, fold.number)).to_pandas()
    weights = set()
    for bar in sorted(stored["bar_start"].unique())[::50]:
        own = stored[stored["bar_start"] == bar]
        alone = signals(package, bar.to_pydatetime(), bar.to_pydatetime())
        assert [*alone["symbol"]] == [*own["symbol"]] == ["AAPL", "GOOG", "IBM", "MSFT"]
        assert alone["score"].to_numpy(float).tobytes() == own["score"].to_numpy(float).tobytes()
        weights |= {*alone["weight"]}
    assert weights == {-0.5, 0.0, 0.5}, "one long and one short, and as much of each"


def test_every_trial_has_every_check(demo: Demo) -> None:
    counts = query(
        "select trial_id from results.gate_report group by trial_id having count(*) < 15 or count(distinct tier) < 3"
    )
    assert counts == []


def test_the_passing_models_traded_each_at_its_broker(demo: Demo) -> None:
    traded = query(
        "select accounts.broker, regexp_replace(model_id, '-.*', ''), count(*) > 20"
        " from results.execution_quality inner join ledger.accounts using (account_id) where status = 'filled'"
        " group by 1, 2 order by 1"
    )
    assert traded == [("alpaca", "planted_edge", True), ("binance", "planted_coin", True)]


def test_every_day_of_the_coin_was_decided(demo: Demo) -> None:
    """Of a market that never closes no day is passed over, weekends and holidays of the other one included."""
    days = query(
        "select count(*), count(distinct bar_start), max(bar_start)::date - min(bar_start)::date + 1"
        " from ledger.decisions where symbol = 'SYNTHUSDT'"
    )
    assert days == [(154, 154, 154)]


def test_decisions_equal_the_bulk_recomputation_to_the_bit(demo: Demo) -> None:
    parity = compare()
    assert parity.decisions > 230
    assert parity.feature_values > 3_000
    assert parity.differences == ()


def test_decisions_are_made_on_what_was_known(demo: Demo) -> None:
    """The audit finds nothing, and would: a correction that lands later is seen now and was not then."""
    verdicts = dict(query("select verdict, count(*) from results.parity group by verdict"))
    assert set(verdicts) == {"identical"}
    assert verdicts["identical"] >= 5
    administrator = open_connection(endpoint(), endpoint().conninfo())
    with administrator as connection:
        symbol, bar_start, decided_at, names, values = connection.execute(
            "select symbol, bar_start, decided_at, feature_names, feature_values from ledger.decisions"
            " where symbol = 'SYNTHEDGE' order by decided_at desc limit 1"
        ).fetchone()
        connection.execute(
            "insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)"
            " select ticker, multiplier, timespan, t, o, h * 1.01, l, c, v * 2 from raw.polygon_aggregates"
            " where ticker = %s and timespan = 'day' and t <= %s order by t desc limit 1",
            (symbol, bar_start),
        )
        look_back = "select features.vector_as_of(%s, '1d', %s, %s, %s)"
        then = connection.execute(look_back, (symbol, bar_start, names, decided_at)).fetchone()[0]
        now = connection.execute(
            "select features.vector_as_of(%s, '1d', %s, %s, clock_timestamp())", (symbol, bar_start, names)
        ).fetchone()[0]
        before = connection.execute(look_back, (symbol, bar_start, names, bar_start)).fetchone()[0]
        connection.rollback()
    assert then == values
    assert now != values
    assert before is None, "nothing had landed then"


def test_the_sandbox_book_and_the_ledger_agree_at_both_brokers(demo: Demo) -> None:
    assert_agree(demo.book)
    assert_spot_agrees(demo.spot, ["SYNTH"])
    assert query("select count(*) from ledger.accounts") == [(2,)]


def test_no_account_is_halted_and_nothing_is_unexplained(demo: Demo) -> None:
    assert query("select count(*) from ledger.halts") == [(0,)]
    assert query("select count(*) from ledger.reconciliations where outcome = 'discrepancy'") == [(0,)]


def test_secrets_are_nowhere(demo: Demo) -> None:
    """The demo's keys are in no table, no log and no Prefect record."""
    for secret in (b"demo-polygon", b"demo-alpaca", b"demo-binance"):
        for path in demo.state_dir.rglob("*"):
            if path.is_file() and "pg" not in path.relative_to(demo.state_dir).parts:
                assert secret not in path.read_bytes(), f"{secret!r} is in {path.name}"
    for name in ("demo-alpaca", "demo-binance"):
        assert name not in demo.first.output + demo.second.output
