"""What is installed is what the lock says, each with its hash, and its licence is one that an application may use."""

import re
import subprocess
import sys
import tomllib

from packaging.requirements import Requirement

from tests import packages
from tests.machine import ROOT

# each lets an application be used, changed and passed on; psycopg is linked, not changed
MAY_BE_USED = {
    "0BSD",
    "Apache-2.0",
    "Artistic-1.0-Perl",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CNRI-Python",
    "ISC",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "NCSA",
    "PSF-2.0",
    "Unlicense",
    "Zlib",
}
# the library with which GPUs talk, which XGBoost brings along on Linux: may be used, and passed on with an application
OTHERWISE = {"nvidia-nccl-cu12": "LicenseRef-NVIDIA-Proprietary"}
# an alternative that nobody has to take
NOT_TAKEN = {"text-unidecode": "GPL-2.0-or-later"}


def test_the_bill_and_the_licences_are_those_of_the_lock() -> None:
    """Mend: python -m tests.packages."""
    assert packages.BILL.read_text() == packages.bill()
    assert packages.LICENCES.read_text() == packages.licences()
    assert len(packages.locked()) == len(re.findall(r"^[a-z0-9]\S*==", packages.LOCK.read_text(), re.MULTILINE))


def test_each_licence_lets_us_use_it() -> None:
    unknown = {}
    for one in packages.locked():
        named = set(re.findall(r"[\w.-]+", packages.licence(one))) - {"AND", "OR", "WITH"}
        if strange := named - MAY_BE_USED - {OTHERWISE.get(one.name), NOT_TAKEN.get(one.name)}:
            unknown[one.name] = strange
    assert unknown == {}


def test_nobody_is_looked_at_who_is_not_installed() -> None:
    assert set(packages.LOOKED_AT) <= {one.name for one in packages.locked()}


def test_every_package_has_its_hashes() -> None:
    blocks = re.split(r"^(?=[a-z0-9]\S*==)", packages.LOCK.read_text(), flags=re.MULTILINE)[1:]
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert not re.search(r"^\s*--(?:extra-)?index-url|^-i |://", packages.LOCK.read_text(), re.MULTILINE)


def test_the_products_packages_are_its_folders() -> None:
    """A folder with modules that pyproject.toml does not name would be missing where the checkout is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    # benches are run from the checkout
    product = [name for name in project["mypy"]["packages"] if name != "bench"]
    found = [file.parent.relative_to(ROOT) for name in product for file in (ROOT / name).rglob("__init__.py")]
    assert project["setuptools"]["packages"] == sorted(".".join(folder.parts) for folder in found)


def test_what_installs_and_builds_is_pinned_too() -> None:
    """uv installs and setuptools builds: both are in the lock, and the two projects are built by that setuptools."""
    versions = {one.name: one.version for one in packages.locked()}
    for project in (ROOT / "pyproject.toml", ROOT / "sandbox" / "pyproject.toml"):
        (builder,) = tomllib.loads(project.read_text())["build-system"]["requires"]
        assert Requirement(builder) == Requirement(f"setuptools=={versions['setuptools']}")
    found = subprocess.run(
        [sys.executable, "-m", "uv", "--version"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert found[1] == versions["uv"]
