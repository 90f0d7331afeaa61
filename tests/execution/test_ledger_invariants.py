"""The database refuses what cannot be true, from the executor and from the owner alike, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from tests.machine import as_owner
from warehouse.connection import connect

pytestmark = pytest.mark.database

WORLD = """
insert into ledger.accounts (account_id, broker, mode) values ('one', 'b', 'paper'), ('two', 'b', 'paper');
insert into ledger.epochs (account_id, epoch_no, broker_time, reason) values ('one', 1, '2019-12-31', 'begun');
insert into ledger.decisions (decision_id, account_id, model_id, symbol, timeframe, bar_start, bar_end, broker_time,
    feature_names, feature_values, score, target_weight)
select name, account, 'm', 'X', '1d', bar, bar + interval '1 day', bar + interval '1 day', '{f}', '{1}', 0.5, 0.1
from (values ('open', 'one', date '2020-01-01'), ('done', 'one', '2020-01-02'), ('refused', 'one', '2020-01-03'),
    ('free', 'one', '2020-01-04'), ('new', 'one', '2020-01-05'), ('theirs', 'two', '2020-01-01')
) as named (name, account, bar);
insert into ledger.intents
    (client_order_id, decision_id, account_id, symbol, side, quantity, order_type, time_in_force, reference_price,
    verdict, refusals)
select decision_id, decision_id, account_id, symbol, 'buy', 10, 'market', 'day', 100,
    case decision_id when 'refused' then 'refused' else 'approved' end,
    case decision_id when 'refused' then array['too large'] else '{}' end
from ledger.decisions where account_id in ('one', 'two') and decision_id <> 'free';
insert into ledger.order_events (client_order_id, status)
values ('open', 'submitting'), ('done', 'submitting'), ('theirs', 'submitting');
insert into ledger.order_events (client_order_id, status, broker_order_id, filled_quantity)
values ('open', 'accepted', 'B-open', 0), ('done', 'filled', 'B-done', 10), ('theirs', 'accepted', 'B-theirs', 0);
insert into ledger.order_events (client_order_id, status, broker_order_id, filled_quantity)
values ('open', 'partially_filled', 'B-open', 4);
insert into ledger.fills (account_id, execution_id, client_order_id, symbol, side, quantity, price, filled_at)
values ('one', 'E1', 'open', 'X', 'buy', 4, 100, '2020-01-02'),
    ('one', 'E2', 'done', 'X', 'buy', 10, 100, '2020-01-03');
"""

FILL = (
    "insert into ledger.fills (account_id, execution_id, client_order_id, symbol, side, quantity, price, filled_at) "
    "values "
)
EVENT = "insert into ledger.order_events (client_order_id, status, broker_order_id, filled_quantity) values "
INTENT = (
    "insert into ledger.intents (client_order_id, decision_id, account_id, symbol, side, quantity, order_type, "
    "time_in_force, reference_price, verdict, refusals) values "
)
DECISION = (
    "insert into ledger.decisions (decision_id, account_id, model_id, symbol, timeframe, bar_start, bar_end, "
    "broker_time, feature_names, feature_values, score, target_weight) values "
)
EXITS = DECISION.replace(") values", ", signal_weight, held_side, held_since, barred, exit_reason) values") + (
    "('d', 'one', 'm', 'Y', '1d', '2020-01-03', '2020-01-04', '2020-01-04', '{{f}}', '{{1}}', 1, 0, {})"
)
ACTIVITY = "insert into ledger.activities (account_id, activity_id, kind, symbol, quantity, cash, happened_at) values "
RECONCILED = "insert into ledger.reconciliations (account_id, occasion, broker_time, outcome, findings) values "
COMPARED = "select ledger.note_reconciliation('one', 'close', '{}', '{}', '[]', '{{}}')"
AGREED = COMPARED.format("2020-01-02", "agreed")
PULSE = (
    "insert into ledger.reconciliation_pulse (account_id, times_compared, reconciliation_id, occasion, outcome, "
    "broker_time, agreed_broker_time, agreed_at) values "
)
EPOCH = "insert into ledger.epochs (account_id, epoch_no, broker_time, reason) values "
ADOPTION = (
    "insert into ledger.adoptions (account_id, finding, subject, statement, symbol, quantity, cash, reason) values "
)
CONTINUED = "insert into ledger.order_continuations (account_id, broker_order_id, client_order_id, reason) values "

CAN_BE_TRUE = {
    "a stop": EXITS.format("0.1, 1, '2020-01-02', 1, 'stop_loss'"),
    "a barred side with nothing held": EXITS.format("0.1, 0, null, 1, 'barred'"),
    "a position of which no bar has begun": EXITS.format("0.1, 1, null, 0, null"),
    "a fill": FILL + "('one', 'E3', 'open', 'X', 'buy', 6, 101, '2020-01-02')",
    "the same fill again": FILL + "('one', 'E1', 'open', 'X', 'buy', 4, 100, '2020-01-02') on conflict do nothing",
    "an order's end": EVENT + "('open', 'canceled', 'B-open', 4)",
    "an end that the broker takes back": EVENT + "('open', 'canceled', 'B-open', 4);"
    + EVENT + "('open', 'partially_filled', 'B-open', 4)",
    "the rest of it": EVENT + "('open', 'filled', 'B-open', 10)",
    "a first event": EVENT + "('new', 'submitting', null, 0)",
    "an unknown outcome, and then none": EVENT + "('new', 'submitting', null, 0);"
    + EVENT + "('new', 'unknown', null, 0);" + EVENT + "('new', 'not_sent', null, 0)",
    "given up, and turned up": EVENT + "('new', 'submitting', null, 0);" + EVENT + "('new', 'not_sent', null, 0);"
    + EVENT + "('new', 'accepted', 'B-new', 0)",
    "more of an order that was replaced by a larger one": FILL
    + "('one', 'E3', 'open', 'X', 'buy', 16, 101, '2020-01-02');" + CONTINUED + "('one', 'B-more', 'open', 'replaced')",
    "less of an order about which a person decided": ADOPTION
    + "('one', 'OrderDiffers', 'done', 'it differs', null, 0, 0, 'right');" + EVENT + "('done', 'filled', 'B-done', 9)",
    "an intent": INTENT + "('free', 'free', 'one', 'X', 'sell', 1, 'market', 'day', 1, 'approved', '{}')",
    "a decision": DECISION
    + "('d', 'one', 'm', 'Y', '1d', '2020-01-01', '2020-01-02', '2020-01-02', '{f}', '{1}', 1, 1)",
    "a dividend": ACTIVITY + "('one', 'A', 'dividend', 'X', 0, 1.5, '2020-01-02')",
    "a reconciliation": AGREED,
    "the same again, a little earlier by another machine's clock": AGREED + ";" + AGREED + ";"
    + COMPARED.format("2020-01-01 23:59:30", "agreed"),
    "the next epoch": EPOCH + "('one', 2, '2020-01-02', 'reset')",
    "a halt": "select ledger.halt_account('one', 'lunch')",
}  # fmt: skip

CANNOT = {
    "a fill of another account": FILL + "('two', 'E3', 'open', 'X', 'buy', 1, 100, '2020-01-02')",
    "a fill of a refused intent": FILL + "('one', 'E3', 'refused', 'X', 'buy', 1, 100, '2020-01-02')",
    "a fill of another symbol": FILL + "('one', 'E3', 'open', 'Y', 'buy', 1, 100, '2020-01-02')",
    "a fill of the other side": FILL + "('one', 'E3', 'open', 'X', 'sell', 1, 100, '2020-01-02')",
    "a fill of NaN": FILL + "('one', 'E3', 'open', 'X', 'buy', 'NaN', 100, '2020-01-02')",
    "a fill of infinity": FILL + "('one', 'E3', 'open', 'X', 'buy', 'Infinity', 100, '2020-01-02')",
    "a fill at NaN": FILL + "('one', 'E3', 'open', 'X', 'buy', 1, 'NaN', '2020-01-02')",
    "a fill at infinity": FILL + "('one', 'E3', 'open', 'X', 'buy', 1, 'Infinity', '2020-01-02')",
    "more fills than were ordered": FILL + "('one', 'E3', 'open', 'X', 'buy', 6.000001, 100, '2020-01-02')",
    "a fill of the year 9999": FILL + "('one', 'E3', 'open', 'X', 'buy', 1, 100, '9999-01-01')",
    "a fill at no time": FILL + "('one', 'E3', 'open', 'X', 'buy', 1, 100, '-infinity')",
    "an order that begins as filled": EVENT + "('new', 'filled', 'B-new', 10)",
    "an order that begins twice": EVENT + "('open', 'submitting', 'B-open', 4)",
    "an order that the broker has, and then has not": EVENT + "('open', 'not_sent', null, 4)",
    "an order that the broker has, and is unknown": EVENT + "('open', 'unknown', null, 4)",
    "an order that was filled, and is open": EVENT + "('done', 'accepted', 'B-done', 10)",
    "an order that was filled, and less of it is": EVENT + "('done', 'filled', 'B-done', 9)",
    "a status that takes fills back": EVENT + "('open', 'accepted', 'B-open', 0)",
    "two broker ids of one order": EVENT + "('open', 'partially_filled', 'B-other', 4)",
    "one broker id of two orders": EVENT
    + "('new', 'submitting', null, 0);"
    + EVENT
    + "('new', 'accepted', 'B-open', 0)",
    "an event of a refused intent": EVENT + "('refused', 'submitting', null, 0)",
    "an event that fills more than was ordered": EVENT + "('open', 'partially_filled', 'B-open', 11)",
    "an event that fills NaN": EVENT + "('open', 'partially_filled', 'B-open', 'NaN')",
    "an event that fills less than nothing": EVENT + "('new', 'submitting', null, -1)",
    "a continuation of a refused intent": CONTINUED + "('one', 'B-more', 'refused', 'x')",
    "a continuation in another account": CONTINUED + "('two', 'B-more', 'open', 'x')",
    "an intent of another account": INTENT
    + "('free', 'free', 'two', 'X', 'buy', 1, 'market', 'day', 1, 'approved', '{}')",
    "an intent of another symbol": INTENT
    + "('free', 'free', 'one', 'Y', 'buy', 1, 'market', 'day', 1, 'approved', '{}')",
    "an intent of NaN": INTENT + "('free', 'free', 'one', 'X', 'buy', 'NaN', 'market', 'day', 1, 'approved', '{}')",
    "an intent of infinity": INTENT
    + "('free', 'free', 'one', 'X', 'buy', 'Infinity', 'market', 'day', 1, 'approved', '{}')",
    "an intent at no price": INTENT
    + "('free', 'free', 'one', 'X', 'buy', 1, 'market', 'day', 'NaN', 'approved', '{}')",
    "a decision of NaN": DECISION
    + "('d', 'one', 'm', 'Y', '1d', '2020-01-01', '2020-01-02', '2020-01-02', '{f}', '{1}', 'NaN', 1)",
    "a weight of infinity": DECISION
    + "('d', 'one', 'm', 'Y', '1d', '2020-01-01', '2020-01-02', '2020-01-02', '{f}', '{1}', 1, 'Infinity')",
    "a decision on fewer values than names": DECISION
    + "('d', 'one', 'm', 'Y', '1d', '2020-01-01', '2020-01-02', '2020-01-02', '{f,g}', '{1}', 1, 1)",
    "a bar that ends before it starts": DECISION
    + "('d', 'one', 'm', 'Y', '1d', '2020-01-03', '2020-01-02', '2020-01-02', '{f}', '{1}', 1, 1)",
    "held since ever": EXITS.format("0.1, 1, '-infinity', 0, null"),
    "nothing that is held since a bar": EXITS.format("0.1, 0, '2020-01-02', 0, null"),
    "a stop of nothing": EXITS.format("0.1, 0, null, 1, 'stop_loss'"),
    "an exit of a package without": EXITS.format("null, 1, '2020-01-02', 1, 'stop_loss'"),
    "a side that is barred without exits": EXITS.format("null, 0, null, 1, null"),
    "a position of a package without exits": EXITS.format("null, 1, null, 0, null"),
    "cash of NaN": ACTIVITY + "('one', 'A', 'deposit', null, 0, 'NaN', '2020-01-02')",
    "cash of infinity": ACTIVITY + "('one', 'A', 'deposit', null, 0, 'Infinity', '2020-01-02')",
    "shares of minus infinity": ACTIVITY + "('one', 'A', 'split', 'X', '-Infinity', 0, '2020-01-02')",
    "a booking of the future": ACTIVITY + "('one', 'A', 'deposit', null, 0, 1, 'infinity')",
    "a reconciliation after which none looks at anything": COMPARED.format("infinity", "agreed"),
    "a reconciliation of the year 9999": COMPARED.format("9999-01-01", "agreed"),
    "a reconciliation before the last": AGREED + ";" + COMPARED.format("2020-01-01", "agreed"),
    "a reconciliation that ended somehow": COMPARED.format("2020-01-02", "fine"),
    "a reconciliation of nobody's account": AGREED.replace("'one'", "'nobody'"),
    "a reconciliation beside the pulse": RECONCILED + "('one', 'close', '2020-01-02', 'agreed', '[]')",
    "a pulse without a reconciliation": PULSE + "('one', 1, 1, 'close', 'agreed', '2020-01-02', '2020-01-02', now())",
    **{
        f"a pulse {what}": f"{AGREED}; update ledger.reconciliation_pulse set compared_at = now(), {change}"
        for what, change in {
            "that counts nothing": "occasion = 'start'",
            "that counts twice": "times_compared = times_compared + 2",
            "of another account": "account_id = 'two', times_compared = times_compared + 1",
            "that goes back": "broker_time = '2019-12-31', times_compared = times_compared + 1",
            "of the year 9999": "broker_time = '9999-01-01', times_compared = times_compared + 1",
            "that ended otherwise than its row": "outcome = 'discrepancy', times_compared = times_compared + 1",
            "that agreed another time": "agreed_broker_time = '2020-01-01', times_compared = times_compared + 1",
            "that waits and agrees": "awaiting_since = '2020-01-02', times_compared = times_compared + 1",
        }.items()
    },
    "a pulse that forgets when it agreed": AGREED
    + ";"
    + COMPARED.format("2020-01-03", "discrepancy")
    + "; update ledger.reconciliation_pulse set agreed_at = null, agreed_broker_time = null,"
    " times_compared = times_compared + 1, compared_at = now()",
    "a pulse of another moment": AGREED
    + "; update ledger.reconciliation_pulse set times_compared = times_compared + 1, compared_at = '2020-01-02'",
    "a pulse that ends": AGREED + "; delete from ledger.reconciliation_pulse",
    "the same epoch again": EPOCH + "('one', 1, '2020-01-02', 'again')",
    "an epoch out of order": EPOCH + "('one', 7, '2020-01-02', 'later')",
    "an epoch of the future": EPOCH + "('one', 2, 'infinity', 'later')",
    "a halt without a reason": "select ledger.halt_account('one', ' ')",
    "a halt of nobody's account": "select ledger.halt_account('nobody', 'x')",
    "a release of what is not halted": "select ledger.instruct_account('one', 'release', 'x', null)",
    "a release that answers an older halt": "select ledger.halt_account('one', 'lunch');"
    "select ledger.halt_account('one', 'fire'); select ledger.instruct_account('one', 'release', 'x',"
    " (select min(halt_id) from ledger.halts where reason = 'lunch'))",
    "a changed fill": "update ledger.fills set price = 1",
    "a deleted event": "delete from ledger.order_events",
    "an emptied ledger": "truncate ledger.accounts cascade",
}

# relation, columns and values of a row that is sound, the column that is the database's, and what it cannot be
COMPUTED = [
    ("ledger.halts", "account_id, action, reason", "'one', 'release', 'x'", "acted_at"),
    ("ledger.halts", "account_id, action, reason", "'one', 'release', 'x'", "halt_id"),
    ("ledger.fills", "account_id, execution_id, client_order_id, symbol, side, quantity, price, filled_at",
     "'one', 'E3', 'open', 'X', 'buy', 1, 100, '2020-01-02'", "recorded_at"),
    ("ledger.order_events", "client_order_id, status, broker_order_id, filled_quantity",
     "'open', 'canceled', 'B-open', 4", "recorded_at"),
    ("ledger.order_events", "client_order_id, status, broker_order_id, filled_quantity",
     "'open', 'canceled', 'B-open', 4", "event_id"),
    ("ledger.epochs", "account_id, epoch_no, broker_time, reason", "'one', 2, '2020-01-02', 'reset'", "started_at"),
    ("ledger.adoptions", "account_id, finding, subject, statement, reason", "'one', 'F', 's', 't', 'r'", "adopted_at"),
    ("ledger.adoptions", "account_id, finding, subject, statement, reason", "'one', 'F', 's', 't', 'r'", "adoption_id"),
    ("ledger.activities", "account_id, activity_id, kind, happened_at", "'one', 'A', 'fee', '2020-01-02'",
     "recorded_at"),
    ("ledger.refusals", "account_id, model_id, symbol, timeframe, broker_time, reasons",
     "'one', 'm', 'X', '1d', '2020-01-02', '{stale}'", "refusal_id"),
]  # fmt: skip
FORGED = {"_at": ("infinity", "-infinity", "9999-01-01", "1999-01-01"), "_id": ("9000000000000", "-1", "1")}


@pytest.fixture(scope="module")
def ledger(warehouse_db: Path) -> None:
    with connect("executor") as connection:
        connection.execute(WORLD)


@contextmanager
def writer(who: str) -> Iterator[psycopg.Connection]:
    with connect("executor") if who == "executor" else as_owner() as connection:
        yield connection
        connection.rollback()


def write(who: str, statements: str) -> None:
    """To the end of the transaction, where some checks are made; then nothing is kept."""
    with writer(who) as connection:
        connection.execute(statements)
        connection.execute("set constraints all immediate")


@pytest.mark.parametrize(("who", "what"), list(product(("executor", "owner"), CAN_BE_TRUE)))
def test_what_can_be_true_is_recorded(who: str, what: str, ledger: None) -> None:
    write(who, CAN_BE_TRUE[what])


REFUSED = (
    errors.CheckViolation,
    errors.UniqueViolation,
    errors.ForeignKeyViolation,
    errors.InsufficientPrivilege,
    errors.ObjectNotInPrerequisiteState,
    errors.RaiseException,
)


@pytest.mark.parametrize(("who", "what"), list(product(("executor", "owner"), CANNOT)))
def test_what_cannot_be_true_is_refused(who: str, what: str, ledger: None) -> None:
    with pytest.raises(REFUSED):
        write(who, CANNOT[what])


@pytest.mark.parametrize("who", ["executor", "owner"])
@pytest.mark.parametrize(("relation", "columns", "values", "computed"), COMPUTED)
def test_what_the_database_computes_nobody_says(
    who: str, relation: str, columns: str, values: str, computed: str, ledger: None
) -> None:
    for forged in FORGED[computed[-3:]]:
        statement = (
            f"insert into {relation} ({columns}, {computed}) overriding system value values ({values}, '{forged}')"
        )
        with pytest.raises((errors.CheckViolation, errors.InsufficientPrivilege)):
            write(who, statement)
    if who == "owner":
        write(who, f"insert into {relation} ({columns}) values ({values})")


def test_no_table_of_the_ledger_or_of_research_is_changed_by_its_owner(ledger: None) -> None:
    """Every table there is: one that a later migration adds, too."""
    with as_owner() as owner:
        # the pulse changes, one comparison at a time: it needs a row that something could be done to
        owner.execute(AGREED + "; set constraints all immediate")
        tables = owner.execute(
            "select oid::regclass::text, (select attname::text from pg_attribute where attrelid = oid and attnum = 1)"
            " from pg_class where relkind = 'r' and relnamespace in ('ledger'::regnamespace, 'research'::regnamespace)"
            # no record of anything: it is what a run that was killed need not do again
            " and oid <> 'research.fitted_folds'::regclass"
        ).fetchall()
        assert len(tables) > 20
        for table, column in tables:
            for change in (
                f"update {table} set {column} = default",
                f"delete from {table}",
                f"truncate {table} cascade",
            ):
                with pytest.raises(errors.InsufficientPrivilege, match="only grows"), owner.transaction():
                    owner.execute(change)
