"""Decision parity: what was decided on live rows, decided again in bulk on the same bars, as the backtest does."""

import logging

from prefect import task

from training.parity import Parity, ParityBroken, compare

log = logging.getLogger("truebar")


@task
def check_parity() -> Parity:
    """Raises ParityBroken with the first differences."""
    parity = compare()
    if parity.differences:
        shown = "; ".join(parity.differences[:3])
        raise ParityBroken(f"{len(parity.differences)} values of {parity.decisions} decisions differ: {shown}")
    log.info(
        "%d decisions recomputed in bulk: scores, weights and all %d feature values equal to the bit",
        parity.decisions,
        parity.feature_values,
    )
    return parity
