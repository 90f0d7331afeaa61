"""Requests and answers lost on the way: an unknown outcome is never a failure and never a second order."""

from collections.abc import Callable

import pytest
import requests

from execution.brokers.alpaca import AlpacaBroker
from execution.orders import OrderStatus
from execution.session import Session
from tests.execution.agreement import assert_agree
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, rows, trading_days
from warehouse.errors import Retry, Stop

pytestmark = pytest.mark.database

DAYS = trading_days()


class Wire:
    """Stands between the SDK and the socket, and spoils the requests it is told to."""

    def __init__(self, broker: AlpacaBroker) -> None:
        self._session = broker._client._session
        self._real = self._session.request
        self._session.request = self._request
        self.sent = 0
        self.faults: list[Callable[[Callable[[], requests.Response]], requests.Response]] = []
        self.is_down = False

    def _request(self, method: str, url: str, **options: object) -> requests.Response:
        if self.is_down:
            raise requests.ConnectionError("no route to host")
        if method.upper() != "POST":
            return self._real(method, url, **options)

        def deliver() -> requests.Response:
            self.sent += 1
            return self._real(method, url, **options)

        return self.faults.pop(0)(deliver) if self.faults else deliver()


def request_lost(_: Callable) -> requests.Response:
    raise requests.ConnectTimeout("connection timed out")


def answer_lost(deliver: Callable) -> requests.Response:
    deliver()
    raise requests.ReadTimeout("read timed out")


def reset_after_delivery(deliver: Callable) -> requests.Response:
    deliver()
    raise requests.ConnectionError("connection reset by peer")


def _answer(status: int, body: bytes) -> requests.Response:
    answer = requests.Response()
    answer.status_code, answer._content = status, body
    return answer


def gateway_timeout_after_delivery(deliver: Callable) -> requests.Response:
    deliver()
    return _answer(504, b"<html>504 Gateway Time-out</html>")


def server_error(_: Callable) -> requests.Response:
    return _answer(500, b'{"message":"internal server error"}')


def garbage_after_delivery(deliver: Callable) -> requests.Response:
    deliver()
    return _answer(200, b"<html>Welcome to the hotel's network</html>")


def empty_after_delivery(deliver: Callable) -> requests.Response:
    deliver()
    return _answer(200, b"")


def half_an_order_after_delivery(deliver: Callable) -> requests.Response:
    deliver()
    return _answer(200, b'{"id":"0b9c1f52"}')


def proxy_page(_: Callable) -> requests.Response:
    return _answer(403, b"<html><title>Access denied</title></html>")


def proxy_in_json(_: Callable) -> requests.Response:
    return _answer(422, b'{"code":403,"message":"blocked by policy"}')


def refusal_after_delivery(deliver: Callable) -> requests.Response:
    deliver()
    return _answer(422, b'{"code":42210000,"message":"order could not be routed"}')


def forbidden_words_after_delivery(deliver: Callable) -> requests.Response:
    deliver()
    return _answer(403, b'{"code":40310000,"message":"insufficient buying power"}')


LOST = [request_lost, server_error, proxy_page, proxy_in_json]
DELIVERED = [
    answer_lost,
    reset_after_delivery,
    gateway_timeout_after_delivery,
    garbage_after_delivery,
    empty_after_delivery,
    half_an_order_after_delivery,
    refusal_after_delivery,
    forbidden_words_after_delivery,
]


@pytest.fixture
def broker(exchange):
    return exchange.broker(pause=_no_pause)


@pytest.mark.parametrize("fault", LOST + DELIVERED)
def test_a_spoiled_submission_becomes_one_order(exchange, warehouse, package, broker, fault):
    wire = Wire(broker)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], broker, pause=_no_pause) as session:
        wire.faults = [fault]
        [order] = session.decide().sent
        assert order.status is OrderStatus.ACCEPTED
        assert wire.sent == 1
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert len(exchange.book()["orders"]) == 1
    assert_agree(exchange.book())
    history = rows(
        "select status from ledger.order_events where client_order_id = %s order by event_id", order.client_order_id
    )
    assert [status for (status,) in history][:3] == ["submitting", "unknown", "accepted"]


def test_an_answer_lost_to_the_end_is_found_by_the_next_session(exchange, warehouse, package, broker):
    wire = Wire(broker)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})

    def deliver_and_go_down(deliver: Callable) -> requests.Response:
        deliver()
        wire.is_down = True
        raise requests.ReadTimeout("read timed out")

    session = Session.open([package], broker, pause=_no_pause)
    wire.faults = [deliver_and_go_down]
    [order] = session.decide().sent
    assert order.status is OrderStatus.UNKNOWN
    with pytest.raises(Retry):
        session.decide()
    session.close()

    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert session.decide().sent == ()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert len(exchange.book()["orders"]) == 1
    assert_agree(exchange.book())


def test_while_an_order_is_unresolved_its_symbol_gets_no_other(exchange, warehouse, package, broker):
    wire = Wire(broker)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], broker, pause=_no_pause) as session:
        wire.faults = [request_lost] * 3
        [order] = session.decide().sent
        assert order.status is OrderStatus.UNKNOWN
        wire.faults = [request_lost] * 3
        assert [resent.client_order_id for resent in session.decide().sent] == [order.client_order_id]
        [resent] = session.decide().sent
        assert (resent.client_order_id, resent.status) == (order.client_order_id, OrderStatus.ACCEPTED)
    assert len(exchange.book()["orders"]) == 1
    assert_agree(exchange.book())


def test_a_request_that_arrives_late_meets_its_own_id(exchange, warehouse, package, broker):
    """The first attempt is delayed on the way, the broker says it has none, and the second attempt is overtaken."""
    wire = Wire(broker)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    delayed: list[Callable] = []

    def delay(deliver: Callable) -> requests.Response:
        delayed.append(deliver)
        raise requests.ReadTimeout("read timed out")

    def after_the_delayed_one(deliver: Callable) -> requests.Response:
        delayed.pop()()
        return deliver()

    with Session.open([package], broker, pause=_no_pause) as session:
        wire.faults = [delay, after_the_delayed_one]
        [order] = session.decide().sent
        assert order.status is OrderStatus.ACCEPTED
        assert wire.sent == 2
    assert len(exchange.book()["orders"]) == 1
    assert_agree(exchange.book())


def test_a_refusal_by_the_broker_is_final(exchange, warehouse, package, broker):
    wire = Wire(broker)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    refusal = b'{"code":40310000,"message":"insufficient buying power","buying_power":"1","cost_basis":"2"}'
    with Session.open([package], broker, pause=_no_pause) as session:
        wire.faults = [lambda _: _answer(403, refusal)]
        [order] = session.decide().sent
        assert order.status is OrderStatus.REJECTED
        assert session.decide().sent == ()
        assert session.reconcile().findings == ()
    assert exchange.book()["orders"] == []
    detail = rows("select detail from ledger.orders where client_order_id = %s", order.client_order_id)
    assert detail == [("Alpaca refused the order (403): insufficient buying power",)]


KEYS_REFUSED = [
    (401, b'{"code":40110000,"message":"request is not authorized"}'),
    (401, b"<html>401</html>"),
    (403, b'{"message":"forbidden."}'),
]


@pytest.mark.parametrize(("status", "body"), KEYS_REFUSED)
def test_keys_refused_while_sending_keep_the_orders_for_the_same_evening(
    exchange, warehouse, package, broker, status, body
):
    wire = Wire(broker)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5, "BETA": 0.5})
    session = Session.open([package], broker, pause=_no_pause)
    wire.faults = [lambda _: _answer(status, body)]
    with pytest.raises(Stop, match="check APCA_API_KEY_ID and APCA_API_SECRET_KEY"):
        session.decide()
    session.close()
    assert exchange.book()["orders"] == []
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert [order.status for order in session.decide().sent] == [OrderStatus.ACCEPTED] * 2
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
        assert session.reconcile().outcome == "agreed"
    assert len(exchange.book()["fills"]) == 2
    assert_agree(exchange.book())


def test_a_refusal_by_the_broker_is_final_only_after_a_look(exchange, warehouse, package, broker):
    """The look fails, so nobody knows; the next session finds the order that was refused in words."""
    wire = Wire(broker)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})

    def refuse_and_go_down(deliver: Callable) -> requests.Response:
        deliver()
        wire.is_down = True
        return _answer(422, b'{"code":42210000,"message":"order could not be routed"}')

    session = Session.open([package], broker, pause=_no_pause)
    wire.faults = [refuse_and_go_down]
    [order] = session.decide().sent
    assert order.status is OrderStatus.UNKNOWN
    session.close()
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert_agree(exchange.book())


def test_an_order_given_up_that_arrives_after_all_is_followed(exchange, warehouse, package, broker):
    wire = Wire(broker)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], broker, pause=_no_pause) as session:
        wire.faults = [request_lost] * 3
        [order] = session.decide().sent
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        session.settle(timeout=10)
        assert rows("select status from ledger.orders where client_order_id = %s", order.client_order_id) == [
            ("not_sent",)
        ]
        exchange.trade(symbol="ALPHA", side="buy", qty=f"{order.quantity:f}", client_order_id=order.client_order_id)
        assert session.reconcile().outcome == "repaired"
    assert_agree(exchange.book())


def _give_up(exchange, session, wire):
    """An order that is lost on the way, until its open has passed."""
    wire.faults = [request_lost] * 3
    [order] = session.decide().sent
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    session.settle(timeout=10)
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    return order


def _arrive(exchange, order) -> None:
    exchange.trade(symbol="ALPHA", side="buy", qty=f"{order.quantity:f}", client_order_id=order.client_order_id)


@pytest.mark.parametrize("arrives", ["before", "after", "a day after"])
def test_a_late_order_does_not_fill_beside_its_successor(exchange, warehouse, package, broker, arrives):
    wire = Wire(broker)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], broker, pause=_no_pause) as session:
        late = _give_up(exchange, session, wire)
        warehouse.publish(DAYS[1], {"ALPHA": 0.2})
        if arrives == "before":
            _arrive(exchange, late)
        step = session.decide()
        if arrives == "before":
            # canceled by its id, and then the bar is decided as any other
            assert [order.status for order in step.sent] == [OrderStatus.ACCEPTED]
        else:
            assert (step.sent, [decision.symbol for decision in step.decisions]) == ((), ["BETA"])
            assert any("may still arrive" in reason for bar in step.refused for reason in bar.reasons)
        if arrives == "after":
            _arrive(exchange, late)
            session.reconcile()
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        session.settle(timeout=10)
        exchange.advance(DAYS[2].closes + AFTER_CLOSE)
        warehouse.publish(DAYS[2], {"ALPHA": 0.2})
        if arrives == "a day after":
            _arrive(exchange, late)
        session.decide()
        exchange.advance(DAYS[3].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
        assert session.reconcile().outcome == "agreed"
    [held] = exchange.book()["positions"]
    assert 150 < int(held["qty"]) < 200
    assert rows("select count(*) from ledger.halts where account_id = %s", exchange.book()["account_id"]) == [(0,)]


def test_an_order_of_ours_that_is_not_what_we_wrote_halts_the_account(exchange, warehouse, package, broker):
    wire = Wire(broker)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5, "BETA": 0.5})

    def somebody_used_our_id(deliver: Callable) -> requests.Response:
        name = rows("select client_order_id from ledger.intents where symbol = 'ALPHA' order by written_at desc")[0][0]
        exchange.trade(symbol="ALPHA", side="buy", qty="1", client_order_id=name)
        return deliver()

    with Session.open([package], broker, pause=_no_pause) as session:
        wire.faults = [somebody_used_our_id]
        step = session.decide()
        assert len(step.sent) == 1
        assert (
            "another order at the broker"
            in rows("select reason from ledger.halts where account_id = %s", session.account_id)[0][0]
        )
        assert session.reconcile().outcome == "discrepancy"
    assert len(exchange.book()["orders"]) == 1


def _no_pause(_: float) -> None:
    pass


def test_an_answer_with_the_id_of_another_order_halts_and_ends_nothing(exchange, warehouse, package):
    """A broker that begins anew between two orders counts from one again, and the ledger takes no such answer."""

    def answered_after_a_reset(deliver: Callable) -> requests.Response:
        exchange.act("reset")
        return deliver()

    warehouse.publish(DAYS[0], {"ALPHA": 0.3, "BETA": 0.3})
    broker = exchange.broker()
    wire = Wire(broker)
    wire.faults = [lambda deliver: deliver(), answered_after_a_reset]
    with Session.open([package], broker, pause=lambda _: None) as session:
        session.decide()
        assert "is another order at the broker" in session.halts()[0]
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.reconcile().outcome == "discrepancy"
    found = rows(
        "select count(distinct broker_order_id), count(*) from ledger.orders where account_id = %s", session.account_id
    )
    assert found == [(1, 2)]
