"""python -m tests.packages: the list of what is installed and under which licence, written anew from constraints.txt.

`docs/packages/sbom.json` is a bill of materials in CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/), and
`docs/packages/licences.csv` has one row per package. Licences are what each installed package says of itself; of what
this machine does not install, or what says nothing clear, somebody has looked: `LOOKED_AT`.
"""

import argparse
import csv
import io
import json
import re
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "constraints.txt"
FOLDER = ROOT / "docs" / "packages"
BILL = FOLDER / "sbom.json"
LICENCES = FOLDER / "licences.csv"

# package -> licence as SPDX names it, and where that was read
LOOKED_AT = {
    "async-timeout": ("Apache-2.0", "https://github.com/aio-libs/async-timeout/blob/master/LICENSE"),
    "apprise": ("BSD-2-Clause", "its LICENSE file"),
    "axe-core-python": ("MIT AND MPL-2.0", "its LICENSE file, and the head of axe.min.js"),
    "bottleneck": ("BSD-2-Clause", "its LICENSE file"),
    "isodate": ("BSD-3-Clause", "its LICENSE file"),
    "partd": ("BSD-3-Clause", "its LICENSE.txt"),
    "protobuf": ("BSD-3-Clause", "https://github.com/protocolbuffers/protobuf/blob/main/LICENSE"),
    "psycopg2-binary": ("LGPL-3.0-or-later", "https://www.psycopg.org/docs/license.html"),
    "python-dateutil": ("Apache-2.0 OR BSD-3-Clause", "its LICENSE file"),
    "pywin32": ("PSF-2.0", "https://github.com/mhammond/pywin32"),
    "qdldl": ("Apache-2.0", "its LICENSE file"),
    "requests-oauthlib": ("ISC", "its LICENSE file"),
    "scipy": ("BSD-3-Clause", "its LICENSE.txt"),
    "sniffio": ("MIT OR Apache-2.0", "its LICENSE file"),
    "sseclient-py": ("Apache-2.0", "its LICENSE file"),
    "ta-lib": ("BSD-2-Clause", "its LICENSE file"),
    "text-unidecode": ("Artistic-1.0-Perl OR GPL-2.0-or-later", "its README"),
    "whenever": ("MIT", "https://github.com/ariebovenberg/whenever/blob/main/LICENSE"),
}
# classifiers say less than SPDX does: of the BSD licences they do not say which
FROM_CLASSIFIER = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}


@dataclass(frozen=True)
class Package:
    """A line of the lock; `only_where` is its marker, '' for everywhere."""

    name: str
    version: str
    only_where: str


def locked() -> list[Package]:
    """What `make install` installs, on any machine."""
    lines = re.findall(r"^([a-z0-9][\w.-]*)==(\S+)(?: ; ([^\\]+?))? \\$", LOCK.read_text(), re.MULTILINE)
    return [Package(*line) for line in lines]


def licence(package: Package) -> str:
    """As SPDX writes it. Raises LookupError for a package that nobody has looked at and that does not say."""
    if package.name in LOOKED_AT:
        return LOOKED_AT[package.name][0]
    try:
        said = metadata.metadata(package.name)
    except metadata.PackageNotFoundError:
        raise LookupError(
            f"{package.name} is not installed here: look up its licence and add it to LOOKED_AT"
        ) from None
    for words in (said.get("License-Expression"), said.get("License")):
        try:
            return str(canonicalize_license_expression(words or ""))
        except (InvalidLicenseExpression, ValueError):
            continue
    named = {
        FROM_CLASSIFIER[last]
        for classifier in said.get_all("Classifier") or []
        if classifier.startswith("License ::") and (last := classifier.split(" :: ")[-1]) in FROM_CLASSIFIER
    }
    if len(named) != 1:
        raise LookupError(f"{package.name} does not say its licence clearly: look it up and add it to LOOKED_AT")
    return named.pop()


def bill() -> str:
    """The bill of materials; the same lock gives the same text."""
    components: list[dict[str, Any]] = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{one.name}@{one.version}",
            "name": one.name,
            "version": one.version,
            "purl": f"pkg:pypi/{one.name}@{one.version}",
            "licenses": [{"expression": licence(one)}],
        }
        for one in locked()
    ]
    whole = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
    return json.dumps(whole, indent=1) + "\n"


def licences() -> str:
    """One row per package: name, version, licence, where it is installed, and where the licence was read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("package", "version", "licence", "only_where", "licence_read_in"))
    for one in locked():
        read_in = LOOKED_AT.get(one.name, ("", "its metadata"))[1]
        writer.writerow((one.name, one.version, licence(one), one.only_where, read_in))
    return text.getvalue()


def main() -> int:
    """Write both files."""
    argparse.ArgumentParser(prog="python -m tests.packages", description=(__doc__ or "").splitlines()[0]).parse_args()
    FOLDER.mkdir(exist_ok=True)
    try:
        texts = {BILL: bill(), LICENCES: licences()}
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 1
    for path, text in texts.items():
        path.write_text(text)
    print(f"{len(locked())} packages in {BILL.relative_to(ROOT)} and {LICENCES.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
