"""Limits of a file: what an account, a model, a symbol and a group of symbols may do at most; see docs/limits.md.

The file is read node by node, so that whatever is wrong with it is told with its line. Money is in the account's
currency, exposures and losses are fractions of equity.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

import yaml

from warehouse.connection import connect
from warehouse.errors import Stop
from warehouse.settings import PROJECT_DIR, load

_MONEY = ("order_notional", "daily_notional")
_EXPOSURES = ("position", "gross_exposure", "net_exposure")
_COUNTS = ("orders_a_minute",)
_LOSSES = ("daily_loss", "drawdown")
_UNITS = ("min_quantity", "max_quantity")
_NAMES = {
    "account": (*_MONEY, *_EXPOSURES, *_COUNTS, *_LOSSES, "self_cross", "on_retirement"),
    "model": (*_MONEY, *_EXPOSURES, *_COUNTS),
    "symbol": (*_MONEY, "position", *_COUNTS, *_UNITS),
}
# what holds for every account, and the words that it may be; the second is what is not so by itself
_WORDS = {"self_cross": ("refuse", "allow"), "on_retirement": ("hand_over", "close")}

Values = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Cap:
    """A limit and whose it is, as a sentence names it."""

    of: str
    most: Decimal

    @property
    def is_of_model(self) -> bool:
        """Whether a model's share counts, and not the whole position."""
        return self.of.startswith("model ")


@dataclass(frozen=True, slots=True)
class Group:
    """Symbols that may together be worth `exposure` times equity, long and short added up."""

    name: str
    symbols: frozenset[str]
    exposure: Decimal


@dataclass(frozen=True, slots=True)
class Section:
    """Limits of one kind of thing: those of each, and those that take their place for some by name."""

    each: Values = field(default_factory=dict)
    overrides: Mapping[str, Values] = field(default_factory=dict)

    def get(self, name: str, of: str) -> Decimal | None:
        """The limit of this name for one; None when it has none."""
        return self.overrides.get(of, {}).get(name, self.each.get(name))


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything that a file of limits says."""

    account: Section = field(default_factory=Section)
    model: Section = field(default_factory=Section)
    symbol: Section = field(default_factory=Section)
    groups: tuple[Group, ...] = ()
    allows_self_cross: bool = False
    closes_retired: bool = False
    # what the file calls by name, and where: kind, name, file and line
    named: tuple[tuple[str, str, str], ...] = ()

    def caps(self, name: str, account: str, model: str | None, symbol: str) -> tuple[Cap, ...]:
        """The limits of this name that an order of this account, model and symbol is under; `of` tells whose."""
        scopes = (("account", self.account, account), ("model", self.model, model), ("symbol", self.symbol, symbol))
        return tuple(
            Cap(f"{kind} {of}", most)
            for kind, section, of in scopes
            if of is not None and (most := section.get(name, of)) is not None
        )


def configured() -> Limits | None:
    """The limits of TRUEBAR_LIMITS, or of `limits.yaml` beside the product; None when there is no such file.

    Raises Stop for a file that was named and is not there, and for one that has to be corrected.
    """
    path = _path()
    return None if path is None else read(path)


def in_force() -> Limits | None:
    """The configured limits, whose models and symbols exist.

    Raises Stop as `configured` does, and for a limit of a model or a symbol that does not exist: it would hold for
    nobody. An account may be named before it first trades.
    """
    limits = configured()
    if limits is None or not limits.named:
        return limits
    with connect("executor", read_only=True) as connection:
        models = {row[0] for row in connection.execute("select model_id from research.models").fetchall()}
        symbols = {row[0] for row in connection.execute("select symbol from reference.instruments").fetchall()}
    for kind, name, where in limits.named:
        known = models if kind == "model" else symbols
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f": did you mean {nearest[0]}?" if nearest else ""
            raise Stop(f"{where}: there is no {kind} {name}, so a limit of it holds for nobody{hint}")
    return limits


def in_words() -> str:
    """Which limits hold, in a sentence."""
    path = _path()
    if path is None:
        return "no file of limits is there: those of execution/policy.py hold alone"
    return f"the limits of {path} hold"


def _path() -> Path | None:
    named, usual = load().limits_file, PROJECT_DIR / "limits.yaml"
    if named is not None:
        return named
    # a link that leads nowhere is a file that cannot be read, not a file that nobody wanted
    return usual if usual.exists() or usual.is_symlink() else None


def read(path: Path) -> Limits:
    """Read a file of limits. Raises Stop with file and line for what is not allowed."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise Stop(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Stop(f"{path} is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Stop(f"{path}, line {line}: this is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Stop(f"{path}: this is not YAML: {(str(error).splitlines() or ['it nests too deep'])[0]}") from None
    return _File(path).limits(root)


class _File:
    """Reads nodes of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[tuple[str, ...], int] = {}
        self._named: list[tuple[str, str, str]] = []

    def limits(self, root: yaml.Node | None) -> Limits:
        top = self._mapping(root, "limits", (*_NAMES, "groups"))
        chosen: set[str] = set()
        sections = {kind: self._section(kind, top.get(kind), chosen) for kind in _NAMES}
        groups = tuple(self._groups(top.get("groups")))
        caps = sections["account"].each
        for kind in _NAMES:
            for whose, values in ((None, sections[kind].each), *sections[kind].overrides.items()):
                self._check_caps(kind, whose, values, caps)
        for group in groups:
            most = caps.get("gross_exposure")
            if most is not None and group.exposure > most:
                self._refuse_looser(("groups", group.name, "exposure"), "exposure", group.exposure, most)
        return Limits(
            **sections,
            groups=groups,
            named=tuple(self._named),
            allows_self_cross="self_cross" in chosen,
            closes_retired="on_retirement" in chosen,
        )

    def _section(self, kind: str, node: yaml.Node | None, chosen: set[str]) -> Section:
        if node is None:
            return Section()
        found = self._mapping(node, kind, (*_NAMES[kind], "overrides"))
        overrides = {}
        if (some := found.pop("overrides", None)) is not None:
            for whose, one in self._mapping(some, f"{kind}.overrides", None).items():
                its = self._mapping(one, f"{kind}.overrides.{whose}", _NAMES[kind])
                for name in its.keys() & _WORDS:
                    self._stop(its[name], f"{name} holds for every account: it is no override")
                overrides[whose] = self._values((kind, "overrides", whose), its)
                if kind != "account":
                    self._name(kind, whose, one)
        for name, words in _WORDS.items():
            if (said := found.pop(name, None)) is not None and self._word(said, name, words) == words[1]:
                chosen.add(name)
        return Section(self._values((kind,), found), overrides)

    def _values(self, place: tuple[str, ...], nodes: Mapping[str, yaml.Node]) -> dict[str, Decimal]:
        values = {}
        for name, node in nodes.items():
            self._lines[*place, name] = node.start_mark.line + 1
            values[name] = self._number(node, name)
        if "min_quantity" in values and values["min_quantity"] > values.get("max_quantity", values["min_quantity"]):
            self._stop(nodes["min_quantity"], "min_quantity is more than max_quantity")
        return values

    def _groups(self, node: yaml.Node | None) -> Iterable[Group]:
        if node is None:
            return
        for name, one in self._mapping(node, "groups", None).items():
            its = self._mapping(one, f"groups.{name}", ("symbols", "exposure"))
            for needed in ("symbols", "exposure"):
                if needed not in its:
                    self._stop(one, f"group {name} has no {needed}")
            listed = its["symbols"]
            if not isinstance(listed, yaml.SequenceNode) or not listed.value:
                self._stop(listed, f"symbols of group {name} are a list, such as [AAPL, MSFT]")
            symbols = [self._text(item) for item in listed.value]
            for item, symbol in zip(listed.value, symbols, strict=True):
                self._name("symbol", symbol, item)
            for number, symbol in enumerate(symbols):
                if symbol in symbols[:number]:
                    self._stop(listed.value[number], f"group {name} names {symbol} twice")
            self._lines["groups", name, "exposure"] = its["exposure"].start_mark.line + 1
            yield Group(name, frozenset(symbols), self._number(its["exposure"], "exposure"))

    def _name(self, kind: str, name: str, node: yaml.Node) -> None:
        self._named.append((kind, name, f"{self._path}, line {node.start_mark.line + 1}"))

    def _check_caps(self, kind: str, whose: str | None, values: Values, caps: Values) -> None:
        """What one may do is no more than what the account may."""
        place = (kind,) if whose is None else (kind, "overrides", whose)
        for name, value in values.items():
            if name in caps and value > caps[name]:
                self._refuse_looser((*place, name), name, value, caps[name])

    def _refuse_looser(self, place: tuple[str, ...], name: str, value: Decimal, most: Decimal) -> NoReturn:
        where = f"{self._path}, line {self._lines[place]}"
        raise Stop(f"{where}: {'.'.join(place)} is {value}, looser than the account's cap of {most} for {name}")

    def _mapping(self, node: yaml.Node | None, what: str, names: Iterable[str] | None) -> dict[str, yaml.Node]:
        """Keys and nodes; `names` are the keys there may be, None for any."""
        if not isinstance(node, yaml.MappingNode):
            if node is None:
                raise Stop(f"{self._path} is empty: leave it out, or say which limits hold")
            self._stop(node, f"{what} is a mapping of names to values")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._text(key)
            if name in found:
                self._stop(key, f"{name} is there twice in {what}")
            if names is not None and name not in names:
                nearest = difflib.get_close_matches(name, names, 1, 0.5)
                hint = f"did you mean {nearest[0]}?" if nearest else f"it knows {', '.join(names)}"
                self._stop(key, f"{what} knows no {name}: {hint}")
            found[name] = value
        return found

    def _text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self._stop(node, "a name is a text")
        return str(node.value)

    def _word(self, node: yaml.Node, name: str, words: tuple[str, ...]) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.value not in words:
            self._stop(node, f"{name} is one of {', '.join(words)}")
        return str(node.value)

    def _number(self, node: yaml.Node, name: str) -> Decimal:
        text = node.value if isinstance(node, yaml.ScalarNode) and node.style is None else None
        try:
            value = Decimal(text.replace("_", "")) if text is not None and len(text) < 40 else Decimal("NaN")
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or value < 0:
            self._stop(node, f"{name} is {text if text is not None else 'no number'}: a number from 0 on is needed")
        if name in _COUNTS and (value != value.to_integral_value() or value < 1):
            self._stop(node, f"{name} is {value}: a whole number from 1 on is needed")
        if name in _LOSSES and not 0 < value <= 1:
            self._stop(node, f"{name} is {value}: a fraction of equity is needed, such as 0.05")
        return value

    def _stop(self, node: yaml.Node, words: str) -> NoReturn:
        raise Stop(f"{self._path}, line {node.start_mark.line + 1}: {words}")
