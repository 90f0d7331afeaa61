"""What may hinder an account. It does not use up the bar: a bar is decided, or an order sent, once it is gone."""

from execution.validation.rules import Hindrances, MayArrive, Rule


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


ACCOUNT_RULES: tuple[Rule[Hindrances], ...] = (AccountReady(), NotHalted(), Reconciled(), NoOrderInFlight())
"""Asked before a bar is decided, and again for each order before it is sent."""
