"""What a run leaves beside its log in Prefect's pages: a table or a link."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_link_artifact, create_table_artifact


def keep_table(key: str, words: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep rows under a key, the newest of each key first on its page. Values that JSON has no form for become text.

    Call it within a flow or a task.
    """
    table = [{name: _in_json(value) for name, value in row.items()} for row in rows]
    create_table_artifact(table=table or [{"": "nothing"}], key=key, description=words)


def keep_link(key: str, words: str, address: str) -> None:
    """Keep a link under a key. Call it within a flow or a task."""
    create_link_artifact(link=address, key=key, description=words)


def _in_json(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)
