"""Who runs the embedded PostgreSQL: whoever started it, or, because PostgreSQL refuses root, a system user for root."""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from warehouse.errors import Stop

_SYSTEM_USER = "truebar"


@dataclass(frozen=True)
class ServerUser:
    """An operating system user, and the words before a command that make it run as that user."""

    name: str
    uid: int
    gid: int
    command_prefix: tuple[str, ...]

    def own(self, path: Path) -> None:
        """Give a file or folder to the user; nothing to do where everything is the user's already."""
        if self.command_prefix:
            os.chown(path, self.uid, self.gid)


def server_user(data: Path, bin_dir: Path) -> ServerUser:
    """The user for the server of a data folder. Raises Stop when root has none and cannot make one.

    Where that user cannot enter a folder on the way, as below root's own home, the server is given the capability to
    pass, and no mode of a folder is changed.
    """
    if os.geteuid() != 0:
        entry = _entry(os.geteuid())
        return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid, ())
    owner = data.stat().st_uid if data.exists() else 0
    entry = _entry(owner) if owner != 0 else _system_user()
    setpriv = shutil.which("setpriv")
    if not setpriv:
        raise Stop("PostgreSQL refuses to run as root, and `setpriv` (util-linux) is not here: use an ordinary user")
    prefix = [setpriv, f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "--no-new-privs"]
    if not _reaches(entry, data.parent) or not _reaches(entry, bin_dir / "postgres"):
        passing = [name for name, number in _PASSING.items() if _has_capability(number)]
        if not passing:
            raise Stop(
                f"PostgreSQL refuses to run as root, and its user {entry.pw_name} cannot enter {data.parent} or "
                f"{bin_dir}: use an ordinary user, or a checkout that every user can enter"
            )
        granted = ",".join(f"+{name}" for name in passing)
        prefix += [f"--inh-caps={granted}", f"--ambient-caps={granted}", f"--bounding-set=-all,{granted}"]
        # initdb and postgres ask access(2) for themselves, which disregards capabilities without this
        prefix += ["--securebits=+no_setuid_fixup"]
    return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(prefix))


# names and numbers of linux/capability.h
_PASSING = {"dac_override": 1, "dac_read_search": 2}


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _reaches(entry: pwd.struct_passwd, path: Path) -> bool:
    """Whether a user can enter every folder above a path and the path itself, or read and run it if it is a file."""
    for folder in (path, *path.resolve().parents):
        found = folder.stat()
        needed = stat.S_IXOTH if folder.is_dir() else stat.S_IROTH | stat.S_IXOTH
        if found.st_uid != entry.pw_uid and found.st_mode & needed != needed:
            return False
    return True


def _entry(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise Stop(f"user id {uid} has no name in the password database, which PostgreSQL needs: add one") from None


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        pass
    useradd = shutil.which("useradd")
    refusal = f"PostgreSQL refuses to run as root: use an ordinary user, or make a system user {_SYSTEM_USER!r} for it"
    if not useradd:
        raise Stop(refusal)
    command = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SYSTEM_USER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # status 9: somebody made it meanwhile
    if done.returncode not in (0, 9):
        raise Stop(f"{refusal} (useradd: {done.stderr.strip()})")
    return pwd.getpwnam(_SYSTEM_USER)
