"""What is read of the warehouse for training: whose bars, until when, and what is missing or refused."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from tests.training import worlds
from training import dataset
from training.panel_rows import DatasetError
from training.train import train
from warehouse.connection import connect

pytestmark = pytest.mark.usefixtures("made_up_warehouse")

ONE_BAR = "symbol = 'EDGE' and session_date = '2001-03-01'"


def test_the_dataset_is_what_the_warehouse_holds() -> None:
    read, made = dataset.read(worlds.hypothesis()), worlds.dataset()
    assert read.digest == made.digest
    assert (read.unready_rows, read.fingerprints) == (20, worlds.FINGERPRINTS)


@contextmanager
def gone_on(day: date, result: float | None = None, bars: int = 600) -> Iterator[None]:
    """GONE, with this many bars of NOISE, was delisted on a day."""
    last = worlds.sessions(1200)[bars - 1]
    copied = "{} select 'GONE', {} from {} where symbol = 'NOISE' and bar_start <= %s"
    prices = "bar_start, session_date, adj_open, adj_high, adj_low, high, low, volume, false, false, adj_open * 0.9"
    features = "bar_start, bar_no, volume_surprise, wind_direction, sma_20, is_ready"
    with connect("transformer") as connection:
        connection.execute(
            "insert into reference.instruments values ('GONE', 'XNYS', 'equity', null, %s, %s)", (day, result)
        )
        for relation, columns in (("canonical.ohlcv_1d", prices), ("features.features_1d", features)):
            connection.execute(copied.format(f"insert into {relation}", columns, relation), (last,))
    try:
        yield
    finally:
        with connect("transformer") as connection:
            for relation in ("reference.instruments", "canonical.ohlcv_1d", "features.features_1d"):
                connection.execute(f"delete from {relation} where symbol = 'GONE'")


@pytest.mark.parametrize("result", [None, -0.4])
def test_a_delisting_is_read_from_the_instruments(result: float | None) -> None:
    with gone_on(worlds.sessions(1200)[600].date(), result):
        read = dataset.read(worlds.hypothesis(symbols=["EDGE", "GONE"]))
        assert len(read.delistings) == 1
        (ended,) = read.delistings
        assert (ended.column, ended.bar, ended.result) == (1, 600, result)
        assert ended.after_open == pytest.approx(-0.1)
        # alone, the grid goes on until there is a bar at which it is over
        alone = dataset.read(worlds.hypothesis(symbols=["GONE"]))
        assert (len(alone.sessions), alone.delistings[0].bar) == (601, 600)
        assert alone.digest != replace(alone, delistings=()).digest
        assert not dataset.read(worlds.hypothesis(symbols=["EDGE"])).delistings


@pytest.mark.parametrize("result", [2.0, -30.0, math.nan])
def test_a_delisting_return_that_cannot_be_is_refused(result: float) -> None:
    with (
        gone_on(worlds.sessions(1200)[600].date(), result),
        pytest.raises(DatasetError, match=r"delisting_return of GONE is .*, which is no number from -1 to 1"),
    ):
        dataset.read(worlds.hypothesis(symbols=["EDGE", "GONE"]))


def test_a_delisting_that_is_only_announced_is_none_yet() -> None:
    ahead = datetime(2999, 1, 4, 14, 30, tzinfo=UTC)
    with connect("loader") as connection:
        connection.execute(
            "insert into reference.trading_sessions values ('XNYS', %s, %s, %s, 1200)",
            (ahead.date(), ahead, ahead + timedelta(hours=6.5)),
        )
        connection.execute("select reference.count_session_bars('XNYS')")
    try:
        with gone_on(ahead.date()):
            read = dataset.read(worlds.hypothesis(symbols=["GONE"], training={"start": "2000-01-01"}))
            assert (len(read.sessions), read.delistings) == (600, ())
    finally:
        with connect("loader") as connection:
            connection.execute(
                "select reference.replace_sessions('XNYS', %s, '{}'::date[], '{}', '{}', 'none')", (ahead.date(),)
            )


def test_a_delisting_on_the_weekend_of_the_end_is_settled_after_it() -> None:
    monday = worlds.sessions(1200)[600].date()
    with gone_on(monday - timedelta(days=2)):
        training = {"start": "2000-01-01", "end": monday - timedelta(days=1)}
        read = dataset.read(worlds.hypothesis(symbols=["GONE"], training=training))
        assert (len(read.sessions), [one.bar for one in read.delistings]) == (601, [600])


def test_a_universe_holds_who_was_a_member_then() -> None:
    leaves, joins = (worlds.sessions(1200)[number].date() for number in (700, 300))
    with connect("transformer") as connection:
        connection.execute(
            "insert into reference.universes values ('both', 'NOISE', null, %s), ('both', 'EDGE', %s, null),"
            " ('both', 'LATER', '2030-01-01', null)",
            (leaves, joins),
        )
    sizing = {"policy": "top_bottom_k", "top": 1}
    asked = {"symbols": [], "universe": "both", "position_sizing": sizing}
    training = {"start": "2000-01-01", "end": "2012-09-28"}
    try:
        read = dataset.read(worlds.hypothesis(**asked, training=training))
        assert read.symbols == ("EDGE", "NOISE"), "who joins after the end is not asked for"
        assert (read.is_member.argmax(axis=0).tolist(), read.is_member.sum(axis=0).tolist()) == ([300, 0], [900, 700])
        assert not read.ready[~read.is_member].any()
        assert np.isnan(read.features[~read.ready]).all()
        everybody = dataset.read(worlds.hypothesis(symbols=["EDGE", "NOISE"], position_sizing=sizing))
        assert read.digest != everybody.digest
        with pytest.raises(DatasetError, match=r"universe bot has no member .* did you mean both"):
            dataset.read(worlds.hypothesis(**{**asked, "universe": "bot"}))
        with pytest.raises(DatasetError, match="unknown symbol LATER"):
            dataset.read(worlds.hypothesis(**asked, training={"start": "2000-01-01"}))
    finally:
        with connect("transformer") as connection:
            connection.execute("delete from reference.universes")


def test_a_row_without_a_value_is_dropped_and_counted() -> None:
    """A feature may have no value on a day: that costs the day of whoever uses the feature, and no hypothesis."""
    one_row = "symbol = 'EDGE' and bar_start = (select bar_start from canonical.ohlcv_1d where " + ONE_BAR + ")"
    with connect("transformer") as connection:
        before = connection.execute(f"select wind_direction from features.features_1d where {one_row}").fetchone()[0]
        connection.execute(f"update features.features_1d set wind_direction = null where {one_row}")
    try:
        read = dataset.read(worlds.hypothesis())
        assert read.unready_rows == 21
        assert np.isnan(read.features[~read.ready]).all()
        assert np.isfinite(read.features[read.ready]).all()
    finally:
        with connect("transformer") as connection:
            connection.execute(f"update features.features_1d set wind_direction = %s where {one_row}", (before,))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"symbols": ["EDGE", "ZZZ"]}, "unknown symbol ZZZ"),
        (
            {"feature_groups": ["volume", "momentum"]},
            "feature group momentum has no feature .* the warehouse has volume",
        ),
        ({"training": {"start": "2030-01-01"}}, "has no bar of EDGE from 2030-01-01"),
        ({"features": ["volume_suprise"]}, r"no feature volume_suprise .*; did you mean volume_surprise\?"),
        ({"exclude_features": ["sma_20"]}, "there is no feature sma_20 for timeframe 1d"),
        ({"exclude_features": ["volume_surprise", "wind_direction"]}, "made_up excludes every feature"),
        (
            {"training": {**worlds.GRID, "xgboost": {"monotone_constraints": {"sma_2": 1}}}},
            "there is no feature sma_2 for timeframe 1d",
        ),
        ({"timeframe": "4h"}, "feature group volume has no feature for timeframe 4h"),
    ],
)
def test_what_is_not_there_is_said_and_nothing_is_written(changes: dict, sentence: str) -> None:
    before = worlds.counts()
    with pytest.raises(DatasetError, match=sentence):
        train(worlds.hypothesis(**changes), source_file="x.yaml")
    assert worlds.counts() == before


def test_a_symbol_whose_features_do_not_follow_from_what_landed_is_not_trained() -> None:
    with connect("transformer") as connection:
        connection.execute("insert into features.freshness_1d values ('EDGE', '2001-01-01', 'late rows landed')")
    try:
        with pytest.raises(DatasetError, match=r"features of EDGE \(late rows landed\) do not follow .* `dbt build`"):
            dataset.read(worlds.hypothesis())
    finally:
        with connect("transformer") as connection:
            connection.execute("delete from features.freshness_1d")


def test_a_bar_without_trades_is_read_as_one() -> None:
    with connect("transformer") as connection:
        connection.execute(f"update canonical.ohlcv_1d set volume = 0, high = low where {ONE_BAR}")
        gone = connection.execute("delete from canonical.ohlcv_1d where session_date = '2001-03-05'").rowcount
    try:
        read = dataset.read(worlds.hypothesis())
        assert (gone, (~read.is_traded).sum(), np.isnan(read.opens).sum()) == (2, 2, 1)
        assert read.is_expected.all()
    finally:
        with connect("transformer") as connection:
            connection.execute(f"update canonical.ohlcv_1d set volume = 1000, high = adj_high where {ONE_BAR}")
            for symbol, strength, seed in (("EDGE", 1.2, 5), ("NOISE", 0.0, 6)):
                data = worlds.dataset(symbols=(symbol,), strength=strength, seed=seed)
                place = int(np.flatnonzero(data.sessions.astype("datetime64[D]") == np.datetime64("2001-03-05"))[0])
                high, low = (repr(float(prices[place, 0])) for prices in (data.highs, data.lows))
                values = (symbol, worlds.sessions(1200)[place], repr(float(data.opens[place, 0])), high, low, high, low)
                connection.execute(
                    "insert into canonical.ohlcv_1d values"
                    " (%s, %s, '2001-03-05', %s, %s, %s, %s, %s, 1000, false, false)",
                    values,
                )
        assert dataset.read(worlds.hypothesis()).digest == worlds.dataset().digest, "as it was"


def test_a_series_that_stops_misses_bars_until_it_is_delisted() -> None:
    """Who stops without a word is expected to the end; coverage tells. Last here: its trials are related to others'."""
    first, silent, delisted, unheard_of = 0, 599, 650, date(2999, 1, 4)
    for day, until in ((worlds.sessions(1200)[delisted].date(), delisted), (unheard_of, 1200)):
        with gone_on(day):
            read = dataset.read(worlds.hypothesis(symbols=["EDGE", "GONE"]))
            assert np.flatnonzero(read.is_expected[:, 1]).tolist() == list(range(first, until))
            assert read.is_expected[:, 0].all()
            assert np.isfinite(read.opens[:, 1]).sum() == silent + 1
    with gone_on(unheard_of):
        run = train(worlds.hypothesis(symbols=["EDGE", "GONE"], training=worlds.GRID), source_file="made_up.yaml")
        with connect("analyst") as connection:
            coverage, left_out = connection.execute(
                "select coverage, left_out from research.trials where run_id = %s limit 1", (run.run_id,)
            ).fetchone()
        assert (coverage["EDGE"], coverage["GONE"] < 0.6) == (1.0, True)
        assert left_out["missing"] > 400
