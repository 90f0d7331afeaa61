"""What must be proven before a bar is decided and before an order is sent: one small class per rule.

A rule answers with the reason of its refusal or with None, and what it needs and does not have is a reason. All rules
are asked, so that the operator sees every obstacle at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Generic, Protocol, TypeVar

from execution.brokers.base import AccountSnapshot, Mode
from execution.orders import Side
from execution.policy import TradingPolicy

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
    feature_bar_start: datetime | None = None
    canonical_bar_start: datetime | None = None
    bar_end: datetime | None = None
    is_ready: bool | None = None
    freshness_is_known: bool = False
    stale_from: datetime | None = None
    changed_features: tuple[str, ...] | None = None
    model_state: str | None = None
    unpriced: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """An order that a decision leads to, with the state of the account it would be sent into. None is "not known"."""

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

    @property
    def position_after(self) -> Decimal:
        return self.held + self.side.sign * self.quantity

    @property
    def added_exposure(self) -> Decimal:
        """Units by which the order moves the position away from zero; not positive when it reduces."""
        return abs(self.position_after) - abs(self.held)

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


class Rule(Protocol, Generic[Subject]):
    def validate(self, subject: Subject) -> str | None:
        """The reason to refuse, or None."""


def refusals(rules: Iterable[Rule[Subject]], subject: Subject) -> tuple[Refusal, ...]:
    """Ask every rule. An empty answer, and nothing else, is an approval."""
    answers = ((type(rule).__name__, rule.validate(subject)) for rule in rules)
    return tuple(Refusal(name, reason) for name, reason in answers if reason is not None)


class BarIsFresh:
    """The decided bar is the newest session that has closed by the broker's clock."""

    def validate(self, subject: BarEvidence) -> str | None:
        if subject.feature_bar_start is None:
            return f"{subject.symbol} has no feature row"
        if subject.feature_bar_start != subject.canonical_bar_start or subject.bar_end is None:
            return f"the newest feature row ({subject.feature_bar_start:%F}) is not of the newest canonical bar"
        if subject.newest_close is None:
            return "the trading calendar does not reach the broker's time"
        if subject.bar_end > subject.now:
            return f"the bar ends {subject.bar_end:%F %R}, after the broker's time {subject.now:%F %R}"
        if subject.bar_end != subject.newest_close:
            return f"the newest bar ended {subject.bar_end:%F %R}, the newest session {subject.newest_close:%F %R} UTC"
        return None


class BeforeNextOpen:
    """The decision can still be traded where the backtest traded it: at the next open."""

    def validate(self, subject: BarEvidence) -> str | None:
        if subject.next_open is None:
            return "the trading calendar does not know the next open"
        if subject.market_is_open or subject.now >= subject.next_open:
            return f"the open of {subject.next_open:%F %R} UTC that this bar decides for has passed"
        return None


class FeatureRowReady:
    """Warm-up is done and the lookback has no open gap."""

    def validate(self, subject: BarEvidence) -> str | None:
        return None if subject.is_ready is True else "the feature row is not ready (warm-up, or a gap in its lookback)"


class HistoryFresh:
    """No late or revised bar waits behind the watermark for the next build."""

    def validate(self, subject: BarEvidence) -> str | None:
        if not subject.freshness_is_known:
            return "features.freshness has no row for this symbol: its features were never built"
        if subject.stale_from is not None:
            return f"history is stale from {subject.stale_from:%F} on: run `dbt build`"
        return None


class FingerprintsMatch:
    """Every feature is computed by the SQL the model was trained on."""

    def validate(self, subject: BarEvidence) -> str | None:
        if subject.changed_features is None:
            return "features.catalog could not be compared with the model"
        if subject.changed_features:
            return f"the SQL of {', '.join(subject.changed_features)} changed since the model was trained"
        return None


class ModelMayTrade:
    """A paper account takes models in state paper or live, a live account takes live ones."""

    def validate(self, subject: BarEvidence) -> str | None:
        allowed = ("live",) if subject.mode is Mode.LIVE else ("paper", "live")
        if subject.model_state in allowed:
            return None
        state = subject.model_state or "not registered"
        return f"the model is {state}; a {subject.mode} account needs {' or '.join(allowed)}"


class AccountCanBeValued:
    """Every position held has a price, so that a weight means an amount."""

    def validate(self, subject: BarEvidence) -> str | None:
        if subject.unpriced is None:
            return "the account's positions are not known"
        return (
            f"no closing price of {', '.join(subject.unpriced)}, which the account holds" if subject.unpriced else None
        )


class AccountReady:
    """The broker knows the account and would take orders for it."""

    def validate(self, subject: Proposal) -> str | None:
        if subject.account is None:
            return "the broker's account is not known"
        return subject.account.blocked_because or None


class NotHalted:
    """Nobody and nothing has halted the account."""

    def validate(self, subject: Proposal) -> str | None:
        return None if subject.halted_because is None else f"the account is halted: {subject.halted_because}"


class Reconciled:
    """The newest reconciliation left no open discrepancy."""

    def validate(self, subject: Proposal) -> str | None:
        if subject.has_discrepancy is None:
            return "the account was not reconciled since the session started"
        return "the newest reconciliation found a discrepancy" if subject.has_discrepancy else None


class NoOrderInFlight:
    """No other order of this symbol is open or unresolved."""

    def validate(self, subject: Proposal) -> str | None:
        if subject.in_flight is None:
            return "the orders in flight are not known"
        return f"order {subject.in_flight[0]} of {subject.symbol} is in flight" if subject.in_flight else None


@dataclass(frozen=True, slots=True)
class PriceSane:
    """The reference price is positive and near the broker's own mark, where it has one (a split shows here)."""

    tolerance: Decimal

    def validate(self, subject: Proposal) -> str | None:
        price, mark = subject.price, subject.broker_mark
        if price is None or not price.is_finite() or price <= 0:
            return f"the reference price is {price}"
        if mark is not None and not abs(mark - price) <= self.tolerance * price:
            return f"the bar closed at {price}, the broker marks {subject.symbol} at {mark}"
        return None


@dataclass(frozen=True, slots=True)
class MaxOrderNotional:
    """The order is worth no more than the limit."""

    limit: Decimal

    def validate(self, subject: Proposal) -> str | None:
        if subject.price is None:
            return "the order's worth is not known without a price"
        worth = subject.quantity * subject.price
        return None if worth <= self.limit else f"the order is worth {worth:.2f}, the limit is {self.limit:.2f}"


@dataclass(frozen=True, slots=True)
class MaxPositionWeight:
    """The position after the order is within the limit, or the order makes it smaller."""

    limit: Decimal

    def validate(self, subject: Proposal) -> str | None:
        after = subject.position_after
        if after * subject.held >= 0 and abs(after) < abs(subject.held):
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


BAR_RULES: tuple[Rule[BarEvidence], ...] = (
    BarIsFresh(),
    BeforeNextOpen(),
    FeatureRowReady(),
    HistoryFresh(),
    FingerprintsMatch(),
    ModelMayTrade(),
    AccountCanBeValued(),
)
"""A bar that one of these refuses is not decided; it may be decided later, once the obstacle is gone."""


def order_rules(policy: TradingPolicy) -> tuple[Rule[Proposal], ...]:
    """An order that one of these refuses is recorded as refused, and this bar never gets another."""
    return (
        AccountReady(),
        NotHalted(),
        Reconciled(),
        NoOrderInFlight(),
        PriceSane(policy.price_tolerance),
        MaxOrderNotional(policy.max_order_notional),
        MaxPositionWeight(policy.max_position_weight),
        LongOnlyUnlessAllowed(policy.allow_short),
        BuyingPower(),
    )
