"""Kill a real search twenty times at random moments and resume it: python bench/kills.py FOLDER [BUDGET]

After every kill, all rows that the run had reported as done must be in its archive, once and unchanged; in
the end the run must finish with a verdict. Prints a line for each kill.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from foundry.search.archive import Archive, Row

KILLS = 20


def start(folder: Path, budget: str) -> subprocess.Popen[bytes]:
    more = ["--resume", str(folder)] if (folder / "run.json").exists() else ["--budget", budget, "--out", str(folder)]
    return subprocess.Popen([sys.executable, "-m", "foundry", "evolve", *more], stdout=subprocess.DEVNULL)


def rows(folder: Path) -> list[Row]:
    if not (folder / "run.json").exists():
        return []
    archive = Archive(folder)
    found = archive.rows()
    if archive.warnings:
        raise SystemExit("\n".join(archive.warnings))
    if len({row["eval_id"] for row in found}) != len(found):
        raise SystemExit("a row stands twice")
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    budget = sys.argv[2] if len(sys.argv) > 2 else "300evals"
    rng = random.Random(0)
    kept: list[Row] = []
    for kill in range(1, KILLS + 1):
        process = start(folder, budget)
        time.sleep(rng.uniform(2, 40))
        process.kill()
        process.wait()
        found = rows(folder)
        if found[: len(kept)] != kept:
            raise SystemExit(f"kill {kill} lost or changed a row")
        print(f"kill {kill}: {len(found)} rows, {len(found) - len(kept)} of them new", flush=True)
        kept = found
    process = start(folder, budget)
    code = process.wait()
    found = rows(folder)
    result = Archive(folder).read_run()["result"]
    if code != 0 or result is None or found[: len(kept)] != kept:
        raise SystemExit(f"the run did not end properly (exit code {code})")
    print(f"ended with {len(found)} rows and the verdict: {result['verdict']}")


if __name__ == "__main__":
    main()
