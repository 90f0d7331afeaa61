"""What must be proven before a bar is decided."""

from execution.brokers.base import Mode
from execution.timing import SessionTimes
from execution.validation.account import ACCOUNT_RULES, NoOrderMayArrive
from execution.validation.rules import BarEvidence, MaySplit, Rule


class BarIsFresh:
    """The decided bar is the newest one that has ended by the broker's clock."""

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
    """The decision can still be traded where the backtest traded it: at the next open, or at once."""

    def validate(self, subject: BarEvidence) -> str | None:
        times = SessionTimes(subject.newest_close, subject.next_open, window=subject.window)
        return times.late_because(subject.now, subject.market_is_open)


class SymbolTrades:
    """The broker takes orders for the symbol now."""

    def validate(self, subject: BarEvidence) -> str | None:
        if subject.closed_because is None:
            return "whether the broker trades it is not known"
        return subject.closed_because or None


class SomebodyTraded:
    """The bar has trades: a backtest decides no other, and what it says of exits stays as it was."""

    def validate(self, subject: BarEvidence) -> str | None:
        if subject.is_traded is None:
            return "whether anybody traded in the bar is not known"
        return None if subject.is_traded else "nobody traded in it"


class FeatureRowReady:
    """Warm-up is done, the lookback has no open gap, and every feature that the model uses has a value."""

    def validate(self, subject: BarEvidence) -> str | None:
        if subject.is_ready is not True:
            return "the feature row is not ready (warm-up, or a gap in its lookback)"
        if subject.undefined_features:
            return f"{', '.join(subject.undefined_features)} of {subject.feature_bar_start:%F %R} UTC has no value"
        return None


class HistoryFresh:
    """No late or revised bar waits behind the watermark for the next build, and every bar could be computed."""

    def validate(self, subject: BarEvidence) -> str | None:
        if not subject.freshness_is_known:
            return "features.freshness has no row for this symbol: its features were never built"
        if subject.stale_from is not None:
            return f"history is stale from {subject.stale_from:%F} on: {subject.stale_because}"
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


class SharesAgree:
    """The shares of a position that several models hold add up to it: none steers by what another one has traded."""

    def validate(self, subject: BarEvidence) -> str | None:
        if subject.unshared is None:
            return "how much of the position each model holds is not known"
        if not subject.unshared:
            return None
        return f"the position of {subject.symbol} is {subject.unshared:f} apart from what the models hold: it may lag"


class NoSplitBeforeOpen:
    """What is sized in the bar's shares trades in the same shares."""

    def validate(self, subject: MaySplit) -> str | None:
        if subject.splits is None:
            return "the splits that are announced are not known"
        if not subject.splits:
            return None
        return f"{'; '.join(subject.splits)}: an order sized before it would trade in other shares"


BAR_RULES: tuple[Rule[BarEvidence], ...] = (
    BarIsFresh(),
    BeforeNextOpen(),
    SymbolTrades(),
    SomebodyTraded(),
    FeatureRowReady(),
    HistoryFresh(),
    FingerprintsMatch(),
    ModelMayTrade(),
    AccountCanBeValued(),
    *ACCOUNT_RULES,
    NoOrderMayArrive(),
    NoSplitBeforeOpen(),
    SharesAgree(),
)
"""A bar that one of these refuses is not decided; it may be decided later, once the obstacle is gone."""
