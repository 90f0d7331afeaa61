"""Any symbol is a symbol: NULL, TRUE, 0700 and BRK/B from the seeds to their bars, a hypothesis and a broker."""

import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from execution.brokers.base import Customs
from execution.brokers.named import NamedBroker, named
from flows import dbt_command
from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from loaders.raw.instruments import instruments_of
from loaders.raw.landing import land
from loaders.vendors.polygon import PolygonSource
from training.hypothesis import load as load_hypothesis
from warehouse.connection import connect

SYMBOLS = ("NULL", "TRUE", "0700", "1000SATSUSDT", "BRK/B", "NA", "1E5", "007", "NaN")

HYPOTHESIS = f"""\
experiment_id: any_symbol
description: Something is believed.
symbols: [{", ".join(SYMBOLS)}, on, '1.0']
timeframe: 1d
model_type: xgboost
feature_groups: [volume]
target: {{kind: binary}}
position_sizing: {{policy: long_flat}}
costs: {{bps_per_side: 2}}
training:
  start: 2000-01-01
  grid: {{max_depth: [2, 3], learning_rate: [0.05, 0.1]}}
"""


def test_a_hypothesis_takes_symbols_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "h.yaml"
    path.write_text(HYPOTHESIS)
    assert set(load_hypothesis(path).symbols) == {*SYMBOLS, "on", "1.0"}


@pytest.mark.whole
def test_the_seeds_take_symbols_as_they_are_written(
    empty_warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "dbt_project"
    shutil.copytree(dbt_command.DBT_PROJECT_DIR, project, ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setattr(dbt_command, "DBT_PROJECT_DIR", project)
    for name, line in (
        ("instruments", "{0},equity,XNYS,8,1,false,a name,,,"),
        ("vendor_symbols", "{0},polygon,{0},,"),
        ("broker_symbols", "{0},alpaca,{0}.B"),
    ):
        with (project / "seeds" / f"{name}.csv").open("a") as file:
            file.write("".join(f"{line.format(symbol)}\n" for symbol in SYMBOLS))
    run_dbt("seed")
    start = datetime(2023, 3, 13, 4, tzinfo=UTC)
    with connect("loader") as connection:
        ensure_sessions(connection, "XNYS", date(2023, 12, 31))
        assert {*SYMBOLS, "AAPL"} <= {one.symbol for one in instruments_of(connection, "polygon", None)}
        halts = connection.execute("select count(*) from reference.trading_halts where symbol is null").fetchone()
        assert halts[0] > 0, "an empty field is still no value"
        for number, symbol in enumerate(SYMBOLS, start=1):
            fields = {"ticker": symbol, "multiplier": 1, "timespan": "day", "v": 1, "vw": None, "n": None, "otc": False}
            fields |= dict.fromkeys(("o", "h", "l", "c"), Decimal(number))
            rows = [fields | {"t": start + timedelta(days=day)} for day in range(4)]
            land(connection, PolygonSource.bars_table, rows)
    run_dbt("run", "--select", "+ohlcv_1d")
    with connect("analyst") as connection:
        rows = connection.execute("select distinct symbol, close from canonical.ohlcv_1d order by close").fetchall()
    assert rows == [(symbol, number) for number, symbol in enumerate(SYMBOLS, start=1)]

    class Alpaca:
        name, mode, customs = "alpaca", "paper", Customs()

    broker = named(Alpaca())
    assert isinstance(broker, NamedBroker)
    assert broker._names == {symbol: f"{symbol}.B" for symbol in SYMBOLS}
