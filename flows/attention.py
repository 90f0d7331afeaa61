"""A flow's last line, and its failure when a person should look. Alarms hang on states of flows."""

import logging
from collections.abc import Sequence

from warehouse.errors import Stop

log = logging.getLogger("truebar")


class NeedsAttention(Stop):
    """The flow did what it could, and a person should hear of it: a halt, or orders refused, aged or ended short."""


def say(line: str, concerns: Sequence[str]) -> None:
    """Log the flow's last line. With concerns it raises NeedsAttention, so that they name the flow's state too."""
    if concerns:
        raise NeedsAttention("; ".join((line, *concerns)))
    log.info("%s", line)
