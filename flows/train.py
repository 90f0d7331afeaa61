"""Train and judge hypotheses; what passes the gate becomes a model in state paper."""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from prefect import flow, task

from flows.artifacts import keep_table
from flows.dbt_command import run_dbt
from models_registry import registry
from training import hypothesis
from training.commit import commit_passing
from training.data_evidence import recording_tests
from training.gate import Verdict
from training.look import judge_families
from training.look_ahead import audit
from training.remote import ClusterError
from training.told import verdict_of
from training.train import Run
from training.train import train as train_hypothesis
from warehouse.errors import OperatorError, Stop
from warehouse.settings import PROJECT_DIR

log = logging.getLogger("truebar")

EXPERIMENTS_DIR = PROJECT_DIR / "experiments"


@task
def gather_evidence(timeframes: list[str]) -> None:
    """What the gate will ask the warehouse: do these timeframes' tests pass, and does no feature know the future?

    Raises what they raise. A look is spent for good, so the gate does not look at data that are known to be wrong.
    """
    relations = [f"{layer}_{timeframe}" for timeframe in timeframes for layer in ("features", "ohlcv")]
    with recording_tests(timeframes):
        run_dbt("test", "--select", *relations, "catalog")
    for timeframe in timeframes:
        audit(timeframe)


@task
def fit(valid: hypothesis.Hypothesis, source_file: str, cluster: str | None = None) -> Run:
    """Every trial of a hypothesis, walked forward and stored; fitted on the cluster at an address if there is one."""
    elsewhere = None
    if cluster is not None:
        from flows.cluster import handing_out

        elsewhere = partial(handing_out, cluster)
    run = train_hypothesis(valid, source_file=source_file, elsewhere=elsewhere)
    log.info(
        "%s: %d trials %s on %s, %d rows (%d not ready)%s",
        run.experiment_id,
        len(run.trial_ids),
        "walked forward" if run.is_new else "already stored",
        run.device,
        run.rows_used,
        run.rows_unready,
        f"; {run.beyond_memory}" if run.beyond_memory else "",
    )
    return run


@task
def judge(runs: list[Run]) -> list[str]:
    """One look at all that was trained together; returns the models that came of it. Nothing new costs no look."""
    verdicts = judge_families([run.family_id for run in runs])
    models = []
    for run in runs:
        record = commit_passing(run.run_id)
        if record is not None:
            log.info("%s: model %s is in state %s", run.experiment_id, record.model_id, record.state)
            for rival in registry.rivals(record.model_id) if record.state == "candidate" else []:
                log.warning(
                    "%s trades on as it is: `python -m models_registry diff %s %s` shows what differs, and "
                    "`python -m models_registry promote %s` puts the new model in its place",
                    *(rival.model_id, rival.model_id, record.model_id, record.model_id),
                )
            models.append(record.model_id)
    for run in runs:
        log.info("%s", verdict_of(run.run_id) or f"{run.experiment_id}: no verdict yet")
    keep_table("verdicts", "What this look has judged, the best first", [*_rows(runs, verdicts)])
    return models


@flow
def train(experiments: list[str] | None = None, cluster: str | None = None) -> list[str]:
    """Train the hypothesis files (default: all of experiments/) and judge their families; returns the models.

    `cluster` is the address of a Dask scheduler, tcp://HOST:PORT, whose workers fit; without it this process does.
    All files are read before anything is tried: one bad file changes nothing. One whose data are missing, or which
    cannot be fitted, is named at the end with its reason; the others go on. Raises Stop then.
    When the cluster fails it raises ClusterError and judges nothing: the same command goes on.
    """
    files = [Path(name) for name in experiments] if experiments else sorted(EXPERIMENTS_DIR.glob("*.yaml"))
    if not files:
        raise Stop(f"no hypothesis to train: {EXPERIMENTS_DIR.name}/ holds no YAML file")
    valid = [hypothesis.load(file) for file in files]
    if cluster is not None:
        # Dask takes a second to import, and most trainings need none of it
        from flows.cluster import check

        check(cluster)
    gather_evidence(sorted({one.timeframe for one in valid}))
    runs, untrained = [], []
    for one, file in zip(valid, files, strict=True):
        try:
            runs.append(fit(one, _shown(file), cluster))
        except ClusterError as error:
            # judged now, half of the files would have spent a look
            raise ClusterError(f"{_shown(file)}: {error}") from None
        except OperatorError as error:
            log.error("%s was not trained: %s", _shown(file), error)
            untrained.append(f"{_shown(file)}: {error}")
    models = judge(runs)
    if untrained:
        raise Stop(f"{len(untrained)} of {len(files)} hypotheses were not trained: {'; '.join(untrained)}")
    return models


def _rows(runs: list[Run], verdicts: dict[str, Verdict]) -> Iterator[dict[str, object]]:
    hypotheses = {trial_id: run.experiment_id for run in runs for trial_id in run.trial_ids}
    for one in sorted(verdicts.values(), key=lambda verdict: -verdict.shrunk_sharpe):
        yield {
            "hypothesis": hypotheses.get(one.trial_id, "of an earlier run"),
            "trial": one.trial_id,
            "verdict": one.verdict,
            "net Sharpe": one.net_sharpe,
            "shrunk Sharpe": one.shrunk_sharpe,
            "why": one.explanation,
        }


def _shown(file: Path) -> str:
    file = file.resolve()
    return str(file.relative_to(PROJECT_DIR)) if file.is_relative_to(PROJECT_DIR) else file.name
