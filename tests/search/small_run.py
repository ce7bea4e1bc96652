"""A search on the landscape of tiny.py, as a process that can be interrupted and killed.

    python small_run.py FOLDER DATA EVALS [--full-disk-after N]

Prints a line for each evaluation that the run reports as done, then its verdict.
"""

import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tiny

from foundry.search.archive import ArchiveError
from foundry.search.budget import Budget
from foundry.search.evolve import evolve
from foundry.search.settings import Settings


def main(folder, data, evals, full_disk_after=None):
    told = 0

    def notify(snapshot):
        nonlocal told
        done = sum(snapshot.counts.values())
        if done > told:
            print("done", done, snapshot.phase, flush=True)
            told = done
        if full_disk_after is not None and done >= full_disk_after:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

    settings = Settings(
        folder,
        Budget("evals", evals),
        data=data,
        workers=2,
        resume=(Path(folder) / "run.json").exists(),
        run_job=tiny.landscape,
        preload=("tiny",),
    )
    try:
        result = evolve(settings, notify)
        print("verdict", result.verdict, "stopped" if result.stopped else "finished", flush=True)
    except ArchiveError as error:
        print("archive", error, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *(int(a) for a in sys.argv[5:]))
