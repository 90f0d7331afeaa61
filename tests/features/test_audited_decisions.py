"""What the audit of decisions says of one whose bars were built anew since, and why they were."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.canonical.tapes import Exchange, Tape, numbered, walk
from tests.machine import BUILT, as_owner, running_warehouse
from warehouse.connection import connect

pytestmark = pytest.mark.whole

BARS, TICK = walk(21, 130), 100
# a tick that nothing confirms: it is in no bar until a person accepts it
FALSE = BARS[TICK].times(1, close=BARS[TICK].close * 2, high=BARS[TICK].close * 2)
SYMBOLS = ("ACCEPTED", "PLAIN")
BUILD = ("run", "--select", "stg_vendors__symbols", "decisions", "ohlcv_1m", "ohlcv_1d", "features_1d", "parity")
DECIDE = """
    insert into ledger.decisions (decision_id, account_id, model_id, symbol, timeframe, bar_start, bar_end, attempt,
        broker_time, feature_names, feature_values, score, target_weight)
    select
        symbol, 'a', 'm', symbol, '1d', bar_start, bar_start + interval '6.5 hours', 1, clock_timestamp(),
        array['ret_20', 'volatility_60', 'rsi_14'], array[ret_20, volatility_60, rsi_14], 0, 0
    from (select distinct on (symbol) * from features.features_1d order by symbol, bar_start desc) as newest
"""


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    """Two stocks, one of them with a false tick, a decision on the newest bar of each, and its audit."""
    with (
        running_warehouse(tmp_path / "state", BUILT),
        connect("loader") as loader,
        connect("transformer") as transformer,
    ):
        ensure_sessions(loader, "XNYS", date(2024, 12, 31))
        exchange = Exchange(loader, transformer)
        exchange.land(Tape("ACCEPTED", numbered(BARS, _100=FALSE)), Tape("PLAIN", numbered(BARS)))
        run_dbt(*BUILD)
        with as_owner(past_triggers=True) as owner:
            owner.execute(DECIDE)
        run_dbt(*BUILD)
        assert _verdicts() == dict.fromkeys(SYMBOLS, "identical")
        yield exchange


@pytest.mark.parametrize("rule", ["confirmations", "price_limits"])
def test_a_rule_of_later_is_no_defect(exchange: Exchange, rule: str) -> None:
    """What was known then is judged by the rules of today: the tick is in a bar, and was in none."""
    if rule == "confirmations":
        exchange.decide("ACCEPTED", "1d", str(exchange.days[TICK]), "price", "accept")
    else:
        with connect("transformer") as transformer:
            transformer.execute("update reference.price_limits set largest_move = 9 where timeframe = '1d'")
    run_dbt(*BUILD)
    assert _verdicts() == {"ACCEPTED": "other rules", "PLAIN": "identical"}


def test_a_rebuild_by_the_same_rules_hides_no_defect(exchange: Exchange) -> None:
    with as_owner(past_triggers=True) as owner:
        owner.execute("update ledger.decisions set feature_values[1] = 0 where symbol = 'PLAIN'")
    run_dbt(*BUILD, "--full-refresh")
    assert _verdicts() == {"ACCEPTED": "identical", "PLAIN": "defect"}


def _verdicts() -> dict[str, str]:
    with connect("analyst") as analyst:
        return dict(analyst.execute("select symbol, verdict from results.parity order by symbol").fetchall())
