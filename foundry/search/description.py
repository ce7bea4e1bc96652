"""What run.json holds: for reports, and for going on with a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from foundry.search.archive import ArchiveError
from foundry.search.shape import (
    AMOUNT,
    COUNT,
    FINITE,
    HASH,
    NO_HASH,
    POSITIVE,
    RUNG,
    SEED,
    Between,
    Either,
    Every,
    Exactly,
    Maybe,
    Named,
    Optional,
    complaint,
)

INTERVAL = {"mean": FINITE, "low": Maybe(FINITE), "high": Maybe(FINITE), "n": COUNT}
BUDGET = Exactly({"kind": re.compile("seconds|evals|flop"), "amount": AMOUNT})
NO_RESULT = {
    "verdict": str,
    "winner": re.compile(""),
    "baseline": NO_HASH,
    "control": re.compile(""),
    "difference": Maybe(INTERVAL),
}
RESULT = {
    "verdict": str,
    "winner": HASH,
    "baseline": HASH,
    "control": NO_HASH,
    "rival": Optional(HASH),
    "against_rival": Optional(INTERVAL),
    "rival_difference": Optional(INTERVAL),
    "difference": Maybe(INTERVAL),
    "recipe_alone": Maybe(INTERVAL),
    "architecture_alone": Maybe(INTERVAL),
    "sigma": Maybe(FINITE),
    "rung": RUNG,
    "compute": AMOUNT,
    "seeds": Every(SEED),
    "test_bpb": Named(Every(Maybe(FINITE))),
}
REPORTS = {
    "run_id": str,
    "created": str,
    "versions": Named(str),
    "machine": {"system": str, "cores": Maybe(COUNT), "memory_bytes": COUNT},
    "settings": {
        "budget": BUDGET,
        "data": Maybe(str),
        "seed": SEED,
        "workers": Between(1, 1024),
        "strategy": str,
        "control": Optional(str),
    },
    "data": {"name": str, "hash": str},
    "baselines": Named(HASH),
    "state": re.compile("search|confirm|finished|stopped"),
    "rungs": Every({"compute": AMOUNT}),
    "noise": Optional({"sigma": FINITE}),
    "sessions": Every({"seconds": POSITIVE}),
    "rounds": Optional(COUNT),
    "confirmation": Optional({"finalists": Every(HASH)}),
    "result": Optional(Either(NO_RESULT, RESULT)),
    "busy_share": Optional(FINITE),
}
TASK = {
    "genome_hash": HASH,
    "rung": RUNG,
    "seed": SEED,
    "compute": AMOUNT,
    "purpose": str,
    "split": re.compile("validation|test"),
    "operator": str,
    "parents": Every(HASH),
    "arm": Optional(re.compile("search|control")),
    "proposal": Optional(Between(-1, 2**63 - 1)),
}
PLAN = Exactly(
    {
        "rung": RUNG,
        "finalists": Every(HASH),
        "baseline": HASH,
        "compute": AMOUNT,
        "finalist_seed": SEED,
        "seeds": Every(SEED),
        "winner": NO_HASH,
        "control": NO_HASH,
        "rivals": Optional(Every(HASH)),
        "rival": Optional(NO_HASH),
    }
)
GOES_ON = REPORTS | {
    "versions": {"torch": str},
    "speed": AMOUNT,
    "proposals": COUNT,
    "running": Every(TASK),
    "rounds": Between(0, 10**6),
    "confirmation": Maybe(PLAN),
}


def require(run: Any, shape: Any, path: Path) -> None:
    """Refuse the content of a run.json that does not have a shape, `REPORTS` or `GOES_ON`.

    Raises:
        ArchiveError: it does not; the message says where.
    """
    if wrong := complaint(run, shape):
        raise ArchiveError(f"{path}: not the description of a run ({wrong}); name another folder")
