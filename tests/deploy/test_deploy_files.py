"""The files of deploy/: what they copy, call, set and name is there, and the image's command runs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import Settings as PrefectSettings
from prefect.settings.legacy import _get_valid_setting_names

from flows.deployments import POOL
from flows.truebar import main
from tests.machine import ROOT, as_owner
from tests.own_server import own_server
from warehouse.errors import Retry, Stop, Unreachable
from warehouse.settings import Settings

FOLDER = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
CLUSTER: list[dict[str, Any]] = list(yaml.safe_load_all((FOLDER / "kubernetes" / "truebar.yaml").read_text()))
POOL_TEMPLATE: dict[str, Any] = json.loads((FOLDER / "kubernetes" / "work-pool.json").read_text())
UNITS = {path.name: path.read_text() for path in sorted((FOLDER / "systemd").glob("*.service"))}

# what else a process of an image reads: the shell's, Python's, PostgreSQL's image's, and that of a Kubernetes worker's
# own package, which is not installed here
OTHERS = {"PATH", "PYTHONUNBUFFERED", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"} | {
    f"PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_{what}" for what in ("NAME", "KEY")
}


# a pattern of one file that a checkout need not have
LIMITS = "limits.yam[l]"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with what they say, each on one line."""
    text = re.sub(r"^#.*\n", "", (FOLDER / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


def said(name: str) -> list[str]:
    return [text for instruction, text in instructions() if instruction == name]


def copied() -> list[str]:
    """What the image takes from the checkout."""
    return [word for text in said("COPY") if not text.startswith("--from") for word in text.split()[:-1]]


def pods() -> Iterator[dict[str, Any]]:
    manifests = [*CLUSTER, POOL_TEMPLATE["job_configuration"]["job_manifest"]]
    yield from (one["spec"]["template"]["spec"] for one in manifests if "template" in one.get("spec", {}))


def containers() -> Iterator[dict[str, Any]]:
    for pod in pods():
        yield from [*pod.get("initContainers", []), *pod.get("containers", [])]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Where a command of ours is called, and its words after `truebar`."""
    yield "Dockerfile: HEALTHCHECK", json.loads(said("HEALTHCHECK")[0].partition("CMD ")[2])[1:]
    for name, service in COMPOSE["services"].items():
        if "command" in service:
            yield f"compose: {name}", service["command"]
        test = " ".join(service.get("healthcheck", {}).get("test", []))
        yield from ((f"compose: {name}, health", shlex.split(found)) for found in re.findall(r"truebar ([^|]*)", test))
    for name, text in UNITS.items():
        for line in re.findall(r"^Exec(?:Start|Stop)=\S+/truebar (.*)$", text, re.MULTILINE):
            yield name, [word.replace("%i", "binance") for word in line.split()]
    for one in containers():
        if one["image"].startswith("truebar:") and "command" not in one:
            yield f"kubernetes: {one['name']}", one["args"]
        probe = " ".join(one.get("livenessProbe", {}).get("exec", {}).get("command", []))
        yield from (
            (f"kubernetes: {one['name']}, health", shlex.split(f)) for f in re.findall(r"truebar ([^|]*)", probe)
        )


def test_what_the_image_copies_is_there() -> None:
    allowed = {line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert set(copied()) == allowed
    assert [name for name in copied() if name != LIMITS and not (ROOT / name).exists()] == []
    found = (ROOT / "pyproject.toml").read_text()
    packages = set(
        re.findall(r'^    "([a-z_]+)",$', found.partition("\npackages = [")[2].partition("]")[0], re.MULTILINE)
    )
    assert packages <= allowed


def test_a_file_of_limits_is_in_force_in_a_container() -> None:
    """It is copied beside the product, where it is looked for, in an instruction that copies something without it."""
    (line,) = [text.split() for text in said("COPY") if any(fnmatch("limits.yaml", word) for word in text.split())]
    assert line[-1] == "./"
    assert [word for word in line[:-1] if (ROOT / word).exists()]
    assert said("WORKDIR")[-1] == "/app"
    allowed = [line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    assert [name for name in allowed if fnmatch("limits.yaml", name)]


@pytest.mark.parametrize(("place", "words"), list(commands()), ids=lambda one: one if isinstance(one, str) else "")
def test_a_command_is_one_of_ours(place: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """So is each of its options; `psql` passes its own on."""
    with pytest.raises(SystemExit) as ended:
        main([words[0], "--help"])
    assert ended.value.code == 0, place
    offered = capsys.readouterr().out
    options = [word for word in words[1:] if word.startswith("--")]
    assert [option for option in options if not re.search(rf"{option}\b", offered)] == [], place


def test_a_variable_is_one_that_is_read() -> None:
    read = OTHERS | _get_valid_setting_names(PrefectSettings)
    read |= {str(field.alias) for field in Settings.model_fields.values()}
    given = {name for text in said("ENV") for name in re.findall(r"(\w+)=", text)}
    for service in COMPOSE["services"].values():
        given |= set(service.get("environment", {}))
    given |= set(re.findall(r"\$\{(\w+)", (FOLDER / "compose.yaml").read_text()))
    for text in UNITS.values():
        for line in re.findall(r"^Environment=(.*)$", text, re.MULTILINE):
            given |= {word.partition("=")[0] for word in line.split()}
    for one in containers():
        env = one.get("env", [])
        given |= {entry["name"] for entry in env} if isinstance(env, list) else set()
    assert len(given) > 10
    assert given - read == set()


def test_pool_and_versions_are_those_of_the_product() -> None:
    """The pool is that of every deployment; Prefect in the cluster is the one that is locked."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {one["work_pool"]["name"] for one in deployments} == {POOL}
    started = [one["command"] for one in containers() if one.get("command", [""])[0] == "prefect"]
    assert [words[words.index("--pool") + 1] for words in started if "--pool" in words] == [POOL]
    assert [words[3] for words in started if words[1:3] == ["work-pool", "create"]] == [POOL]
    (locked,) = re.findall(r"^prefect==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    (version,) = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    images = {one["image"] for one in containers()} | {one["image"] for one in COMPOSE["services"].values()}
    assert f"prefecthq/prefect:{locked}-python3.11-kubernetes" in images
    assert POOL_TEMPLATE["variables"]["properties"]["image"]["default"] == f"truebar:{version}"
    assert {image for image in images if image.startswith("truebar")} == {f"truebar:{version}"}


def test_nothing_runs_as_root_unbounded_or_with_a_secret_in_a_file() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", said("USER")[-1])
    bases = [text.split()[0] for text in said("FROM")] + [COMPOSE["services"]["postgres"]["image"]]
    assert [image for image in bases if not re.search(r":\d+\.\d+", image)] == []
    assert all(pod["securityContext"]["runAsNonRoot"] for pod in pods())
    for name, service in COMPOSE["services"].items():
        assert name == "migrate" or "healthcheck" in service or service["image"].startswith("truebar:")
        for key, text in service.get("environment", {}).items():
            if re.search("PASSWORD|AUTH|KEY|SECRET", key):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", text), f"{name} has {key} in the file"


def test_a_pod_leaves_files_of_passwords_to_their_owner() -> None:
    """A volume's files would be opened to its group at each start, and libpq ignores a password file of such a mode."""
    contexts = [pod["securityContext"] for pod in pods() if "fsGroup" in pod["securityContext"]]
    assert len(contexts) == 5
    assert [one.get("fsGroupChangePolicy") for one in contexts] == ["OnRootMismatch"] * 5


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_starts_again_after_what_passes_and_after_nothing_else(unit: str) -> None:
    """A start that waits for the database's unit is not lost where the first try of that fails."""
    lines = UNITS[unit].splitlines()
    assert {"Restart=on-failure", "RestartSec=10s", "RestartPreventExitStatus=2"} <= set(lines)
    assert Stop.exit_status == 2
    assert Retry.exit_status == Unreachable.exit_status == 75
    if unit != "truebar-database.service":
        needs = "truebar-database.service"
        assert {f"Wants={needs}", f"PartOf={needs}", f"After={needs}"} <= set(lines)
        assert f"Requires={needs}" not in lines


def test_a_session_is_not_called_healthy_for_its_database() -> None:
    """The image's check asks for the database alone."""
    assert COMPOSE["services"]["trade"]["healthcheck"] == {"disable": True}


def test_a_new_image_is_a_new_job_that_migrates() -> None:
    """`kubectl apply` refuses another image for a Job that is there."""
    (job,) = [one for one in CLUSTER if one["kind"] == "Job"]
    _, tag = job["spec"]["template"]["spec"]["containers"][0]["image"].split(":")
    assert job["metadata"]["name"] == f"truebar-migrate-{tag.replace('.', '-')}"
    # what is there already is no error
    header = (FOLDER / "kubernetes" / "truebar.yaml").read_text().partition("apiVersion")[0].replace("\\\n#", "")
    (configmap,) = [line for line in header.splitlines() if "create configmap" in line]
    assert re.search(r"--dry-run=client -o yaml +\| kubectl apply -f -$", configmap)


def probes() -> list[str]:
    """The shell lines that ask whether a collector is alive."""
    (probe,) = [one["livenessProbe"]["exec"]["command"][-1] for one in containers() if one["name"] == "collect"]
    return [COMPOSE["services"]["collect-binance"]["healthcheck"]["test"][-1], probe]


@pytest.mark.parametrize("probe", probes(), ids=["compose", "kubernetes"])
def test_a_probe_fails_for_its_own_old_heartbeat_alone(probe: str, warehouse_db: Path, tmp_path: Path) -> None:
    """Not for another timeframe's, and not while the database is away: what is in memory would be lost."""

    def passes(**environment: str) -> bool:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-c", probe], env={**os.environ, "PATH": path, **environment}, cwd=ROOT, check=False, timeout=120
        )
        return done.returncode == 0

    with as_owner() as connection:
        connection.autocommit = True
        connection.execute("delete from raw.feeds where source = 'binance'")
        assert not passes()
        connection.execute(
            "insert into raw.feeds (source, timeframe, state, since, symbols, process, heartbeat_at) values"
            " ('binance', '1m', 'live', now(), '{}', '1', now()),"
            " ('binance', '1h', 'live', now(), '{}', '1', now())"
        )
        assert passes()
        connection.execute("update raw.feeds set heartbeat_at = now() - interval '1 hour' where timeframe = '1h'")
        assert passes()
        connection.execute("update raw.feeds set heartbeat_at = now() - interval '1 hour' where timeframe = '1m'")
        assert not passes()
        connection.execute("delete from raw.feeds where source = 'binance'")
    assert passes(DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")


@pytest.mark.whole
def test_the_commands_of_the_image_run(tmp_path: Path) -> None:
    """In a folder that holds what the image copies and no more, from an environment with what it sets and no more."""
    app, state = tmp_path / "app", tmp_path / "state"
    app.mkdir()
    for source in (path for name in copied() for path in ROOT.glob(name)):
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "target", "logs", "dbt_packages")
            shutil.copytree(source, app / source.name, ignore=ignored)
        else:
            shutil.copy(source, app)
    before = {path for path in app.rglob("*")}
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(state),
        "PYTHONPATH": str(app),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TRUEBAR_STATE_DIR": str(state),
        "TRUEBAR_MODELS_DIR": str(state / "models"),
    }
    entrypoint = json.loads(said("ENTRYPOINT")[0])
    health = json.loads(said("HEALTHCHECK")[0].partition("CMD ")[2])
    with own_server(18) as server:
        server.owned_by("truebar")
        service = COMPOSE["services"]["worker"]["environment"]
        database = {name: text for name, text in service.items() if not name.startswith("PREFECT")}
        database |= {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "PGPASSWORD": "truebar",
            "PGDATABASE": "truebar_db",
        }
        for command in ([*entrypoint, *COMPOSE["services"]["migrate"]["command"]], health):
            done = subprocess.run(
                command, cwd=app, env=environment | database, capture_output=True, text=True, check=False, timeout=300
            )
            assert (done.returncode, done.stderr) == (0, ""), command
        assert "not applied here: none" in done.stdout
    assert {path for path in app.rglob("*")} == before
