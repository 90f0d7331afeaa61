"""In calm a session asks for at most half of what the broker allows, counted on the wire."""

from execution.session import Session
from tests.execution.world import AFTER_OPEN, trading_days

DAYS = trading_days()
ALPACA_A_MINUTE = 200


def test_following_an_open_order_takes_half_of_alpacas_limit(exchange, warehouse, package):
    """Nothing is pushed and nothing fills: this is what each look costs, as often as it is taken."""
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    broker = exchange.broker()
    with Session.open([package], broker) as session:
        assert len(session.decide().sent) == 1
        asked = _counted(broker)
        looks = _looks(broker)
        session.settle(timeout=0.1 + 2 * broker.customs.poll_seconds)
        assert len(looks) >= 2
        assert len(asked) / len(looks) * 60 / broker.customs.poll_seconds <= ALPACA_A_MINUTE / 2
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=20) == ()


def _counted(broker) -> list[str]:
    """From now on the addresses of all requests, which are made all the same."""
    asked: list[str] = []
    real = broker._client._session.request

    def request(method, url, **options):
        asked.append(url)
        return real(method, url, **options)

    broker._client._session.request = request
    return asked


def _looks(broker) -> list[float]:
    """How long it waited for something to be pushed, each time that nothing was."""
    waited: list[float] = []
    real = broker.events

    def events(seconds):
        waited.append(seconds)
        return real(seconds)

    broker.events = events
    return waited
