"""The product's roles on a server: made, marked as ours, fenced against strangers, and given passwords.

Roles belong to the whole server, not to one database. So each of ours carries a comment that names its database. A role
of that name without the comment is somebody else's, and nothing is done to it.
"""

import secrets

import psycopg
from psycopg import errors, sql

from warehouse import passfile, sessions
from warehouse.connection import Endpoint, open_connection
from warehouse.errors import LoginRefused, Stop, Unreachable
from warehouse.sessions import ROLES

_MARK = "truebar, database "

_ROLE = "select shobj_description(oid, 'pg_authid') from pg_roles where rolname = %s"

# setting names in the case that people write them in
_SETTLED = """
select
    shobj_description(roles.oid, 'pg_authid') as mark,
    pg_has_role(current_user, roles.oid, 'usage') as is_member,
    roles.rolconnlimit as connections,
    array(
        select lower(split_part(config.entry, '=', 1)) || substr(config.entry, strpos(config.entry, '='))
        from pg_db_role_setting as settings
        cross join lateral unnest(settings.setconfig) as config (entry)
        inner join pg_database as databases on settings.setdatabase = databases.oid
        where settings.setrole = roles.oid and databases.datname = current_database()
    ) as set_values
from pg_roles as roles
where roles.rolname = %s
"""

_ADMINISTRATOR = """
select
    roles.rolsuper,
    roles.rolcreaterole,
    pg_get_userbyid(databases.datdba) = current_user or pg_has_role(databases.datdba, 'usage') as is_owner
from pg_roles as roles
cross join pg_database as databases
where roles.rolname = current_user and databases.datname = current_database()
"""

_STRANGERS_SCHEMAS = """
select nspname
from pg_namespace
where nspname in ('raw', 'reference', 'staging', 'canonical', 'features', 'research', 'ledger', 'results')
order by nspname
"""


def prepare(connection: psycopg.Connection, where: Endpoint, *, is_new: bool) -> None:
    """Make each role that is missing, with a password where logins need one, and fix what its sessions start with.

    `is_new` says that the database holds nothing of ours yet. Raises Stop, before anything has changed, when the
    administrator lacks a right or when a role or schema is somebody else's.
    """
    is_superuser = check_rights(connection, where)
    if is_new:
        _check_schemas(connection, where)
    missing = [role for role in ROLES if not _exists(connection, where, role, is_new)]
    passwords = {} if where.is_embedded else {role: secrets.token_urlsafe(24) for role in missing}
    # the file comes first: a password that only the database knows would be lost
    passfile.write(where, passwords)
    for role in missing:
        _create(connection, where, role, passwords.get(role))
    for role in ROLES:
        try:
            _settle(connection, where, role, is_superuser)
        except errors.InsufficientPrivilege:
            raise Stop(
                f"{connection.info.user} may not change the role {where.role_name(role)!r} at {where.place}: "
                "connect as the user who made it"
            ) from None


def check_ours(connection: psycopg.Connection, where: Endpoint) -> None:
    """Raises Stop for the first role that is missing or somebody else's."""
    for role in ROLES:
        if not _exists(connection, where, role, is_new=False):
            raise Stop(f"the role {where.role_name(role)!r} is missing at {where.place}: run `python -m warehouse up`")


def check_logins(where: Endpoint) -> None:
    """Raises LoginRefused when a role cannot log in, as when its password was given by another checkout."""
    for role in ROLES:
        try:
            open_connection(where, where.conninfo(role)).close()
        except LoginRefused:
            raise
        except Unreachable:
            # all connections that the role may have are taken, and so it can log in
            continue


def rotate(connection: psycopg.Connection, where: Endpoint) -> None:
    """Give every role a new random password and write the password file; open sessions stay open.

    Whenever this ends, the password file or what was written aside lets roles in; `endpoint` puts the latter in place.
    """
    if where.is_embedded:
        raise Stop("the embedded PostgreSQL has no passwords: it asks the kernel who connects")
    passwords = {role: secrets.token_urlsafe(24) for role in ROLES}
    with passfile.held(where):
        passfile.write_aside(where, passwords)
        with connection.transaction():
            try:
                for role, password in passwords.items():
                    _set_password(connection, where.role_name(role), password)
            except BaseException:
                # after Ctrl-C too nothing was committed; of a commit that fails, `endpoint` asks what came of it
                passfile.forget_aside(where)
                raise
        passfile.put_in_place(where)


def check_rights(connection: psycopg.Connection, where: Endpoint) -> bool:
    """Whether the administrator is a superuser. Raises Stop naming the right that is missing, and who can give it."""
    row = connection.execute(_ADMINISTRATOR).fetchone()
    is_superuser, may_create_roles, is_owner = row or (False, False, False)
    user = connection.info.user
    if not is_superuser and not may_create_roles:
        raise Stop(f'{user} may not create roles at {where.place}: `alter role "{user}" createrole` as a superuser')
    if not is_superuser and not is_owner:
        name = where.parameters["dbname"]
        raise Stop(f'{user} does not own the database {name}: `alter database "{name}" owner to "{user}"`')
    return bool(is_superuser)


def _check_schemas(connection: psycopg.Connection, where: Endpoint) -> None:
    found = [name for (name,) in connection.execute(_STRANGERS_SCHEMAS)]
    if found:
        raise Stop(
            f"the database {where.parameters['dbname']} has a schema {found[0]!r} that is not truebar's: "
            "name another database, or an empty one"
        )


def _exists(connection: psycopg.Connection, where: Endpoint, role: str, is_new: bool) -> bool:
    """Whether our role is there. Raises Stop when a role of that name is not ours."""
    name = where.role_name(role)
    row = connection.execute(_ROLE, (name,)).fetchone()
    if row is None:
        return False
    mark = row[0]
    # roles of earlier versions carry no mark; their database has our migrations
    if mark == _mark(where) or (mark is None and not is_new) or (where.is_embedded and _is_mark(mark)):
        return True
    owner = f"another truebar, {mark.removeprefix(_MARK)!r}," if _is_mark(mark) else "somebody else"
    raise Stop(
        f"the role {name!r} at {where.place} belongs to {owner} and is left alone: set TRUEBAR_ROLE_PREFIX, for "
        f"example to {where.parameters['dbname'].lower()}_, and the roles here are named with it"
    )


def _create(connection: psycopg.Connection, where: Endpoint, role: str, password: str | None) -> None:
    name = where.role_name(role)
    try:
        with connection.transaction():
            connection.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
            if password:
                _set_password(connection, name, password)
    except errors.DuplicateObject:
        raise Stop(f"the role {name!r} at {where.place} was made by somebody else at this moment: try again") from None


def _settle(connection: psycopg.Connection, where: Endpoint, role: str, is_superuser: bool) -> None:
    """Mark the role, join it, and fix its sessions' settings, as far as that is not so already."""
    name = where.role_name(role)
    mark, is_member, connections, set_values = connection.execute(_SETTLED, (name,)).fetchone() or (None, False, -1, [])
    identifier = sql.Identifier(name)
    if not _is_mark(mark):
        connection.execute(sql.SQL("comment on role {} is {}").format(identifier, sql.Literal(_mark(where))))
    if not is_superuser and not is_member:
        # who grants in a role's name, as default privileges do, has to be a member of it
        options = " with inherit true, set true" if connection.info.server_version >= 160000 else ""
        connection.execute(sql.SQL("grant {} to current_user" + options).format(identifier))
    if connections != sessions.connections(role):
        limit = sql.Literal(sessions.connections(role))
        connection.execute(sql.SQL("alter role {} connection limit {}").format(identifier, limit))
    found = dict(value.split("=", 1) for value in set_values)
    wanted = sessions.settings(role) | (sessions.superusers_settings(role) if is_superuser else {})
    for setting, value in wanted.items():
        if found.get(setting) != value:
            connection.execute(
                sql.SQL("alter role {} in database {} set {} to {}").format(
                    identifier, sql.Identifier(where.parameters["dbname"]), sql.Identifier(setting), sql.Literal(value)
                )
            )


def _set_password(connection: psycopg.Connection, name: str, password: str) -> None:
    # hashed here: the server's log may keep statements
    encoding = connection.info.encoding
    hashed = connection.pgconn.encrypt_password(password.encode(), name.encode(encoding), b"scram-sha-256")
    statement = sql.SQL("alter role {} password {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Literal(hashed.decode())))


def _mark(where: Endpoint) -> str:
    return _MARK + where.parameters["dbname"]


def _is_mark(comment: str | None) -> bool:
    return comment is not None and comment.startswith(_MARK)
