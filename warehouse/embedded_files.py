"""The files of the embedded PostgreSQL: its settings, who may log in, and where its socket is."""

import hashlib
import os
import pwd
import shlex
import stat
import tempfile
from pathlib import Path

import psutil

from warehouse.errors import Stop
from warehouse.server_user import ServerUser

POSTGRES_MAJOR = 18

# JIT compiles for longer than the short live reads run; the rest sizes a small machine.
_SETTINGS = """\
# written at every start
listen_addresses = ''
unix_socket_directories = {socket_dir}
unix_socket_permissions = 0700
jit = off
shared_buffers = 256MB
work_mem = 64MB
maintenance_work_mem = 256MB
max_wal_size = 4GB
wal_level = minimal
max_wal_senders = 0
max_connections = 60
timezone = 'UTC'
lc_messages = 'C'
"""

_INCLUDE = "include = 'truebar.conf'\n"
# what the mark of earlier versions begins with
_MARK = "# truebar"

# a socket's path must fit into 108 bytes on Linux, 104 on macOS, with the byte that ends it
_LONGEST_SOCKET_PATH = 103
_SOCKET_NAME = ".s.PGSQL.5432"

_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smbfs", "smb3", "afs", "ncpfs", "vboxsf", "fuse.sshfs", "fuse.s3fs"}


def is_whole(data: Path) -> bool:
    """Whether a data folder was made to its end: the mark is the last thing written into it."""
    configuration = data / "postgresql.conf"
    return configuration.exists() and _MARK in configuration.read_text()


def mark_whole(data: Path, user: ServerUser) -> None:
    """Let the server read `truebar.conf` after its own settings. Nothing of ours is in a folder without this line."""
    (data / "truebar.conf").touch(mode=0o600)
    user.own(data / "truebar.conf")
    with (data / "postgresql.conf").open("a") as file:
        file.write(f"\n{_MARK}\n{_INCLUDE}")


def check_version(data: Path) -> None:
    """Raises Stop when another version of PostgreSQL made the folder."""
    made_by = (data / "PG_VERSION").read_text().strip()
    if made_by != str(POSTGRES_MAJOR):
        aside = shlex.quote(f"{data}.{made_by}")
        raise Stop(
            f"{data} was made by PostgreSQL {made_by}, and PostgreSQL {POSTGRES_MAJOR} is installed: install what made "
            f"it, or begin anew with the old data kept aside: `mv {shlex.quote(str(data))} {aside}`"
        )


def configure(data: Path, user: ServerUser) -> None:
    """Write the settings and who may log in: the person who starts the server, and nobody else."""
    if _INCLUDE not in (data / "postgresql.conf").read_text():
        mark_whole(data, user)
    socket_dir = private_socket_dir(data, user)
    _write(data / "truebar.conf", _SETTINGS.format(socket_dir=_quoted_folder(socket_dir)), user)
    _write(data / "pg_hba.conf", "# written at every start\nlocal all all peer map=truebar\n", user)
    names = {user.name, pwd.getpwuid(os.geteuid()).pw_name}
    _write(data / "pg_ident.conf", "".join(f'truebar "{name}" all\n' for name in sorted(names)), user)


def private_socket_dir(data: Path, user: ServerUser) -> Path:
    """A folder of the user's own, mode 0700, whose path is short enough for a socket. Usually the data folder itself.

    A comma would separate hosts in libpq's PGHOST. Raises Stop when somebody else has the short folder's name.
    """
    if _fits(data):
        return data
    name = f"truebar-{user.uid}-{hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:12]}"
    bases = [Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()), Path("/tmp")]
    folder = next(base / name for base in bases if base.is_dir() and _fits(base / name))
    if not folder.exists():
        folder.mkdir(mode=0o700)
        user.own(folder)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user.uid or stat.S_IMODE(found.st_mode) & 0o077:
        raise Stop(f"{folder} should be a folder that only {user.name} can enter, and is not: remove it")
    return folder


def refuse_network(state_dir: Path) -> None:
    """Raises Stop when the folder lies on a network file system, where a lock may not lock and a sync may not sync."""
    mounts = [
        mount for mount in psutil.disk_partitions(all=True) if state_dir.resolve().is_relative_to(mount.mountpoint)
    ]
    nearest = max(mounts, key=lambda mount: len(mount.mountpoint), default=None)
    if nearest and nearest.fstype in _NETWORK_FILE_SYSTEMS:
        raise Stop(
            f"the state folder {state_dir} lies on a network file system ({nearest.fstype}), on which PostgreSQL may "
            "lose data: set TRUEBAR_STATE_DIR to a local folder"
        )


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / _SOCKET_NAME)) <= _LONGEST_SOCKET_PATH and "," not in str(folder)


def _quoted_folder(folder: Path) -> str:
    """A folder as an entry of PostgreSQL's list of folders, in a setting's quotes."""
    entry = '"' + str(folder).replace('"', '""') + '"'
    return "'" + entry.replace("\\", "\\\\").replace("'", "''") + "'"


def _write(path: Path, text: str, user: ServerUser) -> None:
    aside = path.with_name(path.name + ".new")
    aside.write_text(text)
    aside.chmod(0o600)
    user.own(aside)
    aside.rename(path)
