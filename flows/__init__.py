"""Prefect flows: ingest, build, train, paper trade, reconcile, and the demo that chains them.

Settings that Prefect reads when it is first imported stand here; the environment overrides each.
"""

import logging
import os
import signal
import sys

# while `python -m flows…` loads its libraries it has done nothing, so Ctrl-C may end it on the spot and without a word;
# see end_like_ctrl_c for what comes after
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

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
