"""Errors by consequence. The text of each is one sentence that tells the operator what to do."""

import os


class OperatorError(Exception):
    """Anything a person has to act on. Command lines print its text, without a traceback, and exit with its status."""

    # a person has to act first; what may pass has another one
    exit_status = 2


class Stop(OperatorError):
    """Nothing more can be done until a person acts: a bad key, a bad setting, a refused request."""


class Unreachable(Stop):
    """The database does not answer. A command that has just started stops; one that runs for weeks waits for it."""

    exit_status = os.EX_TEMPFAIL


class NotStarted(Unreachable):
    """The embedded database is not running, and nobody but a person starts it."""

    exit_status = 2


class LoginRefused(Unreachable):
    """The database answers and refuses the login: a wrong password, for example, which only a person can mend."""

    exit_status = 2


class Skip(OperatorError):
    """This item cannot be done, others can: an unknown symbol, a window the plan does not include."""


class Retry(OperatorError):
    """The same request may succeed later: rate limits, the network, a vendor's 5xx. `after` is in seconds, if told."""

    exit_status = os.EX_TEMPFAIL

    def __init__(self, text: str, after: float | None = None) -> None:
        super().__init__(text)
        self.after = after
