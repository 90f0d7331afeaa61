"""Plans of queries, to count what they look at."""

from typing import Any

from warehouse.connection import connect


def plan_of(query: str, as_role: str = "executor") -> list[dict[str, Any]]:
    """The nodes of a query's plan after it has run, the top one first; tables are read by their indexes."""
    with connect(as_role) as reader:
        reader.execute("set plan_cache_mode = force_generic_plan")
        # a history as short as this one would be read as a whole
        reader.execute("set enable_seqscan = off")
        ((plans,),) = reader.execute(f"explain (analyze, format json) {query}").fetchall()
    found = [plans[0]["Plan"]]
    for node in found:
        found.extend(node.get("Plans", []))
    return found


def rows_of(node: dict[str, Any]) -> float:
    """How many rows a node of a plan has looked at, filtered ones included."""
    return (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
