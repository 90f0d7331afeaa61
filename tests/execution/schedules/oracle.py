"""What must hold whatever happened, from the broker's own book; of the ledger only its tables are read."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from tests.execution.agreement import assert_balances_hold, assert_shares_hold, assert_states_hold
from tests.execution.schedules.places import Place
from tests.execution.world import rows

_CENT = Decimal("0.01")
# what sizing by a close and filling at another price may make of a weight
_SLACK = Decimal("1.06")


def bound(place: Place, number: int, weights: Sequence[float], symbol: str) -> Decimal:
    """The most units that the bar's intents and what is held already may come to, of all that the account is worth.

    Each of the models has an equal part of that. What one holds already may stay while another buys.
    """
    held = place.held()
    worth = place.cash() + sum(
        (units * place.close(number, name) for name, units in held.items() if name in place.symbols), Decimal(0)
    )
    # in the shares that trade then
    factor = place.factor(number, symbol)
    had = held.get(symbol, Decimal(0)) * factor
    part = worth / len(weights) / place.close(number, symbol) * factor * _SLACK
    wanted = [Decimal(str(weight)) * part + 1 for weight in weights]
    if len(weights) == 1:
        return max(wanted[0], had)
    shares = dict(rows("select model_id, amount from ledger.shares where symbol = %s", symbol))
    own = [shares.get(package.model_id, Decimal(0)) * factor for package in place.packages]
    # what the ledger has not heard of yet may be anybody's
    return sum(map(max, wanted, own), Decimal(0)) + max(Decimal(0), had - sum(own, Decimal(0)))


def assert_within(place: Place, bounds: dict[str, Decimal], by_hand: Decimal) -> None:
    """No order went beyond its bar's intent."""
    held = place.held()
    for symbol, most in bounds.items():
        assert held.get(symbol, Decimal(0)) <= most + by_hand, f"{held[symbol]} {symbol} are held, intended were {most}"


def assert_exact(place: Place) -> None:
    """Each order of ours is there once and is what was intended; fills, positions and cash are the broker's."""
    account = place.account()
    assert_states_hold(account)
    assert_balances_hold(account)
    assert_shares_hold(account)
    since = " and {} >= ledger.epoch_start(account_id)"
    orders = {one.name: one for one in place.orders() if one.client_id.startswith("tb-")}
    twice = [name for name, count in Counter(one.client_id for one in orders.values()).items() if count > 1]
    assert not twice, f"orders of ours are there twice: {twice}"
    # what was on its way when the account was reset: a person found it right, or it is in what the epoch opened with
    right = "select subject from ledger.adoptions where account_id = %s" + since.format("adopted_at")
    before = "select client_order_id from ledger.intents where account_id = %s"
    before += " and written_at < ledger.epoch_start(account_id)"
    adopted, earlier = ({name for [name] in rows(query, account)} for query in (right, before))
    orders = {
        name: one
        for name, one in orders.items()
        if one.client_id not in earlier or (one.is_open and name not in adopted)
    }
    intents = {
        row[0]: row[1:]
        for row in rows(
            "select client_order_id, symbol, side, quantity from ledger.intents"
            " where account_id = %s and verdict = 'approved'" + since.format("written_at"),
            account,
        )
    }
    for one in orders.values():
        assert one.filled <= one.quantity
        assert intents.get(one.client_id) == (one.symbol, one.side, one.quantity), f"nobody intended {one}"
    known = dict(
        rows(
            "select client_order_id, array[status, filled_quantity::text] from ledger.orders where account_id = %s"
            + since.format("written_at"),
            account,
        )
    )
    for one in orders.values():
        status, filled = known[one.client_id]
        assert Decimal(filled) == one.filled, f"{one} is {status} with {filled} filled in the ledger"
        assert not one.is_open, f"{one} is still open"
        ends = ("rejected",) if one.is_refused else ("filled", "canceled", "expired")
        assert status in ends, f"{one} is {status} in the ledger"
    recorded = rows(
        "select symbol, side, quantity, price, coalesce(fee, 0) from ledger.fills where account_id = %s"
        + since.format("recorded_at"),
        account,
    )
    ours = [(one.symbol, one.side, one.quantity, one.price, one.fee) for one in place.fills() if one.order in orders]
    assert Counter(recorded) == Counter(ours), "fills are lost or doubled"
    held = {symbol: units for symbol, units in place.held().items() if units}
    assert dict(rows("select symbol, quantity from ledger.positions where account_id = %s", account)) == held
    [(cash,)] = rows("select cash from ledger.cash where account_id = %s", account)
    assert abs(cash - place.cash()) < _CENT, f"cash is {cash} in the ledger and {place.cash()} at the broker"


def standing(account: str) -> tuple[str, str]:
    """What the account may do, and why; it trades while nothing was said."""
    found = rows("select action, reason from ledger.standings where account_id = %s", account)
    return found[0] if found else ("release", "")
