"""What a run leaves beside its log in Prefect's pages: a table or a link."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from prefect.artifacts import create_link_artifact, create_table_artifact

log = logging.getLogger("truebar")


def keep_table(key: str, words: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep rows under a key, the newest of each key first on its page. Values that JSON has no form for become text.

    Call it within a flow or a task. What was done is done: a server that does not take it is told in the log.
    """
    table = [{name: _in_json(value) for name, value in row.items()} for row in rows]
    with _told(key):
        create_table_artifact(table=table or [{"": "nothing"}], key=key, description=words)


def keep_link(key: str, words: str, address: str) -> None:
    """Keep a link under a key. Call it within a flow or a task; as for a table, no failure is the caller's."""
    with _told(key):
        create_link_artifact(link=address, key=key, description=words)


@contextmanager
def _told(key: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 (whatever a server and the way to it raise)
        log.warning("the artifact %s was not kept: %s", key, " ".join(str(error).split()) or type(error).__name__)


def _in_json(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)
