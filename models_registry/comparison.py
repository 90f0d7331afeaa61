"""In which words two models differ: what was believed, what they read, how they were fitted, what they rest on."""

import json
from collections.abc import Iterator
from typing import Any

from models_registry.package import Manifest

# of one model only, so they always differ
_OWN = ("model_id", "hypothesis_id", "run_id", "trial_id", "booster_sha256")


def differences(one: Manifest, other: Manifest) -> list[tuple[str, str, str]]:
    """(what, in the first, in the second) of everything that differs, in the manifest's order; `-` where it is not."""
    first, second = dict(_facts(one)), dict(_facts(other))
    names = [*first, *(name for name in second if name not in first)]
    return [
        (name, first.get(name, "-"), second.get(name, "-")) for name in names if first.get(name) != second.get(name)
    ]


def _facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    content = manifest.model_dump(mode="json", exclude={*_OWN, "features"})
    for feature in manifest.features:
        yield f"features.{feature.name}", feature.fingerprint[:12]
    yield from _leaves("", content)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(f"{name}.{key}" if name else key, below)
    elif isinstance(value, list) and value and all(isinstance(entry, dict) and "name" in entry for entry in value):
        # checks of the gate
        for entry in value:
            yield from _leaves(f"{name}.{entry['name']}", {key: entry[key] for key in entry if key != "name"})
    elif isinstance(value, list):
        yield name, ", ".join(str(entry) for entry in value)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)
