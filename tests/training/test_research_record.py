"""From a hypothesis to a registered model, in the database: what was tried is all there, and nothing counts twice."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models_registry import registry
from tests.machine import as_owner
from tests.training import worlds
from training import reproduce
from training.__main__ import main
from training.commit import CommitError, commit_passing
from training.gate import Thresholds, level_of_look
from training.look import JudgementError, judge_families
from training.models import ModelError
from training.panel_rows import DatasetError
from training.parity import compare
from training.replay import signals
from training.told import verdict_of
from training.train import Run, prepare, train
from warehouse.connection import arrow, connect
from warehouse.settings import load

pytestmark = pytest.mark.usefixtures("made_up_warehouse")

ONE_BAR = "symbol = 'EDGE' and session_date = '2001-03-01'"


def train_grid(symbol: str = "EDGE", **changes: object) -> Run:
    return train(worlds.hypothesis(symbols=[symbol], training=worlds.GRID, **changes), source_file="made_up.yaml")


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
    before, files = worlds.counts(), _files()

    again = train_grid()
    assert not again.is_new
    assert again.trial_ids == first.trial_ids
    assert judge_families([again.family_id]) == {}
    assert commit_passing(again.run_id).state == "paper"
    assert worlds.counts() == before
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
    search, family = prepare(worlds.hypothesis(training=worlds.GRID))
    _, backtest = search.trials[run.trial_ids[0]]
    path = backtest.run({"again": backtest.hypothesis.training.xgboost})["again"]
    assert len(stored) == family.oos_bars == len(path.sessions)
    for column, values in (("score", path.scores), ("position", path.positions), ("net_return", path.net_returns)):
        assert stored[column].to_numpy().tobytes() == values.reshape(-1).tobytes()
    assert family.periods_per_year == pytest.approx(261, abs=1)
    kept = arrow("trainer", "select coverage from research.trials where trial_id = $1", (run.trial_ids[0],)).to_pylist()
    assert json.loads(kept[0]["coverage"]) == {"EDGE": path.coverage[0]} == {"EDGE": 1.0}


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


def test_a_trial_that_cannot_be_fitted_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """No return is above a half in so many bars: all labels of that trial are alike, and those of the other are not."""
    training = {**worlds.GRID, "grid": {"target.threshold": [0.5, 0.0]}}
    run = train(worlds.hypothesis(training=training), source_file="made_up.yaml")
    assert run.is_new
    verdicts = judge_families([run.family_id])
    assert set(run.trial_ids) & set(verdicts) == {run.trial_ids[1]}
    with connect("trainer") as connection:
        ((status, error),) = connection.execute(
            "select status, error from research.run_outcomes where run_id = %s", (run.run_id,)
        ).fetchall()
        kept = connection.execute("select count(*) from research.trials where run_id = %s", (run.run_id,)).fetchone()
    assert (status, kept) == ("succeeded", (2,))
    assert error.startswith("trial 1: made_up, fold 1 of 5 (")
    assert "all 4" in error
    assert "so there is nothing to learn from" in error
    assert "trial 1 was not fitted, the others go on: made_up, fold 1 of 5" in caplog.text
    assert not train(worlds.hypothesis(training=training), source_file="made_up.yaml").is_new


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
            experiment_id="moving", symbols=[], universe="moving", training={**worlds.GRID, "end": "2012-09-28"},
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
    content = worlds.hypothesis(
        experiment_id="by_hand", symbols=["NOISE"], training=worlds.GRID, costs={"bps_per_side": 3}
    )
    good = tmp_path / "good.yaml"
    good.write_text(content.model_dump_json(exclude_none=True))
    bad = tmp_path / "bad.yaml"
    bad.write_text("symbols: 1\n")
    before = worlds.counts()
    assert main(["train", str(good), str(bad)]) == 2
    assert "bad.yaml, line 1" in capsys.readouterr().err
    assert worlds.counts() == before, "one bad file, and nothing is tried"

    assert main(["train", str(good)]) == 0
    assert "by_hand: 2 trials trained" in capsys.readouterr().out
    assert main(["judge", str(good)]) == 0
    said = capsys.readouterr().out
    assert "FAILED: " in said
    # what decided it, what would have passed, and where to look
    told = said[said.index("by_hand: FAILED, trial ") :].splitlines()
    assert told[0].endswith(", the best of 2")
    assert all(" would have passed." in line for line in told[1:-1])
    assert any(line.startswith("  skill_out_of_sample is ") for line in told[1:-1])
    assert re.search(r"psql -c \"select .* from results.gate_report where trial_id = '\w{16}'\"` shows", told[-1])
    before = worlds.counts()
    assert main(["calibrate", str(good), "--worlds", "1", "--sharpe", "8"]) == 0
    assert "no edge: something passes in 0 of 1 worlds, 0.0% [0.0%, 79.3%]" in capsys.readouterr().out
    assert worlds.counts() == before, "a calibration stores nothing"


def test_a_passing_run_is_told_with_what_to_type_next() -> None:
    run = train_grid()
    judge_families([run.family_id])
    commit_passing(run.run_id)
    told = verdict_of(run.run_id).splitlines()
    assert told[0].startswith("made_up: PASSED, trial ")
    assert told[1:] == ["  next: `python -m flows paper-trade` lets its model trade on paper"]
    waiting = train_grid(costs={"bps_per_side": 17})
    assert verdict_of(waiting.run_id) is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"symbols": ["EDGY"]}, "unknown symbol EDGY"),
        ({"benchmark": "SPY"}, "unknown symbol SPY"),
        (
            {"features": ["volume_surprize"]},
            "no feature volume_surprize for timeframe 1d; did you mean volume_surprise",
        ),
        (
            {"symbols": [], "universe": "nobody", "position_sizing": {"policy": "top_bottom_k", "top": 1}},
            "has no member",
        ),
    ],
)
def test_validate_asks_a_warehouse_that_is_there(
    changes: dict, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / "good.yaml", tmp_path / "bad.yaml"]
    for file, content in zip(files, (worlds.hypothesis(), worlds.hypothesis(**changes)), strict=True):
        file.write_text(content.model_dump_json(exclude_none=True))
    assert main(["validate", *map(str, files)]) == 2
    said = capsys.readouterr()
    assert said.out.startswith(f"{files[0]}: made_up, trials: 1")
    assert said.err.startswith(f"training: {files[1]}: ")
    assert sentence in said.err


def test_a_named_benchmark_stands_beside_the_trial() -> None:
    """What 1 in it becomes is its price at the end over that at the first fill; nothing else of the trial changes."""
    own, named = train_grid(), train_grid(benchmark="NOISE")
    stored = [
        arrow(
            "trainer",
            "select * from research.trial_returns where trial_id = $1 order by bar_start",
            (run.trial_ids[0],),
        ).to_pandas()
        for run in (own, named)
    ]
    assert stored[0]["named_return"].isna().all()
    prices = worlds.dataset(symbols=("NOISE",), strength=0.0, seed=6).opens[:, 0]
    assert (1 + stored[1]["named_return"]).prod() == pytest.approx(prices[-1] / prices[-1 - len(stored[1])])
    for column in ("score", "position", "benchmark_return", "net_return"):
        assert stored[0][column].equals(stored[1][column])
    assert reproduce(named.trial_ids[0])["named_return"].equals(stored[1]["named_return"])


def test_a_benchmark_that_ends_early_is_refused() -> None:
    with connect("transformer") as connection:
        connection.execute("insert into reference.instruments values ('SHORT', 'XNYS', 'equity')")
        connection.execute(
            "insert into canonical.ohlcv_1d select 'SHORT', bar_start, session_date, adj_open, adj_high, adj_low, high,"
            " low, volume, is_silent, is_range_doubtful, adj_close from canonical.ohlcv_1d"
            " where symbol = 'NOISE' and session_date < '2003-01-01'"
        )
    with pytest.raises(DatasetError, match=r"^benchmark SHORT has bars with trades from 2000-01-03 to 2002-12-31,"):
        train_grid(benchmark="SHORT")


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
