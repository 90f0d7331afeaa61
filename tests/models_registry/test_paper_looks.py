"""A model whose record on paper contradicts its backtest is retired, at fixed looks and where that is asked for."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from models_registry import registry
from tests.machine import as_owner
from tests.models_registry.conftest import Candidate
from training.paper_record import PaperRecord, paper_records, take_looks
from warehouse.connection import arrow, connect

pytestmark = pytest.mark.database

FIRST = datetime(2031, 1, 2, 14, 30, tzinfo=UTC)
LOOKS = """
    select look_no, counted_days, round(shortfall::numeric, 3)::float8 as shortfall, limit_shortfall
    from research.paper_looks where model_id = $1 order by look_no
"""


@pytest.fixture
def model_id(candidate: Candidate) -> Iterator[str]:
    """A model on paper that has decided a bar."""
    found = candidate("PASSED", "on_paper").model_id
    registry.advance(found, "paper", "for a test")
    with as_owner(past_triggers=True) as connection:
        connection.execute(
            "insert into ledger.shadow_decisions (model_id, symbol, bar_start, bar_end, is_late, feature_names,"
            " feature_values, score, target_weight) values (%s, 'on_paper', %s, %s, false, '{}', '{}', 0, 0)",
            (found, FIRST, FIRST),
        )
    yield found
    if registry.get(found).state != "retired":
        registry.advance(found, "retired", "the test is over")


def record(model_id: str, days: int, realised: float) -> PaperRecord:
    """5 % are expected, and -20 % is the lower end of the band: half of it is -8.35 %."""
    return PaperRecord(model_id, FIRST.date() + timedelta(days=days), days, realised, 0.05, -0.2)


def look(model_id: str, *records: PaperRecord, retires: bool = True) -> Sequence[registry.ModelRecord]:
    return take_looks(records, retires=retires)


def test_a_record_far_below_what_was_expected_retires(model_id: str) -> None:
    assert look(model_id, record(model_id, 63, -0.199)) == ()
    (retired,) = look(model_id, record(model_id, 63, -0.199), record(model_id, 126, -0.26))
    assert (retired.model_id, retired.state) == (model_id, "retired")
    assert retired.reason == (
        "its record on paper contradicts its backtest: 126 days up to 2031-05-08 made less than expected by "
        "2.52 standard deviations, and 2.39 is the limit of look 2"
    )
    kept = arrow("analyst", LOOKS, (model_id,)).to_pylist()
    assert [(row["look_no"], row["counted_days"], row["shortfall"], row["limit_shortfall"]) for row in kept] == [
        (1, 63, 1.951, 1.96), (2, 126, 2.522, 2.394),
    ]  # fmt: skip
    assert look(model_id, record(model_id, 252, -0.9)) == ()


def test_the_newest_look_counts_and_each_is_taken_once(model_id: str) -> None:
    worse = record(model_id, 63, -0.3)
    assert look(model_id, worse, record(model_id, 126, 0.1)) == (), "it has recovered"
    assert look(model_id, worse) == ()
    assert look(model_id, record(model_id, 126, -0.9)) == (), "bars that are revised change no look"
    assert registry.get(model_id).state == "paper"


def test_without_the_rule_looks_are_kept_and_nothing_is_retired(model_id: str) -> None:
    assert look(model_id, record(model_id, 63, -0.5), retires=False) == ()
    assert registry.get(model_id).state == "paper"
    (retired,) = look(model_id, record(model_id, 63, -0.5))
    assert retired.state == "retired"


def test_a_trial_whose_returns_never_differed_has_no_band() -> None:
    assert PaperRecord("none", date(2031, 5, 8), 63, -0.5, 0.0, 0.0).shortfall is None
    assert PaperRecord("none", date(2031, 5, 8), 63, -1.0, 0.0, -0.2).shortfall > 100, "all is lost"


def test_no_other_day_is_a_look(model_id: str) -> None:
    for statement, words in (
        ("select research.record_paper_look(%s, '2031-05-08', 64, 3, true)", "and not after 64"),
        ("select research.record_paper_look(%s, '2030-05-08', 63, 3, true)", "has decided nothing up to 2030-05-08"),
    ):
        with connect("gate") as gate, pytest.raises(psycopg.errors.RaiseException, match=words):
            gate.execute(statement, (model_id,))


def test_the_days_of_looks_are_read_of_what_trades(model_id: str) -> None:
    with connect("transformer") as connection:
        connection.execute(
            "create table results.expected_returns as select %s as model_id, state as model_state, day,"
            " row_number() over (partition by state order by day) as counted_days, -0.3::numeric as realised,"
            " 0.05::numeric as expected, -0.2::numeric as band_low"
            " from unnest(array['paper', 'shadow']) as state,"
            " generate_series(date '2031-01-02', date '2031-01-02' + 199, interval '1 day') as days (day)",
            (model_id,),
        )
        connection.execute("alter table results.expected_returns alter day type date")
    try:
        assert [(one.counted_days, one.day) for one in paper_records()] == [
            (63, date(2031, 3, 5)), (126, date(2031, 5, 7)),
        ]  # fmt: skip
        (retired,) = take_looks(paper_records(), retires=True)
        assert retired.model_id == model_id
    finally:
        with connect("transformer") as connection:
            connection.execute("drop table results.expected_returns")
