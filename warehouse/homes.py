"""Where a warehouse lives. After a move, by a backup or by any dump, its accounts trade when a person says so."""

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from warehouse.rows import scalar

if TYPE_CHECKING:
    from warehouse.connection import Endpoint

# a server's own number, from when it was made, and the database
IDENTITY = "select format('%s %s', system_identifier, current_database()) from pg_control_system()"

# the database that it was taken from may go on trading the same accounts
HALT = """
do $$
begin
    if to_regclass('ledger.halts') is not null then
        insert into ledger.halts (account_id, action, reason)
        select
            accounts.account_id,
            'halt',
            'restored from a backup, and the database it was taken from may still trade'
            || case
                when newest.action <> 'release' then '; before that ' || newest.action || ': ' || newest.reason
                else ''
            end
        from ledger.accounts
        left join lateral (
            select halts.action, halts.reason
            from ledger.halts
            where halts.account_id = accounts.account_id
            order by halts.halt_id desc
            limit 1
        ) as newest on true
        where newest.action is distinct from 'halt';
    end if;
end $$;
"""
# what pg_dump leaves out, because it belongs to the database and not to what is in it; as in the first migration
_DATABASE_RIGHTS = """
do $$
begin
    execute format('revoke temporary on database %I from public', current_database());
    execute format('grant temporary on database %I to {loader}, {transformer}', current_database());
end $$;
"""
MOVED = "the warehouse came from another database, which may still trade its accounts"
_NOTE = """
insert into warehouse.homes (identity)
select format('%s %s', system_identifier, current_database())
from pg_control_system()
"""
_NEWEST = "select identity from warehouse.homes order by home_no desc limit 1"


def database_rights(where: "Endpoint") -> str:
    """The statement that gives the roles what they may do in the database as a whole."""
    names = {role: sql.Identifier(where.role_name(role)) for role in ("loader", "transformer")}
    return sql.SQL(_DATABASE_RIGHTS).format(**names).as_string()


def has_moved(connection: psycopg.Connection) -> bool:
    """Whether the warehouse was written in another database than this, and nobody has told it so yet."""
    known = connection.execute(_NEWEST).fetchone() if _are_noted(connection) else None
    return known is not None and known[0] != scalar(connection.execute(IDENTITY))


def _are_noted(connection: psycopg.Connection) -> bool:
    """Whether this is no database of before homes were noted."""
    return scalar(connection.execute("select to_regclass('warehouse.homes')")) is not None


def settle(connection: psycopg.Connection, where: "Endpoint", origin: str | None = None) -> bool:
    """Note that the warehouse lives here. When it has moved, halt every account; whether it has.

    `origin` is where it came from, for a warehouse of before that was noted.
    """
    with connection.transaction():
        if not _are_noted(connection):
            return False
        if origin and connection.execute(_NEWEST).fetchone() is None:
            connection.execute("insert into warehouse.homes (identity) values (%s)", (origin,))
        moved = has_moved(connection)
        if moved:
            connection.execute(HALT)
            connection.execute(database_rights(where).encode())
        if moved or connection.execute(_NEWEST).fetchone() is None:
            connection.execute(_NOTE)
    return moved
