"""Each role may do what warehouse/rights.yaml says and nothing else, embedded and on servers of one's own.

The catalog is asked for every role, relation, verb, column and function. Then the roles try it, because a right may
also come by a way that the question forgot.
"""

import os
from collections.abc import Iterator
from itertools import product

import psycopg
import pytest
from psycopg import errors, sql

from tests.machine import BUILT, as_owner, running_warehouse
from tests.own_server import own_server
from tests.warehouse import rights
from tests.warehouse.rights import COLUMN_VERBS, VERBS, Relation, Rights
from warehouse.connection import connect, endpoint
from warehouse.errors import Unreachable
from warehouse.migrate import migrate
from warehouse.sessions import ROLES
from warehouse.turns import claim, take_turn

pytestmark = pytest.mark.long

MAY = Rights()
_BUILT_BY_DBT = ("reference", "staging", "canonical", "features", "results")


_WITH_PASSWORDS = "with passwords and no superuser"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(None, id="embedded"),
        pytest.param(15, id=f"PostgreSQL 15, {_WITH_PASSWORDS}", marks=pytest.mark.whole),
        pytest.param(18, id=f"PostgreSQL 18, {_WITH_PASSWORDS}", marks=pytest.mark.whole),
    ],
)
def owner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection]:
    """The administrator of a warehouse with every relation; on a server of one's own, one of dbt's in each schema."""
    state_dir = tmp_path_factory.mktemp("roles")
    if request.param is None:
        with running_warehouse(state_dir, BUILT), as_owner() as connection:
            connection.autocommit = True
            yield connection
        return
    before = dict(os.environ)
    with own_server(request.param) as server:
        os.environ |= {
            "DATABASE_URL": server.owned_by("guard"),
            "TRUEBAR_STATE_DIR": str(state_dir),
            "TRUEBAR_ROLE_PREFIX": "guarded_",
        }
        try:
            migrate()
            with connect("transformer") as transformer:
                for schema in _BUILT_BY_DBT:
                    transformer.execute(f"create table {schema}.a_table (x integer)")
                    transformer.execute(f"create view {schema}.a_view as select x from {schema}.a_table")
            with as_owner() as connection:
                connection.autocommit = True
                yield connection
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture(scope="module")
def everything(owner: psycopg.Connection) -> list[Relation]:
    return rights.relations(owner, _name("transformer"))


def _name(role: str) -> str:
    return endpoint().role_name(role)


def _holds(owner: psycopg.Connection, question: str, *arguments: object) -> bool:
    return bool(owner.execute(question, arguments).fetchone()[0])


def test_the_file_names_what_there_is(owner: psycopg.Connection, everything: list[Relation]) -> None:
    assert list(MAY.stale(everything, [name for _, name in rights.functions(owner)])) == []
    assert len(everything) > 60


def test_relations(owner: psycopg.Connection, everything: list[Relation]) -> None:
    # one question per role: there are hundreds of relations
    question = """
        select relation, verb
        from unnest(%s::text[]) as relations (relation) cross join unnest(%s::text[]) as verbs (verb)
        where has_table_privilege(%s, relation, verb)
    """
    verbs = (*VERBS, "maintain") if owner.info.server_version >= 170000 else VERBS
    wrong = []
    for role in ROLES:
        found = set(owner.execute(question, ([one.name for one in everything], list(verbs), _name(role))))
        named = {(one.name, verb) for one, verb in product(everything, verbs) if MAY.may(role, verb, one)}
        wrong += [(role, *difference) for difference in found ^ named]
    assert wrong == []


def test_columns(owner: psycopg.Connection, everything: list[Relation]) -> None:
    # one question per relation and role: there are thousands of columns
    question = """
        select attname::text, verb from pg_attribute cross join unnest(%s::text[]) as verbs (verb)
        where attrelid = %s::regclass and attnum > 0 and not attisdropped
            and has_column_privilege(%s, attrelid, attnum, verb)
    """
    wrong = []
    for role, one in product(ROLES, everything):
        found = set(owner.execute(question, (list(COLUMN_VERBS), one.name, _name(role))))
        named = {
            (column, verb)
            for column, verb in product(one.columns, COLUMN_VERBS)
            if MAY.may_with(role, verb, one, column)
        }
        wrong += [(role, one.name, *difference) for difference in found ^ named]
    assert wrong == []


def test_functions(owner: psycopg.Connection) -> None:
    wrong = [
        (role, name)
        for role, (oid, name) in product(ROLES, rights.functions(owner))
        if _holds(owner, "select has_function_privilege(%s, %s::oid, 'execute')", _name(role), oid)
        != MAY.may_call(role, name)
    ]
    assert wrong == []


def test_schemas_and_the_database(owner: psycopg.Connection) -> None:
    wrong = [
        (role, verb, schema)
        for (schema,) in owner.execute(
            "select nspname::text from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'"
        ).fetchall()
        for role, verb in product(ROLES, ("usage", "create"))
        if _holds(owner, "select has_schema_privilege(%s, %s, %s)", _name(role), schema, verb)
        != MAY.may_in(role, verb, schema)
    ]
    for role in ROLES:
        for verb, named in (("create", False), ("temporary", MAY.may_make_temporary(role))):
            question = "select has_database_privilege(%s, current_database(), %s)"
            if _holds(owner, question, _name(role), verb) != named:
                wrong.append((role, verb, "the database"))
    assert wrong == []


def test_no_role_is_more_than_a_login(owner: psycopg.Connection) -> None:
    """No attribute, no membership, no right on a sequence, a parameter, a large object or another's settings."""
    names = [_name(role) for role in ROLES]
    questions = {
        "attributes": """
            select rolname from pg_roles where rolname = any(%(names)s)
            and (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)
        """,
        "memberships": """
            select member::regrole, roleid::regrole from pg_auth_members where member::regrole::text = any(%(names)s)
        """,
        "sequences": """
            select relations.oid::regclass, names.name
            from pg_class as relations cross join unnest(%(names)s::text[]) as names (name)
            where relkind = 'S' and has_sequence_privilege(names.name, relations.oid, 'usage, select, update')
        """,
        "parameters": "select parname from pg_parameter_acl",
        "large objects": "select oid from pg_largeobject_metadata",
        "objects of others than the administrator and the transformer": """
            select classid::regclass, objid from pg_shdepend
            where deptype = 'o' and dbid = (select oid from pg_database where datname = current_database())
                and refobjid::regrole::text = any(%(names)s) and refobjid::regrole::text not like '%%transformer'
        """,
        "event triggers, foreign servers and extensions": """
            select evtname from pg_event_trigger union all select srvname from pg_foreign_server
            union all select extname from pg_extension where extname <> 'plpgsql'
        """,
        "functions that run as their owner and look into a temporary schema first": """
            select oid::regprocedure from pg_proc
            where prosecdef and not coalesce(proconfig @> array['search_path=pg_catalog, pg_temp'], false)
        """,
        "PostgreSQL's own functions that a role was given": """
            select pg_proc.oid::regprocedure, grants.grantee::regrole
            from pg_proc cross join lateral aclexplode(proacl) as grants
            where pronamespace = 'pg_catalog'::regnamespace and grants.grantee::regrole::text = any(%(names)s)
        """,
        "default privileges that let everybody in": """
            select defaclrole::regrole, defaclobjtype
            from pg_default_acl cross join lateral aclexplode(defaclacl) as grants where grants.grantee = 0
        """,
    }
    found = {what: owner.execute(question, {"names": names}).fetchall() for what, question in questions.items()}
    assert {what: rows for what, rows in found.items() if rows} == {}


def _refused(connection: psycopg.Connection, statement: sql.Composable | str) -> bool | None:
    """Whether the database refuses it for want of a right; None when it refuses it before it looks at rights."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("set transaction read write")
            connection.execute(statement)
    except errors.InsufficientPrivilege:
        return True
    except (errors.ObjectNotInPrerequisiteState, errors.WrongObjectType, errors.FeatureNotSupported):
        return None
    except psycopg.Error:
        return False
    return False


def _attempts(one: Relation) -> dict[str, str]:
    column = psycopg.sql.Identifier(one.columns[0]).as_string()
    return {
        "select": f"select from {one.name} limit 0",
        "update": f"update {one.name} set {column} = default where false",
        "delete": f"delete from {one.name} where false",
        "truncate": f"truncate {one.name}",
    }


@pytest.mark.parametrize("role", ROLES)
def test_roles_try_every_verb(role: str, owner: psycopg.Connection, everything: list[Relation]) -> None:
    tried, wrong = 0, []
    with connect(role) as connection:
        for one in everything:
            for verb, statement in _attempts(one).items():
                if one.is_built and role == "transformer" and verb == "truncate":
                    continue
                # who may change a view that passes its changes on is asked at the relation that they would reach
                if one.is_built and not one.is_table and verb in ("update", "delete"):
                    continue
                refused = _refused(connection, statement)
                tried += refused is not None
                if refused is not None and refused == MAY.may(role, verb, one):
                    wrong.append((verb, one.name))
    assert wrong == []
    assert tried > 200


@pytest.mark.parametrize("role", ROLES)
def test_roles_try_every_column(role: str, owner: psycopg.Connection, everything: list[Relation]) -> None:
    """Of what migrations make: what dbt builds has one owner, and no rights by column."""
    wrong = []
    with connect(role) as connection:
        for one in everything:
            if one.is_built or not one.is_table:
                continue
            for column in one.columns:
                name = psycopg.sql.Identifier(column).as_string()
                statements = {
                    "insert": f"insert into {one.name} ({name}) overriding system value values (null)",
                    "update": f"update {one.name} set {name} = default where false",
                }
                for verb, statement in statements.items():
                    if _refused(connection, statement) == MAY.may_with(role, verb, one, column):
                        wrong.append((verb, one.name, column))
    assert wrong == []


@pytest.mark.parametrize("role", ROLES)
def test_what_stops_others_is_out_of_reach(role: str, owner: psycopg.Connection) -> None:
    """A superuser takes it from everybody; an administrator who is none cannot.

    The arguments are no nulls: a call that can only yield null is planned away, and nobody's right to it is looked at.
    """
    if not _holds(owner, "select rolsuper from pg_roles where rolname = current_user"):
        pytest.skip("only a superuser can take PostgreSQL's own functions from everybody")
    own = """
        select proname || '(' || (
            select string_agg('''1''::' || format_type(argument, null), ', ')
            from unnest(proargtypes::oid[]) as arguments (argument)
        ) || ')'
        from pg_proc where pronamespace = 'pg_catalog'::regnamespace
            and (proname ~ 'advisory' or proname ~ '^(lo_|loread|lowrite)') and pronargs > 0
    """
    calls = [call for (call,) in owner.execute(own)]
    with connect(role) as connection:
        assert [call for call in calls if not _refused(connection, f"select {call}")] == []
    assert len(calls) > 30


def test_nobody_enters_the_claims_and_turns_of_others(owner: psycopg.Connection) -> None:
    """One name, two roles: both have it. One role, two connections: one has it, and it goes with the connection."""
    with connect("executor") as trading, connect("executor") as late, connect("loader") as elsewhere:
        assert claim(trading, "account X", 0)
        assert claim(trading, "account X", 0), "again by who has it"
        assert claim(elsewhere, "account X", 0)
        assert not claim(late, "account X", 0.2)
        trading.close()
        assert claim(late, "account X", 2)


def test_turns_are_taken_one_after_the_other_within_a_role(owner: psycopg.Connection) -> None:
    with connect("loader") as one, connect("loader") as other, connect("trainer") as elsewhere:
        take_turn(one, "a table")
        take_turn(elsewhere, "a table")
        other.execute("set local lock_timeout = '100ms'")
        with pytest.raises(errors.LockNotAvailable):
            take_turn(other, "a table")
        other.rollback()
        one.rollback()
        take_turn(other, "a table")


def test_a_reader_leaves_room_for_others(owner: psycopg.Connection) -> None:
    """Of connections, and where a superuser has set it, of disk: the reader cannot lift either."""
    opened: list[psycopg.Connection] = []
    try:
        with pytest.raises(Unreachable, match="too many connections for role"):
            opened.extend(connect("analyst") for _ in range(60))
        with connect("executor") as trading:
            assert trading.execute("select 1").fetchone() == (1,)
    finally:
        for connection in opened:
            connection.close()
    if _holds(owner, "select rolsuper from pg_roles where rolname = current_user"):
        with connect("analyst") as reader:
            assert reader.execute("show temp_file_limit").fetchone() == ("5GB",)
            reader.rollback()
            assert _refused(reader, "set temp_file_limit = -1")


@pytest.mark.parametrize("role", ROLES)
def test_roles_try_to_become_more(role: str, owner: psycopg.Connection) -> None:
    own, administrator = _name(role), owner.info.user
    others = [name for other in ROLES if (name := _name(other)) != own] + [administrator]
    statements = [f"set role {name}" for name in others]
    statements += [f"set session authorization {name}" for name in others]
    statements += [f"grant {name} to {own}" for name in others]
    statements += [f"alter role {name} password 'x'" for name in others]
    statements += [f"alter default privileges for role {name} grant select on tables to public" for name in others]
    statements += [f"alter role {own} {what}" for what in ("superuser", "createrole", "createdb", "bypassrls")]
    statements += [
        "create role another",
        "create schema another",
        "create extension dblink",
        "create publication another for all tables",
        "copy (select 1) to program 'true'",
        "copy (select 1) to '/tmp/truebar-roles'",
        "select pg_read_file('PG_VERSION')",
        "select pg_ls_dir('.')",
        "select lo_import('/etc/passwd')",
        "set session_replication_role = replica",
        "set temp_file_limit = -1",
        "alter table ledger.fills disable trigger all",
        "alter table raw.coverage owner to current_user",
        "create function pg_catalog.another() returns void language sql as ''",
        "create function ledger.another() returns void language sql as ''",
        "create table public.another (x integer)",
    ]
    if not MAY.may_make_temporary(role):
        statements.append("create temporary table another (x integer)")
    with connect(role) as connection:
        assert [statement for statement in statements if _refused(connection, statement) is False] == []
