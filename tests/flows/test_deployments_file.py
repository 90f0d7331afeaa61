"""prefect.yaml offers every flow, and each entry can be deployed: its flow exists and explains itself."""

from importlib import import_module
from inspect import signature
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.utilities.callables import parameter_schema

from tests.machine import ROOT

DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


def flow_of(entrypoint: str) -> Flow[..., Any]:
    module, _, name = entrypoint.rpartition(".")
    found = getattr(import_module(module), name)
    assert isinstance(found, Flow), entrypoint
    return found


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["name"])
def test_a_deployment_can_be_made(deployment: dict[str, Any]) -> None:
    """The form of the pages is made of the flow's parameters; no schedule begins by itself."""
    found = flow_of(deployment["entrypoint"])
    assert found.name == deployment["name"], "a deployment is called as its flow"
    assert deployment["description"].endswith(".")
    assert deployment["concurrency_limit"] == 1
    assert set(parameter_schema(found.fn).properties) == set(signature(found.fn).parameters)
    schedules = deployment.get("schedules", [])
    assert not [schedule for schedule in schedules if schedule["active"]]
    # by which it stays switched on when its line changes
    assert len({schedule["slug"] for schedule in schedules}) == len(schedules)


def test_every_flow_is_a_deployment() -> None:
    offered = {deployment["entrypoint"] for deployment in DEPLOYMENTS}
    made = set()
    for path in (ROOT / "flows").glob("*.py"):
        if "\n@flow\n" in path.read_text():
            module = import_module(f"flows.{path.stem}")
            made |= {
                f"flows.{path.stem}.{name}"
                for name, value in vars(module).items()
                if isinstance(value, Flow) and value.fn.__module__ == module.__name__
            }
    assert made == offered
