"""Landing a file's lines: PostgreSQL reads them, so a row costs what COPY costs.

The lines go by COPY as they are into a temporary table of the file's columns, are checked there, and go from there into
the vendor's table. Only lines that meet known bars, or each other, take the way of `land`.
"""

import re
from array import array
from collections.abc import Collection, Iterator
from typing import IO

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from loaders.client.base import Window
from loaders.client.files import CHUNK, BadFile, BarFile, opened
from loaders.raw.landing import Landed, land
from warehouse.rows import scalar
from warehouse.turns import take_turn

# the line of the COPY, which has no header
_LINE = re.compile(r"line (\d+)")
_TABLE = sql.Identifier("pg_temp", "file_rows")


class FileRows:
    """One file's lines in a temporary table, inside the open transaction."""

    def __init__(self, connection: psycopg.Connection, file: BarFile, vendor_symbols: Collection[str]) -> None:
        """Copy the lines of these symbols. Raises BadFile naming a line that cannot be read or does not belong here."""
        self._connection = connection
        self._file = file
        self._parameters = {
            "vendor_symbol": file.vendor_symbol,
            "timeframe": file.timeframe,
            "length": file.length,
            "start": file.period.start,
            "end": file.period.end,
        }
        # of each copied line its number in the file, where lines are left out
        self._numbers: array[int] | None = array("Q") if file.symbol_column else None
        self._skipped = 0
        self._copy(vendor_symbols)
        self._check()

    def land(self) -> Landed:
        """Append what the table does not know; the same rows that a pull of the same bars appends."""
        table = self._file.table
        # whoever else lands in this table waits, and what follows sees what was landed before
        take_turn(self._connection, table.name)
        received = int(scalar(self._connection.execute(sql.SQL("select count(*) from {}").format(_TABLE))))
        if received == 0:
            return Landed(0, 0)
        if self._is_new():
            into = sql.SQL("insert into {} ({}) ").format(_name(table.name), _columns(table.columns))
            return Landed(received, self._run(into + self._rows()).rowcount)
        with self._connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(self._rows(), self._parameters).fetchall()
        return land(self._connection, table, rows)

    def covered(self) -> list[tuple[str, Window]]:
        """The windows that the file answers for completely, of each vendor symbol that it has lines of."""
        start, symbol = self._value(self._file.table.key[-1]), self._symbol()
        if self._file.is_without_holes:
            query = sql.SQL("select distinct {}, %(start)s::timestamptz, %(end)s::timestamptz from {}").format(
                symbol, _TABLE
            )
        else:
            query = sql.SQL(
                """
                select symbol, min(start), least(max(start) + %(length)s, %(end)s) from (
                    select *, sum(is_far) over (partition by symbol order by start) as island from (
                        select symbol, start, (
                            start - lag(start) over (partition by symbol order by start) > %(length)s
                        )::integer as is_far
                        from (select {} as symbol, {} as start from {}) as bars
                    ) as stepped
                ) as islands
                group by symbol, island
                """
            ).format(symbol, start, _TABLE)
        return [(name, Window(begin, end)) for name, begin, end in self._run(query + sql.SQL(" order by 1, 2"))]

    def _copy(self, vendor_symbols: Collection[str]) -> None:
        file = self._file
        columns = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in file.columns.items()
        )
        self._connection.execute(sql.SQL("drop table if exists {}").format(_TABLE))
        self._connection.execute(sql.SQL("create temporary table file_rows ({}) on commit drop").format(columns))
        statement = sql.SQL("copy {} from stdin (format csv)").format(_TABLE)
        try:
            with (
                opened(file.path) as text,
                self._connection.cursor() as cursor,
                cursor.copy(statement) as stream,
            ):
                for chunk in self._of_symbols(text, vendor_symbols) if file.symbol_column else self._all(text):
                    stream.write(chunk)
        except psycopg.DataError as error:
            words = str(error.diag.message_primary or error).strip()
            at = _LINE.search(error.diag.context or "")
            raise BadFile(file.path, words, self._number(int(at[1])) if at else None) from None

    def _all(self, text: IO[bytes]) -> Iterator[bytes]:
        """The file as it is, without a line of names."""
        first = text.readline(CHUNK).removeprefix(b"\xef\xbb\xbf")
        if first[:1].isdigit():
            yield first
        else:
            self._skipped = 1
        last = first
        while chunk := text.read(CHUNK):
            yield chunk
            last = chunk
        if self._file.path.suffix == ".csv" and not last.endswith(b"\n"):
            raise BadFile(self._file.path, "the last line has no end: the file is cut off")

    def _of_symbols(self, text: IO[bytes], vendor_symbols: Collection[str]) -> Iterator[bytes]:
        """The lines of some symbols. Every line must have its fields, whoever it is about."""
        wanted = {symbol.encode() for symbol in vendor_symbols}
        commas = len(self._file.columns) - 1
        assert self._numbers is not None
        held: list[bytes] = []
        line = b"\n"
        for number, line in enumerate(text, start=1):
            if line.count(b",") != commas:
                fields = line.count(b",") + 1
                raise BadFile(self._file.path, f"a bar has {commas + 1} fields, this line has {fields}", number)
            if number > 1 and line[: line.index(b",")].strip(b'"') in wanted:
                held.append(line)
                self._numbers.append(number)
                if len(held) == 10_000:
                    yield b"".join(held)
                    held.clear()
        if not line.endswith(b"\n"):
            raise BadFile(self._file.path, "the last line has no end: the file is cut off", number)
        yield b"".join(held)

    def _check(self) -> None:
        """Raises BadFile naming the first line that does not belong in the file."""
        start = f"({self._file.values[self._file.table.key[-1]]})"
        checks = {
            **{
                f"{name} is not null and {name} between -1e300 and 1e300": f"{name} is no finite number"
                for name, kind in self._file.columns.items()
                if kind == "numeric"
            },
            **{
                f"{name} is not null": f"{name} is empty"
                for name, kind in self._file.columns.items()
                if kind != "numeric"
            },
            f"{start} >= %(start)s and {start} < %(end)s":
                f"the bar is not of {self._file.period}, which the file's name says",
            f"{start} + %(length)s <= clock_timestamp()": "the bar has not ended yet",
            **self._file.checks,
        }  # fmt: skip
        whole = " and ".join(f"({check})" for check in checks)
        try:
            bad = self._run(
                sql.SQL("select ctid from {} where ({}) is not true order by ctid limit 1").format(
                    _TABLE, sql.SQL(whole)
                )
            )
            found = bad.fetchone()
            if found is None:
                return
            place = int(
                scalar(
                    self._connection.execute(
                        sql.SQL("select count(*) from {} where ctid <= %s").format(_TABLE), (found[0],)
                    )
                )
            )
            for check, words in checks.items():
                query = sql.SQL("select ({}) is true from {} where ctid = %(ctid)s").format(sql.SQL(check), _TABLE)
                self._parameters["ctid"] = found[0]
                if not scalar(self._run(query)):
                    raise BadFile(self._file.path, words, self._number(place))
        except psycopg.errors.DatetimeFieldOverflow:
            raise BadFile(self._file.path, "a time is in a unit that nobody knows") from None

    def _is_new(self) -> bool:
        """Whether no bar of the file is known, and none comes twice."""
        table = self._file.table
        *shared, moment = table.key
        series = sql.SQL(", ").join(self._value(column) for column in shared)
        known = sql.SQL(
            """
            select exists (
                select from (select distinct {series} from {rows}) as series ({names})
                where exists (
                    select from {target} as target
                    where {same} and target.{moment} >= %(start)s and target.{moment} < %(end)s
                )
            ) or (select count(*) from {rows}) > (select count(*) from (select distinct {key} from {rows}) as bars)
            """
        ).format(
            series=series,
            rows=_TABLE,
            names=_columns(shared),
            target=_name(table.name),
            same=sql.SQL(" and ").join(
                sql.SQL("target.{0} = series.{0}").format(sql.Identifier(column)) for column in shared
            ),
            moment=sql.Identifier(moment),
            key=sql.SQL(", ").join(self._value(column) for column in table.key),
        )
        return not scalar(self._run(known))

    def _rows(self) -> sql.Composed:
        values = (
            sql.SQL("{} as {}").format(self._value(column), sql.Identifier(column))
            for column in self._file.table.columns
        )
        return sql.SQL("select {} from {}").format(sql.SQL(", ").join(values), _TABLE)

    def _value(self, column: str) -> sql.SQL:
        return sql.SQL(self._file.values[column])

    def _symbol(self) -> sql.Composable:
        return (
            sql.Identifier(self._file.symbol_column) if self._file.symbol_column else sql.SQL("%(vendor_symbol)s::text")
        )

    def _run(self, query: sql.Composed) -> psycopg.Cursor:
        return self._connection.execute(query, self._parameters)

    def _number(self, copied: int) -> int:
        """A line's number in the file."""
        if self._numbers is not None:
            return self._numbers[copied - 1] if copied <= len(self._numbers) else copied
        return copied + self._skipped


def _name(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split("."))


def _columns(names: Collection[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
