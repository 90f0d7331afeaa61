"""Features on real prices against TA-Lib, from its first valid bar, and pandas; forward adjustment of real splits."""

from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from bench.references import LATER, pandas_values, talib_values
from tests.machine import Demo
from warehouse.connection import arrow, connect

pytestmark = pytest.mark.xdist_group("demo")

BARS = """
    select
        features.*, bars.bar_end, bars.session_date,
        sessions.open_at as session_open, sessions.close_at as session_close,
        bars.adj_open::float8 as open, bars.adj_high::float8 as high, bars.adj_low::float8 as low,
        bars.adj_close::float8 as close, bars.adj_volume::float8 as volume, benchmark.adj_close::float8 as benchmark
    from features.features_1d as features
    inner join canonical.ohlcv_1d as bars using (symbol, bar_start)
    inner join reference.trading_sessions as sessions
        on sessions.calendar = 'XNYS' and sessions.session_date = bars.session_date
    left join canonical.ohlcv_1d as benchmark
        on benchmark.symbol = 'IBM' and benchmark.bar_start = bars.bar_start
    where features.symbol = $1
    order by bars.bar_start
"""
# a value near zero is a difference of larger ones: it is compared by the feature's own scale
OF_THE_LARGEST = 1e-9


@pytest.mark.parametrize("symbol", ["AAPL", "GOOG", "IBM", "MSFT"])
def test_every_feature_equals_its_reference(symbol: str, demo: Demo) -> None:
    bars = arrow("analyst", BARS, (symbol,)).to_pandas()
    assert len(bars) > 2_000
    by_talib, by_pandas = talib_values(bars), pandas_values(bars)
    for feature, expected in [*by_talib.items(), *by_pandas.items()]:
        reference, values = np.asarray(expected, float), bars[feature].to_numpy(float)
        valid = ~np.isnan(reference)
        if feature in LATER:
            valid[: LATER[feature]] = False
        np.testing.assert_allclose(
            values[valid],
            reference[valid],
            rtol=1e-9,
            atol=OF_THE_LARGEST * np.abs(reference[valid]).max() + 1e-14,
            err_msg=f"{symbol} {feature}",
        )


def test_every_feature_has_a_reference(demo: Demo) -> None:
    with connect("analyst") as connection:
        rows = connection.execute("select feature from features.catalog where timeframe = '1d' and is_selectable")
        features = {feature for (feature,) in rows}
    bars = arrow("analyst", BARS, ("GOOG",)).to_pandas()
    assert len(features) >= 80
    assert features <= talib_values(bars).keys() | pandas_values(bars).keys()


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
