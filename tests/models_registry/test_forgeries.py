"""Whoever trains, trades or reads tries to make a model tradable: nothing but the gate's own function does."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from models_registry import registry
from models_registry.package import ModelPackage, PackageError
from models_registry.registry import RegistryError
from tests.machine import as_owner
from tests.models_registry.conftest import Candidate
from warehouse.connection import connect
from warehouse.sessions import ROLES
from warehouse.settings import load

pytestmark = pytest.mark.database

ONE = '{"trial_id": "{trial}", "verdict": "PASSED", "explanation": "", "checks": [CHECKS]}'
CHECK = '{"tier": 1, "check_name": "c", "comparison": ">", "outcome": "passed", "explanation": ""}'
FORGERIES = [
    "insert into research.gate_looks (family_id, look_no, trials, alpha) values ('reg', 900, 1, 0.01)",
    "insert into research.verdicts (trial_id, look_no, family_id, verdict, explanation) "
    "values ('{trial}', 1, 'reg', 'PASSED', '')",
    "insert into research.gate_checks (trial_id, look_no, tier, check_name, comparison, outcome, explanation) "
    "values ('{trial}', 1, 1, 'c', '>', 'passed', '')",
    "insert into research.models (model_id, trial_id, run_id, hypothesis_id, package_path, package_sha256, "
    "trained_through) values ('forged', '{trial}', 'reg', 'reg', '/tmp/forged', '', now())",
    "insert into research.model_states (model_id, state, reason) values ('{model}', 'paper', 'forged')",
    "insert into research.model_states (model_id, state, entered_at, reason) "
    "values ('{model}', 'paper', '9999-12-31', 'forged')",
    "update research.model_states set state = 'paper'",
    "update research.verdicts set verdict = 'PASSED'",
    "update research.models set package_path = '/tmp/forged'",
    "delete from research.model_states",
    "truncate research.model_states",
    "insert into research.data_tests (timeframe, passed, seen) values ('1d', true, pg_current_snapshot())",
    "insert into research.feature_audits (timeframe, feature, fingerprint, passed) values ('1d', 'f', '1', true)",
    "select research.append_state('{model}', array['candidate'], 'paper', 'forged')",
    "insert into research.shadow_registrations (model_id, looks, levels, related_no, reason) "
    "values ('{model}', '{100}', '{1}', 1, 'forged')",
    "insert into research.forward_looks (model_id, look_no, days, level, outcome, checks) "
    "values ('{model}', 1, 100, 1, 'passed', '[]')",
    "update research.shadow_registrations set looks = '{1}'",
    "delete from research.forward_looks",
    "alter function research.admit_model security invoker",
    "create or replace function research.admit_model(model text, reason text) returns void language sql as ''",
    "create function research.forged() returns void language sql as ''",
    "alter table research.model_states disable trigger all",
    "set role gate",
    "set session authorization gate",
    "grant gate to {role}",
]
CALLS = {
    "record_look": ("gate", "select research.record_look('reg', 900, '[]')"),
    "repeat_verdict": ("gate", "select research.repeat_verdict('{trial}', '{trial}')"),
    "record_data_tests": (
        "transformer",
        "select research.record_data_tests(array['1d'], true, null, pg_current_snapshot())",
    ),
    "record_feature_audit": ("transformer", "select research.record_feature_audit('1d', '{}', '{}')"),
    "admit_model": ("gate", "select research.admit_model('{model}', 'forged')"),
    "register_shadow": ("gate", "select research.register_shadow('{model}', '{100}', 'forged')"),
    "record_forward_look": ("gate", "select research.record_forward_look('{model}', 1, '[]')"),
    "register_model": (
        "trainer",
        "select research.register_model('m', '{trial}', 'reg', 'reg', 'm', repeat('0', 64), now(), 'forged')",
    ),
    "promote_model": ("operator", "select research.promote_model('{model}', 'Eve', 'forged')"),
    "replace_rivals": ("operator", "select research.replace_rivals('{model}', 'Eve', 'forged')"),
    "retire_model": ("operator", "select research.retire_model('{model}', 'forged')"),
}


def attempt(role: str, statement: str, package: ModelPackage) -> type[Exception] | None:
    """What the database answers the role with; nothing is kept."""
    words = {"{trial}": package.manifest.trial_id, "{model}": package.model_id, "{role}": role}
    for word, value in words.items():
        statement = statement.replace(word, value)
    with connect(role) as connection:
        try:
            connection.execute("set transaction read write")
            connection.execute(statement)
        except psycopg.Error as error:
            return type(error)
        finally:
            connection.rollback()
    return None


# a role may become itself
TRIES = [
    (role, statement)
    for role, statement in itertools.product(ROLES, FORGERIES)
    if role != "gate" or "gate" not in statement.split()
]


@pytest.mark.parametrize(("role", "statement"), TRIES)
def test_no_role_writes_what_only_functions_may(role: str, statement: str, candidate: Candidate) -> None:
    assert attempt(role, statement, candidate(None)) is errors.InsufficientPrivilege


@pytest.mark.parametrize(("role", "name"), list(itertools.product(ROLES, CALLS)))
def test_each_function_has_one_caller(role: str, name: str, candidate: Candidate) -> None:
    caller, statement = CALLS[name]
    answered = attempt(role, statement, candidate(None))
    assert (answered is not errors.InsufficientPrivilege) == (role == caller)


def _judged(*checks: str, trial: str) -> str:
    return f"[{ONE.replace('CHECKS', ', '.join(checks)).replace('{trial}', trial)}]"


def _record(judged: str) -> None:
    with connect("gate") as connection:
        connection.execute(
            "select research.record_look('reg', (select coalesce(max(look_no), 0) + 1 from research.gate_looks "
            "where family_id = 'reg'), %s)",
            (judged,),
        )


@pytest.mark.parametrize("judged", ["[]", "null", '{"trial_id": "x"}', "1"])
def test_a_look_has_a_verdict(judged: str, candidate: Candidate) -> None:
    candidate(None)
    with pytest.raises(psycopg.Error, match="a look without a verdict"):
        _record(judged)


@pytest.mark.parametrize("checks", [[], ['{"outcome": "undecided"}'], [CHECK, '{"outcome": "failed"}'], [CHECK, "{}"]])
def test_a_verdict_says_what_its_checks_say(checks: list[str], candidate: Candidate) -> None:
    trial = candidate(None).manifest.trial_id
    with pytest.raises(psycopg.Error, match="is not what its checks say"):
        _record(_judged(*checks, trial=trial))


def test_a_verdict_without_checks_is_none(candidate: Candidate) -> None:
    trial = candidate(None).manifest.trial_id
    with pytest.raises(psycopg.Error, match="is not what its checks say"):
        _record(f'[{{"trial_id": "{trial}", "verdict": "PASSED", "explanation": ""}}]')


def test_a_verdict_is_on_a_trial_of_the_family(candidate: Candidate) -> None:
    candidate(None)
    with pytest.raises(psycopg.Error, match="is not one of family"):
        _record(_judged(CHECK, trial="elsewhere"))


def test_a_trial_is_judged_once(candidate: Candidate) -> None:
    trial = candidate("FAILED").manifest.trial_id
    with pytest.raises(psycopg.Error, match="waits for its verdict"):
        _record(_judged(CHECK, trial=trial))


@pytest.mark.parametrize("path", ["/tmp/forged", "../forged", "a/b", "..", ".", "", "a\\b", "a\nb", "~root", " a"])
def test_a_package_lies_in_the_models_folder(path: str, candidate: Candidate) -> None:
    trial = candidate(None).manifest.trial_id
    with connect("trainer") as connection, pytest.raises(psycopg.Error, match="not a folder of the models folder"):
        connection.execute(
            "select research.register_model('m', %s, 'reg', 'reg', %s, repeat('0', 64), now(), 'forged')", (trial, path)
        )


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "9999-12-31", "now() + interval '1 hour'"])
def test_no_model_was_trained_in_the_future(moment: str, candidate: Candidate) -> None:
    trial = candidate(None).manifest.trial_id
    moment = moment if "(" in moment else f"'{moment}'"
    with connect("trainer") as connection, pytest.raises(psycopg.Error, match="cannot have been trained"):
        connection.execute(
            "select research.register_model('m', %s, 'reg', 'reg', 'm', repeat('0', 64), " + moment + ", 'x')", (trial,)
        )


@pytest.fixture
def forged(candidate: Candidate) -> Iterator[ModelPackage]:
    """A model that the owner of the database put into state paper past its functions; it is gone afterwards."""
    package = candidate(None)
    with as_owner() as connection:
        connection.execute(
            "insert into research.model_states (model_id, state, reason) values (%s, 'paper', 'forged')",
            (package.model_id,),
        )
    yield package
    with as_owner(past_triggers=True) as connection:
        connection.execute("delete from research.model_states where model_id = %s", (package.model_id,))
        connection.execute("delete from research.models where model_id = %s", (package.model_id,))


def test_a_state_without_its_verdict_does_not_load(forged: ModelPackage) -> None:
    with pytest.raises(RegistryError, match="has not been judged by the gate"):
        registry.load_model(forged.model_id)


@pytest.mark.parametrize("path", ["/tmp/elsewhere", "../elsewhere", "linked"])
def test_a_package_elsewhere_does_not_load(path: str, candidate: Candidate, tmp_path: Path) -> None:
    package = candidate("PASSED", path)
    registry.advance(package.model_id, "paper", "passed")
    models = load().models_dir
    elsewhere = {"/tmp/elsewhere": tmp_path / "elsewhere", "../elsewhere": models.parent / "elsewhere"}.get(path)
    elsewhere = elsewhere or tmp_path / "linked"
    shutil.copytree(models / package.model_id, elsewhere, dirs_exist_ok=True)
    if path == "linked":
        (models / "linked").symlink_to(elsewhere)
    stored = str(elsewhere) if path.startswith("/") else path
    with as_owner(past_triggers=True) as connection:
        connection.execute(
            "update research.models set package_path = %s where model_id = %s", (stored, package.model_id)
        )
    try:
        with pytest.raises(PackageError, match="is not a folder of the models folder"):
            registry.load_model(package.model_id)
    finally:
        (models / "linked").unlink(missing_ok=True)
        with as_owner(past_triggers=True) as connection:
            connection.execute(
                "update research.models set package_path = %s where model_id = %s", (package.model_id, package.model_id)
            )


def test_a_retirement_is_the_last_word_even_after_a_state_of_the_future(candidate: Candidate) -> None:
    package = candidate("PASSED")
    registry.advance(package.model_id, "paper", "passed")
    with as_owner(past_triggers=True) as connection:
        connection.execute(
            "insert into research.model_states (model_id, state, entered_at, reason) "
            "values (%s, 'paper', '9999-01-01', 'forged')",
            (package.model_id,),
        )
    assert registry.advance(package.model_id, "retired", "done").state == "retired"
