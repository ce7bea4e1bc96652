"""What `foundry show` says of a genome: its hash, its cost, and its shapes layer by layer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foundry.dsl.program import Program


def summarise(program: Program) -> dict[str, Any]:
    """Hash, every figure of the cost model, the most memory that a batch of the recipe takes, and `layers`: one row per
    operation that has weights or looks along the sequence (see `foundry.compiler.shapes.Row`)."""
    from foundry.compiler.cost import cost
    from foundry.compiler.memory import memory
    from foundry.compiler.shapes import shape_rows
    from foundry.dsl.canonical import architecture_hash, canonical_hash

    figures = dataclasses.asdict(cost(program))
    held = memory(program)
    return {
        "hash": canonical_hash(program),
        "architecture_hash": architecture_hash(program),
        **figures,
        "forward_peak_bytes": held.forward,
        "training_peak_bytes": held.training,
        "vocab": program.vocab,
        "layers": [dataclasses.asdict(row) for row in shape_rows(program)],
    }


def write_summary(summary: dict[str, Any], name: str) -> None:
    """Print a summary for people."""
    title = "standard input" if name == "-" else Path(name).stem
    rows = [
        ("parameters", f"{summary['parameters']:,}"),
        ("forward FLOPs per token", f"{summary['flops_per_token']:,.0f}"),
        ("bytes moved per token", f"{summary['bytes_per_token']:,.0f}"),
        ("decode cache per token", f"{summary['cache_bytes_per_token']:,.0f} bytes"),
        ("  lower bound", f"{summary['cache_bytes_lower_bound']:,.0f} bytes"),
        ("decode cache, fixed", f"{summary['cache_bytes_fixed']:,.0f} bytes"),
        ("training compute per token", f"{summary['compute_per_token']:,.0f}"),
        ("peak memory, training", f"{summary['training_peak_bytes']:,.0f} bytes"),
        ("peak memory, forward", f"{summary['forward_peak_bytes']:,.0f} bytes"),
    ]
    print(f"{title}  {summary['hash']}  (at a context of {summary['context']:,} tokens)\n")
    for label, value in rows:
        print(f"  {label:<28} {value:>16}")
    wide = max(28, *(len(row["path"]) for row in summary["layers"]))
    gives = max(22, *(len(row["shape"]) for row in summary["layers"]))
    head = f"{'times':>5} {'parameters':>15} {'FLOPs/token':>15}"
    print(f"\n  {'layer':<{wide}} {'operation':<13} {'gives':<{gives}} {head}")
    for row in summary["layers"]:
        figures = f"{row['times']:>5} {row['parameters']:>15,} {row['flops']:>15,.0f}"
        print(f"  {row['path']:<{wide}} {row['op']:<13} {row['shape']:<{gives}} {figures}")
