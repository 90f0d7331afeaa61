"""What models, columns and sources of the dbt project must have: rules over dbt's manifest, in dbt-bouncer's manner.

A rule yields a sentence for each violation. Adding one is a function here; `RULES` finds it.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from warehouse.timeframes import TIMEFRAMES

Manifest = dict[str, Any]
Rule = Callable[[Manifest], Iterator[str]]

RULES: list[Rule] = []

_STAGING = re.compile(r"^stg_(?P<source>[a-z]+)__[a-z_]+$")
_KEY_TESTS = ("primary_key", "sound_bars", "sound_features", "sound_gaps", "sound_quarantine")


def rule(function: Rule) -> Rule:
    """Adds a rule to RULES."""
    RULES.append(function)
    return function


def models(manifest: Manifest) -> Iterator[dict[str, Any]]:
    return (node for node in manifest["nodes"].values() if node["resource_type"] == "model")


def is_public(node: dict[str, Any]) -> bool:
    return str(node["config"].get("access")) == "public"


@rule
def every_node_is_described(manifest: Manifest) -> Iterator[str]:
    nodes = [node for node in manifest["nodes"].values() if node["resource_type"] in ("model", "seed")]
    for node in [*nodes, *manifest["sources"].values()]:
        if not node["description"].strip():
            yield f"{node['name']} has no description"
        if not node["columns"]:
            yield f"{node['name']} lists no columns"
        for column in node["columns"].values():
            if not column["description"].strip():
                yield f"{node['name']}.{column['name']} has no description"


@rule
def every_model_belongs_to_somebody(manifest: Manifest) -> Iterator[str]:
    for node in models(manifest):
        if not node["config"].get("group"):
            yield f"{node['name']} has no group"
        if not set(node["tags"]) & {"staging", "canonical", "features", "results"}:
            yield f"{node['name']} has no tag of its layer"
        timeframe = re.search(rf"_({'|'.join(TIMEFRAMES)})$", node["name"])
        if timeframe and timeframe[1] not in node["tags"]:
            yield f"{node['name']} has no tag of its timeframe"


@rule
def public_models_have_contracts(manifest: Manifest) -> Iterator[str]:
    for node in models(manifest):
        if is_public(node) and not node["config"]["contract"]["enforced"]:
            yield f"{node['name']} is public and has no enforced contract"
        if is_public(node) != (not node["name"].startswith(("int_", "stg_"))):
            yield f"{node['name']} is {'public' if is_public(node) else 'not public'}, which its name denies"


@rule
def every_model_has_a_tested_key(manifest: Manifest) -> Iterator[str]:
    tested = {
        parent
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test" and (node.get("test_metadata") or {}).get("name") in _KEY_TESTS
        for parent in node["depends_on"]["nodes"]
    }
    for node in models(manifest):
        if node["unique_id"] not in tested and not node["config"]["meta"].get("no_primary_key"):
            yield f"{node['name']} has no test of its primary key, nor a reason in meta.no_primary_key"


@rule
def raw_rows_enter_through_staging(manifest: Manifest) -> Iterator[str]:
    bookkeeping = {key for key, source in manifest["sources"].items() if source["meta"].get("is_bookkeeping")}
    read_past = {
        (parent, node["name"])
        for node in models(manifest)
        for parent in node["depends_on"]["nodes"]
        if parent in manifest["sources"] and not node["name"].startswith("stg_")
    }
    for parent, name in sorted(read_past):
        if parent not in bookkeeping:
            yield f"{name} reads {parent} past staging"
    for parent in sorted(bookkeeping - {parent for parent, _ in read_past}):
        yield f"{parent} is bookkeeping, and no model reads it past staging"


@rule
def staging_is_named_after_its_source(manifest: Manifest) -> Iterator[str]:
    for node in models(manifest):
        is_staging = "/staging/" in node["original_file_path"]
        found = _STAGING.match(node["name"])
        if is_staging != bool(found):
            yield f"{node['name']} is {'' if is_staging else 'not '}in staging, which its name denies"
        elif found and f"/staging/{found['source']}/" not in node["original_file_path"]:
            yield f"{node['name']} does not lie in staging/{found['source']}"


@rule
def raw_sources_have_freshness(manifest: Manifest) -> Iterator[str]:
    for source in manifest["sources"].values():
        if "landed_at" in source["columns"] and not (source.get("freshness") or {}).get("warn_after", {}).get("count"):
            yield f"the source {source['source_name']}.{source['name']} has landed_at and no freshness"


@rule
def public_models_have_readers(manifest: Manifest) -> Iterator[str]:
    read = {parent for exposure in manifest["exposures"].values() for parent in exposure["depends_on"]["nodes"]}
    for node in models(manifest):
        if is_public(node) and node["unique_id"] not in read:
            yield f"{node['name']} is public and no exposure reads it"
    for exposure in manifest["exposures"].values():
        if not re.match(r"https://\S+$", exposure["url"] or "") or not exposure["description"]:
            yield f"the exposure {exposure['name']} needs a URL and a description"


@rule
def readers_of_timeframes_have_an_exposure_each(manifest: Manifest) -> Iterator[str]:
    names = {exposure["name"] for exposure in manifest["exposures"].values()}
    readers = {reader for name in names for reader, _, timeframe in [name.rpartition("_")] if timeframe in TIMEFRAMES}
    for name in sorted({f"{reader}_{timeframe}" for reader in readers for timeframe in TIMEFRAMES} - names):
        yield f"the exposure {name} is missing: its reader reads every timeframe"


@rule
def macros_are_described(manifest: Manifest) -> Iterator[str]:
    for macro in manifest["macros"].values():
        if macro["package_name"] != "truebar":
            continue
        if len(macro["macro_sql"].splitlines()) > 120:
            yield f"the macro {macro['name']} is longer than 120 lines"
        if "/canonical/" in macro["original_file_path"] and len(macro["macro_sql"].splitlines()) > 80:
            yield f"the step {macro['name']} is longer than 80 lines"
        # a name of its own file, and what dbt calls by a name that it makes
        if macro["name"].startswith(("_", "materialization_")):
            continue
        if not macro["description"].strip():
            yield f"the macro {macro['name']} has no description"
        named = set(re.findall(r"(\w+)\s*(?:=[^,)]*)?[,)]", macro["macro_sql"].partition("(")[2].partition("%}")[0]))
        listed = {argument["name"] for argument in macro["arguments"]}
        if macro["name"] not in ("ref", "source") and named - {"true", "false", "none"} != listed:
            yield f"the macro {macro['name']} lists the arguments {sorted(listed)} and has {sorted(named)}"
