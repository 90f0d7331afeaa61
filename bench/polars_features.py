"""The features of features_1d once more, as polars expressions: what a user of polars would write, group by group.

polars runs them lazily and on all cores. They stand on the columns of polars_quantities.
"""

import math

import polars as pl

from bench.polars_quantities import (
    ago,
    b,
    change,
    close,
    each,
    high,
    last,
    location,
    log_return,
    low,
    mean,
    open_,
    r,
    ratio,
    row,
    spread,
    total,
    true_range,
    volume,
    with_quantities,
)

LEVELS = ("sma_20", "ema_12", "ema_26", "ema_50", "macd", "macd_signal", "atr_14", "adx")
LN_2 = math.log(2)
YANG_ZHANG = 0.34 / (1.34 + 21 / 19)


def features(bars: pl.LazyFrame) -> pl.LazyFrame:
    """Every feature and level, with symbol, bar_start, bar_no and is_ready, in the order of the bars.

    bars  symbol, bar_start, bar_end, bar_no, session_date, session_open, session_close, and as float64 open, high, low,
          close, volume, benchmark (the benchmark's close); each symbol's in order, times in UTC
    """
    return with_quantities(bars).select(
        "symbol",
        "bar_start",
        "bar_no",
        is_ready=(pl.col("bar_no") - ago(pl.col("bar_no"), 60) == 60).fill_null(False),
        **_momentum(),
        **_trend(),
        **_volatility(),
        **_volume(),
        **_candle(),
        **_calendar(),
        **_statistical(),
        **_cross_asset(),
        **{name: pl.col(name) for name in LEVELS},
    )


def _momentum() -> dict[str, pl.Expr]:
    gain, loss, fast_k = pl.col("gain_14"), pl.col("loss_14"), pl.col("fast_k")
    highest, lowest = pl.col("highest_60"), pl.col("lowest_60")
    buying = {n: total(pl.col("buying"), n) / pl.col(f"range_{n}") for n in (5, 20, 60)}
    return {
        "ret_1": r,
        **{f"ret_{n}": log_return(close, n) for n in (5, 20, 60)},
        "rsi_14": 100 * ratio(gain, gain + loss),
        "ret_in_session": pl.col("body_return"),
        "roc_10": close / ago(close, 10) - 1,
        "rsi_7": 100 * ratio(pl.col("gain_7"), pl.col("gain_7") + pl.col("loss_7")),
        "cmo_14": 100 * ratio(gain - loss, gain + loss),
        "stoch_k_20": mean(fast_k, 3),
        "stoch_d_20": mean(fast_k.rolling_mean(3), 3),
        "willr_20": fast_k - 100,
        "ultosc_5_20_60": 100 * (4 * buying[5] + 2 * buying[20] + buying[60]) / 7,
        "imi_20": 100 * total((close - open_).clip(lower_bound=0), 20) / total((close - open_).abs(), 20),
        "position_in_range_60": (close - lowest) / (highest - lowest),
        "up_streak": _streak(change > 0),
        "down_streak": _streak(change < 0),
    }


def _streak(holds: pl.Expr) -> pl.Expr:
    broken = pl.when(~holds.fill_null(False)).then(row)
    return (row - each(broken.forward_fill())).clip(upper_bound=20).cast(pl.Float64)


def _trend() -> dict[str, pl.Expr]:
    sma, ema_12, ema_26, macd = (pl.col(name) for name in ("sma_20", "ema_12", "ema_26", "macd"))
    slope = pl.col("slope")
    return {
        **{f"close_to_{name}": close / pl.col(name) - 1 for name in ("sma_5", "sma_20", "sma_60")},
        **{f"close_to_{name}": close / pl.col(name) - 1 for name in ("ema_12", "ema_26", "ema_50")},
        "macd_ratio": macd / close,
        "macd_histogram_ratio": (macd - pl.col("macd_signal")) / close,
        "sma_5_to_20": pl.col("sma_5") / sma - 1,
        "sma_20_to_60": sma / pl.col("sma_60") - 1,
        "wma_20_to_close": pl.col("wma_20") / close - 1,
        "dema_12_to_close": (2 * ema_12 - pl.col("ema_12_twice")) / close - 1,
        "ppo_12_26": 100 * (ema_12 - ema_26) / ema_26,
        "linear_slope_20": slope / close,
        "linear_fit_20_to_close": (sma + 9.5 * slope) / close - 1,
        "linear_forecast_20_to_close": (sma + 10.5 * slope) / close - 1,
        "linear_r_squared_20": 33.25 * (slope / pl.col("close_sd")) ** 2,
        "midprice_20_to_close": (pl.col("highest_20") + pl.col("lowest_20")) / 2 / close - 1,
        "plus_di_14": pl.col("plus_di"),
        "minus_di_14": pl.col("minus_di"),
        "dx_14": pl.col("dx"),
        "adx_14": pl.col("adx"),
        "efficiency_20": (close - ago(close, 20)) / total(change.abs(), 20),
        "drawdown_60": close / pl.col("highest_60") - 1,
    }


def _volatility() -> dict[str, pl.Expr]:
    sd, range_squares, rogers_satchell = pl.col("sd_20"), pl.col("range_squares"), pl.col("rogers_satchell_20")
    overnight, in_session = (each(pl.col(name).rolling_var(20)) for name in ("gap", "body_return"))
    highest, lowest, close_sd = pl.col("highest_20"), pl.col("lowest_20"), pl.col("close_sd")
    return {
        "atr_14_ratio": pl.col("atr_14") / close,
        "true_range_ratio": true_range / last,
        **{f"volatility_{n}": pl.col(f"sd_{n}") for n in (5, 20, 60)},
        "range_log": (high / low).log(),
        "volatility_5_to_20": pl.col("sd_5") / sd,
        "volatility_20_to_60": sd / pl.col("sd_60"),
        "volatility_ewma": pl.col("ewma_variance").sqrt(),
        "downside_volatility_20": pl.col("loss_squares_20").sqrt(),
        "parkinson_20": (mean(range_squares, 20) / (4 * LN_2)).sqrt(),
        "garman_klass_20": mean(range_squares / 2 - (2 * LN_2 - 1) * pl.col("body_return") ** 2, 20).sqrt(),
        "rogers_satchell_20": rogers_satchell.sqrt(),
        "yang_zhang_20": (overnight + YANG_ZHANG * in_session + (1 - YANG_ZHANG) * rogers_satchell).sqrt(),
        "bollinger_position_20": (close - pl.col("sma_20")) / (2 * close_sd),
        "bollinger_width_20": 4 * close_sd / pl.col("sma_20"),
        "true_range_to_mean_20": 20 * true_range / pl.col("range_20") - 1,
        "choppiness_20": (pl.col("range_20") / (highest - lowest)).log() / math.log(20),
    }


def _volume() -> dict[str, pl.Expr]:
    usual, flow, sd = pl.col("volume_20"), pl.col("flow"), pl.col("volume_sd")
    inflow, outflow = (total((sign * flow).clip(lower_bound=0), 20) for sign in (1, -1))
    return {
        "volume_change_1": log_return(volume, 1),
        "volume_to_mean_20": volume / usual - 1,
        "volume_5_to_20": pl.col("volume_5") / usual - 1,
        "volume_zscore_20": (volume - usual) / sd,
        "volume_20_to_60": usual / pl.col("volume_60") - 1,
        "volume_dispersion_20": math.sqrt(19 / 20) * sd / usual,
        "mfi_20": 100 * inflow / (inflow + outflow),
        "obv_change_20": mean(change.sign() * volume, 20) / usual,
        "money_flow_20": mean(location * volume, 20) / usual,
        "adosc_3_10_ratio": pl.col("adosc") / usual,
        **{f"close_to_vwap_{n}": close * pl.col(f"volume_{n}") / mean(pl.col("money"), n) - 1 for n in (5, 20)},
        "return_volume_correlation_20": each(pl.rolling_corr(r, pl.col("volume_return"), window_size=20)),
    }


def _candle() -> dict[str, pl.Expr]:
    body, before, up = (close - open_).abs(), ago(open_, 1), close >= open_
    upper, lower = high - pl.max_horizontal(open_, close), pl.min_horizontal(open_, close) - low
    is_hammer = (lower >= 2 * body) & (upper <= 0.1 * spread) & (spread > 0)
    is_inverted = (upper >= 2 * body) & (lower <= 0.1 * spread) & (spread > 0)
    over = ((close >= before) & (open_ < last)) | ((close > before) & (open_ <= last))
    under = ((open_ >= last) & (close < before)) | ((open_ > last) & (close <= before))
    is_outside = (high > ago(high, 1)) & (low < ago(low, 1))
    return {
        "balance_of_power": ratio(close - open_, spread),
        "upper_shadow": ratio(upper, spread),
        "lower_shadow": ratio(lower, spread),
        "close_in_range": location,
        "gap_log": pl.col("gap"),
        "gap_to_atr": (open_ - last) / pl.col("atr_14"),
        "body_to_atr": (close - open_) / pl.col("atr_14"),
        "is_doji": (body <= 0.1 * spread).cast(pl.Float64),
        "is_hammer": _flag(is_hammer, is_inverted),
        "is_engulfing": _flag(up & (last < before) & over, ~up & (last >= before) & under),
        "is_inside": ((high <= ago(high, 1)) & (low >= ago(low, 1))).cast(pl.Float64),
        "is_outside": pl.when(is_outside).then((close - open_).sign()).when(last.is_not_null()).then(0.0),
    }


def _flag(rising: pl.Expr, falling: pl.Expr) -> pl.Expr:
    return pl.when(rising).then(1.0).when(falling).then(-1.0).otherwise(0.0)


def _calendar() -> dict[str, pl.Expr]:
    day, start, end = (pl.col(name) for name in ("session_date", "bar_start", "bar_end"))
    session_open, session_close = pl.col("session_open"), pl.col("session_close")
    length, turn = _hours(session_close - session_open), 2 * math.pi
    weekday, month = turn * (day.dt.weekday() - 1) / 7, turn * (day.dt.month() - 1) / 12
    of_day = turn * (start.dt.epoch("us") % 86_400_000_000) / 86_400_000_000
    return {
        "weekday_sin": weekday.sin(),
        "weekday_cos": weekday.cos(),
        "month_sin": month.sin(),
        "month_cos": month.cos(),
        "day_of_month": day.dt.day() / 31,
        "time_of_day_sin": of_day.sin(),
        "time_of_day_cos": of_day.cos(),
        "hours_from_open": _hours(start - session_open),
        "hours_to_close": _hours(session_close - end),
        "session_progress": _hours(end - session_open) / length,
        "session_hours": length,
        "is_half_session": (length < 5).cast(pl.Float64),
        "hours_since_last_bar": _hours(start - ago(end, 1)),
    }


def _hours(length: pl.Expr) -> pl.Expr:
    return length.dt.total_microseconds() / 3_600_000_000


def _statistical() -> dict[str, pl.Expr]:
    sd, squares_20 = pl.col("sd_20"), pl.col("squares_20")
    return {
        **{f"sharpe_{n}": pl.col(f"return_{n}") / pl.col(f"sd_{n}") for n in (20, 60)},
        "return_zscore_20": (r - pl.col("return_20")) / sd,
        "skewness_20": each(r.rolling_skew(20)),
        "kurtosis_20": each(r.rolling_kurtosis(20)),
        "autocorrelation_20": each(pl.rolling_corr(r, r.shift(1), window_size=20)),
        "variance_ratio_20": mean(log_return(close, 5) ** 2, 20) / (5 * squares_20),
        **{f"up_share_{n}": mean((r > 0).cast(pl.Float64), n) for n in (20, 60)},
        "downside_share_20": pl.col("loss_squares_20") / squares_20,
        "bipower_share_20": math.pi / 2 * mean((r * ago(r, 1)).abs(), 20) / squares_20,
        "mean_size_to_volatility_20": mean(r.abs(), 20) / sd,
        "largest_gain_20": each(r.rolling_max(20)) / sd,
        "largest_loss_20": each(r.rolling_min(20)) / sd,
    }


def _cross_asset() -> dict[str, pl.Expr]:
    strength = pl.col("strength")
    return {
        "benchmark_ret_1": b,
        **{f"benchmark_ret_{n}": total(b, n) for n in (5, 20)},
        "benchmark_volatility_20": pl.col("b_sd"),
        "relative_strength_1": strength,
        **{f"relative_strength_{n}": total(strength, n) for n in (5, 20, 60)},
        **{f"beta_{n}": pl.col(f"beta_{n}") for n in (20, 60)},
        **{f"correlation_{n}": each(pl.rolling_corr(r, b, window_size=n)) for n in (20, 60)},
        "residual_ret_1": r - pl.col("beta_60") * b,
        "volatility_to_benchmark_20": pl.col("sd_20") / pl.col("b_sd"),
    }
