"""One account at each stand-in, fresh for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.execution.conformance.venues import AlpacaVenue, BinanceVenue, Venue
from tests.execution.spot import spot_exchange
from tests.execution.world import AFTER_CLOSE, Exchange, trading_days


@pytest.fixture(params=["alpaca", "binance"])
def venue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Venue]:
    if request.param == "alpaca":
        exchange = Exchange(
            request.getfixturevalue("tape"), tmp_path / "book.sqlite", trading_days()[0].closes + AFTER_CLOSE
        )
        found: Venue = AlpacaVenue(exchange)
    else:
        exchange = spot_exchange(request.getfixturevalue("spot_tape"), tmp_path)
        found = BinanceVenue(exchange)
    yield found
    exchange.stop()
