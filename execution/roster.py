"""The roster: which models an account trades, and which are set aside because something is wrong with them.

One model's failure is its own. What cannot be loaded, is not what was registered, cannot be routed to one broker, or
may not stand beside an earlier model of its symbol, is set aside with a sentence. Its share of equity stays its own, so
the others trade as they would beside it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import psycopg

from execution.brokers.routing import asset_classes, broker_of
from execution.market_view import Package, not_beside
from models_registry import registry
from warehouse.connection import connect
from warehouse.errors import OperatorError, Stop
from warehouse.timeframes import TIMEFRAMES

FAILED = "it failed on"
HELD_APART = "which the account holds apart: it is not ours"
_SAID_BY_SESSIONS = (f"{FAILED} %", f"%, {HELD_APART}")


@dataclass(frozen=True, slots=True)
class SetAside:
    """A model that should trade and does not, and why. `broker` is None when it cannot be told who would trade it."""

    model_id: str
    broker: str | None
    reason: str

    def __str__(self) -> str:
        return f"model {self.model_id} is set aside: {self.reason}"


@dataclass(frozen=True, slots=True)
class Roster:
    """Models in one state, by the broker that trades them, in the order in which they entered the state."""

    packages: Mapping[str, tuple[Package, ...]]
    aside: tuple[SetAside, ...] = ()

    def aside_at(self, broker: str) -> tuple[SetAside, ...]:
        """Who is set aside among the models of one broker."""
        return tuple(one for one in self.aside if one.broker == broker)

    def shares(self, broker: str) -> dict[str, Decimal]:
        """Each model's share of equity: equal ones, and one for each that is set aside too."""
        packages = self.packages.get(broker, ())
        count = len(packages) + len(self.aside_at(broker))
        return {package.model_id: Decimal(1) / count for package in packages}


def call(state: registry.State) -> Roster:
    """The models in this state. Writes down who is set aside, and who is not any more."""
    classes = asset_classes()
    loaded: list[tuple[registry.ModelRecord, Package | str]] = []
    for record in sorted(registry.models(state), key=lambda record: (record.entered_at, record.model_id)):
        loaded.append((record, load(record)))
    roster = drawn_up(loaded, classes)
    with connect("executor") as connection, connection.cursor() as cursor:
        said = {record.model_id: "" for record, _ in loaded} | {one.model_id: one.reason for one in roster.aside}
        note(cursor, said, keeps=_SAID_BY_SESSIONS)
    return roster


def load(record: registry.ModelRecord) -> Package | str:
    """The package, or in words why there is none."""
    try:
        package = registry.load_model(record.model_id)
    except OperatorError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 (whatever a file that somebody touched raises)
        return f"its package cannot be read: {type(error).__name__}: {error}"
    # whoever joined its universe since then is no reason against it
    trained_on = package.manifest.symbols
    if (set(trained_on), package.timeframe) != (set(record.symbols), record.timeframe):
        return (
            f"its package trades {', '.join(trained_on)} on {package.timeframe} bars, and it was registered for "
            f"{', '.join(record.symbols)} on {record.timeframe} bars"
        )
    return package


def drawn_up(loaded: Iterable[tuple[registry.ModelRecord, Package | str]], classes: Mapping[str, str]) -> Roster:
    """The roster of these models; a text in the place of a package says why there is none. Pure."""
    packages: dict[str, tuple[Package, ...]] = {}
    aside = []
    for record, package in loaded:
        broker = _only_broker(record, classes)
        try:
            if isinstance(package, str):
                raise Stop(package)
            broker = broker_of(package, classes)
            if package.timeframe not in TIMEFRAMES:
                raise Stop(f"it trades {package.timeframe} bars, and sessions know {', '.join(TIMEFRAMES)}")
            if (rival := _rivalry(package, packages.get(broker, ()))) is not None:
                raise Stop(rival)
        except Stop as error:
            aside.append(SetAside(record.model_id, broker, str(error)))
            continue
        packages[broker] = (*packages.get(broker, ()), package)
    return Roster(packages, tuple(aside))


def _rivalry(package: Package, others: Sequence[Package]) -> str | None:
    """In words, beside which of these the package may not trade a symbol, and why; None when it may."""
    for other in others:
        shared = sorted(set(package.symbols).intersection(other.symbols))
        if shared and (reason := not_beside(other, package)) is not None:
            return f"model {other.model_id} trades {shared[0]} already, and {reason}"
    return None


def _only_broker(record: registry.ModelRecord, classes: Mapping[str, str]) -> str | None:
    try:
        return broker_of(record, classes)
    except Stop:
        return None


def note(cursor: psycopg.Cursor, concerns: Mapping[str, str], keeps: Iterable[str] = ()) -> None:
    """Write down what is wrong with each model, by its id; empty when nothing is. Only what changed is written.

    A concern like one of `keeps` (patterns of SQL) is not cleared: whoever wrote it does that.
    """
    cursor.execute(
        """
        insert into ledger.model_concerns (model_id, concern)
        select said.model_id, said.concern
        from unnest(%s::text[], %s::text[]) as said (model_id, concern)
        inner join research.models using (model_id)
        left join lateral (select concern from ledger.model_concerns
          where model_concerns.model_id = said.model_id order by concern_id desc limit 1) as newest on true
        where said.concern <> coalesce(newest.concern, '')
          and not (said.concern = '' and newest.concern like any(%s::text[]))
        """,
        (list(concerns), list(concerns.values()), list(keeps)),
    )


def concerns(connection: psycopg.Connection) -> tuple[str, ...]:
    """What is wrong with models that are to trade, in sentences."""
    rows = connection.execute(
        """
        select model_id, newest.concern, newest.noted_at
        from research.models
        inner join lateral (select concern, noted_at from ledger.model_concerns
          where model_concerns.model_id = models.model_id order by concern_id desc limit 1) as newest on true
        inner join lateral (select state from research.model_states
          where model_states.model_id = models.model_id order by entered_at desc limit 1) as now on true
        where newest.concern <> '' and now.state in ('paper', 'live')
        order by model_id
        """
    ).fetchall()
    return tuple(f"model {model_id} since {at:%F %R} UTC: {concern}" for model_id, concern, at in rows)


def not_ours(packages: Sequence[Package], apart: frozenset[str], broker: str) -> tuple[SetAside, ...]:
    """Models that want a symbol which the account holds apart."""
    return tuple(
        SetAside(package.model_id, broker, f"it trades {foreign[0]}, {HELD_APART}")
        for package in packages
        if (foreign := sorted(apart.intersection(package.symbols)))
    )


def checked_packages(packages: tuple[Package, ...], *, winds_up: bool) -> tuple[Package, ...]:
    """The same. Raises Stop when there is none and nothing is wound up, or when two may not trade one symbol."""
    if not packages and not winds_up:
        raise Stop("a session needs at least one model")
    for number, package in enumerate(packages):
        if package.timeframe not in TIMEFRAMES:
            raise Stop(
                f"model {package.model_id} trades {package.timeframe} bars: sessions know {', '.join(TIMEFRAMES)}"
            )
        if (rival := _rivalry(package, packages[:number])) is not None:
            raise Stop(f"model {package.model_id} cannot trade here: {rival}")
    return packages


def checked_shares(packages: Sequence[Package], shares: Mapping[str, Decimal] | None) -> dict[str, Decimal]:
    """Each model's share of equity, equal ones where none are given. Raises Stop when they exceed the whole."""
    if shares is None:
        return {package.model_id: Decimal(1) / len(packages) for package in packages}
    if shares.keys() != {package.model_id for package in packages}:
        raise Stop("every model of the session needs a share of equity, and no other does")
    if min(shares.values(), default=0) < 0 or sum(shares.values()) > 1:
        raise Stop("shares of equity must be positive and together at most 1")
    return dict(shares)
