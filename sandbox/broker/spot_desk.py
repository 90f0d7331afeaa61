"""What Binance does to a spot account on its own.

{"act": "spot", "rests": true}                              market orders wait instead of trading
{"act": "spot", "parts": ["0.25", "0.75"]}                  market orders trade in these shares; what is left expires
{"act": "spot", "pays_in_bnb": true, "can_trade": false}    how fees are paid, and whether the account may trade
{"act": "spot", "status": {"BTCUSDT": "BREAK"}}             what a symbol's status is; DELISTED: it is listed no more
{"act": "spot", "skew": 2000}                               milliseconds that its clock is ahead of what it tells
{"act": "spot fill", "symbol": ..., "order": 3, "qty": "0.1", "price": "100"}   execute a part of an open order
{"act": "spot expire", "symbol": ..., "order": 3}           end an open order
{"act": "spot move", "asset": "BNB", "units": "1"}          a deposit, or a withdrawal
{"act": "spot wipe"}                                        the testnet begins anew
{"act": "spot drop"}                                        every socket of user data breaks
"""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation

from sandbox.broker.binance_requests import RequestClock
from sandbox.broker.spot_account import SpotAccount
from sandbox.broker.spot_records import SpotOrder
from sandbox.errors import SandboxError

Fields = Mapping[str, object]


class SpotDesk:
    """Acts on one account. SandboxError says what an act lacks or does not find."""

    def __init__(self, spot: SpotAccount, clock: RequestClock, drop: Callable[[], None]) -> None:
        self._spot, self._clock, self._drop = spot, clock, drop
        self._acts: dict[object, Callable[[Fields], None]] = {
            "spot": self._set,
            "spot fill": self._fill,
            "spot expire": lambda fields: spot.expire(self._order(fields)),
            "spot move": self._move,
            "spot wipe": lambda fields: spot.wipe(),
            "spot drop": lambda fields: drop(),
        }

    def knows(self, fields: object) -> bool:
        return isinstance(fields, dict) and fields.get("act") in self._acts

    def act(self, fields: Fields) -> None:
        """Do what the body of a request says."""
        self._acts[fields["act"]](fields)

    def _set(self, fields: Fields) -> None:
        for name in ("rests", "pays_in_bnb", "can_trade"):
            if name in fields:
                setattr(self._spot, name, fields[name] is True)
        if isinstance(parts := fields.get("parts"), list):
            self._spot.parts = tuple(_number(part) for part in parts)
        if isinstance(status := fields.get("status"), dict):
            self._spot.status |= status
        if "skew" in fields:
            self._clock.skew = int(_number(fields["skew"]))

    def _fill(self, fields: Fields) -> None:
        self._spot.execute(self._order(fields), _number(fields.get("qty")), _number(fields.get("price")))

    def _move(self, fields: Fields) -> None:
        self._spot.balances[str(fields.get("asset"))].free += _number(fields.get("units"))

    def _order(self, fields: Fields) -> SpotOrder:
        found = self._spot.find(str(fields.get("symbol")), int(_number(fields.get("order"))), None)
        if found is None or not found.is_open:
            raise SandboxError(f"There is no open order {fields.get('order')} of {fields.get('symbol')}.")
        return found


def _number(value: object) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise SandboxError(f"{value} is not a number.")
    return number
