"""What must be proven before an order is sent."""

from dataclasses import dataclass
from decimal import Decimal

from execution.limits import Limits
from execution.policy import TradingPolicy
from execution.validation.account import ACCOUNT_RULES
from execution.validation.limits import limit_rules, share_rules
from execution.validation.rules import Proposal, Rule


@dataclass(frozen=True, slots=True)
class PriceSane:
    """The reference price is positive and near the broker's own price, where it has one (a split shows here).

    What only makes smaller a position whose price has moved on against it is not held up.
    """

    tolerance: Decimal

    def validate(self, subject: Proposal) -> str | None:
        price, mark = subject.price, subject.broker_mark
        if price is None or not price.is_finite() or price <= 0:
            return f"the reference price is {price}"
        moved_on = mark is not None and (mark - price) * subject.held < 0
        is_held_up = subject.is_crossed or not (subject.only_reduces and moved_on)
        if not self.are_near(price, mark) and is_held_up:
            return f"the bar closed at {price}, the broker marks {subject.symbol} at {mark}"
        return None

    def are_near(self, price: Decimal, mark: Decimal | None) -> bool:
        """Whether the mark, where there is one, is within the tolerance of the price."""
        return mark is None or abs(mark - price) <= self.tolerance * price


def waits_for_price(
    tolerance: Decimal, symbol: str, price: Decimal, mark: Decimal | None, held: Decimal, *, closes: bool
) -> str | None:
    """In words, why an order that makes a position smaller waits for bar and broker to agree; None when it need not.

    It is decided once they do, and refused by nothing but its own lateness. What closes the position does not depend on
    the price: it waits where the broker's is better than the bar's, which may then be a false tick, and not while a
    crash goes on. The words stay as they are while the mark moves a little, so that they are told once.
    """
    if mark is None or PriceSane(tolerance).are_near(price, mark) or (closes and (mark - price) * held < 0):
        return None
    times = mark / price
    return f"the bar closed at {price}, the broker marks {symbol} at about {times:.1f} times that: the exit waits"


class Quoted:
    """What takes on exposure has a price of the broker's own to be compared with, where the broker states prices."""

    def validate(self, subject: Proposal) -> str | None:
        if not subject.states_prices or subject.added_exposure <= 0 or subject.broker_mark is not None:
            return None
        return f"the broker states no price of {subject.symbol}, to compare the bar's with"


@dataclass(frozen=True, slots=True)
class MaxOrderNotional:
    """The order is worth no more than the limit, or makes a position smaller."""

    limit: Decimal

    def validate(self, subject: Proposal) -> str | None:
        if subject.only_reduces:
            return None
        if subject.price is None:
            return "the order's worth is not known without a price"
        worth = subject.quantity * subject.price
        return None if worth <= self.limit else f"the order is worth {worth:.2f}, the limit is {self.limit:.2f}"


class WithinTerms:
    """The broker takes orders of this size."""

    def validate(self, subject: Proposal) -> str | None:
        terms, units, price = subject.terms, subject.quantity, subject.price
        if terms is None:
            return "which orders the broker takes is not known"
        if (too_small := terms.too_small(units, price)) is not None:
            return f"the order is for {units}: {too_small}"
        if units != terms.whole(units):
            return f"the order is for {units}, the broker takes multiples of {terms.step}"
        if terms.max_quantity is not None and units > terms.max_quantity:
            return f"the order is for {units}, the broker takes {terms.max_quantity} at most"
        if terms.max_notional is not None and price is not None and units * price > terms.max_notional:
            return f"the order is worth {units * price:.2f}, the broker takes {terms.max_notional} at most"
        return None


@dataclass(frozen=True, slots=True)
class MaxPositionWeight:
    """The position after the order is within the limit, or the order makes it smaller."""

    limit: Decimal

    def validate(self, subject: Proposal) -> str | None:
        after, before = subject.position_after, subject.position_before
        if after * before >= 0 and abs(after) < abs(before):
            return None
        if subject.price is None or subject.equity is None or not subject.equity > 0:
            return "the position's weight is not known without a price and a positive equity"
        weight = abs(after) * subject.price / subject.equity
        return (
            None if weight <= self.limit else f"the position would be {weight:.3f} of equity, the limit is {self.limit}"
        )


@dataclass(frozen=True, slots=True)
class LongOnlyUnlessAllowed:
    """Short positions need the policy's and the broker's consent."""

    allow_short: bool

    def validate(self, subject: Proposal) -> str | None:
        after = subject.position_after
        if after >= 0:
            return None
        if not self.allow_short:
            return f"the position would be {after}; the policy is long only"
        if subject.account is None or not subject.account.shorting_enabled:
            return f"the position would be {after}; the broker does not allow this account to short"
        return None


class ReduceOnly:
    """An account that may only reduce takes on nothing."""

    def validate(self, subject: Proposal) -> str | None:
        if subject.reduces_because is None or subject.added_exposure < 0:
            return None
        return f"the account may only reduce: {subject.reduces_because}"


class BuyingPower:
    """What takes on exposure is covered by what the broker still grants, earlier orders of the step included."""

    def validate(self, subject: Proposal) -> str | None:
        if subject.cost == 0:
            return None
        if subject.cost.is_nan() or subject.buying_power is None:
            return "the cost of the order and the buying power are not known"
        if subject.cost <= subject.buying_power:
            return None
        return f"the order costs about {subject.cost:.2f}, the buying power left is {subject.buying_power:.2f}"


def order_rules(policy: TradingPolicy, limits: Limits | None = None) -> tuple[Rule[Proposal], ...]:
    """An order that one of these refuses is recorded as refused, and this bar never gets another.

    `limits` are those of the configured file, None when there is none.
    """
    return (
        *ACCOUNT_RULES,
        ReduceOnly(),
        PriceSane(policy.price_tolerance),
        Quoted(),
        WithinTerms(),
        MaxOrderNotional(policy.max_order_notional),
        MaxPositionWeight(policy.max_position_weight),
        LongOnlyUnlessAllowed(policy.allow_short),
        BuyingPower(),
        *(() if limits is None else limit_rules(limits)),
    )


def cross_rules(policy: TradingPolicy, limits: Limits | None = None) -> tuple[Rule[Proposal], ...]:
    """Asked before a model takes over of another one's share what that wants to sell. The position stays as it is."""
    own = () if limits is None else share_rules(limits)
    return (*ACCOUNT_RULES, PriceSane(policy.price_tolerance), *own)
