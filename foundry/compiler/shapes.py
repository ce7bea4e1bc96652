"""The rows of `foundry show`: what each layer makes, how many parameters it has, what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx

from foundry.compiler.cost import final_context, model_work
from foundry.compiler.graph import build_graph
from foundry.compiler.work import MADE_OF_NOTHING, Work, weights
from foundry.dsl.program import Program


@dataclass(frozen=True)
class Row:
    """One operation with weights or along the sequence, or what a function does besides.

    path: where it stands, by the names of the genome.
    op: a primitive; a recognised operation such as rmsnorm; or `elementwise` for the rest of a function.
    shape: its result. times: how often it runs in a forward pass.
    parameters: in all its copies. flops: per token, over all times that it runs.
    """

    path: str
    op: str
    shape: str
    times: int
    parameters: int
    flops: float


QUIET = MADE_OF_NOTHING - {"param"}


def shape_rows(program: Program, context: int | None = None) -> list[Row]:
    """Rows in the order in which they run. Parameters add up to the program's, flops to its flops per token."""
    context = context or final_context(program)
    graph = build_graph(program)
    works: dict[int, Work] = {vertex: work for vertex, work, _ in model_work(program, context)}
    groups: dict[tuple[str, str], list[int]] = {}
    for vertex, data in graph.nodes(data=True):
        if data["op"] not in QUIET:
            groups.setdefault(_group(graph, vertex), []).append(vertex)
    rows = [_row(graph, path, op, vertices, works) for (path, op), vertices in groups.items()]
    return [row for row in rows if row.flops or row.op != "elementwise"]


def _group(graph: nx.DiGraph, vertex: int) -> tuple[str, str]:
    """What a vertex is shown as a part of: its path and its operation."""
    data = graph.nodes[vertex]
    path, part = data["path"], data["part"]
    folder = path.rpartition("/")[0]
    if data["fused"]:
        return folder, data["fused"]
    if part:
        return path[: path.index(f"/{part}/") + len(part) + 1], part
    if data["op"] in ("attend", "scan", "shift", "unembed") or weights(graph, vertex):
        return path, data["op"]
    return folder or "model", "elementwise"


def _row(graph: nx.DiGraph, path: str, op: str, vertices: list[int], works: dict[int, Work]) -> Row:
    data = [graph.nodes[v] for v in vertices]
    times = data[-1]["times"]
    return Row(
        path=path,
        op=op,
        shape=str(data[-1]["type"]),
        times=times,
        parameters=sum(d["copies"] * weights(graph, v) for v, d in zip(vertices, data, strict=True) if not _tied(d)),
        flops=sum(d["times"] * works[v].flops for v, d in zip(vertices, data, strict=True)),
    )


def _tied(data: dict) -> bool:
    return data["op"] == "unembed" and bool(data["attrs"].get("tied"))
