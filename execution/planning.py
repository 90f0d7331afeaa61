"""From the market and the account to decisions and orders, without sending anything: no clock, no input or output."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import numpy as np

from execution.answers import Answer, TooFew, answers, incomplete, ranked
from execution.brokers.base import SymbolTerms
from execution.crossing import Change, crossed
from execution.holding import Holding
from execution.limits import Limits
from execution.market_view import Bar, FeatureRow, MarketView, Package, may_short
from execution.orders import Order, Side, client_order_id, decision_id
from execution.policy import TradingPolicy
from execution.records import Cross, DecidedBar, Decision, Failure, Intent, OpenOrder, RefusedBar
from execution.situation import ZERO, Situation
from execution.sizing import affordable_quantity, order_quantity, target_quantity
from execution.validation.bars import BAR_RULES
from execution.validation.limits import postponed
from execution.validation.orders import cross_rules, order_rules, waits_for_price
from execution.validation.rules import Refusal, refusals, verdicts
from models_registry.exits import Held, Levels, decide
from models_registry.rebalancing import Rebalancing


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written ahead. Approved intents are in the order of sending: sales first.

    `failures` are models that gave no answer; their bars are among the refused. `crosses` pass between the shares of
    models before anything is sent.
    """

    decisions: tuple[Decision, ...]
    intents: tuple[Intent, ...]
    refused: tuple[RefusedBar, ...]
    failures: tuple[Failure, ...] = ()
    crosses: tuple[Cross, ...] = ()


def refused_bars(
    package: Package,
    symbols: Iterable[str],
    situation: Situation,
    resumed: str | None = None,
    shared: Collection[str] = (),
) -> dict[str, RefusedBar]:
    """Those of the symbols whose newest bar may not be decided now, with the reasons.

    `resumed` is the client order id of an order that was decided before: it does not hinder itself. `shared` are
    symbols that several models decide.
    """
    refused = {}
    for symbol in symbols:
        evidence = replace(
            situation.market.evidence(package, symbol, situation.clock, situation.mode, situation.unpriced),
            account=situation.account,
            halted_because=situation.standing.halted_because,
            has_discrepancy=situation.has_discrepancy,
            in_flight=situation.in_flight(symbol, resumed, package.model_id),
            may_arrive=situation.may_arrive(symbol),
            unshared=situation.unshared(package.model_id, symbol, is_shared=symbol in shared),
            clock_skew=situation.clock.skew,
        )
        if (terms := situation.terms.get(symbol)) is not None:
            evidence = replace(evidence, closed_because=terms.closed_because)
        reasons = tuple(str(refusal) for refusal in refusals(BAR_RULES, evidence))
        if reasons:
            bar_start = evidence.feature_bar_start
            refused[symbol] = RefusedBar(package.model_id, symbol, package.timeframe, bar_start, reasons)
    return refused


def open_questions(market: MarketView) -> dict[tuple[str, str], datetime]:
    """The bars that the newest feature rows ask models to decide: by model and symbol, the bar's start."""
    return {key: row.bar_start for key, row in market.rows.items()}


def revised_since(entry: OpenOrder, package: Package, situation: Situation) -> str | None:
    """In words, what was revised of the newest bar since this order was decided on it; None when nothing was.

    A split that was announced since revises it too.
    """
    symbol, market = entry.order.symbol, situation.market
    row, bar = market.rows.get((package.model_id, symbol)), market.bars.get(symbol)
    if row is None or bar is None or row.bar_start != entry.bar_start:
        return None
    if not bar.is_traded:
        return "its bar was revised: nobody traded in it any more"
    if not row.is_ready:
        return "its bar was revised: its feature row is not ready any more"
    if (changed := _changed(entry.reference_price, entry.feature_values or (), package, row, bar)) is not None:
        return f"its bar was revised: {changed}"
    if splits := (market.splits or {}).get(symbol):
        return f"{'; '.join(splits)}: it would trade in other shares than it was sized in"
    stale_from, reason = market.stale.get(symbol, (None, None))
    return None if stale_from is None else f"its bar was revised: history is stale from {stale_from:%F} on: {reason}"


def reopened(
    attempts: Mapping[tuple[str, str], tuple[int, bool]],
    unordered: Mapping[tuple[str, str], DecidedBar],
    packages: Sequence[Package],
    situation: Situation,
) -> dict[tuple[str, str], tuple[int, bool]]:
    """The attempts, with those open again that led to no order, and whose bar was revised while it may be traded.

    An order on such a bar is taken back, and the bar decided again. So is one that asked for no order: all that it
    wanted passed between shares, or nothing was wanted.
    """
    found, market = dict(attempts), situation.market
    for package in packages:
        for symbol in package.symbols:
            key = (package.model_id, symbol)
            seen, row, bar = unordered.get(key), market.rows.get(key), market.bars.get(symbol)
            if seen is None or seen.price is None or row is None or bar is None or row.bar_start != bar.bar_start:
                continue
            times = market.sessions.get(symbol)
            is_timely = times is not None and times.is_timely(bar.bar_end, situation.clock)
            if is_timely and _changed(seen.price, seen.feature_values, package, row, bar) is not None:
                found[key] = (found[key][0], True)
    return found


def _changed(
    price: Decimal | None, values: Sequence[float | None], package: Package, row: FeatureRow, bar: Bar
) -> str | None:
    """In words, what of a bar is not as it was when it was decided; None when all is."""
    if bar.close != price:
        return f"it closed at {price}, and now at {bar.close}"
    for name, then, now in zip(package.feature_names, values, row.values, strict=True):
        if then != now and not (_is_nan(then) and _is_nan(now)):
            return f"{name} was {then}, and is {now}"
    return None


def _is_nan(value: float | None) -> bool:
    return value is not None and math.isnan(value)


def plan(
    account_id: str,
    packages: Sequence[Package],
    shares: Mapping[str, Decimal],
    policy: TradingPolicy,
    situation: Situation,
    attempts: Mapping[tuple[str, str], tuple[int, bool]],
    aimed_at: Mapping[tuple[str, str], float] | None = None,
    holdings: Mapping[tuple[str, str], Holding] | None = None,
    *,
    waits: bool = False,
) -> Plan:
    """Decide every bar that may be decided and was not before.

    `shares` is each model's share of equity. `attempts` says by model and symbol how often the newest bar was decided
    before, and whether it may be again, `aimed_at` what the position was last traded to, `holdings` since when it is
    held, where a package has exits. A model that fails decides nothing; the others decide all the same. A panel is
    decided once its last symbol has its bar; with `waits` it may wait for that, otherwise what is there is ranked.

    Each model steers its own share of a position. Of a symbol that several trade, what no model holds is taken up by
    the first that decides it, opposite wishes are crossed, and one that opposes an order in flight waits.
    """
    decisions: list[Decision] = []
    refused: list[RefusedBar] = []
    failures: list[Failure] = []
    changes: list[Change] = []
    taken: list[Cross] = []
    traded = Counter(symbol for package in packages for symbol in package.symbols)
    shared = {symbol for symbol, models in traded.items() if models > 1}
    orders = {} if situation.usage is None else dict(situation.usage.orders)
    for package in packages:
        asked = {symbol: attempts.get((package.model_id, symbol), (0, True)) for symbol in package.symbols}
        symbols = [symbol for symbol in package.symbols if asked[symbol][1]]
        no = refused_bars(package, symbols, situation, shared=shared)
        refused += no.values()
        numbers = {symbol: asked[symbol][0] + 1 for symbol in symbols if symbol not in no}
        if package.is_panel and numbers:
            if waits and (later := incomplete(package, situation.market, situation.clock.now)) is not None:
                refused += [_unanswered(package, situation, symbol, f"PanelComplete: {later}") for symbol in numbers]
                continue
            said = ranked(package, situation.market, list(numbers))
        else:
            said = answers(package, situation.market, list(numbers))
        for symbol, answer in said.items():
            if isinstance(answer, TooFew):
                refused.append(_unanswered(package, situation, symbol, f"PanelComplete: {answer.words}"))
                continue
            bar_start = situation.market.rows[package.model_id, symbol].bar_start
            subject = (package.model_id, symbol, package.timeframe, bar_start)
            held, nobodys = situation.share(package.model_id, symbol), situation.nobodys(symbol)
            if symbol in {cross.symbol for cross in taken}:
                held, nobodys = held - nobodys, ZERO
            if isinstance(answer, str):
                refused.append(RefusedBar(*subject, (f"Model: {answer}",)))
                failures.append(Failure(package.model_id, symbol, answer))
                continue
            decision = _decision(account_id, package, situation, symbol, answer, numbers[symbol])
            if (exits := getattr(package, "exits", None)) is not None:
                since = (holdings or {}).get(subject[:2], Holding())
                levels = Levels.of([exits], may_short=may_short(package))
                decision = _with_exits(decision, levels, answer, _side(situation, symbol, held), since)
            try:
                rule = getattr(package, "rebalancing", None) or Rebalancing(band=float(policy.rebalance_band))
                runs = rule.drift == "let_run" and (aimed_at or {}).get(subject[:2]) == decision.target_weight
                change = _change(decision, shares[package.model_id], policy, situation, rule, held, runs=runs)
            except ValueError as error:
                refused.append(RefusedBar(*subject, (f"Sizing: {error}",)))
                continue
            if change.quantity and (later := _postponed(account_id, situation, decision, orders)) is not None:
                # not a verdict on the order either: it is decided once the minute is over
                refused.append(RefusedBar(*subject, (f"OrdersAMinute: {later}",)))
                continue
            if change.opens and (no_more := situation.standing.reduces_because) is not None:
                # not a verdict on the order: the bar is decided once the account may open positions again
                refused.append(RefusedBar(*subject, (f"ReduceOnly: {no_more}",)))
                continue
            if change.reduces and (later := _waits_for_price(policy, situation, change)) is not None:
                # nor is this one: an exit that is refused for good leaves the position to nobody
                refused.append(RefusedBar(*subject, (f"PriceSane: {later}",)))
                continue
            if opposed := situation.in_flight(symbol, None, package.model_id, _side_of(change)):
                # the bar is decided once that order has ended, if it is still timely
                refused.append(RefusedBar(*subject, (f"NoOrderInFlight: order {opposed[0]} would trade with its own",)))
                continue
            decisions.append(change.decision)
            if nobodys and symbol in shared:
                taken.append(Cross(symbol, None, decision.decision_id, nobodys, change.price, situation.clock.now))
            if change.quantity:
                changes.append(change)
                key = (decision.model_id, decision.symbol)
                orders[key] = orders.get(key, 0) + 1
    left, crosses, situation = _crossed(changes, policy, situation)
    intents = _intents(account_id, left, policy, situation)
    return Plan(tuple(decisions), intents, tuple(refused), tuple(failures), (*taken, *crosses))


def _postponed(
    account_id: str, situation: Situation, decision: Decision, orders: Mapping[tuple[str | None, str], int]
) -> str | None:
    """In words, why the bar waits for the minute to be over; `orders` are those of the last minute and of this step."""
    if situation.limits is None:
        return None
    usage = None if situation.usage is None else replace(situation.usage, orders=orders)
    return postponed(situation.limits, usage, account_id, decision.model_id, decision.symbol)


def _waits_for_price(policy: TradingPolicy, situation: Situation, change: Change) -> str | None:
    symbol = change.decision.symbol
    closes = change.decision.target_weight == 0
    mark = situation.mark(symbol)
    return waits_for_price(policy.price_tolerance, symbol, change.price, mark, change.held, closes=closes)


def _unanswered(package: Package, situation: Situation, symbol: str, reason: str) -> RefusedBar:
    bar_start = situation.market.rows[package.model_id, symbol].bar_start
    return RefusedBar(package.model_id, symbol, package.timeframe, bar_start, (reason,))


def _decision(
    account_id: str, package: Package, situation: Situation, symbol: str, answer: Answer, attempt: int
) -> Decision:
    row, bar = situation.market.rows[package.model_id, symbol], situation.market.bars[symbol]
    return Decision(
        decision_id=decision_id(account_id, package.model_id, symbol, package.timeframe, row.bar_start, attempt),
        model_id=package.model_id,
        symbol=symbol,
        timeframe=package.timeframe,
        bar_start=row.bar_start,
        bar_end=bar.bar_end,
        broker_time=situation.clock.now,
        feature_names=tuple(package.feature_names),
        feature_values=row.values,
        score=answer.score,
        target_weight=answer.weight,
        attempt=attempt,
    )


def _side_of(change: Change) -> Side | None:
    return None if not change.quantity else Side.BUY if change.quantity > 0 else Side.SELL


def _side(situation: Situation, symbol: str, held: Decimal) -> int:
    """1 long, -1 short, 0 flat; what is too little to be sold is nothing that is held."""
    terms, bar = situation.terms.get(symbol), situation.market.bars[symbol]
    is_dust = terms is not None and terms.step is not None and not terms.closable(held, bar.close)
    return 0 if is_dust else (held > 0) - (held < 0)


def _with_exits(decision: Decision, levels: Levels, answer: Answer, side: int, since: Holding) -> Decision:
    """The decision as the backtest makes it of the same position and prices."""
    held = Held(side, since.bars, since.entry, since.low, since.high)
    weight, score, whole, barred_before = (
        np.array([[value]]) for value in (answer.weight, answer.score, answer.whole, float(since.barred))
    )
    weights, barred, reasons = decide(levels, weight, score, whole, held, barred_before)
    return replace(
        decision,
        target_weight=float(weights[0, 0]),
        signal_weight=answer.weight,
        held_side=side,
        held_since=since.since if side else None,
        barred=int(barred[0, 0]),
        exit_reason=reasons[0, 0] or None,
    )


def _change(
    decision: Decision,
    share: Decimal,
    policy: TradingPolicy,
    situation: Situation,
    rule: Rebalancing,
    held: Decimal,
    *,
    runs: bool,
) -> Change:
    capital = (situation.equity or ZERO) * share * (1 - policy.cash_buffer)
    price = situation.market.bars[decision.symbol].close
    step = situation.step(decision.symbol, policy)
    terms = situation.terms.get(decision.symbol, SymbolTerms())
    target = target_quantity(decision.target_weight, capital, price, step)
    band = Decimal(str(rule.band))
    # a fee may have been taken out of what was bought: what is left of a step is nothing that could be sold
    uncut = replace(terms, max_quantity=None, max_notional=None)
    closable = None if terms.step is None else uncut.closable(held, price)
    wanted = order_quantity(target, held, step, band=band * capital / price, runs=runs, closable=closable)
    most = _most(decision.symbol, terms, price, step, situation.limits)
    inputs = {
        "weight": decision.target_weight,
        "equity": situation.equity or ZERO,
        "share": share,
        "cash_buffer": policy.cash_buffer,
        "rebalance_band": band,
        "capital": capital,
        "price": price,
        "step": step,
        "held": held,
        "closable": closable,
        "max_quantity": most,
        "wanted": wanted,
    }
    said = {name: None if v is None else str(v) for name, v in inputs.items()}
    return Change(replace(decision, price=price, wanted=wanted), wanted, price, held, step, said, most)


def _most(symbol: str, terms: SymbolTerms, price: Decimal, step: Decimal, limits: Limits | None) -> Decimal | None:
    """The most units of one order, by the broker's terms and the limits; the rest goes with later bars."""
    known = (
        terms.max_quantity,
        None if terms.max_notional is None else terms.max_notional / price,
        None if limits is None else limits.symbol.get("max_quantity", symbol),
    )
    whole = [most // step * step for most in known if most is not None]
    # less than a step is no order at all: it is left for a rule to refuse
    return min((most for most in whole if most), default=None)


def _crossed(
    changes: Sequence[Change], policy: TradingPolicy, situation: Situation
) -> tuple[tuple[Change, ...], tuple[Cross, ...], Situation]:
    """What is left to be ordered, what passes between shares before, and the situation after that."""
    rules = cross_rules(policy, situation.limits)
    usage = situation.usage

    def approve(buyer: Change, seller: Change, units: Decimal) -> Mapping[str, str | None]:
        nonlocal usage
        model_id, symbol = buyer.decision.model_id, buyer.decision.symbol
        order = Order(buyer.decision.decision_id, symbol, Side.BUY, units)
        proposal = situation.proposal(order, buyer.price, ZERO, model_id, usage, share=buyer.held)
        said = verdicts(rules, replace(proposal, is_crossed=True))
        if usage is not None and not any(said.values()):
            usage = usage.with_cross(seller.decision.model_id, model_id, symbol, units * buyer.price)
        return said

    found, crosses = crossed(changes, situation.clock.now, approve)
    left = tuple(change for change in found if not _is_too_little(change, situation))
    return left, crosses, replace(situation, usage=usage)


def _is_too_little(change: Change, situation: Situation) -> bool:
    """Whether a crossing left less than an order may be for: nothing that the model wanted was refused."""
    if "crossed" not in change.inputs or change.said is not None:
        return False
    symbol, units = change.decision.symbol, abs(change.quantity)
    least = None if situation.limits is None else situation.limits.symbol.get("min_quantity", symbol)
    if least is not None and units < least and change.held + change.quantity:
        return True
    return situation.terms.get(symbol, SymbolTerms()).too_small(units, change.price) is not None


def _intents(
    account_id: str, changes: Iterable[Change], policy: TradingPolicy, situation: Situation
) -> tuple[Intent, ...]:
    rules = order_rules(policy, situation.limits)
    committed, usage = ZERO, situation.usage
    added: dict[str, Decimal] = {}
    intents = []
    for change in sorted(changes, key=lambda change: change.quantity > 0):
        decision = change.decision
        subject = (decision.model_id, decision.symbol, decision.timeframe, decision.bar_start, decision.attempt)
        intent = Intent(
            client_order_id=client_order_id(account_id, *subject),
            decision_id=decision.decision_id,
            symbol=decision.symbol,
            side=Side.BUY if change.quantity > 0 else Side.SELL,
            quantity=abs(change.quantity),
            reference_price=change.price,
        )
        pending = added.get(decision.symbol, ZERO)
        proposal = situation.proposal(
            intent.order, change.price, committed, decision.model_id, usage, share=change.held, pending=pending
        )
        power = situation.account.buying_power - committed
        step = situation.step(decision.symbol, policy)
        quantity = affordable_quantity(proposal.quantity, proposal.added_exposure, change.price, power, step)
        intent, proposal = replace(intent, quantity=quantity), replace(proposal, quantity=quantity)
        intent = replace(intent, time_in_force=situation.in_force(decision.symbol, quantity))
        said = verdicts(rules, proposal) if change.said is None else change.said
        reasons = tuple(str(Refusal(name, reason)) for name, reason in said.items() if reason is not None)
        if not reasons:
            committed += proposal.cost
            usage = None if usage is None else usage.with_order(decision.model_id, proposal)
            if proposal.added_exposure > 0:
                added[decision.symbol] = pending + proposal.side.sign * proposal.quantity
        inputs = {**change.inputs, "buying_power": str(power)}
        intents.append(replace(intent, refusals=reasons, sizing=inputs, verdicts=said))
    return tuple(intents)
