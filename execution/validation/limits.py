"""The rules of a file of limits, one small class each. What a rule needs and does not have is a reason to refuse."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from execution.limits import Cap, Limits
from execution.orders import Side
from execution.validation.rules import Proposal, Rule

ZERO = Decimal(0)
_UNKNOWN = "what the account has ordered and holds is not known"


@dataclass(frozen=True, slots=True)
class Mark:
    """The account's equity now, at its highest, and at the day's start (UTC, by the broker's clock)."""

    equity: Decimal
    peak: Decimal
    day_start: Decimal

    @property
    def drawdown(self) -> Decimal:
        """How far equity is below its peak, as a fraction of that."""
        return 1 - self.equity / self.peak if self.peak > 0 else Decimal(1)

    @property
    def daily_loss(self) -> Decimal:
        """How much of the day's first equity is lost."""
        return 1 - self.equity / self.day_start if self.day_start > 0 else Decimal(1)


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account has used of its limits. Orders are by model (None: none's) and symbol, exposures signed money.

    `notional` is of the day, `orders` of the last minute, `open_sides` of orders that may still fill. `exposures` hold
    what those make larger too, `shares` the same of what each model holds.
    """

    notional: Mapping[tuple[str | None, str], Decimal] = field(default_factory=dict)
    orders: Mapping[tuple[str | None, str], int] = field(default_factory=dict)
    open_sides: frozenset[tuple[str, Side]] = frozenset()
    exposures: Mapping[str, Decimal] = field(default_factory=dict)
    shares: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    mark: Mark | None = None

    def ordered(self, cap: Cap, model: str | None, symbol: str) -> Decimal:
        """The day's notional of whom a cap is for."""
        return sum((worth for key, worth in self.notional.items() if _is_of(cap, key, model, symbol)), ZERO)

    def counted(self, cap: Cap, model: str | None, symbol: str) -> int:
        """The last minute's orders of whom a cap is for."""
        return sum(count for key, count in self.orders.items() if _is_of(cap, key, model, symbol))

    def with_order(self, model: str | None, subject: Proposal) -> "Usage":
        """After one more order."""
        key, worth = (model, subject.symbol), subject.quantity * (subject.price or ZERO)
        return replace(
            self,
            notional={**self.notional, key: self.notional.get(key, ZERO) + worth},
            orders={**self.orders, key: self.orders.get(key, 0) + 1},
            open_sides=self.open_sides | {(subject.symbol, subject.side)},
            exposures={**self.exposures, subject.symbol: subject.position_after * (subject.price or ZERO)},
            shares=self._with_share(model, subject.symbol, subject.share_after * (subject.price or ZERO)),
        )

    def with_cross(self, seller: str, buyer: str, symbol: str, worth: Decimal) -> "Usage":
        """After something of this worth has passed from one model's share to another one's."""
        less = self._with_share(seller, symbol, self.shares.get((seller, symbol), ZERO) - worth)
        more = self._with_share(buyer, symbol, self.shares.get((buyer, symbol), ZERO) + worth)
        return replace(self, shares={**less, (buyer, symbol): more[buyer, symbol]})

    def without_order(
        self, model: str | None, symbol: str, side: Side, worth: Decimal, exposure: Decimal, share: Decimal
    ) -> "Usage":
        """Before an order that was written earlier, which does not hinder itself.

        `exposure` and `share`, the worth of its model's share, are without it.
        """
        key = (model, symbol)
        return replace(
            self,
            notional={**self.notional, key: self.notional.get(key, ZERO) - worth},
            open_sides=self.open_sides - {(symbol, side)},
            exposures={**self.exposures, symbol: exposure},
            shares=self._with_share(model, symbol, share),
        )

    def _with_share(self, model: str | None, symbol: str, worth: Decimal) -> dict[tuple[str, str], Decimal]:
        return {**self.shares} if model is None else {**self.shares, (model, symbol): worth}


def _is_of(cap: Cap, key: tuple[str | None, str], model: str | None, symbol: str) -> bool:
    kind = cap.of.partition(" ")[0]
    return kind == "account" or (kind == "model" and key[0] == model) or (kind == "symbol" and key[1] == symbol)


@dataclass(frozen=True, slots=True)
class _Limited:
    limits: Limits

    def _caps(self, name: str, subject: Proposal) -> tuple[Cap, ...]:
        # an account that is not known is refused by a rule of its own
        account = subject.account.account_id if subject.account else ""
        return self.limits.caps(name, account, subject.model_id, subject.symbol)


class OrderNotional(_Limited):
    """One order is worth no more than the limit, or makes a position smaller."""

    def validate(self, subject: Proposal) -> str | None:
        for cap in self._caps("order_notional", subject):
            if subject.only_reduces:
                return None
            if subject.price is None:
                return "the order's worth is not known without a price"
            if (worth := subject.quantity * subject.price) > cap.most:
                return f"the order is worth {worth:.2f}, the limit of {cap.of} is {cap.most}"
        return None


class DailyNotional(_Limited):
    """All orders of a day (UTC) together are worth no more than the limit, or this one makes a position smaller."""

    def validate(self, subject: Proposal) -> str | None:
        for cap in self._caps("daily_notional", subject):
            if subject.only_reduces:
                return None
            if subject.price is None or subject.usage is None:
                return _UNKNOWN
            worth = subject.quantity * subject.price
            worth += subject.usage.ordered(cap, subject.model_id, subject.symbol)
            if worth > cap.most:
                return f"the day's orders would be worth {worth:.2f}, the limit of {cap.of} is {cap.most}"
        return None


class Position(_Limited):
    """The position after the order is within the limit, or the order makes it smaller; a model's is its share."""

    def validate(self, subject: Proposal) -> str | None:
        for cap in self._caps("position", subject):
            before, after = subject.position_before, subject.position_after
            if cap.is_of_model:
                before, after = subject.share_before, subject.share_after
            if abs(after) <= abs(before) and after * before >= 0:
                continue
            if subject.price is None or subject.equity is None or subject.equity <= 0:
                return "the position's weight is not known without a price and a positive equity"
            weight = abs(after) * subject.price / subject.equity
            if weight > cap.most:
                return f"the position would be {weight:.3f} of equity, the limit of {cap.of} is {cap.most}"
        return None


class GrossExposure(_Limited):
    """Long and short positions, added up, are within the limit after the order, or become less by it."""

    def validate(self, subject: Proposal) -> str | None:
        for cap in self._caps("gross_exposure", subject):
            if (refused := _exposure(subject, cap, gross=True)) is not None:
                return refused
        return None


class NetExposure(_Limited):
    """Long less short positions are within the limit after the order, or come nearer to zero by it."""

    def validate(self, subject: Proposal) -> str | None:
        for cap in self._caps("net_exposure", subject):
            if (refused := _exposure(subject, cap, gross=False)) is not None:
                return refused
        return None


class GroupExposure(_Limited):
    """The positions in a group of symbols, long and short added up, are within its limit, or become less."""

    def validate(self, subject: Proposal) -> str | None:
        for group in self.limits.groups:
            if subject.symbol in group.symbols:
                cap = Cap(f"group {group.name}", group.exposure)
                if (refused := _exposure(subject, cap, gross=True, among=group.symbols)) is not None:
                    return refused
        return None


def _exposure(subject: Proposal, cap: Cap, *, gross: bool, among: frozenset[str] | None = None) -> str | None:
    usage, equity = subject.usage, subject.equity
    if usage is None or subject.price is None or equity is None or equity <= 0:
        return "the exposure is not known without what is held, a price and a positive equity"
    if cap.is_of_model:
        before = {symbol: worth for (model, symbol), worth in usage.shares.items() if model == subject.model_id}
        after = {**before, subject.symbol: subject.share_after * subject.price}
    else:
        before = {symbol: worth for symbol, worth in usage.exposures.items() if among is None or symbol in among}
        after = {**before, subject.symbol: subject.position_after * subject.price}
    then, now = (_sum(worths.values(), gross=gross) for worths in (after, before))
    if then <= cap.most * equity or then < now:
        return None
    if subject.is_crossed and not cap.is_of_model:
        # what passes between two models leaves the positions as they are
        return None
    kind = "gross" if gross else "net"
    return f"the {kind} exposure would be {then / equity:.3f} of equity, the limit of {cap.of} is {cap.most}"


def _sum(worths: Iterable[Decimal], *, gross: bool) -> Decimal:
    return sum(map(abs, worths), ZERO) if gross else abs(sum(worths, ZERO))


class DailyLoss(_Limited):
    """An account that lost this much of the day's first equity takes on nothing more that day (UTC)."""

    def validate(self, subject: Proposal) -> str | None:
        for cap in self._caps("daily_loss", subject):
            if subject.added_exposure <= 0:
                return None
            if subject.usage is None or (mark := subject.usage.mark) is None:
                return "the day's loss is not known"
            if mark.daily_loss >= cap.most:
                return f"the day's loss is {mark.daily_loss:.4f} of equity, the limit of {cap.of} is {cap.most}"
        return None


class Drawdown(_Limited):
    """An account that fell this far below its peak orders nothing; it is halted besides."""

    def validate(self, subject: Proposal) -> str | None:
        for cap in self._caps("drawdown", subject):
            if subject.usage is None or (mark := subject.usage.mark) is None:
                return "how far equity is below its peak is not known"
            if mark.drawdown >= cap.most:
                return f"equity is {mark.drawdown:.4f} below its peak, the limit of {cap.of} is {cap.most}"
        return None


class SelfCross(_Limited):
    """No order of ours on the other side of the symbol may still fill: it would trade with ourselves."""

    def validate(self, subject: Proposal) -> str | None:
        if self.limits.allows_self_cross:
            return None
        if subject.usage is None:
            return _UNKNOWN
        other = Side.SELL if subject.side is Side.BUY else Side.BUY
        if (subject.symbol, other) in subject.usage.open_sides:
            return f"an order of ours to {other} {subject.symbol} may still fill, and would trade with this one"
        return None


class InstrumentQuantity(_Limited):
    """Orders of the symbol are of at least and at most so many units; what closes a model's share may be smaller."""

    def validate(self, subject: Proposal) -> str | None:
        least = self.limits.symbol.get("min_quantity", subject.symbol)
        most = self.limits.symbol.get("max_quantity", subject.symbol)
        if least is not None and subject.quantity < least and subject.share_after != 0:
            return f"the order is for {subject.quantity}, the limit of symbol {subject.symbol} is {least} or more"
        if most is not None and subject.quantity > most:
            return f"the order is for {subject.quantity}, the limit of symbol {subject.symbol} is {most}"
        return None


def postponed(limits: Limits, usage: Usage | None, account_id: str, model: str, symbol: str) -> str | None:
    """In words, why a bar waits because of the orders of the last minute; None when it need not.

    It is decided once the minute is over, and refused by nothing but its own lateness.
    """
    for cap in limits.caps("orders_a_minute", account_id, model, symbol):
        if usage is None:
            return _UNKNOWN
        if (count := usage.counted(cap, model, symbol)) >= cap.most:
            return f"{count} orders were written in the last minute, the limit of {cap.of} is {cap.most}"
    return None


def limit_rules(limits: Limits) -> tuple[Rule[Proposal], ...]:
    """All rules of a file of limits."""
    return (
        OrderNotional(limits),
        DailyNotional(limits),
        Position(limits),
        GrossExposure(limits),
        NetExposure(limits),
        GroupExposure(limits),
        DailyLoss(limits),
        Drawdown(limits),
        SelfCross(limits),
        InstrumentQuantity(limits),
    )


def share_rules(limits: Limits) -> tuple[Rule[Proposal], ...]:
    """Those that what is crossed is asked too: it makes a model's share larger, and the position not."""
    return (Position(limits), GrossExposure(limits), NetExposure(limits), Drawdown(limits))
