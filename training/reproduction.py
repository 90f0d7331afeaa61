"""A stored trial computed again from its hypothesis and its data: on the CPU the same bits."""

import numpy as np
import pandas as pd

from training import trials
from training.budget import Budget
from training.dataset import read
from training.hypothesis import Hypothesis
from training.matrices import Matrices
from training.train import Search
from warehouse.connection import arrow, connect
from warehouse.errors import Stop

TRIAL = """
    select trials.run_id, runs.device, hypotheses.experiment_id, hypotheses.content
    from research.trials
    inner join research.runs using (run_id)
    inner join research.hypotheses on trials.hypothesis_id = hypotheses.hypothesis_id
    where trials.trial_id = %s
"""
PATH = """
    select
        symbol, bar_start, fold, score, position, trade, asset_return, benchmark_return, cost, interest, net_return,
        named_return
    from research.trial_returns
    where trial_id = $1
    order by bar_start, symbol
"""


class ReproductionError(Stop):
    """There is no such trial, its data are others now, or it comes to other numbers here."""


def reproduced(trial_id: str) -> pd.DataFrame:
    """The path of a trial, fitted and traded again: columns and order of research.trial_returns, fractions of equity.

    Every number is compared with the stored one, as bits. Raises ReproductionError where one differs, and before any
    fit where the trial is unknown, or its data or features are not what they were.
    """
    with connect("analyst", read_only=True) as connection:
        row = connection.execute(TRIAL, (trial_id,)).fetchone()
        if row is None:
            raise ReproductionError(f"there is no trial {trial_id}: results.leaderboard has those there are")
        run, device, name, content = row
        chosen = trials.stored_choices(connection, run, device)
    hypothesis = Hypothesis.model_validate({"description": "as it was stored", **content})
    dataset = read(hypothesis, role="analyst")
    if trials.run_id(hypothesis, dataset) != run:
        raise ReproductionError(
            f"the data of {name} are not what trial {trial_id} was made of: bars were revised, features are computed "
            "otherwise, or training counts otherwise"
        )
    if device != "cpu":
        raise ReproductionError(f"trial {trial_id} was fitted on {device}, and only a CPU comes to the same bits again")
    matrices = Matrices(Budget.of_settings().room_for_matrices(dataset.load))
    _, one = Search(hypothesis, dataset, "cpu", run, matrices).trials[trial_id]
    one.chosen.update({fold: choice for (of, fold), choice in chosen.items() if of == trial_id})
    path = one.run({trial_id: one.hypothesis.training.xgboost})[trial_id]
    made = {
        "score": path.scores,
        "position": path.positions,
        "trade": path.trades,
        "asset_return": path.asset_returns,
        "benchmark_return": path.benchmark_returns,
        "cost": path.costs,
        "interest": path.interest,
        "net_return": path.net_returns,
        "named_return": np.full(path.scores.shape, np.nan) if path.named_returns is None else path.named_returns,
    }
    stored = pd.DataFrame(arrow("analyst", PATH, (trial_id,)).to_pandas())
    for column, values in made.items():
        again, known = values.reshape(-1), stored[column].to_numpy(np.float64)
        if len(again) != len(known) or not np.array_equal(again, known, equal_nan=True):
            raise ReproductionError(f"trial {trial_id} comes to another {column} here: are the libraries its own?")
        stored[column] = again
    return stored
