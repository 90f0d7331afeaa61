"""Who may give commands to a Prefect server of ours: whoever holds its credential.

A server runs what its callers tell it to, with all that its processes hold. So each has a random credential, no web
page of another origin may call it, and it is started without the keys of vendors, brokers and database.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from warehouse.errors import Stop

# what a server needs of the environment; everything else stays out, whatever it is called
_PASSED = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONUTF8"}
    | {"NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH"}
)
_PASSED_STARTS = ("PREFECT_", "LC_")


def credential(home: Path) -> str:
    """`user:password` of the servers with this home, made at first use; only its owner can read the file."""
    path = home / "credential"
    try:
        home.mkdir(parents=True, exist_ok=True)
        # linked into place, so that of two that start at once both get the first one's
        aside = home / f"credential.{os.getpid()}"
        with open(aside, "w", opener=_private) as file:
            file.write(f"truebar:{secrets.token_urlsafe(32)}")
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
        found = path.read_text().strip()
        if path.stat().st_mode & 0o077:
            raise Stop(f"others can read {path}: delete it, start the servers again, and a new one is made")
    except OSError as error:
        raise Stop(f"the Prefect server's credential {path} cannot be kept: {error.strerror}") from None
    if len(found) < 32:
        raise Stop(f"{path} holds no credential: delete it, and a new one is made")
    return found


def server_environment(environment: Mapping[str, str], home: Path, port: int, *, sweeps: bool = True) -> dict[str, str]:
    """The environment of a server whose pages a browser opens at this port of loopback.

    With `sweeps` it looks, when it starts and once a day, through all that it keeps for what belongs to no run.

    Its credential is its home's, unless PREFECT_SERVER_API_AUTH_STRING gives one, as for workers on other machines.
    """
    passed = {name: text for name, text in environment.items() if name in _PASSED or name.startswith(_PASSED_STARTS)}
    own = f"http://127.0.0.1:{port}"
    return {
        # its pages would call the address at which it listens, and a browser reaches nobody at 0.0.0.0
        "PREFECT_SERVER_UI_API_URL": f"{own}/api",
        # what it keeps of runs that somebody removed, beside its events, which go after a week
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans" if sweeps else "events",
        **passed,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_AUTH_STRING": _given(environment) or credential(home),
        # the origin of its own pages
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": own,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def client_environment(home: Path, port: int) -> dict[str, str]:
    """What a process needs to call the server at this port of loopback."""
    return {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_API_AUTH_STRING": credential(home)}


def _given(environment: Mapping[str, str]) -> str | None:
    given = environment.get("PREFECT_SERVER_API_AUTH_STRING")
    if given and (len(given) < 32 or ":" not in given):
        raise Stop(
            "PREFECT_SERVER_API_AUTH_STRING is no credential of a server that others reach: write a name, a colon and "
            "a random word of 32 letters, as in `echo truebar:$(openssl rand -hex 32)`"
        )
    return given


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL, 0o600)
