"""Features on real prices against TA-Lib, from TA-Lib's first valid bar, and forward adjustment of real splits."""

from datetime import date
from decimal import Decimal

import numpy as np
import pytest
import talib

from tests.conftest import Demo
from warehouse.connection import arrow, connect

pytestmark = pytest.mark.xdist_group("demo")

BARS = """
    select f.*, adj_high::float8 as high, adj_low::float8 as low, adj_close::float8 as close
    from features.features_1d as f inner join canonical.ohlcv_1d using (symbol, bar_start)
    where symbol = $1 order by bar_start
"""


@pytest.mark.parametrize("symbol", ["AAPL", "GOOG", "IBM", "MSFT"])
def test_equal_to_talib_from_its_first_valid_bar(symbol: str, demo: Demo) -> None:
    bars = arrow("analyst", BARS, (symbol,)).to_pandas()
    assert len(bars) > 2_000
    close, high, low = (bars[name].to_numpy() for name in ("close", "high", "low"))
    macd, macd_signal, _ = talib.MACD(close, 12, 26, 9)
    expected = {
        "rsi_14": talib.RSI(close, 14),
        "atr_14": talib.ATR(high, low, close, 14),
        "ema_12": talib.EMA(close, 12),
        "ema_26": talib.EMA(close, 26),
        "macd": macd,
        "macd_signal": macd_signal,
        "sma_20": talib.SMA(close, 20),
    }
    for feature, values in expected.items():
        valid = ~np.isnan(values)
        np.testing.assert_allclose(
            bars[feature].to_numpy(float)[valid], values[valid], rtol=1e-9, atol=0, err_msg=f"{symbol} {feature}"
        )


def test_a_fall_by_half_is_not_a_split(demo: Demo) -> None:
    """AAPL fell 52 % on 2000-09-29 on a profit warning; its first split here was on 2000-06-21."""
    with connect("analyst") as connection:
        rows = connection.execute(
            "select session_date, split_factor, close, adj_close from canonical.ohlcv_1d where symbol = 'AAPL'"
            " and session_date in ('2000-06-20', '2000-06-21', '2000-09-28', '2000-09-29', '2005-02-28')"
            " order by session_date"
        ).fetchall()
    assert [(day, factor) for day, factor, _, _ in rows] == [
        (date(2000, 6, 20), 1),
        (date(2000, 6, 21), 2),
        (date(2000, 9, 28), 2),
        (date(2000, 9, 29), 2),
        (date(2005, 2, 28), 4),
    ]
    fall = rows[3][3] / rows[2][3] - 1
    assert Decimal("-0.53") < fall < Decimal("-0.51")
