"""The page for notebooks runs as it stands, a frame holds what a fit sees, a stored trial comes to the same bits."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.training import worlds
from training import dataset, reproduce
from training.reproduction import ReproductionError
from training.train import prepare, train
from warehouse.connection import arrow, connect

pytestmark = pytest.mark.usefixtures("made_up_warehouse")

PAGE = Path(__file__).parents[2] / "docs" / "notebook.md"
FILE = """\
experiment_id: ibm_reversal
description: A surprise in volume foretells the next return.
symbols: [EDGE, NOISE]
timeframe: 1d
model_type: xgboost
feature_groups: [volume]
target: {kind: binary}
position_sizing: {policy: long_flat}
costs: {bps_per_side: 2}
training:
  start: 2000-01-01
  device: cpu
  xgboost: {n_estimators: 20, class_weights: [1, 3]}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's hypothesis, on the symbols that are here, with a trial of it stored."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "experiments" / "ibm_reversal.yaml"
    path.parent.mkdir()
    path.write_text(FILE)
    from training.hypothesis import load

    train(load(path), source_file="x.yaml")
    return path


def test_the_page_runs_as_it_stands(file: Path) -> None:
    with connect("transformer") as connection:
        connection.execute(
            "create or replace view results.leaderboard as select trial_id, trial_no, experiment_id"
            " from research.trials inner join research.hypotheses using (hypothesis_id)"
        )
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 2
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert names["first"]["known_at"].max() <= names["tested"]["bar_start"].min()
    assert len(names["wealth"]) > 500
    stored = arrow(
        "analyst",
        "select score, position, net_return from research.trial_returns where trial_id = $1 order by bar_start, symbol",
        (names["trial_id"],),
    ).to_pandas()
    for column in stored:
        assert stored[column].to_numpy().tobytes() == names["path"][column].to_numpy().tobytes()


def test_a_frame_holds_what_each_fold_is_fitted_on(file: Path) -> None:
    from training.hypothesis import load

    rows = dataset.frame(file)
    search, _ = prepare(load(file))
    (_, one), *_ = search.trials.values()
    assert len(rows) == 1200 * 2
    for fold in one.folds:
        sample = one.sample(fold.train, fold.train)
        fitted = rows[rows[f"train_{fold.number}"] & rows["label"].notna()]
        assert fitted[list(worlds.FINGERPRINTS)].to_numpy().tobytes() == sample.features.stored().tobytes()
        assert fitted["label"].to_numpy().tobytes() == sample.labels.tobytes()
        assert (fitted["weight"].to_numpy() == np.where(sample.labels == 1, 3, 1)).all()
        tested = one.dataset.sessions[fold.test]
        assert (rows.loc[rows["fold"] == fold.number, "bar_start"].dt.tz_localize(None).unique() == tested).all()


def test_what_cannot_be_reproduced_is_said(file: Path) -> None:
    with pytest.raises(ReproductionError, match="there is no trial nowhere"):
        reproduce("nowhere")
    trial_id = (
        arrow(
            "analyst",
            "select trial_id from research.trials inner join research.hypotheses using (hypothesis_id)"
            " where experiment_id = 'ibm_reversal'",
        )
        .column(0)[0]
        .as_py()
    )
    change = "update canonical.ohlcv_1d set adj_open = adj_open * {} where symbol = 'EDGE'"
    with connect("transformer") as connection:
        connection.execute(change.format("2"))
    try:
        with pytest.raises(ReproductionError, match=r"the data of ibm_reversal are not what trial .* was made of"):
            reproduce(trial_id)
    finally:
        with connect("transformer") as connection:
            connection.execute(change.format("0.5"))
