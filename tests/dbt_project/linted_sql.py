"""The SQL that is linted: what dbt's models and tests compile to, and what stands in Python."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_JINJA = re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
_TIMEFRAME = re.compile(r"(?<![a-zA-Z0-9])(1m|5m|15m|1h|4h|1d)(?![a-zA-Z0-9])")
_LENGTH = re.compile(r"interval '(1 minute|5 minutes|15 minutes|1 hour|4 hours|24 hours)'")
# rows of `values` that a macro has written, one value per line
_ROW = r"^ {4}\(\n(?:^ {8}.*\n)+?^ {4}\)"
_ROWS = re.compile(rf"{_ROW}(?:,\n{_ROW})+", re.MULTILINE)
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+\b")
_RELATION = re.compile(r'"\w+"\."(\w+)"\."(\w+)"')

# in small or in capital letters: what begins with one capital is a sentence for people
_BEGIN = "select|with|insert into|update|delete from|create|copy"
_STATEMENT = re.compile(rf"\s*({_BEGIN}|{_BEGIN.upper()})\s")
# parts that Python joins to a statement, and a table whose columns it names
_PART = re.compile(
    r"with(?! \w+ (as|\())|insert into placeholder \(placeholder\)$|create temporary table \w+ \(placeholder\)"
)
# %s, %(name)s and {name} of psycopg, $1 of ADBC
_PLACEHOLDER = re.compile(r"%s|%\(\w+\)s|\$\d|\{\w*\}")


def compiled(project: Path, target: Path) -> Iterator[tuple[str, str, bool]]:
    """(name, SQL, is handwritten) of every model and test, from `dbt compile`.

    Handwritten is what compiles to itself but for names of relations. What differs from another by a timeframe alone is
    the same SQL and comes once, and so does a row of values that differs by literals alone: linting takes seconds per
    thousand lines.
    """
    seen = set()
    for path in sorted(target.glob("compiled/truebar/**/*.sql")):
        source = project / path.relative_to(target / "compiled" / "truebar")
        # tests that are declared in YAML have no file of their own
        if not source.is_file():
            continue
        text = _RELATION.sub(r"\1.\2", path.read_text()).strip() + "\n"
        distinct = _LENGTH.sub("interval", _TIMEFRAME.sub("timeframe", text))
        if distinct not in seen:
            seen.add(distinct)
            yield source.stem, _ROWS.sub(_different_rows, text), _is_handwritten(source.read_text())


def in_python(folders: list[Path]) -> Iterator[tuple[str, str]]:
    """(name, SQL) of every file with statements, each in the lines in which the file has it.

    A file of its own for each statement takes half as long again to lint.
    """
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            lines: list[str] = []
            for node in sorted(_texts(path), key=lambda text: (text.lineno, text.col_offset)):
                text = _PLACEHOLDER.sub("placeholder", str(node.value))
                if _STATEMENT.match(text) and not _PART.match(text.strip()):
                    begins = node.lineno - 1 + text[: len(text) - len(text.lstrip())].count("\n")
                    lines += [""] * (begins - len(lines)) + f"{text.strip().rstrip(';')};".splitlines()
            if lines:
                yield ".".join(path.relative_to(folder.parent).with_suffix("").parts), "\n".join(lines) + "\n"


def _texts(path: Path) -> Iterator[ast.Constant]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node


def _different_rows(rows: re.Match[str]) -> str:
    kept = {_LITERAL.sub("literal", row): row for row in re.findall(_ROW, rows[0], re.MULTILINE)}
    return ",\n".join(kept.values())


def _is_handwritten(source: str) -> bool:
    blocks = [block for block in _JINJA.findall(source) if not block.startswith("{#")]
    return all(re.match(r"\{\{-?\s*(ref|source|config|this)\b", block) for block in blocks)
