"""Run folders of finished searches, made without searching."""

import datetime

from foundry.search.archive import Archive
from foundry.search.description import REPORTS, require

LLAMA, TUNED, WINNER, RIVAL, CHILD = (digit * 16 for digit in "abcde")
GENOME = """@foundry(1);

layer(x) = x + mlp(rmsnorm(x), hidden = HIDDEN, act = silu);

model = embed(vocab = 256, width = 16) >> layer >> rmsnorm >> unembed(tied = 1);

recipe = train(optimizer = adamw(lr = 5e-3), batch = 256);
"""
SEEDS = (11, 12, 13, 14)
BASELINE = (2.40, 2.45, 2.38, 2.43)


def finished(name="one", gains=(0.1, 0.12, 0.11, 0.09), rival=None, strategy="evolve", seed=0, **changes):
    """The run.json of a finished run whose winner has these gains on test text, and whose control's has `rival`."""
    scores = {"baseline": list(BASELINE), "winner": [b - g for b, g in zip(BASELINE, gains, strict=True)]}
    if rival is not None:
        scores["rival"] = [b - g for b, g in zip(BASELINE, rival, strict=True)]
    mean = -sum(gains) / len(gains)
    run = {
        "run_id": name, "created": "2026-01-02T03:04:05+00:00", "versions": {"foundry": "0.1.0", "torch": "2.13.0"},
        "machine": {"system": "Linux", "cores": 2, "memory_bytes": 8 << 30},
        "settings": {"budget": {"kind": "seconds", "amount": 600.0}, "data": None, "seed": seed, "workers": 2,
                     "strategy": strategy, "control": "random" if rival is not None else "", "memory": 2 << 30},
        "data": {"name": "python", "hash": "0123456789abcdef"}, "baselines": {"llama": LLAMA}, "state": "finished",
        "rungs": [{"compute": 1e11}, {"compute": 3e11}], "speed": 8e10, "noise": {"sigma": 0.02},
        "sessions": [{"started": "2026-01-02T03:04:05+00:00", "seconds": 593.0}], "rounds": 0, "confirmation": None,
        "result": {
            "verdict": "confirmed", "winner": WINNER, "baseline": TUNED, "control": "", "rung": 2, "compute": 2e9,
            "difference": {"mean": mean, "low": mean - 0.02, "high": mean + 0.02, "p": 0.01, "freedom": 3, "n": 4},
            "recipe_alone": None, "architecture_alone": None, "sigma": 0.03, "seeds": list(SEEDS), "test_bpb": scores,
            **({} if rival is None else {"rival": RIVAL}),
        },
    }  # fmt: skip
    return run | changes


def nothing_found(name="one", **changes):
    """The run.json of a run that had nothing to confirm."""
    run = finished(name, **changes)
    result = {"verdict": "no difference shown", "winner": "", "baseline": TUNED, "control": "", "difference": None}
    return run | {"result": result}


def row(genome, rung=0, seed=0, operator="wrap", parents=(LLAMA,), status="ok", arm="search", test=False):
    score = 3.0 if status == "ok" else None
    return {
        "eval_id": f"{genome}-{rung}-{seed}", "run_id": "one", "genome_hash": genome, "behaviour_hash": "",
        "operator": operator, "parent_hashes": list(parents), "arm": arm, "proposal": -1, "rung": rung, "seed": seed,
        "status": status, "error_code": "", "val_bpb": None if test else score, "test_bpb": score if test else None,
        "train_curve": [], "compute_budget": 1e11, "compute_spent": 1e11, "tokens": 5, "steps": 1, "fingerprint": "",
        "shared_with": "", "signals": {}, "parameters": 9, "flops_per_token": 1.0, "bytes_per_token": 1.0,
        "cache_bytes_per_token": 1.0, "peak_rss": 1, "cpu_s": 1.0, "wall_s": 5.0, "data_hash": "0123456789abcdef",
        "foundry_version": "0", "torch_version": "2", "schema_version": 2,
        "finished_at": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    }  # fmt: skip


ROWS = (
    row(LLAMA, operator="seed", parents=()), row(TUNED, operator="tune"), row(WINNER), row(CHILD, status="diverged"),
    row(RIVAL, operator="random", parents=(), arm="control"),
    *(row(genome, 2, seed, test=True) for seed in SEEDS for genome in (WINNER, TUNED)),
)  # fmt: skip


def make(folder, run, rows=ROWS):
    """The archive of a run in a new folder, with its genomes."""
    require(run, REPORTS, folder)
    archive = Archive.create(folder, run)
    for width, genome in enumerate((LLAMA, TUNED, WINNER, RIVAL, CHILD), 1):
        archive.write_genome(genome, GENOME.replace("HIDDEN", str(16 * width)))
    archive.append(list(rows))
    archive.close()
    return archive
