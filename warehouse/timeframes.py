"""The timeframes of canonical bars and features, shortest first. dbt_project.yml declares the same to SQL."""

from datetime import timedelta
from typing import Literal, get_args

Timeframe = Literal["1m", "5m", "15m", "1h", "4h", "1d"]
TIMEFRAMES: tuple[Timeframe, ...] = get_args(Timeframe)

_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

# the length of a bar; a day's bar is its session, which is shorter than that
LENGTHS: dict[str, timedelta] = {name: int(name[:-1]) * _UNITS[name[-1]] for name in TIMEFRAMES}
