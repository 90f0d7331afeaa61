"""What may hinder an account. It does not use up the bar: a bar is decided, or an order sent, once it is gone."""

from datetime import timedelta

from execution.validation.rules import Hindrances, MayArrive, Rule

CLOCK_SKEW_LIMIT = timedelta(seconds=5)


class AccountReady:
    """The broker knows the account and would take orders for it."""

    def validate(self, subject: Hindrances) -> str | None:
        if subject.account is None:
            return "the broker's account is not known"
        return subject.account.blocked_because or None


class NotHalted:
    """Nobody and nothing has halted the account."""

    def validate(self, subject: Hindrances) -> str | None:
        return None if subject.halted_because is None else f"the account is halted: {subject.halted_because}"


class Reconciled:
    """The newest reconciliation left no open discrepancy."""

    def validate(self, subject: Hindrances) -> str | None:
        if subject.has_discrepancy is None:
            return "the account was not reconciled since the session started"
        return "the newest reconciliation found a discrepancy" if subject.has_discrepancy else None


class NoOrderInFlight:
    """No other order of this symbol is open or unresolved."""

    def validate(self, subject: Hindrances) -> str | None:
        if subject.in_flight is None:
            return "the orders in flight are not known"
        return f"order {subject.in_flight[0]} of {subject.symbol} is in flight" if subject.in_flight else None


class NoOrderMayArrive:
    """No order of this symbol was given up so lately that it may still arrive, and fill beside its successor."""

    def validate(self, subject: MayArrive) -> str | None:
        if subject.may_arrive is None:
            return "the orders that were given up are not known"
        return f"order {subject.may_arrive[0]} was given up and may still arrive" if subject.may_arrive else None


class ClocksAgree:
    """This machine's clock, by which bars are collected, tells the broker's time."""

    def validate(self, subject: Hindrances) -> str | None:
        if subject.clock_skew is None:
            return "how this machine's clock stands to the broker's is not known"
        if abs(subject.clock_skew) <= CLOCK_SKEW_LIMIT:
            return None
        seconds = subject.clock_skew.total_seconds()
        where = "ahead of" if seconds > 0 else "behind"
        limit = CLOCK_SKEW_LIMIT.total_seconds()
        return f"this machine's clock is {abs(seconds):.1f} s {where} the broker's, the limit is {limit:.0f} s: set it"


ACCOUNT_RULES: tuple[Rule[Hindrances], ...] = (
    AccountReady(),
    NotHalted(),
    Reconciled(),
    NoOrderInFlight(),
    ClocksAgree(),
)
"""Asked before a bar is decided, and again for each order before it is sent."""
