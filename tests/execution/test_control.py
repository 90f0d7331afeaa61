"""Control after sending: what a person says holds, is carried out once, and has a way back to the next fill."""

from decimal import Decimal

import pytest

from execution.__main__ import main
from execution.brokers.alpaca import AlpacaBroker
from execution.brokers.base import Mode
from execution.flatten import close_positions
from execution.ledger import Ledger, Superseded
from execution.orders import Side
from execution.policy import TradingPolicy
from execution.records import Intent
from execution.session import Session
from execution.withdrawals import AT_THE_END, Action
from tests.execution.agreement import assert_agree
from tests.execution.killed import die_at, run_and_die
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, KEY, SECRET, rows, trading_days
from warehouse.errors import Retry

pytestmark = pytest.mark.database

DAYS = trading_days()
HALF = {"ALPHA": 0.5, "BETA": 0.4}


@pytest.fixture
def settings(exchange, warehouse, package, monkeypatch) -> None:
    """The environment leads to the stand-in, and nobody waits."""
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    monkeypatch.setenv("APCA_API_BASE_URL", exchange.url)
    monkeypatch.setenv("APCA_API_STREAM_URL", exchange.stream_url)
    monkeypatch.setattr("time.sleep", _no_pause)


@pytest.fixture
def queued(exchange, warehouse, package, settings) -> str:
    """An account whose two orders wait for the second day's open."""
    warehouse.publish(DAYS[0], HALF)
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert len(session.decide().sent) == 2
        return session.account_id


@pytest.fixture
def holding(exchange, package, queued) -> str:
    """An account that holds both symbols, in the middle of the second day."""
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert session.settle(timeout=10) == ()
    return queued


def _say(command: str, account: str, *options: str) -> int:
    return main([command, "--account", account, "--reason", "I say so", "--wait", "5", *options])


def _states(exchange) -> list[str]:
    return [order["status"] for order in exchange.book()["orders"]]


def _positions(exchange) -> dict[str, Decimal]:
    return {held["symbol"]: Decimal(held["qty"]) for held in exchange.book()["positions"] if Decimal(held["qty"])}


def test_a_halt_recalls_what_is_queued_and_the_same_evening_the_bar_is_decided_again(exchange, package, queued, capsys):
    assert _say("halt", queued) == 0
    told = capsys.readouterr().out
    assert f"account {queued} is halted: I say so" in told
    assert "buy 485 ALPHA is taken back: I say so" in told
    assert _states(exchange) == ["canceled", "canceled"]
    assert _say("halt", queued) == 0
    assert "is halted already: I say so" in capsys.readouterr().out
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert session.decide().decisions == ()
        assert main(["release", "--account", queued, "--reason", "back"]) == 0
        assert len(session.decide().sent) == 2
        assert session.decide().sent == ()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert len(exchange.book()["fills"]) == 2
    assert_agree(exchange.book())
    assert rows("select distinct attempt from ledger.decisions where account_id = %s order by 1", queued) == [
        (1,),
        (2,),
    ]


def test_a_halt_that_nobody_can_carry_out_holds_and_the_next_session_recalls(
    exchange, package, queued, capsys, monkeypatch
):
    monkeypatch.setenv("APCA_API_KEY_ID", "wrong")
    assert _say("halt", queued) == 2
    told = capsys.readouterr()
    assert f"account {queued} is halted: I say so" in told.out
    assert "check APCA_API_KEY_ID" in told.err
    assert "say the same again" in told.err
    assert _states(exchange) == ["accepted", "accepted"]
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        session.decide()
    assert _states(exchange) == ["canceled", "canceled"]


def test_a_halt_beside_a_running_session_recalls_at_once(exchange, package, queued, capsys):
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert _say("halt", queued) == 1
        assert "that session goes on with it" in capsys.readouterr().out
        assert _states(exchange) == ["canceled", "canceled"]
        assert session.settle(timeout=5) == ()


def test_keys_of_another_account_recall_nothing(exchange, queued, capsys):
    name = f"other-{queued}"
    with Ledger.open(name, "alpaca", Mode.PAPER) as other:
        other.act(Action.FLATTEN, "to have an order")
        halt_id = other.standing().halt_id
        written = {"halt_id": halt_id, "broker_time": DAYS[0].closes}
        intent = Intent(f"tb-{queued}", None, "ALPHA", Side.SELL, Decimal(1), None, **written)
        other.write_ahead((), (intent,))
    for command in (("cancel", "--all"), ("halt",), ("flatten",)):
        assert main([command[0], "--account", name, "--reason", "x", *command[1:]]) == 2
        assert f"the keys are those of account {queued}, not of {name}" in capsys.readouterr().err
    assert main(["cancel", "--account", name, "--symbol", "GAMMA", "--reason", "x"]) == 2
    assert f"open are tb-{queued} (ALPHA)" in capsys.readouterr().err
    assert _states(exchange) == ["accepted", "accepted"]


def test_a_flatten_that_the_broker_refuses_sends_one_order_and_says_why(exchange, package, holding, capsys):
    exchange.act("standing", refuses="account is restricted")
    for _ in range(2):
        _say("flatten", holding, "--wait", "0")
    assert "ALPHA is not closed yet: the broker refused its order at" in capsys.readouterr().out
    closings = "select count(*) from ledger.intents where account_id = %s and halt_id is not null"
    assert rows(closings, holding) == [(2,)]


def test_what_a_discrepancy_halts_is_recalled_and_goes_out_again_once_it_is_explained(exchange, package, queued):
    exchange.act("move", symbol="BETA", qty="1")
    assert main(["reconcile"]) == 1
    assert _states(exchange) == ["canceled", "canceled"]
    assert main(["adopt", "--all", "--reason", "a gift"]) == 0
    assert main(["release", "--account", queued, "--reason", "adopted"]) == 0
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert len(session.decide().sent) == 2
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
        assert session.reconcile().outcome == "agreed"


def test_one_order_is_canceled_and_not_decided_again(exchange, package, queued, capsys):
    beta = next(order for order in exchange.book()["orders"] if order["symbol"] == "BETA")
    assert _say("cancel", queued, "--order", beta["id"]) == 0
    assert "BETA is taken back: I say so" in capsys.readouterr().out
    assert _say("cancel", queued, "--order", beta["client_order_id"]) == 0
    assert "BETA ended canceled with 0 filled" in capsys.readouterr().out
    assert _say("cancel", queued, "--order", "nonsense") == 2
    assert "no order of account" in capsys.readouterr().err
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert session.decide().sent == ()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert list(_positions(exchange)) == ["ALPHA"]
    assert_agree(exchange.book())


def test_what_a_person_canceled_is_not_decided_again_though_a_halt_had_asked_first(
    exchange, package, queued, monkeypatch
):
    def is_down(*_: object) -> None:
        raise Retry("the broker is down")

    with monkeypatch.context() as patch:
        patch.setattr(AlpacaBroker, "cancel", is_down)
        assert _say("halt", queued) == 75
    assert _states(exchange) == ["accepted", "accepted"]
    assert _say("cancel", queued, "--all") == 0
    assert _say("release", queued) == 0
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert session.decide().sent == ()
    assert _states(exchange) == ["canceled", "canceled"]


def test_cancel_by_symbol_and_all(exchange, queued, capsys):
    assert main(["cancel", "--account", queued, "--reason", "x"]) == 2
    for _ in range(2):
        assert _say("cancel", queued, "--symbol", "ALPHA") == 0
        assert sorted(_states(exchange)) == ["accepted", "canceled"]
    assert "buy 485 ALPHA ended canceled with 0 filled" in capsys.readouterr().out
    assert _say("cancel", queued, "--symbol", "APLHA") == 2
    assert _say("cancel", queued, "--all") == 0
    assert _states(exchange) == ["canceled", "canceled"]
    assert _say("cancel", queued, "--all") == 0
    assert "has no such order open" in capsys.readouterr().out


def test_an_order_that_was_replaced_at_the_broker_is_canceled_by_its_newest_id(exchange, queued):
    alpha = next(order for order in exchange.book()["orders"] if order["symbol"] == "ALPHA")
    exchange.replace(alpha["id"], qty="300")
    assert _say("cancel", queued, "--symbol", "ALPHA") == 0
    assert sorted(_states(exchange)) == ["accepted", "canceled", "replaced"]


def test_an_order_that_never_left_is_given_up_when_it_is_canceled(exchange, package, queued, monkeypatch):
    """Written ahead and not sent: nothing is there to cancel, and it is not sent any more."""
    assert _say("halt", queued) == 0
    assert main(["release", "--account", queued, "--reason", "back"]) == 0
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        monkeypatch.setattr(session, "_send", lambda *_: [])
        session.decide()
    assert _say("cancel", queued, "--all") == 0
    states = rows("select status, count(*) from ledger.orders where account_id = %s group by 1 order by 1", queued)
    assert states == [("canceled", 2), ("not_sent", 2)]
    assert _states(exchange) == ["canceled", "canceled"]


def test_an_account_that_may_only_reduce(exchange, warehouse, package, holding, capsys):
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[1], {"ALPHA": 0.2, "BETA": 0.55})
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert {order.side for order in session.decide().sent} == {"buy", "sell"}
    assert _say("reduce", holding) == 0
    told = capsys.readouterr().out
    assert "may only reduce: I say so" in told
    assert "BETA is taken back" in told
    assert "ALPHA is taken back" not in told
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        step = session.decide()
        assert [(bar.symbol, bar.reasons) for bar in step.refused] == [("BETA", ("ReduceOnly: I say so",))]
        assert any("may only reduce" in concern for concern in session.concerns())
        assert main(["release", "--account", holding, "--reason", "back"]) == 0
        # the bar was not used up
        assert [order.symbol for order in session.decide().sent] == ["BETA"]
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert_agree(exchange.book())


def test_flatten_in_the_session_sells_everything_and_release_trades_again(
    exchange, warehouse, package, holding, capsys
):
    assert _say("flatten", holding) == 0
    told = capsys.readouterr().out
    assert "sell 485 ALPHA closes the position: accepted" in told
    assert f"account {holding} holds nothing" in told
    assert _positions(exchange) == {}
    assert _say("flatten", holding) == 0
    assert "is being flattened already" in capsys.readouterr().out
    assert len(exchange.book()["orders"]) == 4
    assert main(["status", "--account", holding]) == 0
    assert "is being FLATTENED: I say so" in capsys.readouterr().out
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[1], HALF)
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        step = session.decide()
        assert (step.decisions, step.sent) == ((), ())
        assert "is being flattened: I say so" in session.halts()[0]
        assert main(["release", "--account", holding, "--reason", "back"]) == 0
        assert len(session.decide().sent) == 2
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert_agree(exchange.book())


def test_a_persons_flatten_stands_though_a_session_that_ends_asked_first(exchange, package, holding, capsys):
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert not session.flatten(timeout=0)
    _say("flatten", holding)
    assert f"is being flattened: I say so; it was being flattened: {AT_THE_END}" in capsys.readouterr().out
    exchange.advance(DAYS[2].opens + AFTER_OPEN)
    for _ in range(2):
        with Session.open([package], exchange.broker(), pause=_no_pause) as session:
            session.settle(timeout=10)
            session.decide()
    assert _positions(exchange) == {}
    assert rows("select action, reason from ledger.standings where account_id = %s", holding) == [
        ("flatten", "I say so")
    ]


def test_a_release_answers_what_was_read_and_not_what_came_since(holding):
    with Ledger.view(holding) as ledger:
        ledger.halt("lunch")
        read = ledger.standing().halt_id
        ledger.halt("fire")
        with pytest.raises(Superseded, match="was told to halt since: fire; it stands"):
            ledger.release("back", read)
        assert ledger.standing().reason == "fire"
        ledger.release("it is out", ledger.standing().halt_id)
        assert ledger.standing().action is Action.RELEASE


@pytest.fixture
def halted_once_read(holding, monkeypatch):
    """After the call a person halts the account just after its standing was read the next time."""
    read = Ledger.standing

    def once(ledger):
        found = read(ledger)
        monkeypatch.setattr(Ledger, "standing", read)
        with Ledger.view(holding) as person:
            person.halt("fire")
        return found

    return lambda: monkeypatch.setattr(Ledger, "standing", once)


def test_a_halt_that_a_session_which_ends_flat_has_not_read_stands(exchange, package, holding, halted_once_read):
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        halted_once_read()
        assert not session.flatten(timeout=0)
    assert rows("select action, reason from ledger.standings where account_id = %s", holding) == [("halt", "fire")]
    assert len(_positions(exchange)) == 2


def test_a_halt_that_reduce_has_not_read_stands(holding, halted_once_read, capsys):
    halted_once_read()
    assert _say("reduce", holding) == 2
    assert "was told to halt since: fire; it stands" in capsys.readouterr().err
    assert rows("select action, reason from ledger.standings where account_id = %s", holding) == [("halt", "fire")]


def test_a_halt_that_comes_while_a_session_ends_flat_stands(exchange, package, holding, monkeypatch):
    def close_and_halt(*arguments):
        done = close_positions(*arguments)
        with Ledger.view(holding) as person:
            person.halt("fire")
        return done

    exchange.advance(DAYS[1].opens + 2 * AFTER_OPEN)
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert not session.flatten(timeout=0)
        session.settle(timeout=10)
        monkeypatch.setattr("execution.session.close_positions", close_and_halt)
        session.decide()
    assert _positions(exchange) == {}
    assert rows("select action, reason from ledger.standings where account_id = %s", holding) == [("halt", "fire")]


def test_flatten_at_night_queues_for_the_open_and_takes_back_what_would_open(
    exchange, warehouse, package, holding, capsys
):
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[1], {"ALPHA": 0.2, "BETA": 0.55})
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert len(session.decide().sent) == 2
    assert _say("flatten", holding) == 0
    told = capsys.readouterr().out
    assert "sell 485 ALPHA is accepted" in told
    assert _states(exchange)[2:] == ["canceled", "canceled", "accepted", "accepted"]
    assert _say("flatten", holding) == 0
    assert len(exchange.book()["orders"]) == 6
    assert rows("select count(*) from ledger.intents where account_id = %s and halt_id is not null", holding) == [(2,)]
    exchange.advance(DAYS[2].opens + AFTER_OPEN)
    assert main(["reconcile"]) == 0
    assert _positions(exchange) == {}
    assert_agree(exchange.book())


def test_a_release_takes_back_what_was_to_close(exchange, holding, capsys):
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    assert _say("flatten", holding) == 0
    assert _say("release", holding) == 0
    assert _states(exchange)[2:] == ["canceled", "canceled"]
    assert main(["reconcile"]) == 0


def test_a_session_goes_on_with_a_flattening_that_a_broker_side_end_cut_short(exchange, package, holding):
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    assert _say("flatten", holding) == 0
    for order in exchange.book()["orders"][2:]:
        exchange.act("end", order_id=order["id"], status="canceled")
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert sorted(order.symbol for order in session.decide().sent) == ["ALPHA", "BETA"]
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert _positions(exchange) == {}
    assert_agree(exchange.book())


def test_flatten_leaves_what_is_held_apart_and_waits_for_a_discrepancy(exchange, holding, capsys):
    exchange.act("move", symbol="ZZZ", qty="12")
    main(["reconcile"])
    assert _say("flatten", holding) == 1
    told = capsys.readouterr().out
    assert "ALPHA is not closed yet: Reconciled" in told
    assert _say("flatten", holding) == 1
    assert main(["adopt", "--all", "--hold-apart", "ZZZ", "--reason", "another program's"]) == 0
    assert _say("flatten", holding) == 0
    assert _positions(exchange) == {"ZZZ": Decimal(12)}
    assert main(["reconcile"]) == 0


STEPS = [
    (Ledger, "act", 1),
    (Ledger, "record_withdrawal", 1),
    (Ledger, "record_withdrawal", 2),
    (AlpacaBroker, "cancel", 1),
    (AlpacaBroker, "cancel", 2),
    (Ledger, "write_ahead", 1),
    (Ledger, "write_ahead", 2),
    (AlpacaBroker, "submit", 1),
    (AlpacaBroker, "submit", 2),
    (Ledger, "record_order", 1),
    (Ledger, "record_reconciliation", 2),
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("owner", "name", "occurrence"), STEPS)
def test_killed_at_any_step_of_flattening_the_same_command_ends_it(
    exchange, warehouse, package, holding, owner, name, occurrence, when
):
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[1], {"ALPHA": 0.2, "BETA": 0.55})
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert len(session.decide().sent) == 2

    def flatten() -> None:
        die_at(owner, name, occurrence, when)
        _say("flatten", holding)

    run_and_die(flatten)
    assert _say("flatten", holding) == 0
    exchange.advance(DAYS[2].opens + AFTER_OPEN)
    assert main(["reconcile"]) == 0
    assert _positions(exchange) == {}
    sold = [fill for fill in exchange.book()["fills"] if fill["side"] == "sell"]
    assert len(sold) == 2
    assert_agree(exchange.book())


@pytest.mark.parametrize(("name", "when"), [("submit", "before"), ("submit", "after")])
def test_killed_while_flattening_the_next_session_goes_on_with_it(exchange, package, holding, name, when):
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)

    def flatten() -> None:
        die_at(AlpacaBroker, name, 1, when)
        _say("flatten", holding)

    run_and_die(flatten)
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        session.decide()
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert _positions(exchange) == {}
    assert rows("select count(*) from ledger.intents where account_id = %s and halt_id is not null", holding) == [(2,)]
    assert_agree(exchange.book())


def test_an_order_that_is_open_too_long_after_its_open_is_withdrawn(exchange, package, queued):
    alpha = next(order for order in exchange.book()["orders"] if order["symbol"] == "ALPHA")
    exchange.act("end", order_id=alpha["id"], status="pending_cancel")
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    exchange.act("end", order_id=alpha["id"], status="new")
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert [entry.order.symbol for entry in session.settle(timeout=0.5)] == ["ALPHA"]
    policy = TradingPolicy(order_age_limit="PT30S")
    with Session.open([package], exchange.broker(), policy=policy, pause=_no_pause) as session:
        assert session.settle(timeout=5) == ()
        assert any("longer than" in concern for concern in session.concerns())
    assert_agree(exchange.book())


def test_the_newest_word_holds(exchange, holding):
    with Ledger.view(holding) as ledger:
        assert ledger.standing().action is Action.RELEASE
        for action in Action:
            ledger.act(action, "a word", ledger.standing().halt_id if action is Action.RELEASE else None)
            assert ledger.standing().action is action
            assert (ledger.standing().halted_because is None) is (action in (Action.REDUCE, Action.RELEASE))


def _no_pause(_: float) -> None:
    pass
