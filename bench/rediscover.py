"""Does the search find what people found? `python bench/rediscover.py FOLDER [--seeds 0 1 2] [--budget 10min]`

The only baseline is GPT-2 with every part spelled out in primitives: learned positions, layer norms, GELU. Nothing of
the prelude that stands for a mechanism is offered, and the generators do not write one out by hand either (see
`withholding`), so that a known mechanism has to be put together from primitives. One run for each seed, in
FOLDER/SEED; one that is there already is gone on with, or only counted.

Prints, for each known win, in how many runs the confirmed winner has it, a finalist, any genome that was promoted; and
beside that the share of all children that had it and of those promoted: where selection favours it, the second is
larger. `--rows FILE` appends a line of JSON for each run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foundry.dsl.check import load_program, prelude
from foundry.dsl.diagnostics import GenomeError
from foundry.evals.statistics import CONFIRMED
from foundry.generate.vocabulary import withholding
from foundry.search.archive import Archive, ArchiveError
from foundry.search.budget import parse_budget
from foundry.search.evolve import evolve
from foundry.search.population import CONTROL, SEED, TUNE
from foundry.search.settings import Settings, Snapshot
from foundry.search.traits import traits

PLAIN = """@foundry(1);

# GPT-2 at proxy size, spelled out: learned positions, layer norms before each part, GELU by way of tanh.
normed(x) = {
  weight = param(1, per = channel);
  bias = param(0, per = channel);
  centred = x - mean(x);
  weight * centred * rsqrt(mean(centred * centred) + 1e-5) + bias
};

bend(x) = 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)));

look(x) = {
  q = split_heads(linear(x, 64, bias = 1), 4);
  k = split_heads(linear(x, 64, bias = 1), 4);
  v = split_heads(linear(x, 64, bias = 1), 4);
  linear(merge_heads(attend(q, k, v)), width(x), bias = 1)
};

think(x) = {
  up = linear(x, 256, bias = 1);
  linear(bend(up), width(x), bias = 1)
};

layer(x) = {
  x = x + look(normed(x));
  x + think(normed(x))
};

model(tokens) = {
  x = embed(tokens, vocab = 256, width = 64) + embed(position(tokens), vocab = 128, width = 64);
  x >> 4 * layer >> normed >> unembed(tied = 1)
};

recipe = train(
  optimizer = adamw(lr = 3e-3, betas = [0.9, 0.95], decay = 0.1),
  schedule = warmup_cosine,
  batch = 512,
);
"""

# What stays of the prelude: what does nothing, what chooses experts, and what trains.
OFFERED = frozenset(
    {"identity", "everything", "softmax", "warmup_cosine", "warmup_linear", "trapezoid", "z_loss"}
)  # fmt: skip

# What people found to beat GPT-2, and by which traits it is known.
WINS: Mapping[str, frozenset[str]] = {
    "rotary or relative positions": frozenset({"rotary positions", "relative positions"}),
    "squared ReLU": frozenset({"squared ReLU"}),
    "gated activation": frozenset({"gated activation"}),
    "short convolution or token shift": frozenset({"short convolution", "token shift"}),
    "QK-norm": frozenset({"QK-norm"}),
    "RMS norm": frozenset({"RMS norm"}),
    "Muon": frozenset({"Muon"}),
}


@dataclass(frozen=True)
class Found:
    """What one run found, by win: whether the confirmed winner, a finalist or a promoted genome has it, and the shares
    of children and of promoted ones that do. confirmed: whether there was an improvement at all."""

    seed: int
    verdict: str
    confirmed: bool
    children: int
    promoted: int
    winner: dict[str, bool]
    finalist: dict[str, bool]
    reached: dict[str, bool]
    share_of_children: dict[str, float]
    share_of_promoted: dict[str, float]


def withheld() -> list[str]:
    """The functions of the prelude that the search must do without."""
    return [definition.name for definition in prelude().definitions if definition.name not in OFFERED]


def search(settings: Settings) -> None:
    """One run, new or gone on with, from the plain genome and without what is withheld."""
    last = ""

    def tell(snapshot: Snapshot) -> None:
        nonlocal last
        if snapshot.events and snapshot.events[-1] != last:
            last = snapshot.events[-1]
            print(f"{settings.out} {snapshot.seconds:6.0f} s  {last}", file=sys.stderr, flush=True)

    with withholding(withheld()):
        evolve(settings, tell)


def found(archive: Archive) -> Found:
    """What a finished run found."""
    run, rows = archive.read_run(), archive.rows()
    result = run["result"] or {}
    children, promoted = _children(run, rows), set()
    for row in rows:
        if row["rung"] > 0 and row["genome_hash"] in children:
            promoted.add(row["genome_hash"])
    finalists = (run["confirmation"] or {}).get("finalists", [])
    confirmed = result.get("verdict") == CONFIRMED
    has = {genome_hash: _wins(archive, genome_hash) for genome_hash in children | set(finalists)}
    return Found(
        seed=run["settings"]["seed"],
        verdict=result.get("verdict", ""),
        confirmed=confirmed,
        children=len(children),
        promoted=len(promoted),
        winner=_any(has, [result["winner"]] if confirmed else []),
        finalist=_any(has, finalists),
        reached=_any(has, promoted),
        share_of_children=_share(has, children),
        share_of_promoted=_share(has, promoted),
    )


def _children(run: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """What the search made: no baseline at any rate, no control, nothing of a control arm."""
    baselines = set(run["baselines"].values())
    return {
        row["genome_hash"]
        for row in rows
        if row["operator"] not in (SEED, CONTROL)
        and row["arm"] == "search"
        and not (row["operator"] == TUNE and baselines & set(row["parent_hashes"]))
    }


def _wins(archive: Archive, genome_hash: str) -> frozenset[str]:
    """The wins that a genome has; none where it is lost."""
    try:
        known = set(traits(load_program(archive.genome(genome_hash))))
    except (ArchiveError, GenomeError) as error:
        print(f"{archive.folder}: {error}", file=sys.stderr)
        return frozenset()
    return frozenset(win for win, names in WINS.items() if names & known)


def _any(has: Mapping[str, frozenset[str]], some: Iterable[str]) -> dict[str, bool]:
    reached = frozenset().union(*(has.get(genome_hash, frozenset()) for genome_hash in some))
    return {win: win in reached for win in WINS}


def _share(has: Mapping[str, frozenset[str]], some: Iterable[str]) -> dict[str, float]:
    known = [has[genome_hash] for genome_hash in some]
    return {win: sum(win in wins for wins in known) / len(known) if known else 0.0 for win in WINS}


def table(runs: list[Found]) -> str:
    """A table in Markdown: a row for each win, counts over runs, and mean shares."""
    seeds = ", ".join(str(run.seed) for run in runs)
    lines = [
        f"seeds {seeds}: {sum(run.children for run in runs)} children, {sum(run.promoted for run in runs)} promoted, "
        f"{sum(run.confirmed for run in runs)} of {len(runs)} runs with a confirmed improvement",
        "",
        "| known win | winner | a finalist | a promoted genome | of all children | of those promoted |",
        "|---|---|---|---|---|---|",
    ]
    for win in WINS:
        counts = [sum(getattr(run, kind)[win] for run in runs) for kind in ("winner", "finalist", "reached")]
        shares = [
            sum(getattr(run, kind)[win] for run in runs) / len(runs)
            for kind in ("share_of_children", "share_of_promoted")
        ]
        cells = [f"{count} of {len(runs)}" for count in counts] + [f"{100 * share:.0f} %" for share in shares]
        lines.append(f"| {win} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget", default="10min")
    parser.add_argument("--data", default=None)
    parser.add_argument("--rows", type=Path, default=None)
    given = parser.parse_args()
    runs = []
    for seed in given.seeds:
        out = given.folder / str(seed)
        settings = Settings(
            out=out,
            budget=parse_budget(given.budget),
            data=given.data,
            seed=seed,
            baselines={"plain": PLAIN},
            resume=(out / "run.json").exists(),
        )
        search(settings)
        runs.append(found(Archive(out)))
        if given.rows is not None:
            with given.rows.open("a") as file:
                file.write(json.dumps({"name": f"rediscover-{seed}", **asdict(runs[-1])}) + "\n")
    print(table(runs))


if __name__ == "__main__":
    main()
