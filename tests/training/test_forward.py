"""What was decided in the shadow is judged once, on the days that were fixed, as a backtest would have earned them."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest
from psycopg.rows import class_row

from models_registry import registry
from tests.machine import as_owner
from tests.training import worlds
from training import dataset
from training.__main__ import main
from training.accounting import Market, Wanted
from training.backtest import Backtest
from training.commit import enter_shadow
from training.data_evidence import DataEvidence, record_audit, recording_tests
from training.dataset import Dataset
from training.forward import DUE, Due, _look, judge_forward, judged
from training.forward_record import Decided, own_path, share_of_model, stored_path, trial_of
from training.gate.verdict import conclude
from training.hypothesis import Hypothesis, Training
from training.look import judge_families
from training.look_ahead import due
from training.redefined import DAYS as DAYS_TO_TAKE_IT_BACK
from training.replay import signals
from training.train import train
from warehouse.connection import connect
from warehouse.errors import Stop

pytestmark = pytest.mark.usefixtures("made_up_warehouse")

DAYS = worlds.sessions(1200)
FROZEN = 630
LOOKS = (126, 252)
TRAINING = {"start": "2000-01-01", "end": f"{DAYS[FROZEN - 1]:%F}", "device": "cpu", "xgboost": {"n_estimators": 40}}
SOUND = DataEvidence(data_tests_passed=True, lookahead_audit_passed=True)
TO_THE_END = Training.model_validate({"start": "2000-01-01"})


def _hypothesis(symbol: str, trees: int) -> Hypothesis:
    return worlds.hypothesis(symbols=[symbol], training={**TRAINING, "xgboost": {"n_estimators": trees}})


def _trained(hypothesis: Hypothesis) -> str:
    """A judged run of it."""
    run = train(hypothesis, source_file="made_up.yaml")
    judge_families([run.family_id])
    return run.run_id


def _decide(
    model_id: str, first: int, last: int, *, is_late: bool = False, by_chance: bool = False, away: float = 0.0
) -> None:
    """What the model decides on sessions by number, as if it had been here then; `by_chance`, a coin decides.

    It is away on this share of the sessions between the first and the last.
    """
    package = registry.load_model(model_id, role="analyst")
    decided, names = signals(package, DAYS[first], DAYS[last]), ",".join(package.feature_names)
    is_here = np.random.default_rng(last).random(len(decided)) >= away
    is_here[[0, -1]] = True
    decided = decided[is_here]
    if by_chance:
        decided["weight"] = np.random.default_rng(first).choice([0.0, 1.0], len(decided))
    with as_owner(past_triggers=True) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into ledger.shadow_decisions (model_id, symbol, bar_start, bar_end, decided_at, is_late,"
            " feature_names, feature_values, score, target_weight)"
            " select %s, symbol, bar_start, bar_start + interval '390 minutes', bar_start + interval '7 hours', %s,"
            f" '{{{names}}}', array[{names}], %s, %s"
            " from features.features_1d where symbol = %s and bar_start = %s",
            [(model_id, is_late, row.score, row.weight, row.symbol, row.bar_start) for row in decided.itertuples()],
        )


def _computed_as(wind_direction: str) -> None:
    with connect("transformer") as connection:
        connection.execute(
            "update features.catalog set fingerprint = %s where feature = 'wind_direction'", (wind_direction,)
        )


@pytest.fixture
def as_before() -> Iterator[None]:
    """The catalog is what it was after the test."""
    yield
    _computed_as("w1")


def _looks(model_id: str) -> list[tuple]:
    with connect("analyst") as connection:
        return connection.execute(
            "select look_no, days, outcome from research.forward_looks where model_id = %s order by 1", (model_id,)
        ).fetchall()


def test_who_keeps_its_promise_in_the_shadow_trades_on_paper(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    hypothesis, file = _hypothesis("EDGE", 40), tmp_path / "made_up.yaml"
    _trained(hypothesis)
    file.write_text(json.dumps(hypothesis.model_dump(mode="json", exclude_unset=True)))
    asked = ["shadow", str(file), "--looks", *map(str, LOOKS), "--reason"]
    assert main([*asked, " "]) == 2
    assert main([*asked, "half a year is missing"]) == 0
    assert ": half a year is missing" in capsys.readouterr().out.splitlines()[-1]
    [model_id] = [record.model_id for record in registry.models("shadow")]

    _decide(model_id, FROZEN, FROZEN + 126)
    _decide(model_id, FROZEN + 130, FROZEN + 140, is_late=True)
    assert main(["forward"]) == 0
    assert capsys.readouterr().out == "no look is due at a model in the shadow\n"
    _decide(model_id, FROZEN + 127, FROZEN + 127)
    assert main(["forward"]) == 0
    assert capsys.readouterr().out.startswith(f"model {model_id}, look 1 in the shadow: passed: All 12 checks passed.")
    assert _looks(model_id) == [(1, 126, "passed")]
    assert registry.get(model_id).state == "paper"
    assert registry.load_model(model_id).model_id == model_id
    registry.advance(model_id, "retired", "done")


def test_who_is_lucky_no_longer_is_retired_at_its_last_look() -> None:
    record = enter_shadow(_trained(_hypothesis("EDGE", 30)), LOOKS, "a test")
    _decide(record.model_id, FROZEN, FROZEN + 253, by_chance=True)
    # both are due, and each is a look of its own
    assert [outcome.outcome for outcome in judge_forward()] == ["goes_on"]
    assert registry.get(record.model_id).state == "shadow"
    [last] = judge_forward()
    assert (last.look_no, last.outcome) == (2, "failed")
    assert "luck_p is" in last.words
    assert "decided_by_model is" in last.words
    assert judge_forward() == ()
    assert _looks(record.model_id) == [(1, 126, "goes_on"), (2, 252, "failed")]
    assert registry.get(record.model_id).state == "retired"


def test_who_is_away_by_chance_passes_all_the_same() -> None:
    record = enter_shadow(_trained(_hypothesis("EDGE", 35)), LOOKS, "a test")
    _decide(record.model_id, FROZEN, FROZEN + 160, away=0.15)
    assert [outcome.outcome for outcome in judge_forward()] == ["passed"]
    registry.advance(record.model_id, "retired", "done")


def _on_surprise_alone(trees: int) -> Hypothesis:
    return _hypothesis("EDGE", trees).model_copy(update={"exclude_features": ("wind_direction",)})


@pytest.mark.usefixtures("as_before")
def test_a_feature_that_was_changed_for_good_retires_who_was_trained_on_it_and_stops_no_other() -> None:
    changed = enter_shadow(_trained(_hypothesis("EDGE", 24)), LOOKS, "a test")
    other = enter_shadow(_trained(_on_surprise_alone(24)), LOOKS, "a test")
    _decide(changed.model_id, FROZEN, FROZEN + 127)
    _computed_as("w2")
    [said] = judge_forward()
    assert (said.model_id, said.look_no, said.outcome) == (changed.model_id, 1, None)
    assert "wind_direction is computed otherwise than it was trained on since the newest build, or gone" in str(said)

    with connect("transformer") as connection:
        record_audit(connection, "1d", [])
    _decide(other.model_id, FROZEN, FROZEN + 127)
    today, until = datetime.now(UTC), datetime.now(UTC) + timedelta(days=DAYS_TO_TAKE_IT_BACK)
    waits, passed = judge_forward()
    assert (passed.model_id, passed.outcome) == (other.model_id, "passed")
    assert f"since {today:%F}, or gone" in waits.words
    assert f"restore the SQL by {until:%F} and it goes on, or train made_up anew" in waits.words
    assert registry.get(changed.model_id).state == "shadow"

    again = enter_shadow(_trained(_hypothesis("EDGE", 24)), LOOKS, "trained anew")
    assert again.model_id != changed.model_id
    _a_while_ago(changed.model_id)
    [ended] = judge_forward()
    assert (ended.model_id, ended.outcome) == (changed.model_id, "retired")
    assert ended.words.endswith(
        "wind_direction is computed otherwise than it was trained on, or gone: train made_up anew"
    )
    assert registry.get(changed.model_id).state == "retired"
    assert _looks(changed.model_id) == []
    assert judge_forward() == ()
    assert registry.get(again.model_id).state == "shadow"
    for model_id in (other.model_id, again.model_id):
        registry.advance(model_id, "retired", "done")


def _a_while_ago(model_id: str) -> None:
    """As if the model had been registered, and the feature been changed, eleven days earlier."""
    with as_owner(past_triggers=True) as connection:
        for table, column, which in (
            ("models", "registered_at", f"model_id = '{model_id}'"),
            ("feature_audits", "audited_at", "true"),
        ):
            connection.execute(f"update research.{table} set {column} = {column} - interval '11 days' where {which}")


@pytest.mark.usefixtures("as_before")
def test_a_change_that_is_taken_back_costs_a_model_nothing() -> None:
    record = enter_shadow(_trained(_hypothesis("EDGE", 26)), LOOKS, "a test")
    _decide(record.model_id, FROZEN, FROZEN + 127)
    _computed_as("w3")
    assert [outcome.outcome for outcome in judge_forward()] == [None]
    _computed_as("w1")
    assert [outcome.outcome for outcome in judge_forward()] == ["passed"]
    registry.advance(record.model_id, "retired", "done")


@pytest.mark.usefixtures("as_before")
def test_a_change_after_one_that_was_taken_back_has_its_ten_days_too() -> None:
    record = enter_shadow(_trained(_hypothesis("EDGE", 28)), LOOKS, "a test")
    _audited_as("w4")
    _a_while_ago(record.model_id)
    for fingerprint in ("w1", "w4"):
        _audited_as(fingerprint)
    [waits] = judge_forward()
    assert waits.outcome is None
    assert f"since {datetime.now(UTC):%F}, or gone" in waits.words
    registry.advance(record.model_id, "retired", "done")


@pytest.mark.usefixtures("as_before")
def test_a_feature_that_is_gone_is_dated_by_the_next_audit_however_soon() -> None:
    record = enter_shadow(_trained(_hypothesis("EDGE", 29)), LOOKS, "a test")
    rename = "update features.catalog set feature = %s where feature = %s"
    with connect("transformer") as connection:
        record_audit(connection, "1d", [])
    # audits before 0104 took some milliseconds for their rows
    time.sleep(1.1)
    with connect("transformer") as connection:
        connection.execute(rename, ("gone", "wind_direction"))
        record_audit(connection, "1d", [])
    try:
        [waits] = judge_forward()
    finally:
        with connect("transformer") as connection:
            connection.execute(rename, ("wind_direction", "gone"))
            record_audit(connection, "1d", [])
    assert waits.model_id == record.model_id
    assert f"since {datetime.now(UTC):%F}, or gone" in waits.words
    registry.advance(record.model_id, "retired", "done")


def test_a_build_audits_features_again_that_were_taken_back_or_are_gone() -> None:
    """At every change since the newest audit, though each was audited once before."""
    with connect("transformer") as connection:
        connection.execute("create table features.features_1d__history as table features.features_1d")
        connection.execute(
            "insert into canonical.live_builds (model, snapshot, definition)"
            " values ('features_1d', pg_current_snapshot(), 'one of these days')"
        )
        connection.execute(
            "insert into features.look_ahead_audits select 'features_1d', 'one of these days', count(*), now()"
            " from features.features_1d__history"
        )
        record_audit(connection, "1d", [])
        assert due(connection) == []
        for change in (
            *("fingerprint = 'w5' where feature = 'wind_direction'", "fingerprint = 'w1' where fingerprint = 'w5'") * 2,
            *("feature = 'gone' where feature = 'wind_direction'", "feature = 'wind_direction' where feature = 'gone'")
            * 2,
        ):
            connection.execute(f"update features.catalog set {change}")
            assert due(connection) == ["1d"], change
            record_audit(connection, "1d", [])
            assert due(connection) == []
        connection.rollback()


def _audited_as(wind_direction: str) -> None:
    _computed_as(wind_direction)
    with connect("transformer") as connection:
        record_audit(connection, "1d", [])


def test_the_database_retires_no_model_whose_features_are_what_they_were() -> None:
    record = enter_shadow(_trained(_hypothesis("EDGE", 27)), LOOKS, "a test")
    asked = "select research.retire_redefined(%s, '{wind_direction}', %s)"
    with connect("gate") as connection:
        assert connection.execute(asked, (record.model_id, 7)).fetchone() == (False,)
        with pytest.raises(psycopg.errors.RaiseException, match="has a week at least to take it back"):
            connection.execute(asked, (record.model_id, 6))
    registry.advance(record.model_id, "retired", "done")


def test_a_look_at_data_that_nobody_tested_is_put_off_and_spends_nothing() -> None:
    record = enter_shadow(_trained(_hypothesis("EDGE", 20)), LOOKS, "a test")
    _decide(record.model_id, FROZEN, FROZEN + 127)
    with connect("transformer") as connection:
        connection.execute("insert into canonical.live_growths values ('ohlcv_1d', 'EDGE', now())")
    [outcome] = judge_forward()
    assert (outcome.outcome, _looks(record.model_id)) == (None, [])
    assert "is put off: the data of 1d were built or grew since they were tested" in str(outcome)
    # what could not run says nothing about the model either
    with pytest.raises(Stop), recording_tests(["1d"]):
        raise Stop("the disk is full")
    [outcome] = judge_forward()
    assert (outcome.outcome, _looks(record.model_id)) == (None, [])
    assert "is put off: the newest build or tests of its data did not pass: mend" in str(outcome)
    with recording_tests(["1d"]):
        pass
    with connect("transformer") as connection:
        record_audit(connection, "1d", ["wind_direction"])
    [outcome] = judge_forward()
    with connect("transformer") as connection:
        record_audit(connection, "1d", [])
    behind = "update canonical.live_watermarks set bar_start = %s where model = 'features_1d' and symbol = 'EDGE'"
    with connect("transformer") as connection:
        connection.execute(behind, (DAYS[FROZEN + 126],))
    [unbuilt] = judge_forward()
    with connect("transformer") as connection:
        connection.execute(behind, (DAYS[-1],))
    assert (unbuilt.outcome, _looks(record.model_id)) == (None, [])
    assert f"EDGE's bar of {DAYS[FROZEN + 127]:%F %R} UTC landed after the newest build" in unbuilt.words
    assert "is put off: a feature of it did not pass its look-ahead audit: mend" in str(outcome)
    assert [outcome.outcome for outcome in judge_forward()] == ["passed"]
    registry.advance(record.model_id, "retired", "done")


def test_one_failure_is_one_models_affair_and_a_look_that_is_taken_is_passed_over() -> None:
    damaged, well = (enter_shadow(_trained(_hypothesis("EDGE", trees)), LOOKS, "a test") for trees in (21, 22))
    for record in (damaged, well):
        _decide(record.model_id, FROZEN, FROZEN + 127)
    content = "update research.hypotheses set content = %s where hypothesis_id = %s"
    with as_owner(past_triggers=True) as connection:
        [(before,)] = connection.execute(
            "select content from research.hypotheses where hypothesis_id = %s", (damaged.hypothesis_id,)
        ).fetchall()
        connection.execute(content, ("{}", damaged.hypothesis_id))
    with connect("analyst", read_only=True) as connection, connection.cursor(row_factory=class_row(Due)) as cursor:
        seen = cursor.execute(DUE).fetchall()
    said = {outcome.model_id: outcome.outcome for outcome in judge_forward()}
    assert said == {damaged.model_id: None, well.model_id: "passed"}
    # somebody else saw it due, and comes second
    assert [_look(due) for due in seen if due.model_id == well.model_id] == [None]
    with as_owner(past_triggers=True) as connection:
        connection.execute(content, (json.dumps(before), damaged.hypothesis_id))
    for record in (damaged, well):
        registry.advance(record.model_id, "retired", "done")


def test_what_failed_the_gate_has_no_way_through_the_shadow() -> None:
    run_id = _trained(_hypothesis("NOISE", 40))
    with pytest.raises(Stop, match="has no trial whose record is only too short"):
        enter_shadow(run_id, LOOKS, "please")


def _stored(grid: Dataset, weights: np.ndarray, in_time: np.ndarray, first: int, last: int) -> list[Decided]:
    """Decisions on the bars first to last + 2 of a one-symbol grid that were made in time."""
    return [
        Decided(start.replace(tzinfo=UTC), "EDGE", 0.5, float(weights[number]), None, number <= last)
        for number, start in enumerate(grid.sessions.astype("datetime64[us]").tolist())
        if first <= number <= last + 2 and in_time[number]
    ]


def test_positions_are_those_of_a_backtest_and_a_late_decision_changes_none() -> None:
    grid, hypothesis = worlds.dataset(300), worlds.hypothesis()
    first, last = 50, 249
    weights = np.random.default_rng(3).choice([0.0, 1.0], (300, 1))
    on_time = np.random.default_rng(4).random(300) < 0.9
    on_time[[first, last]] = True
    path = stored_path(grid, _stored(grid, weights[:, 0], on_time, first, last))
    trial = trial_of("0" * 16, hypothesis, grid, path, SOUND)

    acting = replace(grid, ready=on_time[:, None])
    market = Market(acting, first, last)
    window = slice(first, last + 1)
    backtest = Backtest(hypothesis, acting, (), "cpu", "")
    [account] = market.run(Wanted(weights[None, window]), [backtest.terms])
    np.testing.assert_array_equal(trial.positions, account.positions)
    np.testing.assert_array_equal(trial.costs, account.costs.sum(axis=1))
    np.testing.assert_array_equal(trial.asset_returns, market.returns)
    # by hand: the newest decision in time is held from the next open to the open after it
    newest = np.maximum.accumulate(np.where(on_time, np.arange(300), 0))[window]
    opens = grid.opens[:, 0]
    np.testing.assert_array_equal(np.sign(trial.positions[:, 0]), weights[newest, 0])
    np.testing.assert_allclose(trial.asset_returns[:, 0], (opens[2:] / opens[1:-1] - 1)[window], rtol=1e-12)
    assert path.share(grid) == on_time[window].mean()


def _coin_that_waits(grid: Dataset, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """A coin's weights, and on which bars it decides: it lets pass a fifth on which changing would have cost."""
    coin = np.random.default_rng(11).choice([0.0, 1.0], len(grid.sessions))
    earned = np.append(grid.opens[2:, 0] / grid.opens[1:-1, 0] - 1, [0.0, 0.0])
    in_time, held = np.ones(len(coin), dtype=bool), coin[first]
    may_skip = int(0.2 * (last + 1 - first))
    for bar in range(first + 1, last):
        if may_skip and (coin[bar] - held) * earned[bar] < -0.002:
            in_time[bar], may_skip = False, may_skip - 1
        else:
            held = coin[bar]
    return coin, in_time


def test_a_coin_that_decides_only_when_waiting_did_not_hurt_does_not_pass() -> None:
    grid, hypothesis, (first, last) = worlds.dataset(400, strength=0.0, seed=6), worlds.hypothesis(), (50, 301)
    coin, in_time = _coin_that_waits(grid, first, last)
    path = stored_path(grid, _stored(grid, coin, in_time, first, last))
    own = replace(path, is_decided=np.ones_like(path.is_decided), weights=coin[:, None])
    stored, alone = (trial_of("0" * 16, hypothesis, grid, one, SOUND) for one in (path, own))
    due = Due("coin", 252, 0.0067, 0.0067, 1, "0" * 16, "", {}, {})
    by_stored, by_both = (
        judged(stored, other, path.share(grid), hypothesis.thresholds, due, seed=1) for other in (stored, alone)
    )
    # its own record would have passed, which is what the second one is for
    assert conclude(by_stored)[0] == "PASSED"
    assert conclude(by_both)[0] != "PASSED"
    assert "Had it decided every bar in time: luck_p is" in conclude(by_both)[1]


def test_what_the_hypothesis_asked_for_is_asked_in_the_shadow_too() -> None:
    grid, (first, last) = worlds.dataset(400), (50, 301)
    every = np.ones(len(grid.sessions), dtype=bool)
    path = stored_path(grid, _stored(grid, np.resize([0.0, 1.0], len(every)), every, first, last))
    trial = trial_of("0" * 16, worlds.hypothesis(), grid, path, SOUND)
    due = Due("asked", 252, 0.0067, 0.0067, 1, "0" * 16, "", {}, {})

    def names(**asked: float) -> dict[str, str]:
        checks = judged(trial, trial, 1.0, worlds.hypothesis(gate=asked).thresholds, due, seed=1)
        return {check.name: check.outcome for check in checks if check.name in ("turnover", "exposure", "record_years")}

    assert names() == {}
    assert names(turnover=200.0, record_years=2.0) == {"turnover": "passed", "record_years": "undecided"}
    assert names(exposure=0.9) == {"exposure": "failed"}


def test_a_decision_whose_bar_no_calendar_has_any_more_is_none() -> None:
    grid = worlds.dataset(300)
    gone = Decided(datetime(2000, 3, 4, 14, 30, tzinfo=UTC), "EDGE", 0.5, 1.0, None, is_judged=True)
    with pytest.raises(Stop, match="no calendar has a bar of what was decided any more"):
        stored_path(grid, [gone])
    there = _stored(grid, np.ones(300), np.ones(300, dtype=bool), 50, 99)
    assert stored_path(grid, [gone, *there]).is_decided.sum() == 50


@pytest.mark.parametrize(
    "change", [{"score": 0.25}, {"target_weight": 0.5}, {"whole_weight": 1.0}, {"symbol": "NOISE"}]
)
def test_a_decision_that_is_not_the_models_is_seen(change: dict[str, object]) -> None:
    backtest = Backtest(worlds.hypothesis(), worlds.dataset(300), (), "cpu", "0" * 16)
    package = backtest.package(backtest.hypothesis.training.xgboost, np.arange(20, 290), "0" * 16)
    names = package.feature_names
    values = [tuple(row) for row in np.random.default_rng(2).normal(size=(20, 2)).tolist()]
    rows = pd.DataFrame(values, columns=list(names)).assign(symbol="EDGE", bar_start=DAYS[:20], is_ready=True)
    said = package.target_weights(rows)
    decisions = [
        Decided(DAYS[bar].to_pydatetime(), "EDGE", *one, None, is_judged=True, feature_names=names, feature_values=row)
        for bar, (one, row) in enumerate(zip(said[["score", "weight"]].itertuples(index=False), values, strict=True))
    ]
    assert share_of_model(package, decisions) == 1.0
    assert share_of_model(package, [replace(decisions[0], **change), *decisions[1:]]) == 0.95
    assert share_of_model(package, [replace(decisions[0], feature_names=names[::-1]), *decisions[1:]]) == 0.95
    assert share_of_model(package, [replace(decisions[0], feature_values=(None, 1.0)), *decisions[1:]]) == 0.95


def test_of_a_universe_scores_are_compared_of_who_joined_and_who_left() -> None:
    sizing = {"policy": "top_bottom_k", "top": 1}
    asked = worlds.hypothesis(symbols=[], universe="moves", position_sizing=sizing)
    backtest = Backtest(asked, worlds.dataset(300, symbols=("EDGE", "OTHER")), (), "cpu", "0" * 16)
    package = backtest.package(asked.training.xgboost, np.arange(20, 290), "0" * 16)
    names, rows = package.feature_names, [(0.5, 0.5), (-0.5, 1.0)]
    row = pd.DataFrame([rows[0]], columns=list(names)).assign(symbol="JOINED", bar_start=DAYS[:1], is_ready=True)
    [score] = package.trading(["JOINED"]).target_weights(row)["score"]
    decisions = [
        Decided(
            DAYS[0].to_pydatetime(), symbol, *said, None, is_judged=True, feature_names=names, feature_values=values
        )
        for symbol, said, values in (("JOINED", (score, 1.0), rows[0]), ("EDGE", (0.0, 0.0), rows[1]))
    ]
    assert share_of_model(package, decisions) == 1.0
    assert share_of_model(package, [replace(decisions[0], score=score / 2), decisions[1]]) == 0.5


def test_the_days_of_the_models_own_record_are_counted_whoever_decided_on_them() -> None:
    record = enter_shadow(_trained(_hypothesis("EDGE", 25)), LOOKS, "a test")
    package = registry.load_model(record.model_id, role="analyst")
    grid = dataset.read(_hypothesis("EDGE", 25).model_copy(update={"training": TO_THE_END}), role="analyst")
    path = own_path(package, grid, FROZEN, 126)
    assert (path.first, path.last) == (FROZEN, FROZEN + 125)
    assert path.share(grid) == 1.0
    assert path.is_decided.sum() == 126
    registry.advance(record.model_id, "retired", "done")
