"""YAML that remembers where each value stands, so that an error can name the line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from warehouse.errors import Stop

_MOST_DIGITS = 100
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


class HypothesisError(Stop):
    """A hypothesis file has to be corrected: the text says where and what is allowed."""


@dataclass(frozen=True)
class YamlSource:
    """A parsed YAML mapping: plain values, and the nodes they came from."""

    path: Path
    content: dict[str, Any]
    root: yaml.MappingNode

    def line(self, place: tuple[str | int, ...]) -> int:
        """Line (from 1) of the value at a path of keys and indices, or of its nearest parent that exists."""
        node: yaml.Node = self.root
        line = 1
        for step in place:
            found = _child(node, step)
            if found is None:
                break
            node, line = found
        return line


def read(path: Path) -> YamlSource:
    """Read one YAML mapping. Raises HypothesisError for a missing file, bad syntax, a repeated key or another shape."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise HypothesisError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise HypothesisError(f"{path} is not UTF-8 text") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(root, yaml.MappingNode):
            _take_as_written(root)
        content: Any = SafeConstructor().construct_document(root) if root else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise HypothesisError(f"{path}, line {line}: this is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise HypothesisError(f"{path}: this is not YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise HypothesisError(f"{path}: it nests too deep, or holds itself") from None
    if not isinstance(root, yaml.MappingNode):
        raise HypothesisError(f"{path}, line 1: a hypothesis is a mapping of keys to values")
    _check_keys(path, root, (), set())
    return YamlSource(path, content, root)


def _take_as_written(root: yaml.MappingNode) -> None:
    """Symbols are texts, whatever YAML takes them for: NULL and TRUE are tickers, and 0700 is no number in octals.

    And 1e-3 is a number, for which YAML 1.1 wants a point.
    """
    for node in _scalars(root, set()):
        if node.style is None and node.tag.endswith(":str") and _EXPONENT.fullmatch(node.value):
            node.tag = "tag:yaml.org,2002:float"
    for key, value in root.value:
        if key.value == "symbols" and isinstance(value, yaml.SequenceNode):
            for item in value.value:
                if isinstance(item, yaml.ScalarNode) and item.style is None:
                    item.tag = "tag:yaml.org,2002:str"


def _scalars(node: yaml.Node, seen: set[int]) -> Iterator[yaml.ScalarNode]:
    """Every value below a node, each once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item, seen)
    elif isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from _scalars(value, seen)


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step].start_mark.line + 1
    return None


def _check_keys(path: Path, node: yaml.Node, around: tuple[yaml.Node, ...], checked: set[int]) -> None:
    """Refuses a key that is there twice, an anchor inside itself, and values that nothing can store.

    A node that is named often is checked once.
    """
    if any(node is outer for outer in around):
        line = node.start_mark.line + 1
        raise HypothesisError(f"{path}, line {line}: this value holds itself: leave the anchor out")
    if id(node) in checked:
        return
    if isinstance(node, yaml.ScalarNode) and "\0" in node.value:
        raise HypothesisError(f"{path}, line {node.start_mark.line + 1}: a text holds a zero byte")
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":int") and len(node.value) > _MOST_DIGITS:
        raise HypothesisError(f"{path}, line {node.start_mark.line + 1}: no number here has {len(node.value):,} digits")
    inner = (*around, node)
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(path, item, inner, checked)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            # a key may be a list
            name = str(key.value)
            if name in seen:
                raise HypothesisError(f"{path}, line {line}: key {name!r} is already on line {seen[name]}: keep one")
            seen[name] = line
            _check_keys(path, value, inner, checked)
    checked.add(id(node))
