"""Which genome of a run is meant: by its hash, by the beginning of one, or as the best."""

from __future__ import annotations

from foundry.search.archive import Archive, ArchiveError
from foundry.search.standings import leaders

SHOWN = 5  # hashes that a complaint lists


def find(archive: Archive, meant: str) -> str:
    """The hash of the one genome of a run that `meant` stands for.

    `best` is the winner of confirmation, and before that the child that leads; a baseline may be called by its name.

    Raises:
        ArchiveError: there is none, or several begin so; the message is one line and says which.
    """
    run, rows = archive.read_run(), archive.rows()
    if meant == "best":
        return _best(archive)
    if meant in run["baselines"]:
        return str(run["baselines"][meant])
    hashes = dict.fromkeys([*run["baselines"].values(), *(row["genome_hash"] for row in rows)])
    found = [genome_hash for genome_hash in hashes if meant and genome_hash.startswith(meant.lower())]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ArchiveError(f"{archive.folder}: no genome {meant!r} was evaluated; foundry top lists the best hashes")
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise ArchiveError(f"{archive.folder}: {len(found)} genomes begin with {meant}: {', '.join(found[:SHOWN])}{more}")


def _best(archive: Archive) -> str:
    run = archive.read_run()
    winner = (run.get("result") or {}).get("winner")
    if winner:
        return str(winner)
    _, child = leaders(archive.rows(), run["baselines"].values())
    if child is None:
        raise ArchiveError(f"{archive.folder}: no child has a score yet, so none is the best")
    return child.genome_hash
