"""Which models exist, in which state, and the only ways from one state to the next.

candidate -> paper -> live -> retired. Paper needs a passed gate and no rival among the models of its symbols, or a
person who puts the model in the rivals' place; live needs a paper record without open discrepancies and an operator who
says so. A candidate with too short a record may go through the shadow, where it decides and orders nothing, and passes
by that.
There is no other way in: states are rows of research.model_states, the newest counts, and only functions of the
database write them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from models_registry.distributions import WINDOW, Distribution
from models_registry.package import ModelPackage, PackageError
from warehouse.connection import connect
from warehouse.errors import Stop
from warehouse.rows import scalar
from warehouse.settings import load
from warehouse.turns import take_turn

State = Literal["candidate", "shadow", "paper", "live", "retired"]
NEXT: dict[str, tuple[str, ...]] = {
    "candidate": ("shadow", "paper", "retired"),
    "shadow": ("paper", "retired"),
    "paper": ("live", "retired"),
    "live": ("retired",),
    "retired": (),
}

_STAYS = {"candidate": "a candidate", "shadow": "in the shadow"}

# states in which a model decides orders
TRADABLE = ("paper", "live")

MODELS = """
    select
        models.model_id, models.trial_id, models.run_id, models.hypothesis_id, models.package_path,
        models.package_sha256, models.trained_through, families.symbols, families.timeframe,
        newest.state, newest.entered_at, newest.reason
    from research.models
    inner join research.runs using (run_id)
    inner join research.families using (family_id)
    inner join lateral (
        select state, entered_at, reason
        from research.model_states
        where model_states.model_id = models.model_id
        order by entered_at desc
        limit 1
    ) as newest on true
    where (%(model_id)s::text is null or models.model_id = %(model_id)s)
        and (%(state)s::text is null or newest.state = %(state)s)
    order by models.model_id
"""

STATES = """
    select models.model_id, newest.state
    from research.models
    inner join lateral (
        select state
        from research.model_states
        where model_states.model_id = models.model_id
        order by entered_at desc
        limit 1
    ) as newest on true
"""

NEWEST_VERDICT = """
    select verdicts.look_no, verdicts.verdict
    from research.verdicts
    inner join research.models using (trial_id)
    where models.model_id = %s
    order by verdicts.look_no desc
    limit 1
"""

HAS_PASSED_FORWARD = """
    select exists (select from research.forward_looks where model_id = %s and outcome = 'passed')
"""

PAPER_RECORD = """
    select
        accounts.account_id,
        (
            select outcome
            from ledger.reconciliation_pulse
            where reconciliation_pulse.account_id = accounts.account_id
        ) as reconciliation,
        coalesce((
            select action
            from ledger.halts
            where halts.account_id = accounts.account_id
            order by halt_id desc
            limit 1
        ), 'release') = 'halt' as is_halted,
        (
            select count(*)
            from ledger.orders
            inner join ledger.decisions using (decision_id)
            where orders.status in ('submitting', 'unknown') and decisions.model_id = %(model_id)s
                and decisions.account_id = accounts.account_id
        ) as unresolved_orders
    from ledger.accounts
    where accounts.mode = 'paper' and exists (
        select from ledger.decisions
        where decisions.account_id = accounts.account_id and decisions.model_id = %(model_id)s
    )
    order by accounts.account_id
"""


MEMBERS = """
    select distinct universes.symbol
    from reference.universes
    inner join reference.instruments using (symbol)
    cross join (select max(session_date) as newest from {bars}) as landed
    where
        universe = %(universe)s and coalesce(valid_from, '-infinity') <= newest
        and coalesce(valid_to, 'infinity') > newest
    order by 1
"""


class RegistryError(Stop):
    """The registry refuses: no such model, no such step between states, or what the step needs is not there."""


@dataclass(frozen=True)
class ModelRecord:
    """A registered model and its current state. Times are UTC."""

    model_id: str
    trial_id: str
    run_id: str
    hypothesis_id: str
    package_path: str
    package_sha256: str
    trained_through: datetime
    symbols: list[str]
    timeframe: str
    state: State
    entered_at: datetime
    reason: str


def models(state: State | None = None, *, role: str = "executor") -> list[ModelRecord]:
    """All registered models, or those in one state, by model_id."""
    with connect(role, read_only=True) as connection:
        return _records(connection, state=state)


def states(connection: psycopg.Connection) -> dict[str, str]:
    """The state of every registered model by its id, as an open connection sees it."""
    return dict(connection.execute(STATES).fetchall())


def get(model_id: str, *, role: str = "executor") -> ModelRecord:
    """One model. Raises RegistryError naming the models there are."""
    with connect(role, read_only=True) as connection:
        return _record(connection, model_id)


def load_model(model_id: str, *, role: str = "executor") -> ModelPackage:
    """The package of a registered model, verified against its own checksums and the registry's, and proven here.

    Raises RegistryError for an unknown model and for one whose state its verdict does not allow, PackageError for a
    package that is not the registered one or lies elsewhere than in the models folder.
    """
    with connect(role, read_only=True) as connection:
        record = _record(connection, model_id)
        if record.state in TRADABLE:
            _require_passed_gate(connection, model_id)
    folder = load().models_dir / record.package_path
    # a name with a slash, and a link, lead elsewhere
    if folder.name != record.package_path or folder.resolve().parent != load().models_dir.resolve():
        raise PackageError(f"the package of model {model_id} is not a folder of the models folder {load().models_dir}")
    package = ModelPackage.read(folder)
    if package.sha256 != record.package_sha256:
        raise PackageError(
            f"the package of model {model_id} is not the one that was registered: restore {record.package_path} "
            "in the models folder, or train the model again"
        )
    package.prove()
    if package.manifest.universe is None:
        return package
    with connect(role, read_only=True) as connection:
        return package.trading(_members(connection, package.manifest.universe, package.timeframe))


def _members(connection: psycopg.Connection, universe: str, timeframe: str) -> list[str]:
    """Who belongs to a universe on the newest session that has landed; the instruments among them."""
    rows = connection.execute(
        sql.SQL(MEMBERS).format(bars=sql.Identifier("canonical", f"ohlcv_{timeframe}")), {"universe": universe}
    )
    return [symbol for (symbol,) in rows]


def register(package: ModelPackage, reason: str, trained_on: Sequence[Distribution] = ()) -> ModelRecord:
    """Save a package to the models folder and record it as a candidate. The same package again changes nothing.

    `trained_on` says how its features and scores were distributed in training, for `results.drift`, and how much each
    feature moves what it predicts, for `results.model_features`.

    Raises RegistryError when another package already has this model_id.
    """
    model_id, folder = package.model_id, load().models_dir / package.model_id
    with connect("trainer") as connection:
        take_turn(connection, f"model {model_id}")
        known = _records(connection, model_id=model_id)
        if known and known[0].package_sha256 != package.sha256:
            raise RegistryError(
                f"model {model_id} is registered with another package, and a registered package never changes"
            )
        if not _is_stored(package, folder):
            package.save(folder)
        if known:
            return known[0]
        manifest = package.manifest
        connection.execute(
            """
            select research.register_model(%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            (
                model_id,
                manifest.trial_id,
                manifest.run_id,
                manifest.hypothesis_id,
                folder.name,
                package.sha256,
                manifest.training_window.end,
                reason,
            ),
        )
        connection.cursor().executemany(
            """
            insert into research.model_distributions (
                model_id, quantity, edges, shares, window_bars, window_rows, largest_psi, contribution
            )
            values (%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    *(model_id, one.quantity, [*one.edges], [*one.shares]),
                    *(WINDOW, one.window_rows, one.largest_psi, one.contribution),
                )
                for one in trained_on
            ],
        )
        return _record(connection, model_id)


def advance(model_id: str, state: State, reason: str, *, operator: str | None = None) -> ModelRecord:
    """Move a model to its next state, if everything that state needs is there; a model already in it stays as it is.

    `operator` names the person who puts a model live; nothing else may. Raises RegistryError saying what is missing.
    """
    if state not in get_args(State):
        raise RegistryError(f"unknown state {state!r}: one of {', '.join(get_args(State))}")
    with connect("gate" if state == "paper" else "operator") as connection:
        take_turn(connection, f"model {model_id}")
        record = _record(connection, model_id)
        if record.state == state:
            return record
        if state == "shadow":
            raise RegistryError(
                f"model {model_id} goes into the shadow with the days on which it is judged: "
                "`python -m training shadow` registers both"
            )
        if state not in NEXT[record.state]:
            allowed = ", ".join(NEXT[record.state]) or "nothing"
            raise RegistryError(f"model {model_id} is {record.state}: from there it may become {allowed}, not {state}")
        if state == "paper":
            _require_passed_gate(connection, model_id)
            for rival, why in _rivals(connection, model_id):
                raise RegistryError(
                    f"model {model_id} stays {_STAYS[record.state]}, because {rival.model_id} in state {rival.state} "
                    f"{_shares(record, rival)}, and {why}: `python -m models_registry promote {model_id}` puts it in "
                    "its place"
                )
            connection.execute("select research.admit_model(%s, %s)", (model_id, reason))
        if state == "live":
            if not operator or not operator.strip():
                raise RegistryError(f"model {model_id} can only be put live by an operator who gives a name")
            _require_clean_paper_record(model_id)
            connection.execute("select research.promote_model(%s, %s, %s)", (model_id, operator, reason))
        if state == "retired":
            connection.execute("select research.retire_model(%s, %s)", (model_id, reason))
        return _record(connection, model_id)


def register_shadow(model_id: str, looks: Sequence[int], reason: str) -> ModelRecord:
    """Let a candidate decide every new bar and order nothing, to be judged after these numbers of days.

    `looks` ascend, one to ten of them, the first at least 100. They stay as they are. Raises RegistryError for a model
    that is no candidate, whose verdict is not INSUFFICIENT_EVIDENCE, or for other looks.
    """
    with connect("gate") as connection:
        take_turn(connection, f"model {model_id}")
        record = _record(connection, model_id)
        if record.state != "candidate":
            raise RegistryError(f"model {model_id} is {record.state}: only a candidate goes into the shadow")
        try:
            connection.execute("select research.register_shadow(%s, %s::integer[], %s)", (model_id, [*looks], reason))
        except psycopg.errors.RaiseException as error:
            raise RegistryError(str(error.diag.message_primary)) from None
        return _record(connection, model_id)


def rivals(model_id: str, *, role: str = "executor") -> list[ModelRecord]:
    """Models in paper or live beside which this one may not trade: while there are any, only a person lets it.

    They trade a symbol of it, and are another version of its hypothesis, decide by other bars, or may be short where it
    may be long.
    """
    with connect(role, read_only=True) as connection:
        return [rival for rival, _ in _rivals(connection, _record(connection, model_id).model_id)]


def replace_rivals(model_id: str, reason: str, *, operator: str) -> ModelRecord:
    """Move a candidate, or a model in the shadow, to paper in the place of its rivals there.

    They are retired in the same transaction.
    `operator` names the person who decides it. Raises RegistryError when the gate has not passed it, when it is no
    candidate, and when one of the others is live.
    """
    if not operator.strip():
        raise RegistryError(f"model {model_id} can only be promoted by a person who gives a name")
    with connect("operator") as connection:
        take_turn(connection, f"model {model_id}")
        record = _record(connection, model_id)
        if record.state not in _STAYS:
            raise RegistryError(f"model {model_id} is {record.state}: only a candidate can take another's place")
        _require_passed_gate(connection, model_id)
        for rival, _ in _rivals(connection, model_id):
            if rival.state == "live":
                raise RegistryError(f"model {rival.model_id} is live and {_shares(record, rival)}: retire it first")
        connection.execute("select research.replace_rivals(%s, %s, %s)", (model_id, operator, reason))
        return _record(connection, model_id)


def history(model_id: str, *, role: str = "executor") -> list[tuple[datetime, str, str]]:
    """Every state the model was in, oldest first: (entered at, state, reason). Times are UTC."""
    with connect(role, read_only=True) as connection:
        return connection.execute(
            "select entered_at, state, reason from research.model_states where model_id = %s order by entered_at",
            (model_id,),
        ).fetchall()


def _rivals(connection: psycopg.Connection, model_id: str) -> list[tuple[ModelRecord, str]]:
    """Rivals by their ids, each with why it is one."""
    found = connection.execute("select model_id, reason from research.rivals(%s) order by model_id", (model_id,))
    return [(_record(connection, name), reason) for name, reason in found.fetchall()]


def _shares(record: ModelRecord, rival: ModelRecord) -> str:
    return f"trades {', '.join(sorted(set(record.symbols) & set(rival.symbols)))} too"


def _records(
    connection: psycopg.Connection, *, model_id: str | None = None, state: str | None = None
) -> list[ModelRecord]:
    with connection.cursor(row_factory=class_row(ModelRecord)) as cursor:
        return cursor.execute(MODELS, {"model_id": model_id, "state": state}).fetchall()


def _record(connection: psycopg.Connection, model_id: str) -> ModelRecord:
    if found := _records(connection, model_id=model_id):
        return found[0]
    known = ", ".join(record.model_id for record in _records(connection)) or "none"
    raise RegistryError(f"there is no model {model_id}: registered are {known}")


def _is_stored(package: ModelPackage, folder: Path) -> bool:
    try:
        return ModelPackage.read(folder).sha256 == package.sha256
    except PackageError:
        return False


def _require_passed_gate(connection: psycopg.Connection, model_id: str) -> None:
    if scalar(connection.execute(HAS_PASSED_FORWARD, (model_id,))):
        return
    newest = connection.execute(NEWEST_VERDICT, (model_id,)).fetchone()
    if newest is None:
        raise RegistryError(f"model {model_id} has not been judged by the gate: paper needs a PASSED verdict")
    if newest[1] != "PASSED":
        raise RegistryError(f"the gate's verdict on model {model_id} is {newest[1]}: paper needs PASSED")


def _require_clean_paper_record(model_id: str) -> None:
    with connect("executor", read_only=True) as connection:
        record = connection.execute(PAPER_RECORD, {"model_id": model_id}).fetchall()
    if not record:
        raise RegistryError(f"model {model_id} has no paper record: it must decide on a paper account first")
    for account, reconciliation, is_halted, unresolved in record:
        if is_halted:
            raise RegistryError(f"model {model_id} cannot go live: its paper account {account} is halted")
        if reconciliation not in ("agreed", "repaired"):
            found = "was never reconciled" if reconciliation is None else "has an open discrepancy"
            raise RegistryError(f"model {model_id} cannot go live: its paper account {account} {found}")
        if unresolved:
            raise RegistryError(
                f"model {model_id} cannot go live: {unresolved} of its orders on {account} have an unknown outcome"
            )
