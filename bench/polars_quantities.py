"""What the polars features are made of: columns that several of them share, each step made from those before it.

Windows and recursions are `over("symbol")`; all else is elementwise. A recursion that TA-Lib begins with a mean is
`ewm_mean` over a series that is null before that row and the mean at it.
"""

import polars as pl

close, open_, high, low = (pl.col(name) for name in ("close", "open", "high", "low"))
volume, benchmark, last, row = (pl.col(name) for name in ("volume", "benchmark", "last", "row"))
r, b, squares, change = (pl.col(name) for name in ("r", "b", "squares", "change"))
true_range, location = pl.col("true_range"), pl.col("location")
spread = high - low


def with_quantities(bars: pl.LazyFrame) -> pl.LazyFrame:
    """The bars of polars_features.features and what their features share."""
    return (
        bars.with_columns(
            last=ago(close, 1), r=log_return(close, 1), b=log_return(benchmark, 1), row=each(pl.int_range(pl.len()))
        )
        .with_columns(**_measures())
        .with_columns(**_windows(), **_recursions())
        .with_columns(**_statistics())
        .with_columns(
            macd_signal=smoothed(pl.col("macd"), 2 / 10, 9, first=25),
            ema_12_twice=smoothed(pl.col("ema_12"), 2 / 13, 12, first=11),
            adx=smoothed(pl.col("dx"), 1 / 14, 14, first=14),
        )
    )


def each(x: pl.Expr) -> pl.Expr:
    return x.over("symbol")


def ago(x: pl.Expr, n: int) -> pl.Expr:
    return each(x.shift(n))


def total(x: pl.Expr, n: int) -> pl.Expr:
    return each(x.rolling_sum(n))


def mean(x: pl.Expr, n: int) -> pl.Expr:
    return each(x.rolling_mean(n))


def log_return(x: pl.Expr, n: int) -> pl.Expr:
    return (x / ago(x, n)).log()


def ratio(x: pl.Expr, y: pl.Expr) -> pl.Expr:
    """0 where there is nothing to divide by."""
    return pl.when(y == 0).then(0.0).otherwise(x / y)


def smoothed(x: pl.Expr, alpha: float, n: int, first: int, divisor: int | None = None) -> pl.Expr:
    """s + alpha * (x - s). x begins in row `first`, s with the sum of its first n values over `divisor` (or over n)."""
    begun = first + n - 1
    start = x.slice(first, n).sum() / (divisor or n)
    return each(pl.when(row == begun).then(start).when(row > begun).then(x).ewm_mean(alpha=alpha, adjust=False))


def _measures() -> dict[str, pl.Expr]:
    has_last, moved = last.is_not_null(), close - last
    risen, fallen = high - ago(high, 1), ago(low, 1) - low
    typical = (high + low + close) / 3
    up, down, body = (high / open_).log(), (low / open_).log(), (close / open_).log()
    return {
        "change": moved,
        "gain": moved.clip(lower_bound=0),
        "loss": (-moved).clip(lower_bound=0),
        "squares": r * r,
        "loss_squares": r.clip(upper_bound=0) ** 2,
        "true_range": pl.when(has_last).then(pl.max_horizontal(high, last) - pl.min_horizontal(low, last)),
        "buying": pl.when(has_last).then(close - pl.min_horizontal(low, last)),
        "up_move": pl.when((risen > fallen) & (risen > 0)).then(risen).when(has_last).then(0.0),
        "down_move": pl.when((fallen > risen) & (fallen > 0)).then(fallen).when(has_last).then(0.0),
        "location": ratio(2 * close - high - low, spread),
        "money": typical * volume,
        "flow": (typical - ago(typical, 1)).sign() * typical * volume,
        "volume_return": ((volume + 1) / (ago(volume, 1) + 1)).log(),
        "range_squares": (high / low).log() ** 2,
        "body_return": body,
        "gap": (open_ / last).log(),
        "rogers_satchell": up * (up - body) + down * (down - body),
    }


def _windows() -> dict[str, pl.Expr]:
    return {
        **{f"sma_{n}": mean(close, n) for n in (5, 20, 60)},
        **{f"sd_{n}": each(r.rolling_std(n)) for n in (5, 20, 60)},
        **{f"return_{n}": mean(r, n) for n in (20, 60)},
        **{f"volume_{n}": mean(volume, n) for n in (5, 20, 60)},
        **{f"range_{n}": total(true_range, n) for n in (5, 20, 60)},
        **{f"highest_{n}": each(high.rolling_max(n)) for n in (20, 60)},
        **{f"lowest_{n}": each(low.rolling_min(n)) for n in (20, 60)},
        "close_sd": each(close.rolling_std(20, ddof=0)),
        "volume_sd": each(volume.rolling_std(20)),
        "wma_20": each(close.rolling_mean(20, weights=[float(n) for n in range(1, 21)])),
        "squares_20": mean(squares, 20),
        "loss_squares_20": mean(pl.col("loss_squares"), 20),
        "rogers_satchell_20": mean(pl.col("rogers_satchell"), 20),
        "b_sd": each(b.rolling_std(20)),
        "strength": r - b,
        **{f"beta_{n}": each(pl.rolling_cov(r, b, window_size=n) / b.rolling_var(n)) for n in (20, 60)},
    }


def _recursions() -> dict[str, pl.Expr]:
    accumulated = (location * volume).cum_sum()
    directional = {name: pl.col(name) for name in ("true_range", "up_move", "down_move")}
    return {
        **{f"ema_{n}": smoothed(close, 2 / (n + 1), n, first=0) for n in (12, 26, 50)},
        "macd_fast": smoothed(close, 2 / 13, 12, first=14),
        **{f"gain_{n}": smoothed(pl.col("gain"), 1 / n, n, first=1) for n in (7, 14)},
        **{f"loss_{n}": smoothed(pl.col("loss"), 1 / n, n, first=1) for n in (7, 14)},
        "atr_14": smoothed(true_range, 1 / 14, 14, first=1),
        # Wilder's directional movement begins with the sum of 13 values, as if the fourteenth were 0
        **{f"smooth_{name}": smoothed(x, 1 / 14, 13, first=1, divisor=14) for name, x in directional.items()},
        "ewma_variance": smoothed(squares, 0.06, 20, first=1),
        "adosc": each(accumulated.ewm_mean(span=3, adjust=False) - accumulated.ewm_mean(span=10, adjust=False)),
    }


def _statistics() -> dict[str, pl.Expr]:
    up, down = pl.col("smooth_up_move"), pl.col("smooth_down_move")
    highest, lowest = pl.col("highest_20"), pl.col("lowest_20")
    return {
        "macd": pl.col("macd_fast") - pl.col("ema_26"),
        "slope": 210 * (pl.col("wma_20") - pl.col("sma_20")) / 665,
        "plus_di": 100 * up / pl.col("smooth_true_range"),
        "minus_di": 100 * down / pl.col("smooth_true_range"),
        "dx": 100 * ratio((up - down).abs(), up + down),
        "fast_k": 100 * (close - lowest) / (highest - lowest),
    }
