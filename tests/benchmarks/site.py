"""Judge the built site with Lighthouse and axe-core, and store what they say.

python -m tests.benchmarks.site _build/html

Lighthouse is fetched by `npx`, which comes with Node 18 or newer. It loads each page
from a server on this machine, as a desktop computer and as a phone on a slow network.
The better of two runs is kept, because what else the machine does only slows a page.
Scores go up to 100.
"""

import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from tests.benchmarks.goals import RESULTS, keep
from tests.benchmarks.measure import processor
from tests.browser import FLAGS, PAGES, Reader, Visit, launched, served

KEPT = RESULTS / "site.json"
LIGHTHOUSE = "lighthouse@12.8.2"  # the last that runs on Node 18 and 20
JUDGED = [
    "book/intro.html",
    "chapters/01_text_to_tokens.html",
    "chapters/08_rotary_positions.html",
]
DEVICES = {"desktop": ["--preset=desktop"], "phone": []}
SCORES = ("performance", "accessibility", "best-practices")
ROUNDS = 2


def report(address: str, browser: str, options: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "report.json"
        command = ["npx", "--yes", LIGHTHOUSE, address, "--quiet", "--output=json"]
        flags = " ".join(["--headless", *FLAGS])
        command += [f"--output-path={place}", f"--chrome-flags={flags}", *options]
        command += [f"--only-categories={','.join(SCORES)}"]
        subprocess.run(command, check=True, env=os.environ | {"CHROME_PATH": browser})
        return json.loads(place.read_text("utf-8"))


def lighthouse(address: str, browser: str):
    for name in JUDGED:
        for device, options in DEVICES.items():
            rounds = [
                report(f"{address}/{name}", browser, options) for _ in range(ROUNDS)
            ]
            best = max(
                rounds, key=lambda one: one["categories"]["performance"]["score"]
            )
            row = {
                score: round(100 * best["categories"][score]["score"])
                for score in SCORES
            }
            # How fast this machine was during the run, by Lighthouse's own measure.
            row["machine"] = round(best["environment"]["benchmarkIndex"])
            print(name, device, row, flush=True)
            yield {"page": name, "device": device, **row}


def axe(browser, address: str) -> dict[str, list[str]]:
    tab, reader = Visit(browser, address), Reader()
    return {name: reader.violations(tab.open(name).page) for name in PAGES}


def main(site: Path) -> None:
    with launched() as (browser, path), served(site) as address:
        found = axe(browser, address)
        print(
            f"axe: {sum(map(len, found.values()))} violations on {len(found)} pages",
            flush=True,
        )
        rows = list(lighthouse(address, path))
        versions = {"chromium": browser.version, "lighthouse": LIGHTHOUSE}
    result = {
        "date": date.today().isoformat(),
        "processor": processor(),
        **versions,
        "lighthouse_scores": rows,
        "axe_violations": found,
    }
    keep(KEPT, result)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
