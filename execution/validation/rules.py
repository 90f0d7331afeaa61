"""What must be proven before a bar is decided and before an order is sent: one small class per rule.

A rule answers with the reason of its refusal or with None, and what it needs and does not have is a reason. All rules
are asked, so that the operator sees every obstacle at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from execution.brokers.base import AccountSnapshot, Mode, SymbolTerms
from execution.orders import Side

if TYPE_CHECKING:
    from execution.validation.limits import Usage

Subject = TypeVar("Subject", contravariant=True)


@dataclass(frozen=True, slots=True)
class BarEvidence:
    """What the warehouse and the broker's clock say about the bar a model is about to decide. None is "not known"."""

    symbol: str
    mode: Mode
    now: datetime
    market_is_open: bool
    newest_close: datetime | None = None
    next_open: datetime | None = None
    window: timedelta | None = None
    feature_bar_start: datetime | None = None
    canonical_bar_start: datetime | None = None
    bar_end: datetime | None = None
    is_traded: bool | None = None
    is_ready: bool | None = None
    undefined_features: tuple[str, ...] = ()
    freshness_is_known: bool = False
    stale_from: datetime | None = None
    stale_because: str | None = None
    changed_features: tuple[str, ...] | None = None
    model_state: str | None = None
    unpriced: tuple[str, ...] | None = None
    account: AccountSnapshot | None = None
    halted_because: str | None = "whether it is halted is not known"
    has_discrepancy: bool | None = None
    in_flight: tuple[str, ...] | None = None
    may_arrive: tuple[str, ...] | None = None
    clock_skew: timedelta | None = None
    splits: tuple[str, ...] | None = None
    closed_because: str | None = None
    # how far the position is from what the models' shares add up to, where several hold of it
    unshared: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """An order that a decision leads to, with the state of the account it would be sent into. None is "not known".

    `held` is the position, `pending` what open orders of other models may still add to it, and `share` what the order's
    own model holds of it, all of it when not given. What is crossed moves shares and leaves the position as it is.
    """

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal | None
    held: Decimal
    equity: Decimal | None
    buying_power: Decimal | None
    account: AccountSnapshot | None
    halted_because: str | None
    has_discrepancy: bool | None
    in_flight: tuple[str, ...] | None
    broker_mark: Decimal | None = None
    states_prices: bool = False
    clock_skew: timedelta | None = None
    reduces_because: str | None = "whether it may only reduce is not known"
    terms: SymbolTerms | None = None
    model_id: str | None = None
    usage: "Usage | None" = None
    pending: Decimal = Decimal(0)
    share: Decimal | None = None
    is_crossed: bool = False

    @property
    def position_before(self) -> Decimal:
        """The position once the open orders that make it larger have filled."""
        return self.held + self.pending

    @property
    def position_after(self) -> Decimal:
        return self.position_before + (0 if self.is_crossed else self.side.sign * self.quantity)

    @property
    def share_before(self) -> Decimal:
        """What the order's model holds."""
        return self.held if self.share is None else self.share

    @property
    def share_after(self) -> Decimal:
        return self.share_before + self.side.sign * self.quantity

    @property
    def added_exposure(self) -> Decimal:
        """Units by which the order moves the position away from zero; not positive when it reduces."""
        return abs(self.position_after) - abs(self.position_before)

    @property
    def only_reduces(self) -> bool:
        """Whether the order takes on nothing, and does not turn the position around."""
        return self.added_exposure <= 0 and self.position_after * self.position_before >= 0

    @property
    def cost(self) -> Decimal:
        """What the order takes from the buying power: nothing when it reduces, and not a number without a price."""
        if self.added_exposure <= 0:
            return Decimal(0)
        return Decimal("NaN") if self.price is None else self.added_exposure * self.price


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule's no, and why."""

    rule: str
    reason: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.reason}"


class Hindrances(Protocol):
    """What may hinder the account, whatever it is asked to do. A subject of rules about bars and orders alike."""

    @property
    def symbol(self) -> str: ...
    @property
    def account(self) -> AccountSnapshot | None: ...
    @property
    def halted_because(self) -> str | None: ...
    @property
    def has_discrepancy(self) -> bool | None: ...
    @property
    def in_flight(self) -> tuple[str, ...] | None: ...
    @property
    def clock_skew(self) -> timedelta | None: ...


class MayArrive(Protocol):
    """What knows of orders that were given up and may still arrive."""

    @property
    def may_arrive(self) -> tuple[str, ...] | None: ...


class MaySplit(Protocol):
    """What knows of splits that take effect before an order of the symbol would trade."""

    @property
    def splits(self) -> tuple[str, ...] | None: ...


class Rule(Protocol, Generic[Subject]):
    def validate(self, subject: Subject) -> str | None:
        """The reason to refuse, or None."""


def verdicts(rules: Iterable[Rule[Subject]], subject: Subject) -> dict[str, str | None]:
    """Ask every rule: by its name the reason to refuse, None where it has none."""
    return {type(rule).__name__: rule.validate(subject) for rule in rules}


def refusals(rules: Iterable[Rule[Subject]], subject: Subject) -> tuple[Refusal, ...]:
    """Ask every rule. An empty answer, and nothing else, is an approval."""
    return tuple(Refusal(name, reason) for name, reason in verdicts(rules, subject).items() if reason is not None)
