"""Limits: a file with a mistake is told with its line, every rule refuses what it is for, and every verdict is kept."""

from dataclasses import replace
from decimal import Decimal

import pytest

from execution.limits import Group, Limits, Section, configured, in_force, in_words, read
from execution.orders import Side
from execution.policy import TradingPolicy
from execution.validation.limits import Mark, Usage, limit_rules, postponed
from execution.validation.orders import cross_rules, order_rules
from execution.validation.rules import refusals
from tests.execution.test_validation import GOOD_ORDER
from tests.execution.world import trading_days
from warehouse.errors import Stop

DAYS = trading_days()
D = Decimal

WHOLE = """
account:
  order_notional: 50_000
  gross_exposure: 1.5
  drawdown: 0.2
  self_cross: allow
  on_retirement: close
  overrides:
    PA1: {drawdown: 0.1}
model:
  order_notional: 1e4
  overrides:
    odd-1: {order_notional: 500}
symbol:
  overrides:
    BTCUSDT: {min_quantity: 0.001, max_quantity: 0.5}
groups:
  tech: {symbols: [AAPL, MSFT], exposure: 0.4}
"""


def _file(tmp_path, text: str):
    path = tmp_path / "limits.yaml"
    path.write_text(text)
    return path


def test_a_file_is_read_exactly(tmp_path):
    found = read(_file(tmp_path, WHOLE))
    assert found.allows_self_cross
    assert found.closes_retired
    assert not read(_file(tmp_path, "account: {on_retirement: hand_over}")).closes_retired
    assert found.groups == (Group("tech", frozenset({"AAPL", "MSFT"}), D("0.4")),)
    assert [(cap.of, cap.most) for cap in found.caps("order_notional", "PA1", "odd-1", "AAPL")] == [
        ("account PA1", D(50_000)),
        ("model odd-1", D(500)),
    ]
    assert [cap.most for cap in found.caps("order_notional", "PA1", "even-1", "AAPL")] == [D(50_000), D(10_000)]
    assert found.account.get("drawdown", "PA1") == D("0.1")
    assert found.account.get("drawdown", "PA2") == D("0.2")
    assert found.symbol.get("min_quantity", "BTCUSDT") == D("0.001")
    assert found.symbol.get("min_quantity", "ETHUSDT") is None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("account:\n  order_notionl: 5", 2, "account knows no order_notionl: did you mean order_notional?"),
        ("acount:\n  drawdown: 0.2", 1, "limits knows no acount: did you mean account?"),
        ("account:\n  drawdown: 0.2\n  drawdown: 0.1", 3, "drawdown is there twice in account"),
        ("account: {}\naccount: {}", 2, "account is there twice in limits"),
        ("model:\n  drawdown: 0.1", 2, "model knows no drawdown"),
        ("symbol:\n  overrides:\n    AAPL: {gross_exposure: 1}", 3, "symbol.overrides.AAPL knows no gross_exposure"),
        ("account:\n  order_notional: much", 2, "order_notional is much: a number from 0 on is needed"),
        ("account:\n  order_notional: '5'", 2, "order_notional is no number"),
        ("account:\n  order_notional: -1", 2, "order_notional is -1"),
        ("account:\n  order_notional: .inf", 2, "order_notional is .inf"),
        ("account:\n  order_notional: .nan", 2, "order_notional is .nan"),
        ("account:\n  order_notional: [1]", 2, "order_notional is no number"),
        ("account:\n  order_notional:", 2, "a number from 0 on is needed"),
        ("account:\n  orders_a_minute: 2.5", 2, "a whole number from 1 on is needed"),
        ("account:\n  orders_a_minute: 0", 2, "a whole number from 1 on is needed"),
        ("account:\n  drawdown: 20", 2, "drawdown is 20: a fraction of equity is needed"),
        ("account:\n  daily_loss: 0", 2, "daily_loss is 0: a fraction of equity is needed"),
        ("account:\n  self_cross: yes", 2, "self_cross is one of refuse, allow"),
        ("account:\n  overrides:\n    PA1: {self_cross: allow}", 3, "self_cross holds for every account"),
        ("account:\n  on_retirement: sell", 2, "on_retirement is one of hand_over, close"),
        ("account:\n  overrides:\n    PA1: {on_retirement: close}", 3, "on_retirement holds for every account"),
        ("account: 5", 1, "account is a mapping of names to values"),
        ("- account", 1, "limits is a mapping of names to values"),
        ("groups:\n  tech: {symbols: [A]}", 2, "group tech has no exposure"),
        ("groups:\n  tech: {symbols: A, exposure: 1}", 2, "symbols of group tech are a list"),
        ("groups:\n  tech: {symbols: [], exposure: 1}", 2, "symbols of group tech are a list"),
        ("groups:\n  tech: {symbols: [A, A], exposure: 1}", 2, "group tech names A twice"),
        ("symbol:\n  min_quantity: 5\n  max_quantity: 2", 2, "min_quantity is more than max_quantity"),
        (
            "account:\n  position: 0.5\nmodel:\n  position: 0.6",
            4,
            "model.position is 0.6, looser than the account's cap of 0.5",
        ),
        (
            "account:\n  position: 0.5\nsymbol:\n  overrides:\n    AAPL: {position: 0.6}",
            5,
            "symbol.overrides.AAPL.position is 0.6, looser than the account's cap",
        ),
        (
            "account:\n  drawdown: 0.1\n  overrides:\n    PA1:\n      drawdown: 0.2",
            5,
            "account.overrides.PA1.drawdown is 0.2, looser than the account's cap",
        ),
        (
            "account: {gross_exposure: 1}\ngroups:\n  tech: {symbols: [A], exposure: 2}",
            3,
            "groups.tech.exposure is 2, looser than the account's cap of 1 for exposure",
        ),
        ("account: {", 1, "this is not YAML"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path, text, line, words):
    path = _file(tmp_path, text)
    with pytest.raises(Stop) as stopped:
        read(path)
    assert str(stopped.value).startswith(f"{path}, line {line}: ")
    assert words in str(stopped.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 1_200, b"a: &a [*a]"])
def test_what_is_no_file_of_limits_is_one_sentence(tmp_path, content):
    path = tmp_path / "limits.yaml"
    path.write_bytes(content)
    with pytest.raises(Stop, match=r"limits\.yaml"):
        read(path)


def test_a_file_that_was_named_has_to_be_there(tmp_path, monkeypatch):
    monkeypatch.setenv("TRUEBAR_LIMITS", str(tmp_path / "nowhere.yaml"))
    with pytest.raises(Stop, match=r"nowhere\.yaml cannot be read: No such file"):
        configured()
    monkeypatch.setenv("TRUEBAR_LIMITS", str(_file(tmp_path, WHOLE)))
    assert configured() == read(tmp_path / "limits.yaml")


def test_a_link_that_leads_nowhere_is_no_absence_of_limits(tmp_path, monkeypatch):
    monkeypatch.delenv("TRUEBAR_LIMITS", raising=False)
    monkeypatch.setattr("execution.limits.PROJECT_DIR", tmp_path)
    assert configured() is None
    assert in_words() == "no file of limits is there: those of execution/policy.py hold alone"
    (tmp_path / "limits.yaml").symlink_to(tmp_path / "gone.yaml")
    with pytest.raises(Stop, match=r"limits\.yaml cannot be read: No such file"):
        configured()
    (tmp_path / "gone.yaml").write_text(WHOLE)
    assert configured() == read(tmp_path / "limits.yaml")
    assert in_words() == f"the limits of {tmp_path / 'limits.yaml'} hold"


# one order of 100 AAPL at 650 by model m-1, with an equity of 100,000, that no rule refuses
USAGE = Usage(
    notional={("m-1", "MSFT"): D(30_000), ("m-2", "AAPL"): D(10_000)},
    orders={("m-1", "MSFT"): 2, ("m-2", "AAPL"): 1},
    exposures={"MSFT": D(20_000), "IBM": D(-10_000)},
    shares={("m-1", "MSFT"): D(20_000), ("m-2", "IBM"): D(-10_000)},
    mark=Mark(equity=D(100_000), peak=D(110_000), day_start=D(102_000)),
)
ORDER = replace(GOOD_ORDER, model_id="m-1", usage=USAGE)


def _account(**values: str) -> Limits:
    return Limits(account=Section({name: D(value) for name, value in values.items()}))


def _model(**values: str) -> Limits:
    return Limits(model=Section({name: D(value) for name, value in values.items()}))


def _symbol(**values: str) -> Limits:
    return Limits(symbol=Section({}, {"AAPL": {name: D(value) for name, value in values.items()}}))


def _group(exposure: str) -> Limits:
    return Limits(groups=(Group("tech", frozenset({"AAPL", "MSFT"}), D(exposure)),))


LOOSE_AND_TIGHT = [
    ("OrderNotional", _account(order_notional="65000"), _account(order_notional="64999")),
    ("OrderNotional", _model(order_notional="65000"), _model(order_notional="64999")),
    ("OrderNotional", _symbol(order_notional="65000"), _symbol(order_notional="64999")),
    ("DailyNotional", _account(daily_notional="105000"), _account(daily_notional="104999")),
    ("DailyNotional", _model(daily_notional="95000"), _model(daily_notional="94999")),
    ("DailyNotional", _symbol(daily_notional="75000"), _symbol(daily_notional="74999")),
    ("Position", _account(position="0.65"), _account(position="0.64")),
    ("Position", _model(position="0.65"), _model(position="0.64")),
    ("Position", _symbol(position="0.65"), _symbol(position="0.64")),
    ("GrossExposure", _account(gross_exposure="0.95"), _account(gross_exposure="0.94")),
    ("GrossExposure", _model(gross_exposure="0.85"), _model(gross_exposure="0.84")),
    ("NetExposure", _account(net_exposure="0.75"), _account(net_exposure="0.74")),
    ("NetExposure", _model(net_exposure="0.85"), _model(net_exposure="0.84")),
    ("GroupExposure", _group("0.85"), _group("0.84")),
    ("DailyLoss", _account(daily_loss="0.02"), _account(daily_loss="0.019")),
    ("Drawdown", _account(drawdown="0.1"), _account(drawdown="0.09")),
    ("InstrumentQuantity", _symbol(min_quantity="100"), _symbol(min_quantity="101")),
    ("InstrumentQuantity", _symbol(max_quantity="100"), _symbol(max_quantity="99")),
]


def _refused(limits: Limits, subject=ORDER) -> list[str]:
    """By all rules of an order, so that one that is switched off is missing here."""
    return [refusal.rule for refusal in refusals(order_rules(TradingPolicy(), limits), subject)]


@pytest.mark.parametrize(("rule", "loose", "tight"), LOOSE_AND_TIGHT)
def test_a_rule_refuses_beyond_its_limit_and_no_other_does(rule, loose, tight):
    assert _refused(loose) == []
    assert _refused(tight) == [rule]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "model:\n  overrides:\n    signal-0000000: {position: 0.1}",
            3,
            "no model signal-0000000, so a limit of it holds",
        ),
        ("model:\n  overrides:\n    signal-0000000: {position: 0.1}", 3, "did you mean signal-00000000?"),
        ("symbol:\n  overrides:\n    ALHPA: {position: 0.1}", 3, "no symbol ALHPA, so a limit of it holds for nobody"),
        ("groups:\n  both:\n    symbols: [ALPHA, BATE]\n    exposure: 1", 3, "no symbol BATE"),
    ],
)
def test_a_limit_of_what_does_not_exist_is_told_with_its_line(tmp_path, monkeypatch, package, text, line, words):
    path = _file(tmp_path, text)
    monkeypatch.setenv("TRUEBAR_LIMITS", str(path))
    with pytest.raises(Stop) as stopped:
        in_force()
    assert str(stopped.value).startswith(f"{path}, line {line}: there is ")
    assert words in str(stopped.value)


def test_limits_of_what_exists_are_in_force(tmp_path, monkeypatch, package):
    text = "account: {overrides: {new: {position: 1}}}\nmodel: {overrides: {signal-00000000: {position: 1}}}"
    path = _file(tmp_path, text + "\ngroups: {both: {symbols: [ALPHA, BETA], exposure: 1}}")
    monkeypatch.setenv("TRUEBAR_LIMITS", str(path))
    assert in_force() == read(path)


def test_an_order_never_trades_with_one_of_ours():
    crossing = replace(ORDER, usage=replace(USAGE, open_sides=frozenset({("AAPL", Side.SELL)})))
    assert _refused(Limits(), crossing) == ["SelfCross"]
    assert _refused(Limits(allows_self_cross=True), crossing) == []
    for open_sides in ({("AAPL", Side.BUY)}, {("MSFT", Side.SELL)}):
        assert _refused(Limits(), replace(ORDER, usage=replace(USAGE, open_sides=frozenset(open_sides)))) == []


def test_every_rule_has_its_case():
    assert {type(rule).__name__ for rule in limit_rules(Limits())} == {rule for rule, *_ in LOOSE_AND_TIGHT} | {
        "SelfCross"
    }


NEEDS_USAGE = [case for case in LOOSE_AND_TIGHT if case[0] not in ("OrderNotional", "Position", "InstrumentQuantity")]


@pytest.mark.parametrize(("rule", "loose", "tight"), NEEDS_USAGE)
def test_a_rule_that_does_not_know_refuses(rule, loose, tight):
    for usage in (None, replace(USAGE, mark=None)):
        if usage is None or rule in ("DailyLoss", "Drawdown"):
            assert rule in _refused(loose, replace(ORDER, usage=usage))
    if rule not in ("DailyLoss", "Drawdown"):
        assert rule in _refused(loose, replace(ORDER, price=None))
    if rule.endswith("Exposure"):
        assert rule in _refused(loose, replace(ORDER, equity=None))
    assert "SelfCross" in _refused(Limits(), replace(ORDER, usage=None))
    assert postponed(_account(orders_a_minute="5"), None, "a-1", "m-1", "AAPL") is not None


@pytest.mark.parametrize(
    "limits",
    [
        _account(order_notional="1"),
        _account(daily_notional="1"),
        _account(position="0.1"),
        _account(gross_exposure="0.1"),
        _account(net_exposure="0.1"),
        _group("0.1"),
        _account(daily_loss="0.001"),
        _symbol(min_quantity="500"),
    ],
)
def test_what_makes_a_position_smaller_is_never_held_back(limits):
    usage = replace(USAGE, exposures={**USAGE.exposures, "AAPL": D(65_000)})
    closing = replace(ORDER, side=Side.SELL, held=D(100), usage=usage)
    assert _refused(limits, closing) == []


def test_what_was_ordered_in_this_step_counts():
    later = USAGE.with_order("m-1", ORDER)
    assert later.notional["m-1", "AAPL"] == D(65_000)
    assert later.exposures["AAPL"] == D(65_000)
    assert ("AAPL", Side.BUY) in later.open_sides
    assert later.shares["m-1", "AAPL"] == D(65_000)
    earlier = later.without_order("m-1", "AAPL", Side.BUY, D(65_000), D(100), D(90))
    assert (earlier.notional["m-1", "AAPL"], earlier.exposures["AAPL"], earlier.shares["m-1", "AAPL"]) == (0, 100, 90)
    assert _refused(_account(daily_notional="169999"), replace(ORDER, usage=later)) == ["DailyNotional"]
    assert _refused(_account(daily_notional="170000"), replace(ORDER, usage=later)) == []


def test_a_models_limits_are_its_shares_and_all_others_the_position():
    """m-2 holds 60 of 100 AAPL, and m-1 wants 40 to become 90."""
    usage = replace(
        USAGE, exposures={"AAPL": D(65_000)}, shares={("m-1", "AAPL"): D(26_000), ("m-2", "AAPL"): D(39_000)}
    )
    wants = replace(ORDER, quantity=D(50), held=D(100), share=D(40), usage=usage)
    for limits, rule in (
        (_model(position="0.58"), "Position"),
        (_model(gross_exposure="0.58"), "GrossExposure"),
        (_model(net_exposure="0.58"), "NetExposure"),
        (_symbol(position="0.97"), "Position"),
        (_account(gross_exposure="0.97"), "GrossExposure"),
    ):
        assert _refused(limits, wants) == [rule]
    for limits in (
        _model(position="0.585", gross_exposure="0.585"),
        _account(position="0.975", gross_exposure="0.975"),
    ):
        assert _refused(limits, wants) == []
    # another one's order of the same symbol may fill before
    assert _refused(_symbol(position="0.975"), replace(wants, pending=D(1))) == ["Position"]
    # what closes the share is of any size, whatever is held besides
    closes = replace(wants, side=Side.SELL, quantity=D(40))
    assert _refused(_symbol(min_quantity="41"), closes) == []
    assert _refused(_symbol(min_quantity="41"), replace(closes, quantity=D(39))) == ["InstrumentQuantity"]


def test_what_passes_between_shares_counts_for_the_models_alone():
    usage = replace(USAGE, exposures={"AAPL": D(65_000)}, shares={("m-2", "AAPL"): D(65_000)})
    crossing = replace(ORDER, quantity=D(40), held=D(100), share=D(0), is_crossed=True, usage=usage)

    def refused(limits: Limits, subject=crossing) -> list[str]:
        return [refusal.rule for refusal in refusals(cross_rules(TradingPolicy(), limits), subject)]

    assert refused(_account(position="0.1", order_notional="1", daily_notional="1")) == []
    assert refused(_model(position="0.26", gross_exposure="0.26", net_exposure="0.26")) == []
    assert refused(_model(position="0.25")) == ["Position"]
    assert refused(_model(gross_exposure="0.25")) == ["GrossExposure"]
    assert refused(_model(net_exposure="0.25")) == ["NetExposure"]
    # neither is to have it at a price that the broker does not see
    assert refused(Limits(), replace(crossing, broker_mark=D(325))) == ["PriceSane"]
    passed = usage.with_cross("m-2", "m-1", "AAPL", D(26_000))
    assert passed.shares == {("m-1", "AAPL"): D(26_000), ("m-2", "AAPL"): D(39_000)}
    assert passed.exposures == usage.exposures


def test_a_minute_is_counted_by_account_model_and_symbol():
    for limits, most in ((_account, 3), (_model, 2), (_symbol, 1)):
        assert postponed(limits(orders_a_minute=str(most)), USAGE, "a-1", "m-1", "AAPL").startswith(f"{most} orders")
        assert postponed(limits(orders_a_minute=str(most + 1)), USAGE, "a-1", "m-1", "AAPL") is None
