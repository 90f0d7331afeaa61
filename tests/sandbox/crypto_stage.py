"""Crypto on the sandbox's stage: an invented minute tape, and the vendors' own clients pointed at a running sandbox."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import requests
from binance.client import Client
from pycoingecko import CoinGeckoAPI

from tests.sandbox.stage import KEYS, Served

FIRST = datetime(2026, 1, 30, 22, 0, tzinfo=UTC)
"""A Friday; the weekend that follows ends a month and a week."""
PRICES = ["open", "high", "low", "close"]


def walk(
    symbol: str, count: int, price: float, seed: int, missing: float = 0.0, first: datetime = FIRST
) -> list[tuple]:
    """Minute rows of a random walk in cents with volumes of five decimals; a share of them is left out."""
    random = np.random.RandomState(seed)
    close = np.round(price * np.exp(np.cumsum(random.standard_normal(count)) * 0.001), 2)
    opened = np.append(round(price, 2), close[:-1])
    high = np.round(np.maximum(opened, close) * (1 + random.random_sample(count) * 0.001), 2)
    low = np.round(np.minimum(opened, close) * (1 - random.random_sample(count) * 0.001), 2)
    high, low = np.maximum(high, np.maximum(opened, close)), np.minimum(low, np.minimum(opened, close))
    volume = np.round(random.exponential(3.0, count), 5)
    kept = np.flatnonzero(random.random_sample(count) >= missing)
    columns = (values[kept].tolist() for values in (opened, high, low, close, volume))
    moments = (first + timedelta(minutes=i) for i in kept.tolist())
    return [(symbol, "1m", *row) for row in zip(moments, *columns, strict=True)]


def frame(rows: list[tuple], symbol: str) -> pd.DataFrame:
    """The tape's rows of one symbol, by start."""
    names = ["symbol", "timeframe", "start", *PRICES, "volume"]
    table = pd.DataFrame(rows, columns=names)
    return table[table["symbol"] == symbol].set_index("start").drop(columns=["symbol", "timeframe"]).astype(float)


def binance(served: Served) -> Client:
    """python-binance, unmodified, pointed at the sandbox."""
    client = Client("key", "secret", ping=False)
    client.API_URL = f"{served.url}/binance/api"
    client.REQUEST_TIMEOUT = 10
    return client


def coingecko(served: Served, retries: int = 0, **key: str) -> CoinGeckoAPI:
    """pycoingecko, unmodified, pointed at the sandbox, with its retries on plain http as well."""
    client = CoinGeckoAPI(retries=retries, **key)
    client.api_base_url = f"{served.url}/coingecko/api/v3/"
    client.request_timeout = 10
    client.session.mount("http://", client.session.adapters["https://"])
    return client


def paying(served: Served) -> CoinGeckoAPI:
    return coingecko(served, api_key=KEYS.coingecko)


def pool_candles(served: Served, pool: str, timeframe: str, root: str = "geckoterminal/api/v2", **query: object):
    """One page of GeckoTerminal."""
    url = f"{served.url}/{root}/networks/eth/pools/{pool}/ohlcv/{timeframe}"
    return requests.get(url, params=query, timeout=10)


def milliseconds(moment: str | datetime) -> int:
    return int(pd.Timestamp(moment).timestamp() * 1000)


Serve = Callable[..., Served]
MakeTape = Callable[..., Path]
