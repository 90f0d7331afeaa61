"""What counts together, and what the gate asks of the warehouse, on a made-up market of 1200 sessions.

Each test reads how many looks there were before and says how many there are after: all of them are on one warehouse.
"""

import re
from itertools import count

import pytest
from psycopg.types.json import Jsonb

from tests.training import worlds
from training.data_evidence import Untested, record_audit, recording_tests
from training.look import judge_families
from training.train import Run, train
from warehouse.connection import connect
from warehouse.errors import Stop

pytestmark = pytest.mark.usefixtures("made_up_warehouse")

LAST = worlds.sessions(1200)[-1].date()
_costs = count(2)


def tried(
    symbol: str = "EDGE",
    start: str = "2000-01-01",
    end: str | None = None,
    cost: int | None = None,
    grid: dict | None = None,
    **changes: object,
) -> Run:
    """One trial, with costs that no other test has, so that it is another one."""
    training = {"start": start, "device": "cpu", "xgboost": {"n_estimators": 40, "max_depth": 1}}
    training |= {"end": end} if end else {}
    training |= {"grid": grid} if grid else {}
    costs = {"bps_per_side": (cost or next(_costs)) / 10}
    name = f"made_up_{next(_costs)}"
    content = worlds.hypothesis(experiment_id=name, symbols=[symbol], training=training, costs=costs, **changes)
    return train(content, source_file="made_up.yaml")


def look_of(run: Run) -> tuple[int, int]:
    """(look, trials that counted) of the look at which the run's trial was judged."""
    with connect("trainer") as connection:
        return connection.execute(
            "select look_no, trials from research.verdicts inner join research.gate_looks using (family_id, look_no) "
            "where trial_id = %s",
            (run.trial_ids[0],),
        ).fetchone()


def looks() -> int:
    with connect("trainer") as connection:
        return connection.execute("select count(*) from research.gate_looks").fetchone()[0]


def related(run: Run) -> set[str]:
    with connect("trainer") as connection:
        rows = connection.execute(
            "select trial_id from research.related_trials(%s, %s)", (run.family_id, run.hypothesis_id)
        )
        return {trial_id for (trial_id,) in rows}


def test_a_window_that_moves_by_a_day_does_not_start_afresh() -> None:
    first = tried()
    judge_families([first.family_id])
    look, trials = look_of(first)
    moved = tried(end=str(worlds.sessions(1200)[-2].date()))
    assert moved.family_id != first.family_id
    assert set(moved.trial_ids) <= judge_families([moved.family_id]).keys()
    assert look_of(moved) == (look + 1, trials + 1)


def test_the_same_data_with_another_end_are_the_same_look() -> None:
    first = tried(cost=77)
    assert judge_families([first.family_id])
    before = looks()
    again = tried(end=str(LAST), cost=77)
    assert (again.family_id, again.trial_ids == first.trial_ids) == (first.family_id, False)
    assert judge_families([again.family_id]) == {}
    assert looks() == before
    assert look_of(again) == look_of(first)
    with connect("trainer") as connection:
        checks = connection.execute(
            "select count(*), count(distinct trial_id) from research.gate_checks where trial_id = any(%s)",
            ([*first.trial_ids, *again.trial_ids],),
        ).fetchone()
    assert checks[1] == 2
    assert checks[0] % 2 == 0


def test_a_verdict_is_repeated_for_the_same_path_only() -> None:
    one, other = tried(), tried()
    judge_families([one.family_id])
    three = tried(end=str(LAST))
    with connect("gate") as connection:
        for of_trial in (*one.trial_ids, *other.trial_ids, "nobody"):
            answer = connection.execute("select research.repeat_verdict(%s, %s)", (three.trial_ids[0], of_trial))
            assert answer.fetchone() == (False,)
        connection.rollback()


def test_an_idea_tried_on_another_symbol_counts_and_another_idea_does_not() -> None:
    edge, noise = tried(), tried("NOISE")
    other = tried("NOISE", end=str(worlds.sessions(1200)[-2].date()), target={"kind": "regression"})
    assert other.family_id != noise.family_id
    assert set(noise.trial_ids) <= related(edge)
    assert set(other.trial_ids) <= related(noise)
    assert not set(other.trial_ids) & related(edge)
    # what it looks at is another idea; how the grid is written around it is none
    alone = tried("NOISE", feature_groups=[], features=["volume_surprise"])
    assert not set(alone.trial_ids) & related(edge)
    among = tried(feature_groups=[], features=["wind_direction"], grid={"features": [["volume_surprise"]]})
    assert set(alone.trial_ids) <= related(among)


def test_an_idea_that_is_spelled_otherwise_is_the_same() -> None:
    """By a key that does nothing, by a number, and by what the grid puts in the place of what the file says."""
    edge = tried()
    spellings = (
        {"target": {"kind": "binary", "volatility": "anything_1"}},
        {"target": {"kind": "binary", "threshold": 0.00001}},
        {"target": {"kind": "regression"}, "grid": {"target.kind": ["binary"]}},
        {"features": ["volume_surprise"]},
        {"feature_groups": [], "features": ["volume_surprise", "wind_direction"]},
        {"grid": {"features": [["wind_direction"]]}},
    )
    for spelled in spellings:
        grid = {"grid": spelled.pop("grid", {})}
        assert set(tried("NOISE", grid=grid["grid"], **spelled).trial_ids) <= related(edge), spelled


def test_symbols_that_are_judged_together_are_one_look() -> None:
    runs = [tried(), tried("NOISE")]
    judge_families([run.family_id for run in runs])
    assert look_of(runs[0])[0] == look_of(runs[1])[0]
    with connect("trainer") as connection:
        occasions = connection.execute(
            "select count(distinct occasion) from research.verdicts "
            "inner join research.gate_looks using (family_id, look_no) where trial_id = any(%s)",
            ([trial for run in runs for trial in run.trial_ids],),
        ).fetchone()[0]
    assert occasions == 1
    apart = [tried(), tried("NOISE")]
    for run in apart:
        judge_families([run.family_id])
    assert look_of(apart[1])[0] == look_of(apart[0])[0] + 1


def test_windows_that_share_little_are_strangers() -> None:
    """The first 640 sessions and the last 640 have out-of-sample windows of 60 % that do not meet."""
    days = worlds.sessions(1200)
    early, late = tried(end=str(days[640].date())), tried(start=str(days[560].date()))
    assert not set(early.trial_ids) & related(late)
    assert not set(late.trial_ids) & related(early)


def test_a_run_that_nobody_audited_is_put_off_and_the_others_are_judged(caplog: pytest.LogCaptureFixture) -> None:
    run = tried()
    with connect("trainer") as connection:
        connection.execute(
            "insert into research.runs (run_id, hypothesis_id, family_id, data_start, data_watermark, rows_used, "
            "rows_unready, device, feature_fingerprints, library_versions) select 'other', hypothesis_id, family_id, "
            "data_start, data_watermark, 1, 0, 'cpu', %s, '{}' from research.runs where run_id = %s",
            (Jsonb({"volume_surprise": "another way"}), run.run_id),
        )
        connection.execute(
            "insert into research.trials (trial_id, run_id, hypothesis_id, family_id, trial_no, parameters) "
            "select 'other', 'other', hypothesis_id, family_id, 1, parameters from research.trials where trial_id = %s",
            (run.trial_ids[0],),
        )
        connection.execute(
            "insert into research.trial_returns select 'other', symbol, bar_start, fold, score, position, "
            "asset_return, cost, net_return from research.trial_returns where trial_id = %s",
            (run.trial_ids[0],),
        )
    judged = judge_families([run.family_id])
    assert set(run.trial_ids) <= judged.keys()
    assert "other" not in judged
    why = r"features of 1d were never audited as run other had them: volume_surprise.*look-ahead 1d"
    assert re.search(f"run other is put off, and gets no verdict now: {why}", caplog.text)
    # the put-off one is all that waits: a look at nothing is none
    before = looks()
    with pytest.raises(Untested, match=f"^{why}"):
        judge_families([run.family_id])
    assert looks() == before
    with connect("transformer") as connection:
        connection.execute(
            "select research.record_feature_audit('1d', %s, '{}')", (Jsonb({"volume_surprise": "another way"}),)
        )
    assert "other" in judge_families([run.family_id])


def test_a_trial_without_returns_has_no_verdict_and_stops_nobody() -> None:
    run = tried()
    with connect("trainer") as connection:
        connection.execute(
            "insert into research.trials (trial_id, run_id, hypothesis_id, family_id, trial_no, parameters) "
            "select 'empty', run_id, hypothesis_id, family_id, 99, parameters from research.trials where trial_id = %s",
            (run.trial_ids[0],),
        )
    judged = judge_families([run.family_id])
    assert set(run.trial_ids) <= judged.keys()
    assert "empty" not in judged


def test_a_feature_that_knew_the_future_never_passes() -> None:
    run = tried()
    with connect("transformer") as connection:
        record_audit(connection, "1d", ["wind_direction"])
    try:
        verdict = judge_families([run.family_id])[run.trial_ids[0]]
    finally:
        with connect("transformer") as connection:
            record_audit(connection, "1d", [])
    assert verdict.verdict == "FAILED"
    failed = [check.name for check in verdict.checks if check.outcome == "failed"]
    assert "lookahead_audit" in failed


def test_data_whose_tests_failed_never_pass() -> None:
    run = tried()
    with pytest.raises(Stop), recording_tests(["1d"]):
        raise Stop("a price is negative")
    try:
        verdict = judge_families([run.family_id])[run.trial_ids[0]]
    finally:
        with recording_tests(["1d"]):
            pass
    assert [check.name for check in verdict.checks if check.name == "data_tests" and check.outcome == "failed"]


def test_data_that_grew_since_they_were_tested_are_not_looked_at() -> None:
    run = tried()
    with connect("transformer") as connection:
        connection.execute("insert into canonical.live_growths values ('ohlcv_1d', 'EDGE', now())")
    with pytest.raises(Untested, match="the data of 1d were built or grew since they were tested"):
        judge_families([run.family_id])
    with recording_tests(["1d"]):
        pass
    assert judge_families([run.family_id])


def test_what_a_model_memorises_is_stored_beside_its_trial() -> None:
    run = tried()
    with connect("trainer") as connection:
        (memorised,) = connection.execute(
            "select memorised from research.trial_controls where trial_id = %s", (run.trial_ids[0],)
        ).fetchone()
    assert 0 < memorised < 0.2
