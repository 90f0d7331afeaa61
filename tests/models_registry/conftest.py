"""Candidates in a registry of their own, judged by the gate's function or not at all."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg.types.json import Jsonb

from models_registry import registry
from models_registry.package import FeatureColumn, ModelPackage, TrainingWindow, model_id
from models_registry.scoring import PositionSizing, Target
from warehouse.connection import connect

NOW = datetime(2012, 9, 28, 13, 30, tzinfo=UTC)
_numbers = itertools.count(1)

Candidate = Callable[..., ModelPackage]


@pytest.fixture
def candidate(warehouse_db: Path) -> Candidate:
    """Makes a registered candidate whose trial has this verdict, or none, on these symbols."""
    return make_candidate


def make_candidate(
    verdict: str | None,
    *symbols: str,
    universe: str | None = None,
    experiment: str = "reg",
    timeframe: str = "1d",
    sizing: PositionSizing | None = None,
    chosen: dict[str, object] | None = None,
) -> ModelPackage:
    """`sizing` is what the hypothesis says, and `chosen` what its grid chose; neither says anything if not given."""
    number = next(_numbers)
    trial = f"{number:08x}"
    hypothesis = experiment if sizing is None else f"{experiment} {sizing.model_dump_json()}"
    content = {} if sizing is None else {"position_sizing": sizing.model_dump(mode="json")}
    family = " ".join((hypothesis, *(() if timeframe == "1d" else (timeframe,)), *symbols))
    with connect("trainer") as connection:
        for statement in (
            "insert into research.hypotheses (hypothesis_id, experiment_id, content, source_file) "
            "values (%(hypothesis)s, %(experiment)s, %(content)s, 'x') on conflict do nothing",
            "insert into research.families (family_id, symbols, timeframe, oos_start, oos_end, oos_bars, "
            "periods_per_year) values (%(family)s, %(symbols)s, %(timeframe)s, now(), now(), 1, 252) "
            "on conflict do nothing",
            "insert into research.runs (run_id, hypothesis_id, family_id, data_start, data_watermark, rows_used, "
            "rows_unready, device, feature_fingerprints, library_versions) values "
            "(%(family)s, %(hypothesis)s, %(family)s, now(), now(), 1, 0, 'cpu', '{}', '{}') on conflict do nothing",
            "insert into research.trials (trial_id, run_id, hypothesis_id, family_id, trial_no, parameters) "
            "values (%(trial)s, %(family)s, %(hypothesis)s, %(family)s, %(number)s, %(chosen)s)",
        ):
            connection.execute(
                statement,
                {
                    **{"family": family, "symbols": list(symbols or ("X",)), "trial": trial, "number": number},
                    **{"hypothesis": hypothesis, "experiment": experiment, "content": Jsonb(content)},
                    **{"timeframe": timeframe, "chosen": Jsonb(chosen or {})},
                },
            )
    if verdict:
        judge(trial, verdict, family)
    package = made_up_package(
        trial, run=family, hypothesis=hypothesis, symbols=symbols or ("X",), universe=universe, timeframe=timeframe
    )
    registry.register(package, "for a test")
    return package


def judge(trial: str, verdict: str, family: str) -> None:
    outcome = {"PASSED": "passed", "FAILED": "failed", "INSUFFICIENT_EVIDENCE": "undecided"}[verdict]
    check = {"tier": 1, "check_name": "x", "comparison": ">", "outcome": outcome, "explanation": ""}
    judged = [{"trial_id": trial, "verdict": verdict, "explanation": "", "checks": [check]}]
    with connect("gate") as connection:
        connection.execute(
            "select research.record_look(%(family)s, (select count(*) + 1 from research.gate_looks "
            "where family_id = %(family)s)::integer, %(judged)s)",
            {"family": family, "judged": Jsonb(judged)},
        )


def made_up_package(
    trial: str,
    booster: bytes = b"not used here",
    *,
    run: str = "reg",
    hypothesis: str = "reg",
    timeframe: str = "1d",
    symbols: tuple[str, ...] = ("X",),
    universe: str | None = None,
) -> ModelPackage:
    return ModelPackage.build(
        booster,
        model_id=model_id("reg", trial),
        experiment_id="reg",
        hypothesis_id=hypothesis,
        run_id=run,
        trial_id=trial,
        symbols=symbols,
        universe=universe,
        timeframe=timeframe,
        features=(FeatureColumn(name="f", fingerprint="1"),),
        target=Target(kind="binary"),
        position_sizing=PositionSizing(policy="long_flat"),
        cost_bps_per_side=2.0,
        parameters={},
        training_window=TrainingWindow(start=NOW, end=NOW, rows=1),
        data_watermark=NOW,
        library_versions={},
    )
