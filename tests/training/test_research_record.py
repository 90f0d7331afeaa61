"""From a hypothesis to a registered model, in the database: what was tried is all there, and nothing counts twice."""

import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models_registry import registry
from tests.machine import as_owner
from tests.training import worlds
from training import dataset, trials, tuning
from training.__main__ import main
from training.commit import CommitError, commit_passing
from training.gate import Thresholds, level_of_look
from training.look import JudgementError, judge_families
from training.models import ModelError
from training.panel_rows import DatasetError
from training.parity import compare
from training.replay import signals
from training.reproduction import reproduced
from training.train import Run, prepare, train
from warehouse.connection import arrow, connect
from warehouse.settings import load

pytestmark = pytest.mark.usefixtures("made_up_warehouse")

GRID = {"start": "2000-01-01", "device": "cpu", "xgboost": {"n_estimators": 40}, "grid": {"max_depth": [1, 2]}}
ONE_BAR = "symbol = 'EDGE' and session_date = '2001-03-01'"


def counts() -> dict[str, int]:
    tables = ("hypotheses", "families", "runs", "run_outcomes", "trials", "trial_returns", "gate_looks", "verdicts")
    with connect("trainer") as connection:
        return {
            name: connection.execute(f"select count(*) from research.{name}").fetchone()[0]
            for name in (*tables, "gate_checks", "models", "model_states")
        }


def train_grid(symbol: str = "EDGE", **changes: object) -> Run:
    return train(worlds.hypothesis(symbols=[symbol], training=GRID, **changes), source_file="made_up.yaml")


def test_the_dataset_is_what_the_warehouse_holds() -> None:
    read, made = dataset.read(worlds.hypothesis()), worlds.dataset()
    assert read.digest == made.digest
    assert (read.unready_rows, read.fingerprints) == (20, worlds.FINGERPRINTS)


@contextmanager
def gone_on(day: date, result: float | None = None, bars: int = 600) -> Iterator[None]:
    """GONE, with this many bars of NOISE, was delisted on a day."""
    last = worlds.sessions(1200)[bars - 1]
    copied = "{} select 'GONE', {} from {} where symbol = 'NOISE' and bar_start <= %s"
    prices = "bar_start, session_date, adj_open, adj_high, adj_low, high, low, volume, false, false, adj_open * 0.9"
    features = "bar_start, bar_no, volume_surprise, wind_direction, sma_20, is_ready"
    with connect("transformer") as connection:
        connection.execute(
            "insert into reference.instruments values ('GONE', 'XNYS', 'equity', null, %s, %s)", (day, result)
        )
        for relation, columns in (("canonical.ohlcv_1d", prices), ("features.features_1d", features)):
            connection.execute(copied.format(f"insert into {relation}", columns, relation), (last,))
    try:
        yield
    finally:
        with connect("transformer") as connection:
            for relation in ("reference.instruments", "canonical.ohlcv_1d", "features.features_1d"):
                connection.execute(f"delete from {relation} where symbol = 'GONE'")


@pytest.mark.parametrize("result", [None, -0.4])
def test_a_delisting_is_read_from_the_instruments(result: float | None) -> None:
    with gone_on(worlds.sessions(1200)[600].date(), result):
        read = dataset.read(worlds.hypothesis(symbols=["EDGE", "GONE"]))
        assert len(read.delistings) == 1
        (ended,) = read.delistings
        assert (ended.column, ended.bar, ended.result) == (1, 600, result)
        assert ended.after_open == pytest.approx(-0.1)
        # alone, the grid goes on until there is a bar at which it is over
        alone = dataset.read(worlds.hypothesis(symbols=["GONE"]))
        assert (len(alone.sessions), alone.delistings[0].bar) == (601, 600)
        assert alone.digest != replace(alone, delistings=()).digest
        assert not dataset.read(worlds.hypothesis(symbols=["EDGE"])).delistings


@pytest.mark.parametrize("result", [2.0, -30.0, math.nan])
def test_a_delisting_return_that_cannot_be_is_refused(result: float) -> None:
    with (
        gone_on(worlds.sessions(1200)[600].date(), result),
        pytest.raises(DatasetError, match=r"delisting_return of GONE is .*, which is no number from -1 to 1"),
    ):
        dataset.read(worlds.hypothesis(symbols=["EDGE", "GONE"]))


def test_a_delisting_that_is_only_announced_is_none_yet() -> None:
    ahead = datetime(2999, 1, 4, 14, 30, tzinfo=UTC)
    with connect("loader") as connection:
        connection.execute(
            "insert into reference.trading_sessions values ('XNYS', %s, %s, %s, 1200)",
            (ahead.date(), ahead, ahead + timedelta(hours=6.5)),
        )
        connection.execute("select reference.count_session_bars('XNYS')")
    try:
        with gone_on(ahead.date()):
            read = dataset.read(worlds.hypothesis(symbols=["GONE"], training={"start": "2000-01-01"}))
            assert (len(read.sessions), read.delistings) == (600, ())
    finally:
        with connect("loader") as connection:
            connection.execute(
                "select reference.replace_sessions('XNYS', %s, '{}'::date[], '{}', '{}', 'none')", (ahead.date(),)
            )


def test_a_delisting_on_the_weekend_of_the_end_is_settled_after_it() -> None:
    monday = worlds.sessions(1200)[600].date()
    with gone_on(monday - timedelta(days=2)):
        training = {"start": "2000-01-01", "end": monday - timedelta(days=1)}
        read = dataset.read(worlds.hypothesis(symbols=["GONE"], training=training))
        assert (len(read.sessions), [one.bar for one in read.delistings]) == (601, [600])


def test_a_universe_holds_who_was_a_member_then() -> None:
    leaves, joins = (worlds.sessions(1200)[number].date() for number in (700, 300))
    with connect("transformer") as connection:
        connection.execute(
            "insert into reference.universes values ('both', 'NOISE', null, %s), ('both', 'EDGE', %s, null),"
            " ('both', 'LATER', '2030-01-01', null)",
            (leaves, joins),
        )
    sizing = {"policy": "top_bottom_k", "top": 1}
    asked = {"symbols": [], "universe": "both", "position_sizing": sizing}
    training = {"start": "2000-01-01", "end": "2012-09-28"}
    try:
        read = dataset.read(worlds.hypothesis(**asked, training=training))
        assert read.symbols == ("EDGE", "NOISE"), "who joins after the end is not asked for"
        assert (read.is_member.argmax(axis=0).tolist(), read.is_member.sum(axis=0).tolist()) == ([300, 0], [900, 700])
        assert not read.ready[~read.is_member].any()
        assert np.isnan(read.features[~read.ready]).all()
        everybody = dataset.read(worlds.hypothesis(symbols=["EDGE", "NOISE"], position_sizing=sizing))
        assert read.digest != everybody.digest
        with pytest.raises(DatasetError, match=r"universe bot has no member .* did you mean both"):
            dataset.read(worlds.hypothesis(**{**asked, "universe": "bot"}))
        with pytest.raises(DatasetError, match="unknown symbol LATER"):
            dataset.read(worlds.hypothesis(**asked, training={"start": "2000-01-01"}))
    finally:
        with connect("transformer") as connection:
            connection.execute("delete from reference.universes")


def test_a_row_without_a_value_is_dropped_and_counted() -> None:
    """A feature may have no value on a day: that costs the day of whoever uses the feature, and no hypothesis."""
    one_row = "symbol = 'EDGE' and bar_start = (select bar_start from canonical.ohlcv_1d where " + ONE_BAR + ")"
    with connect("transformer") as connection:
        before = connection.execute(f"select wind_direction from features.features_1d where {one_row}").fetchone()[0]
        connection.execute(f"update features.features_1d set wind_direction = null where {one_row}")
    try:
        read = dataset.read(worlds.hypothesis())
        assert read.unready_rows == 21
        assert np.isnan(read.features[~read.ready]).all()
        assert np.isfinite(read.features[read.ready]).all()
    finally:
        with connect("transformer") as connection:
            connection.execute(f"update features.features_1d set wind_direction = %s where {one_row}", (before,))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"symbols": ["EDGE", "ZZZ"]}, "unknown symbol ZZZ"),
        (
            {"feature_groups": ["volume", "momentum"]},
            "feature group momentum has no feature .* the warehouse has volume",
        ),
        ({"training": {"start": "2030-01-01"}}, "has no bar of EDGE from 2030-01-01"),
        ({"features": ["volume_suprise"]}, r"no feature volume_suprise .*; did you mean volume_surprise\?"),
        ({"exclude_features": ["sma_20"]}, "there is no feature sma_20 for timeframe 1d"),
        ({"exclude_features": ["volume_surprise", "wind_direction"]}, "made_up excludes every feature"),
        (
            {"training": {**GRID, "xgboost": {"monotone_constraints": {"sma_2": 1}}}},
            "there is no feature sma_2 for timeframe 1d",
        ),
        ({"timeframe": "4h"}, "feature group volume has no feature for timeframe 4h"),
    ],
)
def test_what_is_not_there_is_said_and_nothing_is_written(changes: dict, sentence: str) -> None:
    before = counts()
    with pytest.raises(DatasetError, match=sentence):
        train(worlds.hypothesis(**changes), source_file="x.yaml")
    assert counts() == before


def test_a_symbol_whose_features_do_not_follow_from_what_landed_is_not_trained() -> None:
    with connect("transformer") as connection:
        connection.execute("insert into features.freshness_1d values ('EDGE', '2001-01-01', 'late rows landed')")
    try:
        with pytest.raises(DatasetError, match=r"features of EDGE \(late rows landed\) do not follow .* `dbt build`"):
            dataset.read(worlds.hypothesis())
    finally:
        with connect("transformer") as connection:
            connection.execute("delete from features.freshness_1d")


def test_a_bar_without_trades_is_read_as_one() -> None:
    with connect("transformer") as connection:
        connection.execute(f"update canonical.ohlcv_1d set volume = 0, high = low where {ONE_BAR}")
        gone = connection.execute("delete from canonical.ohlcv_1d where session_date = '2001-03-05'").rowcount
    try:
        read = dataset.read(worlds.hypothesis())
        assert (gone, (~read.is_traded).sum(), np.isnan(read.opens).sum()) == (2, 2, 1)
        assert read.is_expected.all()
    finally:
        with connect("transformer") as connection:
            connection.execute(f"update canonical.ohlcv_1d set volume = 1000, high = adj_high where {ONE_BAR}")
            for symbol, strength, seed in (("EDGE", 1.2, 5), ("NOISE", 0.0, 6)):
                data = worlds.dataset(symbols=(symbol,), strength=strength, seed=seed)
                place = int(np.flatnonzero(data.sessions.astype("datetime64[D]") == np.datetime64("2001-03-05"))[0])
                high, low = (repr(float(prices[place, 0])) for prices in (data.highs, data.lows))
                values = (symbol, worlds.sessions(1200)[place], repr(float(data.opens[place, 0])), high, low, high, low)
                connection.execute(
                    "insert into canonical.ohlcv_1d values"
                    " (%s, %s, '2001-03-05', %s, %s, %s, %s, %s, 1000, false, false)",
                    values,
                )
        assert dataset.read(worlds.hypothesis()).digest == worlds.dataset().digest, "as it was"


def test_a_search_on_an_edge_becomes_one_paper_model() -> None:
    run = train_grid()
    assert run.is_new
    assert len(run.trial_ids) == 2

    verdicts = judge_families([run.family_id])
    assert {trial: verdict.verdict for trial, verdict in verdicts.items()} == dict.fromkeys(run.trial_ids, "PASSED")

    record = commit_passing(run.run_id)
    assert record.state == "paper"
    assert "look 1" in record.reason
    assert record.trial_id == max(verdicts.values(), key=lambda verdict: verdict.shrunk_sharpe).trial_id

    package = registry.load_model(record.model_id)
    _says_what_it_was_trained_on(record.model_id, package.feature_names)
    assert package.fingerprints == worlds.FINGERPRINTS
    assert package.manifest.gate_evidence["verdict"] == "PASSED"
    assert package.manifest.gate_evidence["family_trials"] == 2
    rows = worlds.dataset().rows(np.arange(1000, 1200))
    assert package.target_weights(rows)["weight"].nunique() == 2


def _says_what_it_was_trained_on(model: str, features: tuple[str, ...]) -> None:
    """Each feature and the scores, in tenths; the windows of stationary noise are near the whole."""
    with connect("analyst") as connection:
        found = connection.execute(
            "select quantity, shares, largest_psi, contribution from research.model_distributions where model_id = %s",
            (model,),
        ).fetchall()
    assert {quantity for quantity, *_ in found} == {*features, "score"}
    for quantity, shares, largest, contribution in found:
        assert (contribution is None) == (quantity == "score")
        assert contribution is None or contribution >= 0
        assert sum(shares) == pytest.approx(1)
        assert 0 < largest < (3 if quantity == "score" else 1)


def test_the_same_again_changes_nothing() -> None:
    first = train_grid()
    judge_families([first.family_id])
    commit_passing(first.run_id)
    before, files = counts(), _files()

    again = train_grid()
    assert not again.is_new
    assert again.trial_ids == first.trial_ids
    assert judge_families([again.family_id]) == {}
    assert commit_passing(again.run_id).state == "paper"
    assert counts() == before
    assert _files() == files


def test_a_new_hypothesis_on_the_same_data_joins_the_family_and_spends_the_next_look() -> None:
    first = train_grid()
    judge_families([first.family_id])
    other = train_grid(costs={"bps_per_side": 4}, target={"kind": "binary", "horizon": 3})
    assert other.family_id == first.family_id
    assert other.run_id != first.run_id
    verdicts = judge_families([other.family_id])
    assert set(verdicts) == set(other.trial_ids)
    assert {verdict.look_no for verdict in verdicts.values()} == {2}
    with connect("trainer") as connection:
        looks = connection.execute(
            "select look_no, trials, alpha from research.gate_looks where family_id = %s order by look_no",
            (first.family_id,),
        ).fetchall()
    assert [(number, trials) for number, trials, _ in looks] == [(1, 2), (2, 4)]
    assert [alpha for *_, alpha in looks] == pytest.approx([level_of_look(Thresholds().luck_p, k) for k in (1, 2)])


def test_noise_is_stored_and_does_not_pass() -> None:
    run = train_grid("NOISE")
    verdicts = judge_families([run.family_id])
    assert {verdict.verdict for verdict in verdicts.values()} == {"FAILED"}
    assert commit_passing(run.run_id) is None


def test_the_stored_path_is_the_whole_calendar_and_adds_up() -> None:
    run = train_grid()
    stored = arrow(
        "trainer",
        "select * from research.trial_returns where trial_id = $1 order by bar_start",
        (run.trial_ids[0],),
    ).to_pandas()
    search, family = prepare(worlds.hypothesis(training=GRID))
    _, backtest = search.trials[run.trial_ids[0]]
    path = backtest.run({"again": backtest.hypothesis.training.xgboost})["again"]
    assert len(stored) == family.oos_bars == len(path.sessions)
    for column, values in (("score", path.scores), ("position", path.positions), ("net_return", path.net_returns)):
        assert stored[column].to_numpy().tobytes() == values.reshape(-1).tobytes()
    assert family.periods_per_year == pytest.approx(261, abs=1)
    kept = arrow("trainer", "select coverage from research.trials where trial_id = $1", (run.trial_ids[0],)).to_pylist()
    assert json.loads(kept[0]["coverage"]) == {"EDGE": path.coverage[0]} == {"EDGE": 1.0}


TUNED = {**GRID, "grid": {}, "folds": 3, "tune": {"rounds": 2, "inner_folds": 2, "space": {"max_depth": [1, 2]}}}
CHOICES = "select fold, parameters, rounds, device from research.tuned_folds where run_id = $1 order by fold, device"

# What a machine does that loses its power in the third fold: two choices are stored, and the third search has begun.
KILLED = """
import os, signal
from tests.training import worlds
from training import tuning
from training.train import train
choose, begun = tuning.choose, []

def in_the_third(*arguments, number, **named):
    begun.append(number)
    if len(begun) < 3:
        return choose(*arguments, number=number, **named)
    skill = tuning._skill

    def killed(*of_round):
        skill(*of_round)
        os.kill(os.getpid(), signal.SIGKILL)

    tuning._skill = killed
    return choose(*arguments, number=number, **named)

tuning.choose = in_the_third
os.environ["TRUEBAR_TRAINING_THREADS"] = "1"
train(worlds.hypothesis(experiment_id="was_killed", training={training!r}), source_file="x.yaml")
"""


def test_a_tuned_search_that_is_killed_in_mid_fold_forgets_and_repeats_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    script = KILLED.replace("{training!r}", repr(TUNED))
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    hypothesis = worlds.hypothesis(experiment_id="was_killed", training=TUNED)
    run_id = prepare(hypothesis)[0].run_id
    kept = arrow("analyst", CHOICES, (run_id,)).to_pylist()
    assert [row["fold"] for row in kept] == [1, 2]
    before = counts()
    assert arrow("analyst", "select 1 from research.run_outcomes where run_id = $1", (run_id,)).num_rows == 0

    again, choose = [], tuning.choose
    monkeypatch.setattr(
        tuning, "choose", lambda *arguments, number, **named: again.append(number) or choose(*arguments, number=number)
    )
    run = train(hypothesis, source_file="x.yaml")
    assert (again, run.is_new, len(run.trial_ids)) == ([3], True, 1)
    stored = arrow("analyst", CHOICES, (run_id,)).to_pylist()
    assert (stored[:2], [row["fold"] for row in stored]) == (kept, [1, 2, 3])
    after = counts()
    assert (after["runs"], after["trials"], after["run_outcomes"]) == (
        before["runs"], before["trials"] + 1, before["run_outcomes"] + 1,
    )  # fmt: skip
    assert not train(hypothesis, source_file="x.yaml").is_new


def test_a_search_that_goes_on_elsewhere_mixes_no_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    hypothesis = worlds.hypothesis(experiment_id="moved_on", training=TUNED)
    search, _ = prepare(hypothesis)
    run = train(hypothesis, source_file="x.yaml")
    with connect("trainer", read_only=True) as connection:
        here = trials.stored_choices(connection, run.run_id, "cpu")
        assert sorted(fold for _, fold in here) == [1, 2, 3]
        assert trials.stored_choices(connection, run.run_id, "cuda") == {}
        with monkeypatch.context() as patch:
            patch.setattr("optuna.__version__", "0.0.1")
            assert trials.stored_choices(connection, run.run_id, "cpu") == {}
    choice = next(iter(here.values()))
    with connect("trainer") as connection:
        trials.store_choice(connection, run.run_id, run.trial_ids[0], 1, choice, "cuda")
    assert [row["device"] for row in arrow("analyst", CHOICES, (run.run_id,)).to_pylist()] == [
        "cpu",
        "cuda",
        "cpu",
        "cpu",
    ]
    assert reproduced(run.trial_ids[0]) is not None
    assert search.run_id == run.run_id


def test_a_tuned_run_that_ends_early_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    tune = {"rounds": 2, "inner_folds": 2, "space": {"max_depth": [1, 2]}}
    hypothesis = worlds.hypothesis(training={**GRID, "grid": {}, "folds": 3, "tune": tune})
    searched, choose = [], tuning.choose

    def two_then_none(*arguments: object, number: int, **named: object) -> tuning.Choice:
        if len(searched) == 2:
            raise ModelError("the machine went away")
        searched.append(number)
        return choose(*arguments, number=number, **named)

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "choose", two_then_none)
        patch.setenv("TRUEBAR_TRAINING_THREADS", "1")
        with pytest.raises(ModelError, match="went away"):
            train(hypothesis, source_file="x.yaml")
    stored = "select fold, parameters, inner_skill, rounds from research.tuned_folds where run_id = $1 order by fold"
    run_id = prepare(hypothesis)[0].run_id
    before = arrow("analyst", stored, (run_id,)).to_pylist()
    assert [row["fold"] for row in before] == searched == [1, 2]

    again = []
    monkeypatch.setattr(
        tuning, "choose", lambda *arguments, number, **named: again.append(number) or choose(*arguments, number=number)
    )
    run = train(hypothesis, source_file="x.yaml")
    assert again == [3]
    assert len(run.trial_ids) == 1
    after = arrow("analyst", stored, (run_id,)).to_pylist()
    assert after[:2] == before
    assert [(row["fold"], row["rounds"]) for row in after] == [(1, 2), (2, 2), (3, 2)]
    assert judge_families([run.family_id])[run.trial_ids[0]].verdict


def test_a_run_that_fails_is_recorded_and_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"costs": {"bps_per_side": 9}}
    with monkeypatch.context() as patch:
        patch.setattr("training.models.fit", _refuse)
        with pytest.raises(ModelError):
            train_grid(**changes)
    run = train_grid(**changes)
    assert run.is_new
    with connect("trainer") as connection:
        outcomes = connection.execute(
            "select status, error from research.run_outcomes where run_id = %s order by finished_at", (run.run_id,)
        ).fetchall()
    assert outcomes == [("failed", "made_up, fold 1 of 5 (481 bars): no luck today"), ("succeeded", None)]
    assert not train_grid(**changes).is_new


def test_a_model_is_not_made_of_other_data_than_was_judged() -> None:
    run = train_grid(experiment_id="revised", costs={"bps_per_side": 1})
    judge_families([run.family_id])
    with connect("transformer") as connection:
        before = connection.execute(f"select adj_open from canonical.ohlcv_1d where {ONE_BAR}").fetchone()[0]
        connection.execute(f"update canonical.ohlcv_1d set adj_open = adj_open * 1.01 where {ONE_BAR}")
    try:
        with pytest.raises(CommitError, match="the data of revised changed"):
            commit_passing(run.run_id)
    finally:
        with connect("transformer") as connection:
            connection.execute(f"update canonical.ohlcv_1d set adj_open = %s where {ONE_BAR}", (before,))


def test_signals_over_many_bars_are_those_of_each_bar_alone() -> None:
    run = train_grid()
    judge_families([run.family_id])
    package = registry.load_model(commit_passing(run.run_id).model_id, role="trainer")
    bars = worlds.sessions(1200)[1100:]
    together = signals(package, bars[0], bars[-1])
    assert list(together["bar_start"]) == list(bars)
    alone = [signals(package, bar, bar)["score"].iloc[0] for bar in bars[::20]]
    assert np.array(alone).tobytes() == together["score"].to_numpy()[::20].tobytes()
    with connect("transformer") as connection:
        # undone at the end of the test, as the other tests read these bars
        connection.execute("update canonical.ohlcv_1d set is_silent = true where bar_start = %s", (bars[5],))
    try:
        silent = signals(package, bars[0], bars[-1])["score"].to_numpy()
    finally:
        with connect("transformer") as connection:
            connection.execute("update canonical.ohlcv_1d set is_silent = false where bar_start = %s", (bars[5],))
    assert np.isnan(silent).nonzero()[0].tolist() == [5]


def test_old_decisions_are_judged_among_the_members_of_then() -> None:
    """EDGE has left the universe since, and LATE has joined."""
    leaves, bars = worlds.sessions(1200)[1150].date(), worlds.sessions(1200)[1140:1160]
    with connect("transformer") as connection:
        connection.execute(
            "insert into reference.universes values ('moving', 'NOISE', null, null), ('moving', 'EDGE', null, %s),"
            " ('moving', 'LATE', '2030-01-01', null)",
            (leaves,),
        )
    try:
        asked = worlds.hypothesis(
            experiment_id="moving", symbols=[], universe="moving", training={**GRID, "end": "2012-09-28"},
            position_sizing={"policy": "top_bottom_k", "top": 1},
        )  # fmt: skip
        run = train(asked, source_file="made_up.yaml")
        search, _ = prepare(asked)
        _, tried = search.trials[run.trial_ids[0]]
        every = np.arange(1100)
        package = tried.package(tried.hypothesis.training.xgboost, every, run.trial_ids[0])
        of_file = package.manifest.model_copy(update={"hypothesis_id": asked.content_hash})
        package = replace(package, manifest=of_file)
        registry.register(package, "for a test")
        both, one = package.trading({"EDGE", "NOISE"}), package.trading({"NOISE"})
        rows = search.dataset.rows(np.arange(1140, 1160))
        then = rows["bar_start"] < bars[10]
        made = pd.concat([both.target_weights(rows[then]), one.target_weights(rows[~then])], ignore_index=True)
        again = signals(package.trading({"NOISE", "LATE"}), bars[0], bars[-1])
        for name in ("score", "weight"):
            # a training row after its leaving has no score; a session has 0 there
            assert again[name].to_numpy().tobytes() == made[name].fillna(0.0).to_numpy().tobytes()
        assert (again.loc[again["symbol"] == "EDGE", "score"] != 0).tolist() == [True] * 10 + [False] * 10
        names = list(package.feature_names)
        with as_owner() as owner:
            owner.execute("insert into ledger.accounts values ('moving', 'alpaca', 'paper')")
            for number, row in made[then].iterrows():
                owner.execute(
                    "insert into ledger.decisions (decision_id, account_id, model_id, symbol, timeframe, bar_start,"
                    " bar_end, broker_time, feature_names, feature_values, score, target_weight)"
                    " values (%s, 'moving', %s, %s, '1d', %s, %s, now(), %s, %s, %s, %s)",
                    (f"moving-{number}", package.model_id, row["symbol"], row["bar_start"], row["bar_start"], names,
                     rows.loc[number, names].astype(float).tolist(), float(row["score"]), float(row["weight"])),
                )  # fmt: skip
        assert compare().differences == ()
    finally:
        with connect("transformer") as connection:
            connection.execute("delete from reference.universes")


def test_an_unknown_family_is_said() -> None:
    with pytest.raises(JudgementError, match="there is no family nothing"):
        judge_families(["nothing"])


def test_the_command_line_trains_and_judges_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = worlds.hypothesis(experiment_id="by_hand", symbols=["NOISE"], training=GRID, costs={"bps_per_side": 3})
    good = tmp_path / "good.yaml"
    good.write_text(content.model_dump_json(exclude_none=True))
    bad = tmp_path / "bad.yaml"
    bad.write_text("symbols: 1\n")
    before = counts()
    assert main(["train", str(good), str(bad)]) == 2
    assert "bad.yaml, line 1" in capsys.readouterr().err
    assert counts() == before, "one bad file, and nothing is tried"

    assert main(["train", str(good)]) == 0
    assert "by_hand: 2 trials trained" in capsys.readouterr().out
    assert main(["judge", str(good)]) == 0
    assert "FAILED: " in capsys.readouterr().out
    before = counts()
    assert main(["calibrate", str(good), "--worlds", "1", "--sharpe", "8"]) == 0
    assert "no edge: something passes in 0 of 1 worlds, 0.0% [0.0%, 79.3%]" in capsys.readouterr().out
    assert counts() == before, "a calibration stores nothing"


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--worlds", "0", "0 is not a whole number from 1 on"),
        ("--look", "-3", "-3 is not a whole number from 1 on"),
        ("--sharpe", "nan", "nan is not a Sharpe ratio above 0"),
        ("--sharpe", "1e9", "1e9 is not a Sharpe ratio above 0"),
    ],
)
def test_a_calibration_that_makes_no_sense_is_refused(
    option: str, value: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["calibrate", "x.yaml", f"{option}={value}"])
    assert sentence in capsys.readouterr().err


def _refuse(*_: object, **__: object) -> bytes:
    raise ModelError("no luck today")


def _files() -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in load().models_dir.rglob("*") if path.is_file()}


def test_a_retrained_hypothesis_does_not_displace_the_model_that_trades() -> None:
    """As an edited file does: it passes too, and waits for a person."""
    first = train_grid()
    judge_families([first.family_id])
    trading = commit_passing(first.run_id)
    edited = train_grid(costs={"bps_per_side": 3})
    judge_families([edited.family_id])
    waiting = commit_passing(edited.run_id)
    assert (registry.get(trading.model_id).state, waiting.state) == ("paper", "candidate")
    assert commit_passing(edited.run_id) == waiting
    registry.replace_rivals(waiting.model_id, "lower costs", operator="Ada")
    assert [registry.get(record.model_id).state for record in (trading, waiting)] == ["retired", "paper"]


def test_a_series_that_stops_misses_bars_until_it_is_delisted() -> None:
    """Who stops without a word is expected to the end; coverage tells. Last here: its trials are related to others'."""
    first, silent, delisted, unheard_of = 0, 599, 650, date(2999, 1, 4)
    for day, until in ((worlds.sessions(1200)[delisted].date(), delisted), (unheard_of, 1200)):
        with gone_on(day):
            read = dataset.read(worlds.hypothesis(symbols=["EDGE", "GONE"]))
            assert np.flatnonzero(read.is_expected[:, 1]).tolist() == list(range(first, until))
            assert read.is_expected[:, 0].all()
            assert np.isfinite(read.opens[:, 1]).sum() == silent + 1
    with gone_on(unheard_of):
        run = train(worlds.hypothesis(symbols=["EDGE", "GONE"], training=GRID), source_file="made_up.yaml")
        with connect("analyst") as connection:
            coverage, left_out = connection.execute(
                "select coverage, left_out from research.trials where run_id = %s limit 1", (run.run_id,)
            ).fetchone()
        assert (coverage["EDGE"], coverage["GONE"] < 0.6) == (1.0, True)
        assert left_out["missing"] > 400
