"""Several models on one symbol: each share comes to its target, and the account never trades with itself."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.brokers.base import AccountSnapshot, BrokerClock, BrokerPosition, Mode, SymbolTerms
from execution.limits import Limits, Section
from execution.market_view import Bar, FeatureRow, MarketView
from execution.orders import Order, OrderStatus, Side
from execution.planning import Plan, plan
from execution.policy import TradingPolicy
from execution.records import OpenOrder
from execution.situation import Situation
from execution.sizing import target_quantity
from execution.timing import SessionTimes
from execution.validation.limits import Mark, Usage
from execution.withdrawals import Standing
from tests.execution.world import SignalPackage

D = Decimal
START, DAY = datetime(2012, 10, 1, 13, 30, tzinfo=UTC), timedelta(days=1)
PRICE, EQUITY = D(10), D(1_000_000)
POLICY = TradingPolicy(rebalance_band=D(0), cash_buffer=D(0))
MODELS = tuple(SignalPackage(model_id=name, symbols=("X",)) for name in ("a", "b", "c"))


class Account:
    """One symbol, the shares of three models in it, and the orders that are open."""

    def __init__(self, shares: dict[str | None, Decimal], terms: SymbolTerms) -> None:
        self.shares = shares
        self.terms = terms
        self.open: list[OpenOrder] = []
        self.bar = 0

    @property
    def held(self) -> Decimal:
        return sum(self.shares.values(), D(0))

    def situation(self, weights: Sequence[float], *, position: Decimal | None = None) -> Situation:
        """At the close of a bar at which the models want these weights of the symbol."""
        held = self.held if position is None else position
        now = START + self.bar * DAY + timedelta(hours=7)
        end = now - timedelta(minutes=30)
        cash = EQUITY - held * PRICE
        account = AccountSnapshot("acc", cash, EQUITY, D(10) * EQUITY, shorting_enabled=False)
        rows = {
            (model.model_id, "X"): FeatureRow("X", START + self.bar * DAY, is_ready=True, values=(weight, 0.0))
            for model, weight in zip(MODELS, weights, strict=True)
        }
        market = MarketView(
            sessions={"X": SessionTimes(end, START + (self.bar + 1) * DAY)},
            bars={"X": Bar(START + self.bar * DAY, end, PRICE)},
            stale={"X": (None, None)},
            rows=rows,
            changed={model.model_id: () for model in MODELS},
            states={model.model_id: "paper" for model in MODELS},
            splits={},
        )
        clock = BrokerClock(now, is_open=False, next_open=now + DAY, next_close=now + 2 * DAY, skew=timedelta(0))
        positions = {"X": BrokerPosition("X", held, PRICE)} if held else {}
        return Situation(
            Mode.PAPER, clock, account, positions, market, tuple(self.open), Standing(), has_discrepancy=False,
            terms={"X": self.terms}, shares={"X": dict(self.shares)},
        )  # fmt: skip

    def plan(self, situation: Situation) -> Plan:
        third = dict.fromkeys((model.model_id for model in MODELS), D(1) / 3)
        return plan("acc", MODELS, third, POLICY, situation, {})

    def take(self, planned: Plan) -> None:
        """What the ledger books of it, and that its orders are sent."""
        models = {decision.decision_id: decision.model_id for decision in planned.decisions}
        for cross in planned.crosses:
            seller = None if cross.seller_decision_id is None else models[cross.seller_decision_id]
            assert seller is None or 0 < cross.quantity <= self.shares.get(seller, D(0))
            self._move(seller, -cross.quantity)
            self._move(models[cross.buyer_decision_id], cross.quantity)
        now = START + self.bar * DAY + timedelta(hours=7)
        for intent in planned.intents:
            if intent.is_approved:
                order = Order(intent.client_order_id, "X", intent.side, intent.quantity, OrderStatus.ACCEPTED)
                model = models[intent.decision_id or ""]
                self.open.append(OpenOrder(order, model, START, now, now, PRICE, D(0)))

    def fill(self, fractions: Sequence[Decimal]) -> None:
        """Of each open order this part fills; what has filled whole is open no more."""
        for number, entry in enumerate(tuple(self.open)):
            left = entry.order.quantity - entry.filled
            part = (left * fractions[number % len(fractions)]).quantize(D("0.0001"), ROUND_DOWN)
            filled = self.terms.whole(part) if left > 1 else left
            self._move(entry.model_id, entry.order.side.sign * filled)
            self.open.remove(entry)
            if filled < left:
                self.open.append(replace(entry, filled=entry.filled + filled))

    def _move(self, model: str | None, units: Decimal) -> None:
        self.shares[model] = self.shares.get(model, D(0)) + units


WEIGHTS = st.tuples(*[st.sampled_from((0.0, 0.0, 0.2, 0.35, 0.9, 1.0))] * 3)
UNITS = st.one_of(st.integers(0, 30_000).map(D), st.decimals("0", "9000", places=4))
SHARES = st.fixed_dictionaries(dict.fromkeys((None, "a", "b", "c"), UNITS))
TERMS = st.sampled_from((SymbolTerms(), SymbolTerms(step=D("0.01"), min_quantity=D("0.01"))))


@settings(max_examples=150, deadline=None)
@given(shares=SHARES, terms=TERMS, weights=WEIGHTS)
def test_orders_and_crosses_bring_each_share_to_its_target(shares, terms, weights):
    account = Account(dict(shares), terms)
    before = account.held
    planned = account.plan(account.situation(weights))
    assert planned.refused == ()
    account.take(planned)
    assert account.held == before
    assert account.shares[None] == 0, "what nobody held has a model now"
    assert min(account.shares.values()) >= 0
    assert len({entry.order.side for entry in account.open}) <= 1, "the account would trade with itself"
    sold = sum((entry.order.quantity for entry in account.open if entry.order.side is Side.SELL), D(0))
    assert sold <= account.held
    account.fill([D(1)])
    step = terms.step or POLICY.quantity_step
    for model, weight in zip(MODELS, weights, strict=True):
        target = target_quantity(weight, EQUITY / 3, PRICE, step)
        # what is left of fractions is wanted again at the next bar, and dust is not sold
        assert abs(account.shares[model.model_id] - target) < 2 * step


@settings(max_examples=150, deadline=None)
@given(
    shares=SHARES,
    terms=TERMS,
    bars=st.lists(
        st.tuples(WEIGHTS, st.lists(st.sampled_from((D(0), D("0.3"), D(1))), min_size=1, max_size=3)), max_size=6
    ),
)
def test_whatever_is_in_flight_nothing_is_oversold_and_no_two_orders_oppose(shares, terms, bars):
    account = Account(dict(shares), terms)
    for weights, fractions in bars:
        for _ in range(2):
            planned = account.plan(account.situation(weights))
            account.take(planned)
            assert len({entry.order.side for entry in account.open}) <= 1, "the account would trade with itself"
            models = [entry.model_id for entry in account.open]
            assert len(models) == len(set(models)), "a model has one order in flight"
            for entry in account.open:
                if entry.order.side is Side.SELL:
                    assert entry.order.quantity - entry.filled <= account.shares[entry.model_id]
            account.fill(fractions)
            assert min(account.shares.values()) >= 0
        account.bar += 1


def test_what_opposes_crosses_and_the_rest_is_ordered():
    account = Account({"a": D(30_000), "b": D(0), "c": D(0)}, SymbolTerms())
    planned = account.plan(account.situation((0.0, 1.0, 0.2)))
    assert [(cross.quantity, cross.price) for cross in planned.crosses] == [(D(30_000), PRICE)]
    assert [(one.side, one.quantity) for one in planned.intents] == [(Side.BUY, D(3_333)), (Side.BUY, D(6_666))]
    sizing = planned.intents[0].sizing or {}
    assert (sizing["held"], sizing["crossed"], sizing["wanted"]) == ("0", "30000", "3333")


@pytest.mark.parametrize("most", [SymbolTerms(max_quantity=D(5_000)), SymbolTerms(step=D(1), max_quantity=D(5_000))])
def test_what_one_order_may_be_for_bounds_no_crossing(most):
    """Otherwise a target whose drift is let run would count as traded though a part alone had passed."""
    account = Account({"a": D(30_000), "b": D(0), "c": D(0)}, most)
    planned = account.plan(account.situation((0.0, 0.6, 0.0)))
    assert [cross.quantity for cross in planned.crosses] == [D(19_999)]
    assert [(one.side, one.quantity) for one in planned.intents] == [(Side.SELL, D(5_000))]


def test_a_rest_that_is_less_than_an_order_may_be_is_no_order():
    """Nothing that a model wanted was refused: without this each near-equal pair of wishes ended as a refusal."""
    terms = SymbolTerms(step=D("0.01"), min_quantity=D("0.01"), min_notional=D(10))
    account = Account({"a": D("20000.5"), "b": D(0), "c": D(0)}, terms)
    planned = account.plan(account.situation((0.0, 0.6, 0.0)))
    assert [cross.quantity for cross in planned.crosses] == [D("19999.99")]
    assert planned.intents == ()


def test_a_rest_below_the_least_of_the_limits_is_no_order_either():
    account = Account({"a": D(15_000), "b": D(0), "c": D(0)}, SymbolTerms())
    situation = account.situation((0.0, 0.6, 0.0))
    planned = account.plan(replace(situation, limits=Limits(symbol=Section({"min_quantity": D(5_000)})), usage=Usage()))
    assert [cross.quantity for cross in planned.crosses] == [D(15_000)]
    assert planned.intents == ()


def test_what_a_fraction_leaves_over_is_nothing_that_was_not_bought():
    """A target whose drift is let run counts as traded to only where the order was for all that was wanted."""
    account = Account({"a": D("100.4"), "b": D(0), "c": D(0)}, SymbolTerms())
    planned = account.plan(account.situation((0.0, 0.6, 0.0)))
    [intent] = planned.intents
    assert (intent.quantity, (intent.sizing or {})["wanted"]) == (D(19_898), "19898")


def test_a_fraction_that_is_short_is_bought_back_whole():
    account = Account({"a": D("-10.5")}, SymbolTerms())
    situation = account.situation((0.0, 0.0, 0.0))
    short = SignalPackage(model_id="a", symbols=("X",))
    [intent] = plan("acc", [short], {"a": D(1)}, POLICY, situation, {}).intents
    assert (intent.side, intent.quantity) == (Side.BUY, D("10.5"))


def test_what_passes_is_refused_by_no_exposure_of_the_account():
    """Positions have drifted beyond the limit: what passes between two models makes them no larger."""
    account = Account({"a": D(60_000), "b": D(0), "c": D(0)}, SymbolTerms())
    situation = account.situation((0.0, 1.0, 0.0))
    limits = Limits(account=Section({"gross_exposure": D("0.5"), "net_exposure": D("0.5")}))
    usage = Usage(exposures=situation.exposures(), mark=Mark(EQUITY, EQUITY, EQUITY))
    planned = account.plan(replace(situation, limits=limits, usage=usage))
    assert [cross.quantity for cross in planned.crosses] == [D(33_333)]
    assert [(intent.side, intent.is_approved) for intent in planned.intents] == [(Side.SELL, True)]


def test_an_opposite_wish_waits_for_the_order_in_flight():
    account = Account({"a": D(30_000), "b": D(0), "c": D(0)}, SymbolTerms())
    only_a = account.situation((0.0, 0.0, 0.0))
    account.take(account.plan(only_a))
    [order] = account.open
    planned = account.plan(account.situation((0.0, 1.0, 0.0)))
    assert planned.intents == planned.crosses == ()
    assert {bar.model_id: bar.reasons[0].split(":")[0] for bar in planned.refused} == {
        "a": "NoOrderInFlight",
        "b": "NoOrderInFlight",
    }
    assert order.order.client_order_id in planned.refused[1].reasons[0]
    account.fill([D(1)])
    assert [one.side for one in account.plan(account.situation((0.0, 1.0, 0.0))).intents] == [Side.BUY]


def test_whose_shares_do_not_add_up_to_the_position_waits():
    account = Account({"a": D(0), "b": D(500), "c": D(0)}, SymbolTerms())
    planned = account.plan(account.situation((0.2, 0.2, 0.2), position=D(900)))
    assert planned.decisions == ()
    assert {bar.reasons[0] for bar in planned.refused} == {
        "SharesAgree: the position of X is 400 apart from what the models hold: it may lag"
    }


@pytest.mark.parametrize("shares", [{}, {None: D(450)}])
def test_what_several_may_steer_waits_for_the_ledger_though_none_holds_it(shares):
    """Each would take all of the position for its own, and sell it: three times what there is."""
    account = Account(dict(shares), SymbolTerms())
    planned = account.plan(account.situation((0.0, 0.0, 0.0), position=D(900)))
    assert planned.intents == planned.crosses == ()
    assert [bar.reasons[0].split(":")[0] for bar in planned.refused] == ["SharesAgree"] * 3


def test_what_no_model_holds_is_not_sold_twice():
    """One that was alone sells it; before that is filled, another model comes beside it."""
    account = Account({None: D(500)}, SymbolTerms())
    situation = account.situation((0.0, 0.0, 0.0))
    account.take(plan("acc", MODELS[:1], {"a": D(1)}, POLICY, situation, {}))
    [order] = account.open
    assert (order.order.side, order.order.quantity) == (Side.SELL, D(500))
    halves, decided = dict.fromkeys("ab", D(1) / 2), {("a", "X"): (1, False)}
    planned = plan("acc", MODELS[:2], halves, POLICY, account.situation((0.0, 0.0, 0.0)), decided)
    assert planned.intents == planned.crosses == ()
    assert planned.refused[0].reasons[0].startswith("NoOrderInFlight")


def test_a_buyer_beyond_its_limit_takes_nothing_over_and_the_seller_sells():
    account = Account({"a": D(30_000), "b": D(0), "c": D(0)}, SymbolTerms())
    situation = account.situation((0.0, 1.0, 0.0))
    limits = Limits(model=Section({}, {"b": {"position": D("0.1")}}))
    usage = Usage(exposures=situation.exposures(), mark=Mark(EQUITY, EQUITY, EQUITY))
    planned = account.plan(replace(situation, limits=limits, usage=usage))
    assert planned.crosses == ()
    sale, purchase = planned.intents
    assert (sale.side, sale.quantity, sale.is_approved) == (Side.SELL, D(30_000), True)
    assert purchase.refusals == ("Position: the position would be 0.300 of equity, the limit of model b is 0.1",)


def test_two_purchases_of_one_bar_are_one_position():
    """Each alone is within the limit of the symbol, and both together are beyond it."""
    account = Account({"a": D(0), "b": D(0), "c": D(0)}, SymbolTerms())
    situation = account.situation((0.9, 0.9, 0.0))
    limits = Limits(symbol=Section({"position": D("0.5")}))
    usage = Usage(exposures={}, mark=Mark(EQUITY, EQUITY, EQUITY))
    planned = account.plan(replace(situation, limits=limits, usage=usage))
    assert [intent.is_approved for intent in planned.intents] == [True, False]
    account.take(planned)
    account.bar += 1
    # the same where the first is in flight
    later = account.plan(replace(account.situation((0.9, 0.9, 0.0)), limits=limits, usage=usage))
    assert [intent.refusals[0].split(":")[0] for intent in later.intents] == ["Position"]


@pytest.mark.parametrize("nobodys", [D(7_000), D("-7000")])
def test_what_no_model_holds_is_taken_up_once(nobodys):
    account = Account({None: nobodys, "a": D(0), "b": D(0), "c": D(0)}, SymbolTerms())
    planned = account.plan(account.situation((0.2, 0.2, 0.0)))
    [cross] = [cross for cross in planned.crosses if cross.seller_decision_id is None]
    assert cross.quantity == nobodys
    account.take(planned)
    assert account.shares[None] == 0
