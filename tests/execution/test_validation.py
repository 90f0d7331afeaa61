"""Every rule refuses what it is for, and refuses when it does not know."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from execution.brokers.base import AccountSnapshot, Mode, SymbolTerms
from execution.orders import Side
from execution.policy import TradingPolicy
from execution.validation.bars import BAR_RULES
from execution.validation.orders import order_rules
from execution.validation.rules import BarEvidence, Proposal, refusals

START = datetime(2012, 10, 1, 13, 30, tzinfo=UTC)
END = START + timedelta(hours=6.5)
ACCOUNT = AccountSnapshot("a-1", Decimal(100_000), Decimal(100_000), Decimal(100_000), shorting_enabled=False)

GOOD_BAR = BarEvidence(
    symbol="AAPL",
    mode=Mode.PAPER,
    now=END + timedelta(minutes=15),
    market_is_open=False,
    newest_close=END,
    next_open=START + timedelta(days=1),
    feature_bar_start=START,
    canonical_bar_start=START,
    bar_end=END,
    is_traded=True,
    is_ready=True,
    freshness_is_known=True,
    changed_features=(),
    model_state="paper",
    unpriced=(),
    account=ACCOUNT,
    halted_because=None,
    has_discrepancy=False,
    in_flight=(),
    may_arrive=(),
    clock_skew=timedelta(0),
    splits=(),
    closed_because="",
    unshared=Decimal(0),
)
GOOD_ORDER = Proposal(
    symbol="AAPL",
    side=Side.BUY,
    quantity=Decimal(100),
    price=Decimal(650),
    held=Decimal(0),
    equity=Decimal(100_000),
    buying_power=Decimal(100_000),
    account=ACCOUNT,
    halted_because=None,
    has_discrepancy=False,
    in_flight=(),
    reduces_because=None,
    clock_skew=timedelta(0),
    terms=SymbolTerms(
        step=Decimal("0.1"),
        min_quantity=Decimal("0.1"),
        max_quantity=Decimal(9000),
        min_notional=Decimal(5),
        max_notional=Decimal(5_000_000),
    ),
)
RULES = order_rules(TradingPolicy(max_order_notional=Decimal(80_000), max_position_weight=Decimal("0.9")))


def _refused_by(rules, subject) -> set[str]:
    return {refusal.rule for refusal in refusals(rules, subject)}


def test_a_good_bar_and_a_good_order_pass():
    assert refusals(BAR_RULES, GOOD_BAR) == ()
    assert refusals(RULES, GOOD_ORDER) == ()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"newest_close": END + timedelta(days=3)}, "BarIsFresh"),
        ({"now": END - timedelta(seconds=1)}, "BarIsFresh"),
        ({"canonical_bar_start": START + timedelta(days=1)}, "BarIsFresh"),
        ({"market_is_open": True}, "BeforeNextOpen"),
        ({"is_traded": False}, "SomebodyTraded"),
        ({"now": START + timedelta(days=1)}, "BeforeNextOpen"),
        ({"is_ready": False}, "FeatureRowReady"),
        ({"undefined_features": ("volume_change_1",)}, "FeatureRowReady"),
        ({"stale_from": START - timedelta(days=9), "stale_because": "rows landed behind its end"}, "HistoryFresh"),
        ({"freshness_is_known": False}, "HistoryFresh"),
        ({"changed_features": ("rsi_14",)}, "FingerprintsMatch"),
        ({"model_state": "candidate"}, "ModelMayTrade"),
        ({"model_state": "retired"}, "ModelMayTrade"),
        ({"mode": Mode.LIVE}, "ModelMayTrade"),
        ({"unpriced": ("GOOG",)}, "AccountCanBeValued"),
        ({"account": replace(ACCOUNT, blocked_because="trading is blocked")}, "AccountReady"),
        ({"halted_because": "a discrepancy"}, "NotHalted"),
        ({"has_discrepancy": True}, "Reconciled"),
        ({"in_flight": ("tb-2",)}, "NoOrderInFlight"),
        ({"may_arrive": ("tb-2",)}, "NoOrderMayArrive"),
        ({"closed_because": "the broker says that BTCUSDT is BREAK"}, "SymbolTrades"),
        ({"splits": ("AAPL splits 7 for 1 on 2012-10-02",)}, "NoSplitBeforeOpen"),
        ({"unshared": Decimal(30)}, "SharesAgree"),
        ({"clock_skew": timedelta(seconds=5.1)}, "ClocksAgree"),
        ({"clock_skew": timedelta(seconds=-5.1)}, "ClocksAgree"),
    ],
)
def test_a_bad_bar_is_refused_by_its_rule(changes, rule):
    assert _refused_by(BAR_RULES, replace(GOOD_BAR, **changes)) == {rule}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"account": replace(ACCOUNT, blocked_because="trading is blocked")}, "AccountReady"),
        ({"halted_because": "a discrepancy"}, "NotHalted"),
        ({"has_discrepancy": True}, "Reconciled"),
        ({"in_flight": ("tb-2",)}, "NoOrderInFlight"),
        ({"clock_skew": timedelta(hours=-1)}, "ClocksAgree"),
        ({"reduces_because": "lunch"}, "ReduceOnly"),
        ({"quantity": Decimal("10.05")}, "WithinTerms"),
        ({"terms": SymbolTerms(min_quantity=Decimal(101))}, "WithinTerms"),
        ({"terms": SymbolTerms(max_quantity=Decimal(99))}, "WithinTerms"),
        ({"terms": SymbolTerms(min_notional=Decimal(65_001))}, "WithinTerms"),
        ({"terms": SymbolTerms(max_notional=Decimal(64_999))}, "WithinTerms"),
        ({"price": Decimal(0)}, "PriceSane"),
        ({"broker_mark": Decimal(325)}, "PriceSane"),
        ({"states_prices": True}, "Quoted"),
        ({"quantity": Decimal(130), "equity": Decimal(200_000)}, "MaxOrderNotional"),
        ({"equity": Decimal(70_000)}, "MaxPositionWeight"),
        ({"side": Side.SELL}, "LongOnlyUnlessAllowed"),
        ({"buying_power": Decimal(64_999)}, "BuyingPower"),
    ],
)
def test_a_bad_order_is_refused_by_its_rule(changes, rule):
    assert _refused_by(RULES, replace(GOOD_ORDER, **changes)) == {rule}


@pytest.mark.parametrize(
    "name",
    [
        "newest_close",
        "next_open",
        "feature_bar_start",
        "bar_end",
        "is_traded",
        "is_ready",
        "changed_features",
        "model_state",
        "unpriced",
        "account",
        "has_discrepancy",
        "in_flight",
        "may_arrive",
        "clock_skew",
        "splits",
        "closed_because",
        "unshared",
    ],
)
def test_a_bar_that_is_not_known_well_enough_is_refused(name):
    assert refusals(BAR_RULES, replace(GOOD_BAR, **{name: None}))


@pytest.mark.parametrize(
    "name", ["price", "equity", "buying_power", "account", "has_discrepancy", "in_flight", "clock_skew", "terms"]
)
def test_an_order_into_an_unknown_state_is_refused(name):
    assert refusals(RULES, replace(GOOD_ORDER, **{name: None}))


AT_ONCE = replace(GOOD_BAR, next_open=END, market_is_open=True, window=timedelta(minutes=15))


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"now": END}, False),
        ({"now": END + timedelta(minutes=14, seconds=59)}, False),
        ({"now": END + timedelta(minutes=15)}, True),
        ({"now": END, "market_is_open": False}, True),
        ({"now": END, "window": None}, True),
    ],
)
def test_where_the_market_goes_on_a_bar_is_traded_at_once_or_not_at_all(changes, refused):
    assert (_refused_by(BAR_RULES, replace(AT_ONCE, **changes)) == {"BeforeNextOpen"}) is refused


def test_evidence_is_unknown_until_it_is_given():
    required = {"symbol": "AAPL", "mode": Mode.PAPER, "now": END, "market_is_open": False}
    nothing_known = BarEvidence(**required)
    assert {field.name for field in fields(BarEvidence)} > required.keys()
    assert _refused_by(BAR_RULES, nothing_known) == {type(rule).__name__ for rule in BAR_RULES}


def test_selling_out_is_allowed_where_buying_would_not_be():
    poor = replace(
        GOOD_ORDER, side=Side.SELL, held=Decimal(100), buying_power=Decimal(0), equity=Decimal(1), account=ACCOUNT
    )
    assert refusals(RULES, poor) == ()


@pytest.mark.parametrize(("side", "held"), [(Side.SELL, Decimal(200)), (Side.BUY, Decimal(-200))])
def test_what_closes_is_held_up_by_no_size_and_by_no_crash(side, held):
    closing = replace(GOOD_ORDER, side=side, held=held, quantity=abs(held))
    crash, relief = (Decimal(325), Decimal(1300)) if held > 0 else (Decimal(1300), Decimal(325))
    assert refusals(RULES, closing) == ()
    assert refusals(RULES, replace(closing, broker_mark=crash)) == ()
    assert _refused_by(RULES, replace(closing, broker_mark=relief)) == {"PriceSane"}
    # it does not turn around on the way
    turning = replace(closing, quantity=abs(held) + 1, broker_mark=crash)
    assert {"PriceSane", "MaxOrderNotional"} <= _refused_by(RULES, turning)


def test_a_short_needs_the_policy_and_the_broker():
    short = replace(GOOD_ORDER, side=Side.SELL)
    rules = order_rules(TradingPolicy(allow_short=True))
    assert _refused_by(rules, short) == {"LongOnlyUnlessAllowed"}
    assert refusals(rules, replace(short, account=replace(ACCOUNT, shorting_enabled=True))) == ()


def test_a_policy_refuses_limits_it_does_not_know():
    with pytest.raises(ValueError, match="max_leverage"):
        TradingPolicy(max_leverage=2)
