"""The fault plan: which vendor goes wrong in which way and how often, declared in YAML and drawn from one seed.

    seed: 7
    vendors:
      binance:
        - {fault: missing_bars, rate: 0.01, symbols: [BTCUSDT]}
        - {fault: late_revision, rate: 0.02, after_minutes: 30}
        - {fault: rate_limited, rate: 0.05, retry_after: 2}
        - {fault: silent, rate: 0.001, minutes: 15}
      polygon:
        - {fault: missing_bars, rate: 0.01, on: socket}
      geckoterminal:
        - {fault: stall, rate: 0.01, seconds: 90, from: 2026-01-31T00:00:00Z, until: 2026-02-01T00:00:00Z}

Faults of bars strike a vendor's REST and its socket alike, the same bar in the same way; missing_bars may be `on` one
of them only. dropped, closed and silent befall a socket after, or from, the bar that they strike. Of the faults of
answers, truncated_json and renamed_field also spoil events on a socket, and unauthorized, rate_limited and server_error
also refuse one.

`from` and `until` (exclusive) bound the starts of bars for faults of bars and of sockets, and the clock for faults of
answers. Every draw depends on the seed and on what it strikes, never on what was asked before: a bar is hit or not for
good, and the n-th attempt at the same request or connection always meets the same fate.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import yaml

from sandbox.errors import SandboxError
from sandbox.tape.files import Tape
from sandbox.timekeeping import MINUTE, micros, parse_instant

VENDORS = ("polygon", "binance", "coingecko", "geckoterminal")
SEND_RETRY_AFTER = ("binance", "coingecko")
HAVE_SOCKETS = ("polygon", "binance")
BAR_FAULTS = ("missing_bars", "late_revision", "bad_tick", "unit_error", "duplicates", "disorder")
ANSWER_FAULTS = (
    "stall",
    "unauthorized",
    "rate_limited",
    "banned",
    "server_error",
    "no_results",
    "truncated_json",
    "renamed_field",
)
SOCKET_FAULTS = ("dropped", "closed", "silent")
FAULTS = (*BAR_FAULTS, *ANSWER_FAULTS, *SOCKET_FAULTS)
SPOILS_EVENTS = ("truncated_json", "renamed_field")
CHANNELS = ("socket", "rest", "both")
OPTIONS = {
    "missing_bars": ("on",),
    "late_revision": ("after_minutes",),
    "stall": ("seconds",),
    "rate_limited": ("retry_after",),
    "banned": ("retry_after",),
    "server_error": ("status",),
    "renamed_field": ("field", "to"),
    "closed": ("code",),
    "silent": ("minutes",),
}
CLEAN_CLOSES = (1000, 1001)
STATUSES = (500, 502, 503, 504)
ALWAYS = 1 << 62


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the plan, whose draws all start from `identity`; begin, end, after and silence are microseconds."""

    fault: str
    rate: float
    identity: str
    symbols: tuple[str, ...] | None = None
    begin: int = -ALWAYS
    end: int = ALWAYS
    after: int = 10 * MINUTE
    seconds: float = 60.0
    retry_after: int | None = None
    status: int | None = None
    field: str = ""
    to: str = ""
    on: str = "both"
    code: int | None = None
    silence: int = 10 * MINUTE

    def draw(self, *what: object) -> float:
        """A number from 0 to 1, always the same for the same rule and object."""
        return self.number(*what) / 2**64

    def number(self, *what: object) -> int:
        """64 bits, always the same for the same rule and object."""
        text = "|".join(map(str, (self.identity, *what)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


@dataclass(frozen=True)
class FaultPlan:
    """The rules of each vendor, in the order of the file."""

    seed: int
    rules: dict[str, tuple[Rule, ...]]

    def bars(self, vendor: str) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules.get(vendor, ()) if rule.fault in BAR_FAULTS)

    def answers(self, vendor: str) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules.get(vendor, ()) if rule.fault in ANSWER_FAULTS)

    def events(self, vendor: str) -> tuple[Rule, ...]:
        """What spoils events on the vendor's socket, or the socket itself after one."""
        return tuple(rule for rule in self.rules.get(vendor, ()) if rule.fault in (*SOCKET_FAULTS, *SPOILS_EVENTS))


NO_FAULTS = FaultPlan(0, {})


def load(path: Path, tape: Tape) -> FaultPlan:
    """Read a plan for this tape; SandboxError says in one sentence what is wrong and what is allowed."""
    try:
        declared = yaml.load(path.read_text(), _Words)
    except OSError as error:
        raise SandboxError(f"The fault plan {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SandboxError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(declared, dict) or not set(declared) <= {"seed", "vendors"}:
        raise SandboxError(f"{path} must have a seed and vendors, and nothing else.")
    seed, vendors = declared.get("seed"), declared.get("vendors")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise SandboxError(f"seed in {path} must be a whole number, not {seed}.")
    if not isinstance(vendors, dict):
        raise SandboxError(f"vendors in {path} must map {_list(VENDORS)} to lists of faults.")
    rules = {}
    for vendor, lines in vendors.items():
        if vendor not in VENDORS:
            raise SandboxError(f"{path} names the vendor {vendor}; it may name {_list(VENDORS)}.")
        if not isinstance(lines, list):
            raise SandboxError(f"{vendor} in {path} must be a list of faults, like - {{fault: stall, rate: 0.01}}.")
        rules[vendor] = tuple(
            _Line(f"Fault {number} of {vendor} in {path}", vendor, line, tape).rule(f"{seed}|{vendor}|{number}")
            for number, line in enumerate(lines, start=1)
        )
    return FaultPlan(seed, rules)


class _Words(yaml.SafeLoader):
    """YAML without booleans, as a plan has none: otherwise `on` would be read as true."""

    yaml_implicit_resolvers: ClassVar[dict] = {
        first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _Line:
    """One line of the plan while it is checked."""

    def __init__(self, where: str, vendor: str, line: object, tape: Tape) -> None:
        self._where, self._vendor, self._tape = where, vendor, tape
        if not isinstance(line, dict):
            raise SandboxError(f"{where} must be a mapping, like {{fault: stall, rate: 0.01}}.")
        self._line = line

    def rule(self, identity: str) -> Rule:
        fault = self._line.get("fault")
        if fault not in FAULTS:
            raise SandboxError(f"{self._where} is {fault}; a fault is one of {_list(FAULTS)}.")
        if fault == "banned" and self._vendor != "binance":
            raise SandboxError(f"{self._where} is banned, which only binance does.")
        if self._vendor not in HAVE_SOCKETS and (fault in SOCKET_FAULTS or "on" in self._line):
            what = f"is {fault}" if fault in SOCKET_FAULTS else "has on"
            raise SandboxError(f"{self._where} {what}, which needs a socket; only {_list(HAVE_SOCKETS)} have one.")
        own = OPTIONS.get(fault, ())
        allowed = ("fault", "rate", "from", "until", *(() if fault in ANSWER_FAULTS else ("symbols",)), *own)
        unknown = [str(key) for key in self._line if key not in allowed]
        if unknown:
            raise SandboxError(f"{self._where} has {_list(unknown)}; {fault} may have {_list(allowed)}.")
        settings = {
            "symbols": self._symbols(),
            "begin": self._moment("from", -ALWAYS),
            "end": self._moment("until", ALWAYS),
        }
        if "after_minutes" in self._line:
            settings["after"] = int(self._number("after_minutes", 0, 10**6) * MINUTE)
        if "seconds" in self._line:
            settings["seconds"] = self._number("seconds", 0, 86_400)
        if "minutes" in self._line:
            settings["silence"] = int(self._number("minutes", 1, 10**6) * MINUTE)
        if self._vendor in SEND_RETRY_AFTER and "retry_after" in own:
            settings["retry_after"] = int(self._number("retry_after", 0, 10**6, 120 if fault == "banned" else 1))
        elif "retry_after" in self._line:
            raise SandboxError(f"{self._where} has retry_after, which {self._vendor} does not send.")
        for name, allowed in (("status", STATUSES), ("code", CLEAN_CLOSES), ("on", CHANNELS)):
            if name in self._line:
                settings[name] = self._line[name]
                if settings[name] not in allowed:
                    raise SandboxError(f"{name} of {self._where} must be one of {_list(map(str, allowed))}.")
        for name in ("field", "to") if fault == "renamed_field" else ():
            settings[name] = self._line.get(name)
            if not (isinstance(settings[name], str) and settings[name]):
                raise SandboxError(f"{self._where} needs {name}, a text: the name of a field.")
        return Rule(fault, self._number("rate", 0, 1), f"{identity}|{fault}", **settings)

    def _number(self, name: str, least: float, most: float, usual: float | None = None) -> float:
        value = self._line.get(name, usual)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise SandboxError(f"{name} of {self._where} must be a number from {least} to {most}, not {value}.")
        return value

    def _symbols(self) -> tuple[str, ...] | None:
        symbols = self._line.get("symbols")
        if symbols is None:
            return None
        if not isinstance(symbols, list) or not symbols:
            raise SandboxError(f"symbols of {self._where} must be a list of symbols of the tape.")
        unknown = [str(symbol) for symbol in symbols if symbol not in self._tape.symbols]
        if unknown:
            held = _list(self._tape.symbols)
            raise SandboxError(f"{self._where} names {_list(unknown)}, not on the tape; it holds {held}.")
        return tuple(symbols)

    def _moment(self, name: str, usual: int) -> int:
        value = self._line.get(name)
        if value is None:
            return usual
        if isinstance(value, datetime) and value.tzinfo is not None:
            return micros(value)
        try:
            return parse_instant(value)
        except (TypeError, ValueError):
            message = f"{name} of {self._where} must be a moment like 2026-01-31T00:00:00Z, not {value}."
            raise SandboxError(message) from None


def _list(names) -> str:
    return ", ".join(names)
