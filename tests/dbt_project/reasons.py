"""Reasons that the code can give, read from its source: what a page must name."""

import ast
from pathlib import Path


def returned(path: Path, functions: tuple[str, ...]) -> set[str]:
    """The longest fixed part of each text that one of these functions may return."""
    found = set()
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef) or function.name not in functions:
            continue
        for statement in ast.walk(function):
            if isinstance(statement, ast.Return) and statement.value is not None:
                found |= _texts(statement.value)
    return found


def classes(path: Path) -> set[str]:
    """Names of the classes in a module."""
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}


def _texts(value: ast.expr) -> set[str]:
    match value:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.JoinedStr(values=parts):
            return {max((_fixed(part) for part in parts), key=len)}
        case ast.IfExp(body=body, orelse=otherwise):
            return _texts(body) | _texts(otherwise)
    return set()


def _fixed(part: ast.expr) -> str:
    return part.value.strip(" :;,()") if isinstance(part, ast.Constant) and isinstance(part.value, str) else ""
