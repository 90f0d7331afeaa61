"""Models in the shadow: they decide every new bar as a session does, and order nothing.

    with Shadow() as shadow:
        for seen in shadow.decide():      # one per model: what it decided, and which bars not, and why
            print(seen)

They read the same feature rows, pass the same checks of rows and packages, and are asked by the same functions as in a
session. There is no broker and no account: what a position would have become of a decision is worked out when the model
is judged. The database says of each decision when it was made and whether it could still have been traded. A bar that
landed late, or while nobody was here, is decided all the same, and is no evidence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

import psycopg

from execution import roster
from execution.answers import Answer, TooFew, answers, incomplete, ranked
from execution.brokers.base import BrokerClock, Mode
from execution.continuous import LOOK_AROUND_SECONDS, SHORTLY_SECONDS, Landings
from execution.market import Market
from execution.market_view import Bar, FeatureRow, MarketView, Package
from execution.records import RefusedBar
from execution.timing import SessionTimes
from execution.validation.bars import FeatureRowReady, FingerprintsMatch, HistoryFresh, SomebodyTraded
from execution.validation.rules import BarEvidence, Rule, refusals
from models_registry import registry
from warehouse.connection import connect
from warehouse.errors import Retry, Stop, Unreachable
from warehouse.rows import scalar

RULES: tuple[Rule[BarEvidence], ...] = (SomebodyTraded(), FeatureRowReady(), HistoryFresh(), FingerprintsMatch())
"""Of a session's rules about bars those that ask neither the account nor the clock."""


@dataclass(frozen=True, slots=True)
class ShadowDecision:
    """A stored decision. `weight` is what the score asks for, a signed fraction of equity; times are UTC."""

    symbol: str
    bar_start: datetime
    score: float
    weight: float
    is_late: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What one model did with the bars that it had not decided; `aside` says why it decided none at all."""

    model_id: str
    decisions: tuple[ShadowDecision, ...] = ()
    refused: tuple[RefusedBar, ...] = ()
    aside: str | None = None

    def __str__(self) -> str:
        if self.aside is not None:
            return f"model {self.model_id} is set aside: {self.aside}"
        late = sum(decision.is_late for decision in self.decisions)
        line = f"model {self.model_id}: decisions: {len(self.decisions)}, too late to count: {late}"
        bars = [f"{bar.symbol} {bar.bar_start:%F %R} ({'; '.join(bar.reasons)})" for bar in self.refused]
        return line + (f"; not decided: {', '.join(bars)}" if bars else "")


class Shadow:
    """Decides for all models in state shadow, over connections of its own as the role `executor`."""

    def __init__(self) -> None:
        self._market = Market()
        self._connection = connect("executor")
        # a decision is stored when it is made
        self._connection.autocommit = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._market.close()
        self._connection.close()

    def decide(
        self, load: Callable[[registry.ModelRecord], Package | str] = roster.load, *, waits: bool = False
    ) -> tuple[Seen, ...]:
        """Decide every bar that landed and was not decided yet, once, for each model by itself.

        A panel that `waits` is decided as in a session: once its last symbol has its bar, or half of its time has
        passed. `load` gives a model's package, or says why there is none. Raises Retry when the warehouse is gone.
        """
        records = sorted(registry.models("shadow"), key=lambda record: (record.entered_at, record.model_id))
        try:
            return tuple(self._seen(record.model_id, load(record), waits=waits) for record in records)
        except psycopg.OperationalError as error:
            raise Retry(f"the warehouse is gone: {str(error).strip().splitlines()[-1]}") from None

    def _seen(self, model_id: str, package: Package | str, *, waits: bool) -> Seen:
        try:
            return Seen(model_id, aside=package) if isinstance(package, str) else self._decide(package, waits=waits)
        except Stop as error:
            if isinstance(error, Unreachable) or self._market.is_gone:
                raise Retry(f"the warehouse is gone: {error}") from None
            # what one model lacks is not another's affair
            return Seen(model_id, aside=str(error))

    def _decide(self, package: Package, *, waits: bool) -> Seen:
        now = self._now()
        newest = self._market.read([package], (), now)
        if changed := newest.changed[package.model_id]:
            return Seen(package.model_id, aside=f"the SQL of {', '.join(changed)} changed since the model was trained")
        floors, since = self._floors(package), self._registered_at(package)
        # who is ranked is ranked among all that have the bar
        lowest = dict.fromkeys(floors, min(floors.values())) if package.is_panel and floors else floors
        decisions: list[ShadowDecision] = []
        refused: list[RefusedBar] = []
        for bar_start, found in self._market.bars_after(package, lowest).items():
            ends = {symbol: bar.bar_end for symbol, (_, bar) in found.items()}
            todo = [symbol for symbol in found if bar_start > floors[symbol] and since < ends[symbol] <= now]
            view = _view_of(package, newest, found)
            no = _refused(package, view, todo, now)
            refused += no.values()
            todo = [symbol for symbol in todo if symbol not in no]
            is_newest = any(ends[symbol] == _times(newest, symbol).newest_close for symbol in todo)
            if waits and package.is_panel and is_newest and (later := incomplete(package, newest, now)) is not None:
                refused += [_not_decided(package, symbol, bar_start, f"PanelComplete: {later}") for symbol in todo]
                continue
            said = (ranked if package.is_panel and todo else answers)(package, view, todo)
            for symbol, answer in said.items():
                stored = self._stored(package, found[symbol][0], answer)
                if isinstance(stored, str):
                    refused.append(_not_decided(package, symbol, bar_start, stored))
                elif stored is not None:
                    decisions.append(stored)
        return Seen(package.model_id, tuple(decisions), tuple(refused))

    def _stored(self, package: Package, row: FeatureRow, answer: Answer | TooFew | str) -> ShadowDecision | str | None:
        """The decision as it was stored, or in words why there is none; None when somebody else decided it."""
        if isinstance(answer, TooFew):
            return f"PanelComplete: {answer.words}"
        if isinstance(answer, str):
            return f"Model: {answer}"
        whole = answer.whole if answer.whole == answer.whole else None
        try:
            stored = self._connection.execute(
                """
                insert into ledger.shadow_decisions
                (model_id, symbol, bar_start, feature_names, feature_values, score, target_weight, whole_weight)
                values (%s, %s, %s, %s, %s, %s, %s, %s)
                on conflict do nothing returning is_late
                """,
                (
                    *(package.model_id, row.symbol, row.bar_start, list(package.feature_names), list(row.values)),
                    *(answer.score, answer.weight, whole),
                ),
            ).fetchone()
        except psycopg.errors.CheckViolation as error:
            return f"Ledger: {error.diag.message_primary}"
        if stored is None:
            return None
        return ShadowDecision(row.symbol, row.bar_start, answer.score, answer.weight, stored[0])

    def _floors(self, package: Package) -> dict[str, datetime]:
        """By symbol the newest bar that is decided; while there is none, a day before the model was registered.

        A bar may have begun before that, and end later.
        """
        rows = self._connection.execute(
            """
            select wanted.symbol, coalesce(
              (select max(bar_start) from ledger.shadow_decisions
               where model_id = registrations.model_id and shadow_decisions.symbol = wanted.symbol),
              registrations.registered_at - interval '1 day')
            from research.shadow_registrations as registrations
            cross join unnest(%s::text[]) as wanted (symbol)
            where registrations.model_id = %s
            """,
            (list(package.symbols), package.model_id),
        )
        return dict(rows.fetchall())

    def _registered_at(self, package: Package) -> datetime:
        found = self._connection.execute(
            "select registered_at from research.shadow_registrations where model_id = %s", (package.model_id,)
        )
        moment: datetime = scalar(found)
        return moment

    def _now(self) -> datetime:
        now: datetime = scalar(self._connection.execute("select clock_timestamp()"))
        return now


def follow(shadow: Shadow, landings: Landings, is_over: Callable[[], bool], tell: Callable[[str], None]) -> None:
    """Decide whenever something lands, until `is_over`. What one pass says like the one before is told once.

    Raises Retry when the warehouse is gone.
    """
    told: dict[str, str] = {}
    while not is_over():
        passed = shadow.decide(waits=True)
        for seen in passed:
            if seen.decisions or told.get(seen.model_id) != str(seen):
                told[seen.model_id] = str(seen)
                tell(str(seen))
        waits = any(bar.is_postponed for seen in passed for bar in seen.refused)
        landings.wait(SHORTLY_SECONDS if waits else LOOK_AROUND_SECONDS, is_over)


def _view_of(package: Package, newest: MarketView, found: Mapping[str, tuple[FeatureRow, Bar]]) -> MarketView:
    """The market as it was at one bar: the rows and bars of it, and a calendar on which it is the newest."""
    return replace(
        newest,
        rows={(package.model_id, symbol): row for symbol, (row, _) in found.items()},
        bars={symbol: bar for symbol, (_, bar) in found.items()},
        sessions={
            symbol: replace(_times(newest, symbol), newest_close=bar.bar_end) for symbol, (_, bar) in found.items()
        },
    )


def _times(market: MarketView, symbol: str) -> SessionTimes:
    return market.sessions.get(symbol, SessionTimes())


def _refused(package: Package, view: MarketView, symbols: list[str], now: datetime) -> dict[str, RefusedBar]:
    clock = BrokerClock(now, is_open=False, next_open=now, next_close=now)
    refused = {}
    for symbol in symbols:
        evidence = view.evidence(package, symbol, clock, Mode.PAPER, ())
        if reasons := tuple(map(str, refusals(RULES, evidence))):
            start = evidence.feature_bar_start
            refused[symbol] = RefusedBar(package.model_id, symbol, package.timeframe, start, reasons)
    return refused


def _not_decided(package: Package, symbol: str, bar_start: datetime, reason: str) -> RefusedBar:
    return RefusedBar(package.model_id, symbol, package.timeframe, bar_start, (reason,))
