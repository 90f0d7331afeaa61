"""Prefect flows: ingest, build, train, paper trade, reconcile, and the demo that chains them.

Settings that Prefect reads when it is first imported stand here; the environment overrides each.
"""

import logging
import os

_DEFAULTS = {
    # a local server on two cores takes about 20 s to start
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # the flows log to `truebar`; Prefect stores these lines with the run
    "PREFECT_LOGGING_EXTRA_LOGGERS": "truebar",
}
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)

logging.getLogger("truebar").setLevel(logging.INFO)
