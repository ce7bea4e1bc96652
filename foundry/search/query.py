"""A run's archive as SQL tables: `ask(archive, "select …")`, by DuckDB, for reading alone.

    evals      a row per evaluation, with the columns of `archive.COLUMNS`; arrays and maps stay what they are, and
               `finished_at` is in UTC
    genomes    hash, text: every genome that was ever started

What is asked sees copies in memory. It can reach no file, no network and no variable of this process, and a statement
that is no query is refused.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from foundry.search.archive import SCHEMA, Archive

if TYPE_CHECKING:
    import duckdb

UTC = pa.timestamp("us")  # with a time zone, DuckDB needs one more library to hand a time to Python
TABLE = pa.schema([field.with_type(UTC) if pa.types.is_timestamp(field.type) else field for field in SCHEMA])
GENOMES = pa.schema([("hash", pa.string()), ("text", pa.string())])
# Nothing but memory: no files, no extensions, no names of Python; and no way back.
SEALED = (
    "set python_enable_replacements = false",
    "set enable_external_access = false",
    "set lock_configuration = true",
)


class QueryError(Exception):
    """A question that cannot be answered. The message is one line: what is wrong, and what to do."""


@dataclass(frozen=True)
class Answer:
    """Columns by name, and rows of plain values in their order: numbers, texts, booleans, None, lists and objects."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def objects(self) -> list[dict[str, Any]]:
        """Each row as an object; of two columns of one name, the last counts."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def ask(archive: Archive, sql: str) -> Answer:
    """The answer to one query. A damaged part is left out, and named in the warnings of the archive.

    Raises:
        QueryError: it is no single query, or DuckDB is not installed.
    """
    duckdb = _engine()
    with duckdb.connect(":memory:") as connection:
        _load(connection, "evals", _evals(archive.rows()))
        _load(connection, "genomes", _genomes(archive))
        for statement in SEALED:
            connection.execute(statement)
        try:
            _refuse_all_but_a_query(duckdb, connection.extract_statements(sql))
            connection.execute(sql)
            columns = tuple(column[0] for column in connection.description or ())
            found = connection.fetchall()
        except duckdb.Error as error:
            raise QueryError(_first_line(error)) from None
    return Answer(columns, tuple(tuple(map(plain, row)) for row in found))


def _engine() -> Any:
    try:
        import duckdb
    except ImportError:
        raise QueryError("queries need DuckDB: pip install 'foundry[query]'") from None
    return duckdb


def _load(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    connection.register("incoming", table)
    connection.execute(f"create table {name} as select * from incoming")
    connection.unregister("incoming")


def _evals(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{name: _stored(row.get(name)) for name in TABLE.names} for row in rows], TABLE)


def _stored(value: Any) -> Any:
    """A value as Arrow takes it: a map as its pairs, a time without its zone."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.UTC).replace(tzinfo=None)
    return value


def _genomes(archive: Archive) -> pa.Table:
    """The genomes whose text can be read; SQL may look at those that no longer check clean."""
    found = []
    for path in sorted((archive.folder / "genomes").glob("*.genome")):
        try:
            found.append({"hash": path.stem, "text": path.read_text("utf-8")})
        except (OSError, UnicodeDecodeError) as error:
            archive.warnings.append(f"{path}: cannot be read ({' '.join(str(error).split())[:120]}); it is left out")
    return pa.Table.from_pylist(found, GENOMES)


def _refuse_all_but_a_query(duckdb: Any, statements: list[Any]) -> None:
    """Let one statement pass that only reads.

    Raises:
        QueryError: there is none, or another, or several.
    """
    if not statements:
        raise QueryError('nothing is asked; try "select * from evals"')
    if len(statements) > 1:
        raise QueryError(f"{len(statements)} statements; ask one question at a time")
    kind = statements[0].type
    if kind not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise QueryError(f"a run is for reading: ask with select, not {kind.name.lower()}")


def _first_line(error: Exception) -> str:
    """The first sentence of what DuckDB says, and its suggestion where it has one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    hint = next((line for line in lines[1:] if line.startswith(("Did you mean", "Candidate bindings"))), "")
    said = (lines or [type(error).__name__])[0]
    return f"{said}; {hint[:1].lower()}{hint[1:]}" if hint else said


def plain(value: Any) -> Any:
    """A value of DuckDB as JSON has it; a number that is not finite becomes None, as in the archive."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() | decimal.Decimal():
            return float(value) if math.isfinite(value) else None
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case datetime.date() | datetime.time():
            return value.isoformat()
    return str(value)
