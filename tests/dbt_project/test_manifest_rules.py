"""The dbt project keeps its rules, and each rule finds what it is for."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.dbt_project import manifest_rules
from tests.machine import parsed

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return json.loads((parsed() / "manifest.json").read_text())


@pytest.mark.parametrize("rule", manifest_rules.RULES, ids=lambda rule: rule.__name__)
def test_nothing_breaks_the_rule(manifest: dict[str, Any], rule: manifest_rules.Rule) -> None:
    assert list(rule(manifest)) == []


def _undescribe(manifest: dict[str, Any]) -> None:
    manifest["nodes"]["model.truebar.equity"]["columns"]["cash"]["description"] = ""


def _orphan(manifest: dict[str, Any]) -> None:
    manifest["nodes"]["model.truebar.equity"]["config"]["group"] = None


def _break_contract(manifest: dict[str, Any]) -> None:
    manifest["nodes"]["model.truebar.gaps"]["config"]["contract"]["enforced"] = False


def _untest(manifest: dict[str, Any]) -> None:
    for name in [name for name in manifest["nodes"] if name.startswith("test.") and "leaderboard_trial_id" in name]:
        del manifest["nodes"][name]


def _go_past_staging(manifest: dict[str, Any]) -> None:
    manifest["nodes"]["model.truebar.equity"]["depends_on"]["nodes"].append("source.truebar.ledger.fills")


def _misname(manifest: dict[str, Any]) -> None:
    manifest["nodes"]["model.truebar.stg_ledger__fills"]["name"] = "ledger_fills"


def _grow_stale(manifest: dict[str, Any]) -> None:
    manifest["sources"]["source.truebar.binance.binance_klines"]["freshness"] = None


def _lose_readers(manifest: dict[str, Any]) -> None:
    manifest["exposures"]["exposure.truebar.report"]["url"] = "report/queries.py"


def _lose_a_timeframe(manifest: dict[str, Any]) -> None:
    del manifest["exposures"]["exposure.truebar.execution_4h"]


def _forget_an_argument(manifest: dict[str, Any]) -> None:
    manifest["macros"]["macro.truebar.received"]["arguments"].pop()


@pytest.mark.parametrize(
    ("rule", "breaks"),
    [
        ("every_node_is_described", _undescribe),
        ("every_model_belongs_to_somebody", _orphan),
        ("public_models_have_contracts", _break_contract),
        ("every_model_has_a_tested_key", _untest),
        ("raw_rows_enter_through_staging", _go_past_staging),
        ("staging_is_named_after_its_source", _misname),
        ("raw_sources_have_freshness", _grow_stale),
        ("public_models_have_readers", _lose_readers),
        ("readers_of_timeframes_have_an_exposure_each", _lose_a_timeframe),
        ("macros_are_described", _forget_an_argument),
    ],
)
def test_a_rule_finds_what_it_is_for(
    manifest: dict[str, Any], rule: str, breaks: Callable[[dict[str, Any]], None]
) -> None:
    broken = copy.deepcopy(manifest)
    breaks(broken)
    assert list(getattr(manifest_rules, rule)(broken))


def test_every_rule_was_broken_once() -> None:
    marks = test_a_rule_finds_what_it_is_for.pytestmark
    tried = {rule for mark in marks if mark.name == "parametrize" for rule, _ in mark.args[1]}
    assert tried == {rule.__name__ for rule in manifest_rules.RULES}
