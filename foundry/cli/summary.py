"""What `foundry show` says of a genome: its hash, its cost, and its shapes layer by layer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foundry.dsl.program import Node, Program, Unit


def summarise(program: Program) -> dict[str, Any]:
    """Hash, every figure of the cost model, and `layers`: one entry per call, repeat, or primitive
    that has weights or looks at other positions, with its depth in the tree and its shapes."""
    from foundry.compiler.cost import cost
    from foundry.dsl.canonical import architecture_hash, canonical_hash

    figures = dataclasses.asdict(cost(program))
    return {
        "hash": canonical_hash(program),
        "architecture_hash": architecture_hash(program),
        **figures,
        "vocab": program.vocab,
        "layers": list(_layers(program.model, "model", 0)),
    }


def _layers(unit: Unit, path: str, depth: int):
    for node in unit.nodes:
        if not _counts(node):
            continue
        name = node.name or (node.unit.name if node.unit is not None else "") or node.op
        here = f"{path}.{name}"
        yield {
            "path": here,
            "op": _operation(node),
            "depth": depth,
            "times": int(node.attrs.get("times", 1)),  # type: ignore[call-overload]
            "shared": bool(node.attrs.get("shared", False)),
            "inputs": [str(tensor.type) for tensor in node.tensors],
            "output": str(node.type),
        }
        if node.unit is not None:
            yield from _layers(node.unit, here, depth + 1)


def _counts(node: Node) -> bool:
    """Whether a node is worth a line: what is elementwise or rearranges is not."""
    from foundry.dsl.registry import PRIMITIVES

    if node.unit is not None:
        return any(_counts(inner) for inner in node.unit.nodes)
    return node.op in PRIMITIVES and PRIMITIVES[node.op].kind in ("weights", "sequence")


def _operation(node: Node) -> str:
    """`repeat`, a primitive's name, or the name of the function that is called."""
    if node.op == "call" and node.unit is not None:
        return node.unit.name or "call"
    return node.op


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
    ]
    print(f"{title}  {summary['hash']}  (at a context of {summary['context']:,} tokens)\n")
    for label, value in rows:
        print(f"  {label:<28} {value:>16}")
    print("\nshapes")
    for layer in summary["layers"]:
        times = f"{layer['times']} × " if layer["times"] > 1 else ""
        own = " (one set of weights)" if layer["shared"] and layer["times"] > 1 else ""
        name = layer["path"].rsplit(".", 1)[1]
        label = name if layer["op"] in (name, "repeat") else f"{name}: {layer['op']}"
        line = "  " * (layer["depth"] + 1) + times + label + own
        print(f"{line:<48} {', '.join(layer['inputs'])} → {layer['output']}")
