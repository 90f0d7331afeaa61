"""A warehouse that is gone comes back from its backup as it was, and goes on from there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from loaders.client.calendars import ensure_sessions
from tests import servers
from tests.machine import BUILT, ROOT, as_owner, environment_of, running_warehouse
from tests.own_server import own_server
from warehouse import backup as backing
from warehouse import backups, transactions
from warehouse.__main__ import main
from warehouse.backup import backup, restore
from warehouse.connection import connect, endpoint
from warehouse.errors import Stop
from warehouse.migrate import bring_up, migrate
from warehouse.settings import load, make_state_dir

pytestmark = pytest.mark.long

RIGHTS = """
with things as (
    select 'database' as name, datdba as owner, 'd'::"char" as kind, datacl as rights
    from pg_database
    where datname = current_database()
    union all
    select nspname, nspowner, 'n'::"char", nspacl
    from pg_namespace
    where nspname not like 'pg\\_%' and nspname <> 'information_schema'
    union all
    select pg_class.oid::regclass::text, relowner, case relkind when 'S' then 's'::"char" else 'r'::"char" end, relacl
    from pg_class
    inner join pg_namespace on relnamespace = pg_namespace.oid
    where nspname not like 'pg\\_%' and nspname <> 'information_schema'
    union all
    select pg_proc.oid::regprocedure::text, proowner, 'f'::"char", proacl
    from pg_proc
    inner join pg_namespace on pronamespace = pg_namespace.oid
    where nspname not like 'pg\\_%' and nspname <> 'information_schema'
    union all
    select
        format('default of %s for %s in %s', defaclrole::regrole, defaclobjtype, defaclnamespace::regnamespace),
        defaclrole,
        'r'::"char",
        defaclacl
    from pg_default_acl
)

select name, pg_get_userbyid(owner), grantee::regrole::text, privilege_type, is_grantable
from things
cross join lateral aclexplode(coalesce(rights, acldefault(kind, owner)))
order by 1, 2, 3, 4, 5
"""
NUMBERS = """
select format('%s.%s.%s', relnamespace::regnamespace, relname, attname)
from pg_attribute
inner join pg_class on attrelid = pg_class.oid
where atttypid in ('xid8'::regtype, 'pg_snapshot'::regtype)
    and relkind = 'r'
    and relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
    -- their landings are noted
    and not exists (select from pg_trigger where tgrelid = pg_class.oid and tgfoid = 'raw.note_landing'::regproc)
"""
NOTHING = lambda line: None  # noqa: E731


@contextmanager
def another_machine(folder: Path) -> Iterator[Path]:
    """A state folder with nothing in it, and a server with an empty database, which ends with the block."""
    with environment_of(folder):
        make_state_dir(folder)
        servers.start(folder)
        try:
            yield folder
        finally:
            servers.stop(folder)


def land_days(first: int, count: int) -> None:
    days = [datetime(2024, 1, 2, 5, tzinfo=UTC) + timedelta(days=number) for number in range(first, first + count)]
    with connect("loader") as loader:
        for day in days:
            loader.execute(
                "insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)"
                " values ('AAPL', 1, 'day', %s, 10, 12, 9, 11, 1000)",
                (day,),
            )
            loader.commit()


def landed() -> list[tuple]:
    with connect("analyst") as reader:
        return reader.execute("select aggregates::text from raw.polygon_aggregates as aggregates order by 1").fetchall()


def test_what_is_restored_is_what_was_backed_up(warehouse_db: Path, tmp_path: Path) -> None:
    land_days(0, 3)
    package = load().models_dir / "some-model"
    package.mkdir(parents=True, exist_ok=True)
    (package / "manifest.json").write_text("{}")
    before = landed()
    with as_owner() as owner:
        rights, tables = owner.execute(RIGHTS).fetchall(), owner.execute(NUMBERS).fetchall()
        last = transactions.remembered(owner)
        # what other databases of the server do
        owner.commit()
        owner.autocommit = True
        transactions.take(owner, transactions.upcoming(owner) + 1_000)
    made = backup(tmp_path / "backups", say=NOTHING)
    assert backups.read(made).facts.last_transaction == last
    assert (made / "models" / "some-model" / "manifest.json").read_text() == "{}"
    assert {name.rsplit(".", 1)[0] for (name,) in tables} <= set(transactions._REMEMBERED.replace("\n", " ").split())

    with another_machine(tmp_path / "other"):
        assert restore(tmp_path / "backups", say=NOTHING) == []
        assert landed() == before
        with as_owner() as owner:
            assert owner.execute(RIGHTS).fetchall() == rights
            assert transactions.upcoming(owner) > last
            assert not transactions.are_behind(owner)
        land_days(3, 1)
        assert len(landed()) == len(before) + 1
        assert migrate() == []
        assert (load().models_dir / "some-model" / "manifest.json").read_text() == "{}"
        with pytest.raises(Stop, match="holds a warehouse already"):
            restore(made, say=NOTHING)


def test_what_is_restored_trades_when_a_person_says_so(warehouse_db: Path, tmp_path: Path) -> None:
    """The database that was backed up may still trade the same accounts."""
    told: list[str] = []
    with as_owner(past_triggers=True) as owner:
        owner.execute(
            "insert into ledger.accounts select name, 'b', 'paper' from unnest(%s::text[]) as name", (list("abc"),)
        )
        for account, action in (("b", "flatten"), ("c", "halt")):
            owner.execute(
                "insert into ledger.halts (account_id, action, reason) values (%s, %s, 'said')", (account, action)
            )
    try:
        made = backup(tmp_path / "backups", say=NOTHING)
    finally:
        with as_owner(past_triggers=True) as owner:
            owner.execute("delete from ledger.halts where account_id in ('a', 'b', 'c')")
            owner.execute("delete from ledger.accounts where account_id in ('a', 'b', 'c')")
    with another_machine(tmp_path / "other"):
        restore(made, say=told.append)
        with connect("executor") as executor, connect("operator") as operator:
            query = (
                "select account_id, action, reason, halt_id from ledger.standings"
                " where account_id in ('a', 'b', 'c') order by 1"
            )
            standings = executor.execute(query).fetchall()
            assert [(account, action) for account, action, *_ in standings] == [(name, "halt") for name in "abc"]
            said = [reason.rpartition("; ")[2] for _, _, reason, _ in standings]
            assert said[1:] == ["before that flatten: said", "said"]
            operator.execute("select ledger.instruct_account('a', 'release', 'it is off', %s)", (standings[0][3],))
            operator.commit()
            executor.execute("insert into ledger.accounts (account_id, broker, mode) values ('d', 'b', 'paper')")
            unknown = executor.execute("select action from ledger.standings where account_id = 'd'").fetchall()
            assert unknown == [("halt",)]
            assert executor.execute(query).fetchall()[0][1] == "release"
        halted = [line for line in told if "is halted" in line and "truebar release" in line]
        assert {"a", "b", "c"} <= {line.split()[1] for line in halted}


@pytest.mark.parametrize(
    "is_older",
    [pytest.param(False, id="dump", marks=pytest.mark.whole), pytest.param(True, id="dump of before homes were noted")],
)
def test_a_dump_by_other_means_is_caught_up_before_anything_lands(
    is_older: bool, warehouse_db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with as_owner() as owner:
        owner.execute(
            "insert into ledger.accounts (account_id, broker, mode) values ('known', 'b', 'paper')"
            " on conflict do nothing"
        )
        owner.commit()
        owner.autocommit = True
        transactions.take(owner, transactions.upcoming(owner) + 5_000)
    land_days(20 if is_older else 10, 2)
    dump = tmp_path / "all.dump"
    programs = servers.programs()
    subprocess.run([programs / "pg_dump", "-Fc", f"--file={dump}", endpoint().conninfo()], check=True, cwd="/")
    with as_owner() as owner:
        last = transactions.upcoming(owner)
    with another_machine(tmp_path / "other"):
        bring_up()
        there = endpoint()
        dbname = there.parameters["dbname"]
        with servers.as_superuser("postgres") as superuser:
            superuser.autocommit = True
            superuser.execute(f"drop database {dbname}")
            superuser.execute(f"create database {dbname} owner {there.admin_user}")
        subprocess.run(
            [programs / "pg_restore", "--exit-on-error", "-d", there.conninfo(), str(dump)], check=True, cwd="/"
        )
        done = subprocess.run(
            [sys.executable, "-c", "from warehouse.connection import connect; connect('loader')"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "counts transactions anew" in done.stderr
        if is_older:
            with as_owner() as owner:
                owner.execute("delete from warehouse.homes")
        else:
            with pytest.raises(Stop, match="came from another database"):
                connect("executor")
        assert migrate() == []
        assert "every account is halted" in capsys.readouterr().err
        with connect("executor") as executor:
            executor.execute("insert into ledger.accounts (account_id, broker, mode) values ('new', 'b', 'paper')")
            standings = dict(executor.execute("select account_id, action from ledger.standings").fetchall())
            assert (standings["known"], standings["new"]) == ("halt", "halt")
        assert migrate() == []
        assert not capsys.readouterr().err
        with as_owner() as owner:
            # what the dump's last rows remember may be a little less than what the server had given
            assert transactions.upcoming(owner) > transactions.remembered(owner) > last - 1_000
        land_days(30, 1)


def test_bad_input_is_one_sentence(warehouse_db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, sentence in ((tmp_path, "is no backup, and holds none"), (tmp_path / "none", "is no backup")):
        assert main(["restore", str(folder)]) == 2
        assert sentence in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["backup", str(tmp_path), "--keep", "0"])
    assert "0 is not a whole number from 1 on" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["backup", str(tmp_path / "file")]) == 2
    made = backup(tmp_path / "b", say=NOTHING)
    facts = (made / "backup.json").read_text()
    for changed, sentence in (
        ({"role_prefix": "a_"}, "TRUEBAR_ROLE_PREFIX was 'a_'"),
        ({"postgres": 99}, "restore into that version or a newer one"),
        ({"migration": 9999}, "taken by newer code"),
    ):
        (made / "backup.json").write_text(json.dumps(json.loads(facts) | changed))
        with another_machine(tmp_path / "other"), pytest.raises(Stop, match=sentence):
            restore(made, say=NOTHING)
    (made / "backup.json").write_text(facts[:-10])
    with another_machine(tmp_path / "other"), pytest.raises(Stop, match="cannot be read"):
        restore(made, say=NOTHING)
    (made / "backup.json").write_text(facts)
    dump = made / "warehouse.dump"
    whole = dump.read_bytes()
    dump.write_bytes(whole[: len(whole) // 2])
    with another_machine(tmp_path / "other"):
        with pytest.raises(Stop, match="the database is as empty as before"):
            restore(made, say=NOTHING)
        dump.write_bytes(whole)
        restore(made, say=NOTHING)


@pytest.fixture(scope="module")
def made(warehouse_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup, which tests copy before they change it."""
    return backup(tmp_path_factory.mktemp("backups"), say=NOTHING)


def copied(made: Path, to: Path, **facts: object) -> Path:
    """A copy of a backup that says something else of itself."""
    shutil.copytree(made, to)
    said = json.loads((to / "backup.json").read_text())
    (to / "backup.json").write_text(json.dumps(said | facts))
    return to


def dumping(folder: Path) -> "subprocess.Popen[str]":
    """The command, in the middle of its dump: whoever calls this has locked a table, for which pg_dump waits."""
    process = subprocess.Popen(
        [sys.executable, "-m", "warehouse", "backup", str(folder)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    assert "pg_dump" in process.stderr.readline()
    return process


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.whole), signal.SIGTERM])
def test_only_whole_backups_are_kept(number: signal.Signals, warehouse_db: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    with as_owner() as owner:
        owner.execute("lock table raw.landings in access exclusive mode")
        process = dumping(folder)
        process.send_signal(number)
        assert "nothing is left half done" in process.communicate(timeout=60)[1]
        assert process.returncode == 130
    assert os.listdir(folder) == []
    backup(folder, say=NOTHING)
    made = backup(folder, keep=1, say=NOTHING)
    assert os.listdir(folder) == [made.name]


def test_what_a_killed_backup_leaves_is_gone_with_the_next(warehouse_db: Path, tmp_path: Path) -> None:
    folder, told = tmp_path / "backups", []
    with as_owner() as owner:
        owner.execute("lock table raw.landings in access exclusive mode")
        process, other = dumping(folder), dumping(folder)
        (dump,) = psutil.Process(process.pid).children()
        process.kill()
        process.communicate()
        psutil.wait_procs([dump], timeout=30)
        assert not dump.is_running()
        left = next(folder.glob(f".*.{process.pid}"))
        owner.rollback()
        made = backup(folder, say=told.append)
        assert f"removed {left}" in told[0]
        # the other one goes on: nobody took it for dead
        assert "backed up to" not in other.communicate(timeout=120)[1]
        assert other.returncode == 0
    assert made.is_dir()
    assert len(os.listdir(folder)) == 2
    assert not list(folder.glob(".*"))


def test_a_restore_that_cannot_read_on_leaves_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psql takes the end of what it is sent for the end of its work, so whatever goes wrong must not look like it."""
    temporary = tmp_path / "temporary"
    # the first call for statements is the last that finds the folder
    reader = tmp_path / "pg_restore"
    reader.write_text(f'#!/bin/sh\ncase "$1" in --use-list*) rm -rf {temporary};; esac\nexec {backing._RESTORE} "$@"\n')
    reader.chmod(0o700)
    gone = tmp_path / "gone"
    gone.write_text(f'#!/bin/sh\nrm {gone}\nexec {backing._RESTORE} "$@"\n')
    gone.chmod(0o700)
    with another_machine(tmp_path / "other"):
        for program, folder in ((backing._RESTORE, tmp_path / "none"), (str(reader), temporary), (str(gone), tmp_path)):
            temporary.mkdir(exist_ok=True)
            with monkeypatch.context() as patch:
                patch.setattr(backing, "_RESTORE", program)
                patch.setattr(tempfile, "tempdir", str(folder))
                with pytest.raises(Stop, match=r"No such file.*; the database is as empty as before"):
                    restore(made, say=NOTHING)
        restore(made, say=NOTHING)


def test_a_clock_that_was_wrong_costs_no_backup(made: Path, tmp_path: Path) -> None:
    folder, told = tmp_path / "backups", []
    database = json.loads((made / "backup.json").read_text())["database"]
    future = copied(made, folder / "2099-01-01T000000Z", taken_at="2099-01-01T00:00:00+00:00", number=4)
    first = backup(folder, keep=2, say=told.append)
    assert "this machine's clock says" in told[-1]
    second = backup(folder, keep=1, say=NOTHING)
    assert not future.exists()
    assert os.listdir(folder) == [second.name]
    assert backups.read(second).facts.number == 6
    copied(made, folder / future.name, taken_at="2099-01-01T00:00:00+00:00", number=4)
    told.clear()
    found = backups.newest(folder, told.append)
    assert found is not None
    assert (found.folder, found.facts.database) == (second, database)
    assert "was made after 2099-01-01T000000Z" in told[0]
    assert not first.exists()


def test_a_bad_old_backup_stops_no_new_one(made: Path, tmp_path: Path) -> None:
    folder, told = tmp_path / "backups", []
    elsewhere = copied(made, tmp_path / "elsewhere", number=0)
    folder.mkdir()
    (folder / "2020-01-01T000000Z").symlink_to(elsewhere)
    for number, words in enumerate(('{"taken_at": "20', "[]", '{"number": "new"}', "[" * 100_000, "\udcff")):
        (folder / f"2020-01-0{number + 2}T000000Z").mkdir()
        (folder / f"2020-01-0{number + 2}T000000Z" / "backup.json").write_text(words, errors="surrogateescape")
    # of before backups were numbered, and of code that says more
    old = copied(made, folder / "2021-01-01T000000Z", to_come="later")
    said = json.loads((old / "backup.json").read_text())
    said.pop("number", None)
    (old / "backup.json").write_text(json.dumps(said))
    new = backup(folder, keep=2, say=told.append)
    assert len([line for line in told if line.startswith("passed over: ")]) == 5
    assert not (folder / "2020-01-01T000000Z").is_symlink()
    assert (elsewhere / "warehouse.dump").exists()
    assert old.exists()
    found = backups.newest(folder, NOTHING)
    assert found is not None
    assert found.folder == new


def test_packages_that_come_and_go_cost_no_dump(warehouse_db: Path, tmp_path: Path) -> None:
    models = load().models_dir
    aside, package = models / ".half.123", models / "a-model"
    for folder in (aside, package):
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
    (package / "dangling").symlink_to("nowhere")
    try:
        made = backup(tmp_path / "backups", say=NOTHING)
        assert (made / "models" / "a-model" / "manifest.json").exists()
        assert not (made / "models" / aside.name).exists()
        os.mkfifo(package / "pipe")
        with pytest.raises(Stop, match=r"pipe: .*is a named pipe"):
            backup(tmp_path / "others", say=NOTHING)
        assert os.listdir(tmp_path / "others") == []
    finally:
        shutil.rmtree(aside)
        shutil.rmtree(package)


def test_a_package_comes_back_whole_or_not(made: Path, tmp_path: Path) -> None:
    source = copied(made, tmp_path / "source")
    package = source / "models" / "a-model"
    package.mkdir(parents=True)
    (package / "a.json").write_text("{}")
    # what cannot be copied, as on a full disk
    os.mkfifo(package / "b.pipe")
    with another_machine(tmp_path / "other"):
        with pytest.raises(Stop, match=r"the model package .*a-model cannot be copied"):
            restore(source, say=NOTHING)
        assert os.listdir(load().models_dir) == []
        (package / "b.pipe").unlink()
        assert restore(source, say=NOTHING) == []
        assert os.listdir(load().models_dir / "a-model") == ["a.json"]


@pytest.mark.whole
def test_a_build_goes_on_where_the_backup_was_taken(tmp_path: Path) -> None:
    """Bars, features and looks back are those of before, and the next build adds what is new and nothing else."""
    from flows.dbt_command import run_dbt

    selected = ("run", "--select", "ohlcv_1d", "features_1d")
    look = (
        "select features::text from features.features_1d as features order by bar_start",
        "select bars::text from canonical.ohlcv_1d as bars order by bar_start",
    )

    def seen() -> list[list[tuple]]:
        with connect("analyst") as reader:
            return [reader.execute(query).fetchall() for query in look]

    def written() -> dict[datetime, str]:
        with connect("transformer") as reader:
            return dict(reader.execute("select bar_start, xmin::text from features.features_1d__history").fetchall())

    with running_warehouse(tmp_path / "state", BUILT):
        with connect("loader") as loader:
            ensure_sessions(loader, "XNYS", date(2024, 12, 31))
        land_days(0, 8)
        run_dbt(*selected)
        land_days(8, 1)
        before = seen()
        made = backup(tmp_path / "backups", say=NOTHING)
        land_days(9, 1)
        run_dbt(*selected)
        later = seen()
    with another_machine(tmp_path / "other"):
        restore(made, say=NOTHING)
        assert seen() == before
        history = written()
        land_days(9, 1)
        run_dbt(*selected)
        grown = written()
        assert {start: xmin for start, xmin in grown.items() if start in history} == history
        assert len(grown) > len(history)
        columns = [[row[0].rsplit(",", 2)[0] for row in rows] for rows in seen()]
        assert columns == [[row[0].rsplit(",", 2)[0] for row in rows] for rows in later]


@pytest.mark.whole
@pytest.mark.parametrize("major", [15, 18])
def test_an_owner_who_is_no_superuser_restores(major: int, tmp_path: Path) -> None:
    """Each owner may create in a schema before it is given a relation there, and an old server gets no new setting."""
    with own_server(major) as server, environment_of(tmp_path / "state"):
        os.environ["DATABASE_URL"] = server.owned_by("fund")
        bring_up()
        with connect("transformer") as transformer:
            transformer.execute("create table features.built as select 1 as one")
        land_days(0, 2)
        before = landed()
        made = backup(tmp_path / "backups", say=NOTHING)
        server.execute("drop database fund_db with (force)", "create database fund_db owner fund")
        restore(made, say=NOTHING)
        assert landed() == before
        with connect("analyst") as analyst:
            assert analyst.execute("select tableowner from pg_tables where tablename = 'built'").fetchone() == (
                "transformer",
            )
        land_days(2, 1)


def test_a_folder_may_hold_backups_of_several_databases(warehouse_db: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    mine = backup(folder, say=NOTHING)
    facts = (mine / "backup.json").read_text()
    other = folder / "2020-01-01T000000Z"
    other.mkdir()
    (other / "backup.json").write_text(facts.replace('"database": "', '"database": "1'))
    with another_machine(tmp_path / "other"), pytest.raises(Stop, match="backups of several databases"):
        restore(folder, say=NOTHING)
    newer = backup(folder, keep=1, say=NOTHING)
    assert sorted(os.listdir(folder)) == [other.name, newer.name]
