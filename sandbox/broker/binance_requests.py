"""What Binance's REST handlers and its WebSocket API share: keys, signatures, clocks, and the form of a refusal."""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from urllib.parse import parse_qsl

from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

MILLISECOND = 1_000
USUAL_WINDOW, LONGEST_WINDOW, AHEAD = 5_000, 60_000, 1_000
"""Milliseconds."""
CLIENT_ID = re.compile(r"[a-zA-Z0-9-_]{1,36}")
NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?")


class Refused(Exception):
    """Binance's answer to a request that it does not carry out: HTTP status, code and text."""

    def __init__(self, status: int, code: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.body = {"code": code, "msg": text}


class SpotKeys:
    """The one key of the stand-in account. Its secret is for HMAC; a public Ed25519 key (PEM) may take its place."""

    def __init__(self, key: str, secret: str, public_key: str | None = None) -> None:
        self._key, self._secret = key, secret.encode()
        self._public = ECC.import_key(public_key) if public_key else None

    def check(self, key: object) -> None:
        """Refused 401 unless it is the account's key."""
        if key != self._key:
            raise Refused(401, -2015, "Invalid API-key, IP, or permissions for action.")

    def check_signature(self, signed: str, signature: str) -> None:
        """Refused unless the signature is that of the text, as it was received."""
        if self._public is not None:
            try:
                eddsa.new(self._public, "rfc8032").verify(signed.encode(), base64.b64decode(signature, validate=True))
            except ValueError:
                raise Refused(400, -1022, "Signature for this request is not valid.") from None
            return
        right = hmac.new(self._secret, signed.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right, signature.lower()):
            raise Refused(400, -1022, "Signature for this request is not valid.")


class RequestClock:
    """Which timestamps are accepted. A clock that is stepped by hand goes on by itself in between, for this alone."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._told, self._since = now(), time.monotonic()
        self.skew = 0
        """Milliseconds that the vendor's clock is ahead of what it tells: a test moves it."""

    def check(self, fields: Mapping[str, str]) -> None:
        """Refused -1021 when the request comes from another time, or took too long to come."""
        if self._now() != self._told:
            self._told, self._since = self._now(), time.monotonic()
        if not re.fullmatch(r"\d{1,18}", fields.get("timestamp", "")):
            raise mandatory("timestamp")
        window = Decimal(fields.get("recvWindow", USUAL_WINDOW))
        if window > LONGEST_WINDOW:
            raise Refused(400, -1131, "recvWindow must be less than 60000.")
        told = self._told // MILLISECOND + self.skew
        latest = told + int((time.monotonic() - self._since) * MILLISECOND)
        stamp = int(fields["timestamp"])
        if stamp >= latest + AHEAD:
            raise Refused(400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if told - stamp > window:
            raise Refused(400, -1021, "Timestamp for this request is outside of the recvWindow.")


def fields_of(query: str, body: str) -> tuple[dict[str, str], str, str]:
    """The parameters, the text that was signed, and the signature: the raw query and body, without the signature."""
    fields = dict(parse_qsl(query, keep_blank_values=True)) | dict(parse_qsl(body, keep_blank_values=True))
    signed = re.sub(r"(^|&)signature=[^&]*", "", query + body)
    return fields, signed, fields.pop("signature", "")


def mandatory(name: str) -> Refused:
    return Refused(400, -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def amount(fields: Mapping[str, str], name: str) -> Decimal:
    """A positive number as the vendor takes it: no exponent, at most eight decimals."""
    text = fields.get(name)
    if not text:
        raise mandatory(name)
    if not NUMBER.fullmatch(text):
        message = (
            f"Illegal characters found in parameter '{name}'; legal range is '^([0-9]{{1,20}})(\\.[0-9]{{1,20}})?$'."
        )
        raise Refused(400, -1100, message)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise mandatory(name) from None
    if max(0, -number.normalize().as_tuple().exponent) > 8:
        raise Refused(400, -1111, f"Parameter '{name}' has too much precision.")
    return number


def client_id(fields: Mapping[str, str], name: str, usual: str) -> str:
    """A client's own id for an order or a cancel."""
    text = fields.get(name, usual)
    if not CLIENT_ID.fullmatch(text):
        message = f"Illegal characters found in parameter '{name}'; legal range is '^[a-zA-Z0-9-_]{{1,36}}$'."
        raise Refused(400, -1100, message)
    return text


def whole(fields: Mapping[str, str], name: str) -> int | None:
    """A whole number that may be left out."""
    text = fields.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,18}", text):
        raise Refused(400, -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)
