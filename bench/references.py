"""Every feature once more, by others: TA-Lib where it has it, pandas and numpy elsewhere, in plain floats.

`talib_values` and `pandas_values` take the bars of one symbol in order (open, high, low, close, volume, benchmark;
session columns) and return {feature: values}. NaN is where the reference has no value.
"""

import numpy as np
import pandas as pd
import talib

# rows that the reference has before the feature does: it looks for a pattern, a streak or a warm mean sooner
LATER = {"up_streak": 21, "down_streak": 21, "volatility_ewma": 21, "is_engulfing": 2}


def talib_values(bars: pd.DataFrame) -> dict[str, np.ndarray]:
    """What TA-Lib computes. Where a feature is scale-free and TA-Lib is not, the ratio is taken here."""
    open_, high, low, close, volume = (
        bars[name].to_numpy(float) for name in ("open", "high", "low", "close", "volume")
    )
    macd, macd_signal, _ = talib.MACD(close, 12, 26, 9)
    slow_k, slow_d = talib.STOCH(high, low, close, 20, 3, 0, 3, 0)
    upper, middle, lower = talib.BBANDS(close, 20, 2, 2)
    mean_volume = talib.SMA(volume, 20)
    ema_12, ema_26, ema_50 = (talib.EMA(close, n) for n in (12, 26, 50))
    atr_14 = talib.ATR(high, low, close, 14)
    return {
        "ret_1": np.log1p(talib.ROCP(close, 1)),
        "ret_5": np.log1p(talib.ROCP(close, 5)),
        "ret_20": np.log1p(talib.ROCP(close, 20)),
        "ret_60": np.log1p(talib.ROCP(close, 60)),
        "rsi_14": talib.RSI(close, 14),
        "roc_10": talib.ROC(close, 10) / 100,
        "rsi_7": talib.RSI(close, 7),
        "cmo_14": talib.CMO(close, 14),
        "stoch_k_20": slow_k,
        "stoch_d_20": slow_d,
        "willr_20": talib.WILLR(high, low, close, 20),
        "ultosc_5_20_60": talib.ULTOSC(high, low, close, 5, 20, 60),
        "imi_20": talib.IMI(open_, close, 20),
        "close_to_sma_20": close / talib.SMA(close, 20) - 1,
        "close_to_sma_5": close / talib.SMA(close, 5) - 1,
        "close_to_sma_60": close / talib.SMA(close, 60) - 1,
        "sma_5_to_20": talib.SMA(close, 5) / talib.SMA(close, 20) - 1,
        "sma_20_to_60": talib.SMA(close, 20) / talib.SMA(close, 60) - 1,
        "close_to_ema_12": close / ema_12 - 1,
        "close_to_ema_26": close / ema_26 - 1,
        "close_to_ema_50": close / ema_50 - 1,
        "macd_ratio": macd / close,
        "macd_histogram_ratio": (macd - macd_signal) / close,
        "wma_20_to_close": talib.WMA(close, 20) / close - 1,
        "dema_12_to_close": talib.DEMA(close, 12) / close - 1,
        "ppo_12_26": talib.PPO(close, 12, 26, 1),
        "linear_slope_20": talib.LINEARREG_SLOPE(close, 20) / close,
        "linear_fit_20_to_close": talib.LINEARREG(close, 20) / close - 1,
        "linear_forecast_20_to_close": talib.TSF(close, 20) / close - 1,
        "linear_r_squared_20": talib.CORREL(close, np.arange(len(close), dtype=float), 20) ** 2,
        "midprice_20_to_close": talib.MIDPRICE(high, low, 20) / close - 1,
        "plus_di_14": talib.PLUS_DI(high, low, close, 14),
        "minus_di_14": talib.MINUS_DI(high, low, close, 14),
        "dx_14": talib.DX(high, low, close, 14),
        "adx_14": talib.ADX(high, low, close, 14),
        "drawdown_60": close / talib.MAX(high, 60) - 1,
        "position_in_range_60": (close - talib.MIN(low, 60)) / (talib.MAX(high, 60) - talib.MIN(low, 60)),
        "atr_14_ratio": talib.NATR(high, low, close, 14) / 100,
        "true_range_ratio": talib.TRANGE(high, low, close) / np.roll(close, 1),
        "bollinger_position_20": (close - middle) / (upper - middle),
        "bollinger_width_20": (upper - lower) / middle,
        "volume_to_mean_20": volume / mean_volume - 1,
        "mfi_20": talib.MFI(high, low, close, volume, 20),
        "obv_change_20": _change(talib.OBV(close, volume), 20) / (20 * mean_volume),
        "money_flow_20": _change(talib.AD(high, low, close, volume), 20) / (20 * mean_volume),
        "adosc_3_10_ratio": talib.ADOSC(high, low, close, volume, 3, 10) / mean_volume,
        "balance_of_power": talib.BOP(open_, high, low, close),
        "is_engulfing": np.sign(talib.CDLENGULFING(open_, high, low, close)).astype(float),
        "gap_to_atr": (open_ - np.roll(close, 1)) / atr_14,
        "body_to_atr": (close - open_) / atr_14,
        "sma_20": talib.SMA(close, 20),
        "ema_12": ema_12,
        "ema_26": ema_26,
        "ema_50": ema_50,
        "macd": macd,
        "macd_signal": macd_signal,
        "atr_14": atr_14,
        "adx": talib.ADX(high, low, close, 14),
    }


def pandas_values(bars: pd.DataFrame) -> dict[str, pd.Series]:
    """What TA-Lib does not have, from textbook formulas over whole windows."""
    open_, high, low, close, volume = (bars[name].astype(float) for name in ("open", "high", "low", "close", "volume"))
    last = close.shift()
    r = np.log(close / last)
    squares, losses = r**2, r.clip(upper=0)
    true_range = pd.concat([high, last], axis=1).max(axis=1, skipna=False) - pd.concat([low, last], axis=1).min(
        axis=1, skipna=False
    )
    up, down, body = np.log(high / open_), np.log(low / open_), np.log(close / open_)
    gap, spread = np.log(open_ / last), high - low
    rogers_satchell = up * (up - body) + down * (down - body)
    k = 0.34 / (1.34 + 21 / 19)
    sd = {n: r.rolling(n).std() for n in (5, 20, 60)}
    money = (high + low + close) / 3 * volume
    volume_change = np.log((volume + 1) / (volume.shift() + 1))
    is_up, is_down = r > 0, r < 0
    return {
        "ret_in_session": body,
        "up_streak": _streak(is_up),
        "down_streak": _streak(is_down),
        "efficiency_20": (close - close.shift(20)) / close.diff().abs().rolling(20).sum(),
        "volatility_5": sd[5],
        "volatility_20": sd[20],
        "volatility_60": sd[60],
        "volatility_5_to_20": sd[5] / sd[20],
        "volatility_20_to_60": sd[20] / sd[60],
        "volatility_ewma": np.sqrt(_ewma(squares, 20, 0.06)),
        "range_log": np.log(high / low),
        "downside_volatility_20": np.sqrt((losses**2).rolling(20).mean()),
        "parkinson_20": np.sqrt((np.log(high / low) ** 2).rolling(20).mean() / (4 * np.log(2))),
        "garman_klass_20": np.sqrt((0.5 * np.log(high / low) ** 2 - (2 * np.log(2) - 1) * body**2).rolling(20).mean()),
        "rogers_satchell_20": np.sqrt(rogers_satchell.rolling(20).mean()),
        "yang_zhang_20": np.sqrt(
            gap.rolling(20).var() + k * body.rolling(20).var() + (1 - k) * rogers_satchell.rolling(20).mean()
        ),
        "true_range_to_mean_20": true_range / true_range.rolling(20).mean() - 1,
        "choppiness_20": np.log(true_range.rolling(20).sum() / (high.rolling(20).max() - low.rolling(20).min()))
        / np.log(20),
        "volume_change_1": np.log(volume / volume.shift()),
        "volume_5_to_20": volume.rolling(5).mean() / volume.rolling(20).mean() - 1,
        "volume_20_to_60": volume.rolling(20).mean() / volume.rolling(60).mean() - 1,
        "volume_zscore_20": (volume - volume.rolling(20).mean()) / volume.rolling(20).std(),
        "volume_dispersion_20": volume.rolling(20).std(ddof=0) / volume.rolling(20).mean(),
        "close_to_vwap_5": close * volume.rolling(5).sum() / money.rolling(5).sum() - 1,
        "close_to_vwap_20": close * volume.rolling(20).sum() / money.rolling(20).sum() - 1,
        "return_volume_correlation_20": r.rolling(20).corr(volume_change),
        "upper_shadow": ((high - np.maximum(open_, close)) / spread).fillna(0),
        "lower_shadow": ((np.minimum(open_, close) - low) / spread).fillna(0),
        "close_in_range": ((2 * close - high - low) / spread).fillna(0),
        "gap_log": gap,
        "is_doji": ((close - open_).abs() <= 0.1 * spread).astype(float),
        "is_hammer": _hammer(open_, high, low, close),
        "is_inside": ((high <= high.shift()) & (low >= low.shift())).astype(float).where(last.notna()),
        "is_outside": np.sign(close - open_)
        .where((high > high.shift()) & (low < low.shift()), 0.0)
        .where(last.notna()),
        **_calendar(bars),
        "sharpe_20": r.rolling(20).mean() / sd[20],
        "sharpe_60": r.rolling(60).mean() / sd[60],
        "return_zscore_20": (r - r.rolling(20).mean()) / sd[20],
        "skewness_20": _windows(r, 20, lambda w: (_centred(w) ** 3).mean(1) / w.std(1) ** 3),
        "kurtosis_20": _windows(r, 20, lambda w: (_centred(w) ** 4).mean(1) / w.std(1) ** 4 - 3),
        "autocorrelation_20": r.rolling(20).corr(r.shift()),
        "variance_ratio_20": (np.log(close / close.shift(5)) ** 2).rolling(20).sum() / (5 * squares.rolling(20).sum()),
        "up_share_20": is_up.astype(float).where(r.notna()).rolling(20).mean(),
        "up_share_60": is_up.astype(float).where(r.notna()).rolling(60).mean(),
        "downside_share_20": (losses**2).rolling(20).sum() / squares.rolling(20).sum(),
        "bipower_share_20": np.pi / 2 * (r * r.shift()).abs().rolling(20).sum() / squares.rolling(20).sum(),
        "mean_size_to_volatility_20": r.abs().rolling(20).mean() / sd[20],
        "largest_gain_20": r.rolling(20).max() / sd[20],
        "largest_loss_20": r.rolling(20).min() / sd[20],
        **_cross_asset(r, np.log(bars["benchmark"] / bars["benchmark"].shift())),
    }


def _cross_asset(r: pd.Series, b: pd.Series) -> dict[str, pd.Series]:
    r, b = r.where(b.notna()), b
    beta = {n: r.rolling(n).cov(b) / b.rolling(n).var() for n in (20, 60)}
    return {
        "benchmark_ret_1": b,
        "benchmark_ret_5": b.rolling(5).sum(),
        "benchmark_ret_20": b.rolling(20).sum(),
        "benchmark_volatility_20": b.rolling(20).std(),
        **{f"relative_strength_{n}": (r - b).rolling(n).sum() for n in (1, 5, 20, 60)},
        "beta_20": beta[20],
        "beta_60": beta[60],
        "correlation_20": r.rolling(20).corr(b),
        "correlation_60": r.rolling(60).corr(b),
        "residual_ret_1": r - beta[60] * b,
        "volatility_to_benchmark_20": r.rolling(20).std() / b.rolling(20).std(),
    }


def _calendar(bars: pd.DataFrame) -> dict[str, pd.Series]:
    day = pd.to_datetime(bars["session_date"])
    start, end = bars["bar_start"].dt.tz_convert("UTC"), bars["bar_end"].dt.tz_convert("UTC")
    of_day = (start - start.dt.normalize()) / pd.Timedelta(days=1)
    hour = pd.Timedelta(hours=1)
    length = bars["session_close"] - bars["session_open"]
    turn = 2 * np.pi
    return {
        "weekday_sin": np.sin(turn * day.dt.day_of_week / 7),
        "weekday_cos": np.cos(turn * day.dt.day_of_week / 7),
        "month_sin": np.sin(turn * (day.dt.month - 1) / 12),
        "month_cos": np.cos(turn * (day.dt.month - 1) / 12),
        "day_of_month": day.dt.day / 31,
        "time_of_day_sin": np.sin(turn * of_day),
        "time_of_day_cos": np.cos(turn * of_day),
        "hours_from_open": (start - bars["session_open"]) / hour,
        "hours_to_close": (bars["session_close"] - end) / hour,
        "session_progress": (end - bars["session_open"]) / length,
        "session_hours": length / hour,
        "is_half_session": (length < pd.Timedelta(hours=5)).astype(float),
        "hours_since_last_bar": (start - end.shift()) / hour,
    }


def _hammer(open_: pd.Series, high: pd.Series, low: pd.Series, close: pd.Series) -> pd.Series:
    body, spread = (close - open_).abs(), high - low
    above, below = high - np.maximum(open_, close), np.minimum(open_, close) - low
    hammer = (below >= 2 * body) & (above <= 0.1 * spread) & (spread > 0)
    inverted = (above >= 2 * body) & (below <= 0.1 * spread) & (spread > 0)
    return hammer.astype(float) - (inverted & ~hammer).astype(float)


def _streak(holds: pd.Series) -> pd.Series:
    blocks = (~holds).cumsum()
    return holds.astype(float).groupby(blocks).cumsum().clip(upper=20)


def _ewma(x: pd.Series, n: int, alpha: float) -> pd.Series:
    """The mean of the first n values, then s + alpha * (x - s)."""
    values = x.dropna()
    warm = values.iloc[:n].expanding().mean()
    later = pd.concat([warm.iloc[-1:], values.iloc[n:]]).ewm(alpha=alpha, adjust=False).mean()
    return pd.concat([warm.iloc[:-1], later]).reindex(x.index)


def _windows(x: pd.Series, n: int, statistic) -> pd.Series:
    values = statistic(np.lib.stride_tricks.sliding_window_view(x.to_numpy(), n))
    return pd.Series(np.concatenate([np.full(n - 1, np.nan), values]), index=x.index)


def _centred(windows: np.ndarray) -> np.ndarray:
    return windows - windows.mean(axis=1, keepdims=True)


def _change(x: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([np.full(n, np.nan), x[n:] - x[:-n]])
