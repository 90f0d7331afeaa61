"""The walking skeleton as a user meets it: interrupted, finished, run again."""

import re
from decimal import Decimal

import pytest

from tests.machine import Demo
from training.parity import compare
from warehouse.connection import connect, endpoint, open_connection

pytestmark = pytest.mark.xdist_group("demo")


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
    assert index.stat().st_size < 1_000_000


def test_a_second_demo_does_nothing_twice(demo: Demo) -> None:
    assert demo.second.returncode == 0, demo.second.output
    assert demo.rows_after_second == demo.rows_after_first
    assert re.search(r"polygon: \d+ rows received, 0 landed", demo.second.output)
    assert "trials walked forward" not in demo.second.output
    assert re.search(r"\d+ sessions, [1-9]\d* orders", demo.second.output) is None


def test_the_planted_edge_passes_and_noise_does_not(demo: Demo) -> None:
    verdicts = dict(
        query("select experiment_id, bool_or(verdict = 'PASSED') from results.leaderboard group by experiment_id")
    )
    assert verdicts["planted_edge"] is True
    assert verdicts["pure_noise"] is False
    assert query("select count(*) from results.leaderboard where verdict is null") == [(0,)]


def test_every_trial_has_every_check(demo: Demo) -> None:
    counts = query(
        "select trial_id from results.gate_report group by trial_id having count(*) < 15 or count(distinct tier) < 3"
    )
    assert counts == []


def test_the_passing_model_traded(demo: Demo) -> None:
    traded = query(
        "select count(*) from results.execution_quality where model_id like 'planted_edge%' and status = 'filled'"
    )
    assert traded[0][0] > 20


def test_decisions_equal_the_bulk_recomputation_to_the_bit(demo: Demo) -> None:
    parity = compare()
    assert parity.decisions > 80
    assert parity.feature_values > 1_500
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
            " order by decided_at desc limit 1"
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


def test_the_sandbox_book_and_the_ledger_agree(demo: Demo) -> None:
    book = demo.book
    orders = query("select client_order_id, symbol, side, quantity, filled_quantity, status from ledger.orders")
    assert {row[0]: (row[1], row[2], row[3], row[4], row[5]) for row in orders} == {
        order["client_order_id"]: (
            order["symbol"],
            order["side"],
            Decimal(order["qty"]),
            Decimal(order["filled_qty"]),
            order["status"],
        )
        for order in book["orders"]
    }
    fills = query("select client_order_id, symbol, side, quantity, price, filled_at from ledger.fills")
    own_id = {order["id"]: order["client_order_id"] for order in book["orders"]}
    assert sorted((row[0], row[1], row[2], row[3], row[4]) for row in fills) == sorted(
        (own_id[fill["order_id"]], fill["symbol"], fill["side"], Decimal(fill["qty"]), Decimal(fill["price"]))
        for fill in book["fills"]
    )
    positions = query("select symbol, quantity from ledger.positions")
    assert dict(positions) == {row["symbol"]: Decimal(row["qty"]) for row in book["positions"]}
    assert query("select cash from ledger.cash") == [(Decimal(book["cash"]),)]
    booked = {row["id"] for row in book["activities"] if row["activity_type"] != "FILL"}
    assert {activity_id for (activity_id,) in query("select activity_id from ledger.activities")} == booked


def test_no_account_is_halted_and_nothing_is_unexplained(demo: Demo) -> None:
    assert query("select count(*) from ledger.halts") == [(0,)]
    assert query("select count(*) from ledger.reconciliations where outcome = 'discrepancy'") == [(0,)]


def test_secrets_are_nowhere(demo: Demo) -> None:
    """The demo's keys are in no table, no log and no Prefect record."""
    for secret in (b"demo-polygon", b"demo-alpaca"):
        for path in demo.state_dir.rglob("*"):
            if path.is_file() and "pg" not in path.relative_to(demo.state_dir).parts:
                assert secret not in path.read_bytes(), f"{secret!r} is in {path.name}"
    assert "demo-alpaca" not in demo.first.output + demo.second.output
