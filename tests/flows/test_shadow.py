"""The flow of models in the shadow says what a person should hear, and asks only for bars that somebody decides."""

from datetime import UTC, datetime

from execution.shadow import Seen, ShadowDecision
from flows.shadow import concerns, feeds
from models_registry.registry import ModelRecord
from training.forward import Outcome

NOW = datetime(2030, 1, 2, 21, tzinfo=UTC)


def _decision(*, is_late: bool) -> ShadowDecision:
    return ShadowDecision("SPY", NOW, 0.1, 1.0, is_late)


def test_what_a_person_should_hear() -> None:
    seen = [
        Seen("in-time", (_decision(is_late=False),)),
        Seen("too-late", (_decision(is_late=False), _decision(is_late=True))),
        Seen("gone", aside="its package is not there"),
    ]
    outcomes = [
        Outcome("goes-on", 1, "goes_on", "luck_p is 0.4"),
        Outcome("untested", 2, None, "the data of 1d grew since they were tested"),
        Outcome("redefined", 1, "retired", "since 2029-12-20 roc_10 is computed otherwise"),
    ]
    assert concerns(seen, outcomes) == [
        "model too-late: decisions: 2, too late to count: 1",
        "model gone is set aside: its package is not there",
        "model untested, look 2 in the shadow: is put off: the data of 1d grew since they were tested",
        "model redefined, look 1 in the shadow: retired: since 2029-12-20 roc_10 is computed otherwise",
    ]


def test_bars_come_from_where_a_sessions_do() -> None:
    classes = {"SPY": "equity", "IBM": "equity", "BTC": "crypto", "EUR": "fx"}
    records = [
        _record("1d", "SPY", "IBM"),
        _record("1h", "BTC"),
        _record("4h", "SPY", "BTC"),
        _record("1d", "EUR", "?"),
    ]
    assert feeds(records, classes) == [("binance", "1h"), ("binance", "4h"), ("polygon", "1d"), ("polygon", "4h")]


def _record(timeframe: str, *symbols: str) -> ModelRecord:
    return ModelRecord("m", "t", "r", "h", "m", "0", NOW, [*symbols], timeframe, "shadow", NOW, "a test")
