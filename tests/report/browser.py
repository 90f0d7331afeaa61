"""Debian's Chromium, once, with every page of a site: each as it lies on the disk, and axe-core in copies of it.

A page forbids scripts by its policy, so axe runs in copies without that line. Copies have every part unfolded and the
first rows of each table, and the dark ones say what the browser would have asked of the reader's system.
"""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")

_DARK = "@media (prefers-color-scheme: dark)"
# the rules that hang on colours; the others see the same page twice
_OF_COLOURS = ["color-contrast", "link-in-text-block"]
# of a table, whose rows are all alike
_ROWS = 5

_RUNNER = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"/><title>every page</title></head><body>
<script id="copies" type="application/json">%(copies)s</script>
<script id="addresses" type="application/json">%(addresses)s</script>
<script id="axe" type="text/plain">%(axe)s</script>
<script>
const read = (id) => document.getElementById(id).textContent;
const told = (part) => JSON.parse(read(part));
const loaded = (fill) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.width = 1200; frame.height = 900;
  frame.onload = () => resolve(frame);
  fill(frame);
  document.body.append(frame);
});
async function opened(address) {
  const frame = await loaded((made) => { made.src = address; });
  const footer = frame.contentDocument.querySelector("footer");
  const text = footer === null ? "" : footer.textContent;
  frame.remove();
  return text;
}
async function examined(copy) {
  const frame = await loaded((made) => { made.srcdoc = copy.page; });
  const script = frame.contentDocument.createElement("script");
  script.textContent = read("axe");
  frame.contentDocument.head.append(script);
  const only = copy.rules.length ? {runOnly: {type: "rule", values: copy.rules}} : {};
  const found = await frame.contentWindow.axe.run(frame.contentDocument, {...only, resultTypes: ["violations"]});
  frame.remove();
  // a rule that meets what it cannot read ends, and says nothing of the whole page
  for (const one of found.incomplete) if (one.error) throw new Error(`${one.id}: ${JSON.stringify(one.error)}`);
  return {
    passed: found.passes.length,
    violations: found.violations.map(
      (one) => ({rule: one.id, impact: one.impact, nodes: one.nodes.map((node) => node.html)})),
  };
}
(async () => {
  const answer = {footers: {}, examined: {}, error: null};
  try {
    for (const [path, address] of Object.entries(told("addresses"))) answer.footers[path] = await opened(address);
    for (const [name, copy] of Object.entries(told("copies"))) answer.examined[name] = await examined(copy);
  } catch (error) { answer.error = String(error && error.stack || error); }
  const shown = document.createElement("pre");
  shown.id = "answer";
  shown.textContent = JSON.stringify(answer);
  document.body.replaceChildren(shown);
})();
</script></body></html>
"""


@dataclass(frozen=True)
class Finding:
    """What a rule of axe found wrong on a page, and where."""

    page: str
    rule: str
    impact: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Opened:
    """What the browser saw: the footer of each page, what it logged, what axe found, and how many rules passed."""

    footers: Mapping[str, str]
    log: str
    findings: tuple[Finding, ...]
    passed: Mapping[str, int]

    def grave(self) -> list[Finding]:
        """What axe calls serious or critical."""
        return [finding for finding in self.findings if finding.impact in ("serious", "critical")]


def open_pages(
    pages: Mapping[str, Path], examined: Collection[str], folder: Path, planted: Mapping[str, str]
) -> Opened:
    """Open every page by its name in one Chromium that reaches no network.

    axe looks at those that are `examined`, and at `planted`, which lie nowhere.
    """
    assert CHROMIUM is not None
    written = {name: pages[name].read_text(encoding="utf-8") for name in examined} | dict(planted)
    copies = {
        f"{name}, {scheme}": _copy(page, scheme) for name, page in written.items() for scheme in ("light", "dark")
    }
    axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    runner = folder / "runner.html"
    runner.write_text(
        _RUNNER
        % {
            "copies": _in_a_script(copies),
            "addresses": _in_a_script({name: path.resolve().as_uri() for name, path in pages.items()}),
            "axe": axe.replace("</script", "<\\/script"),
        },
        encoding="utf-8",
    )
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
         "--enable-logging=stderr", "--v=0", "--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files",
         # its clock runs ahead when nothing is left to do, so this is no wait
         "--virtual-time-budget=10000000", "--dump-dom", runner.as_uri()],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told, done.stderr
    answer = json.loads(html.unescape(told[1]))
    assert answer["error"] is None, answer["error"]
    findings = tuple(
        Finding(name, one["rule"], one["impact"], tuple(one["nodes"]))
        for name, examined in answer["examined"].items()
        for one in examined["violations"]
    )
    return Opened(
        answer["footers"], done.stderr, findings, {name: one["passed"] for name, one in answer["examined"].items()}
    )


def _copy(page: str, scheme: str) -> dict[str, Any]:
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    unfolded = free.replace("<details>", "<details open>")
    short = re.sub(r"<tbody>.*?</tbody>", _first_rows, unfolded, flags=re.DOTALL)
    if scheme == "light":
        return {"page": short.replace(_DARK, "@media not all"), "rules": []}
    # what pictures are made of has no text that these rules read
    bare = re.sub(r"(<svg [^>]*>).*?</svg>", r"\1</svg>", short, flags=re.DOTALL)
    return {"page": bare.replace(_DARK, "@media all"), "rules": _OF_COLOURS}


def _first_rows(body: re.Match[str]) -> str:
    rows = re.findall(r"<tr>.*?</tr>", body[0], re.DOTALL)
    return f"<tbody>{''.join(rows[:_ROWS])}</tbody>"


def _in_a_script(value: object) -> str:
    """JSON that no parser of HTML takes for the script's end."""
    return json.dumps(value).replace("<", "\\u003c")
