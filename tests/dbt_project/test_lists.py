"""What Python and SQL both have to list is the same list."""

import csv
import re
from datetime import timedelta
from typing import Any, get_args

import yaml

from execution.brokers.routing import ROUTES
from tests.machine import ROOT
from training.costs import BORROW_RATES, FLOORS
from training.gate.tail import WORST
from training.hypothesis import FeatureGroup
from warehouse.sessions import ROLES
from warehouse.timeframes import LENGTHS

PROJECT = ROOT / "dbt_project"
GROUPS = PROJECT / "macros" / "features" / "groups"


def _accepted(file: str, relation: str, column: str) -> list[str]:
    """The values that a data test in a file of the dbt project accepts in a column."""
    content: dict[str, Any] = yaml.safe_load((PROJECT / file).read_text())
    (node,) = [one for one in content.get("models", content.get("seeds", [])) if one["name"] == relation]
    (tests,) = [one["data_tests"] for one in node["columns"] if one["name"] == column]
    (values,) = [test["accepted_values"]["arguments"]["values"] for test in tests if "accepted_values" in test]
    return list(values)


def test_timeframes() -> None:
    declared = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]["timeframes"]
    lengths = {name: length.rstrip("s").split() for name, length in declared.items()}
    assert [*LENGTHS.items()] == [
        (name, timedelta(**{f"{unit}s": int(number)})) for name, (number, unit) in lengths.items()
    ]


def test_feature_groups() -> None:
    groups = list(get_args(FeatureGroup))
    joined = (PROJECT / "macros" / "features" / "declarations.sql").read_text()
    assert re.findall(r"'(\w+)': (?=\1_features\(\))", joined) == groups
    assert {path.stem for path in GROUPS.glob("*.sql")} == set(groups)
    # the levels that features are made of are in the catalog, and no hypothesis chooses them
    assert _accepted("models/features/_features__models.yml", "catalog", "feature_group") == [*groups, "level"]


def test_asset_classes() -> None:
    classes = set(_accepted("seeds/_seeds.yml", "instruments", "asset_class"))
    assert set(FLOORS) == set(BORROW_RATES) == set(WORST) == set(ROUTES) == classes
    for seed in (PROJECT / "seeds").glob("*.csv"):
        with seed.open() as lines:
            rows = list(csv.DictReader(lines))
        if rows and "asset_class" in rows[0]:
            assert {row["asset_class"] for row in rows} == classes, seed.name


def test_every_timeframe_that_a_vendor_sends_has_a_limit() -> None:
    """Without one, flat bars would go on for as long as the vendor answers."""
    seeds = {}
    for name in ("precedence", "activity_limits"):
        with (PROJECT / "seeds" / f"{name}.csv").open() as lines:
            seeds[name] = list(csv.DictReader(lines))
    limited = {(row["asset_class"], row["timeframe"]) for row in seeds["activity_limits"]}
    sent = [row for row in seeds["precedence"] if row["source"] != "aggregate" and row["volume_rank"]]
    assert {(row["asset_class"], row["timeframe"]) for row in sent} <= limited


def test_roles() -> None:
    rights = yaml.safe_load((ROOT / "warehouse" / "rights.yaml").read_text())
    named = {role for schema in rights["schemas"].values() for roles in schema.values() for role in roles}
    assert named == set(ROLES)
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert [role for role in ROLES if f"`{role}`" not in page] == []
