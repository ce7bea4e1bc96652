"""What the fork server has imported: an evaluation in a fresh process finds everything there."""

import sys

from foundry.dsl.source import resource
from foundry.evals import proxy
from foundry.search.workers import Job, Workers


def evaluate_and_list_imports(job):
    """Train for a few steps; the modules that this took beyond those that were there."""
    before = set(sys.modules)
    trial = proxy._prepare(job.text, job.compute, {})
    trial.module.optimizers(trial.module.Model())
    return {"status": "ok", "imported": [name for name in set(sys.modules) - before if "emitted" not in name]}


def test_an_evaluation_imports_nothing():
    """The first optimizer of a process that has not yet imported torch._dynamo does so, and sympy: a second."""
    workers = Workers(evaluate_and_list_imports, 1, preload=("foundry.search.warm",))
    try:
        workers.start(Job("0", resource("genomes", "llama.genome"), None, 1e12, 0, "validation", 60))
        finished = []
        while not finished:
            finished = workers.wait(10)
    finally:
        workers.close()
    assert finished[0].status == "ok", finished[0].error_code
    assert not [name for name in finished[0].outcome["imported"] if name.startswith(("torch._dynamo", "sympy"))]
