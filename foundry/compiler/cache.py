"""What a decoder remembers: keys and values for each position, and states of a fixed size."""

from __future__ import annotations

from typing import Any

import networkx as nx

from foundry.compiler.graph import meetings
from foundry.compiler.recognise import window_of
from foundry.compiler.work import BYTES, INDEX_BYTES, operands
from foundry.dsl.registry import PRIMITIVES


def _share(attrs: dict[str, Any], context: int) -> float:
    """Which part of the past an attention looks at."""
    window = window_of(attrs.get("mask"))
    return min(window, context) / context if window else 1.0


def _joined(attend: dict[str, Any]) -> tuple[int, ...]:
    """The vertices that an attention keeps together: keys, values, and what its score and mask read per token."""
    operands = attend["operands"]
    return tuple(vertex for _, vertex in (*operands[1:3], *operands[len(operands) - attend["attrs"]["seen"] :]))


def _cached(graph: nx.DiGraph, context: int) -> dict[int, tuple[float, int]]:
    """The vertices that attention keeps: for which part of the past, and how many values of each."""
    found: dict[int, tuple[float, int]] = {}
    for user, data in graph.nodes(data=True):
        if data["op"] == "attend" and data["times"]:
            for vertex in _joined(data):
                share, times = found.get(vertex, (0.0, 0))
                mine, seen = _share(data["attrs"], context), meetings(graph, vertex, user)
                found[vertex] = max(share, mine), max(times, seen)
    return found


def _weigh(graph: nx.DiGraph, vertex: int, times: int | None = None) -> float:
    data = graph.nodes[vertex]
    size = INDEX_BYTES if data["type"].is_tokens else BYTES * data["type"].fixed_size
    return size * (data["times"] if times is None else times)


def kept(graph: nx.DiGraph, context: int) -> tuple[float, int]:
    """Bytes per token of keys and values, each once however many layers use it, and bytes of fixed states."""
    growing, fixed = 0.0, 0
    once: dict[tuple[int, float], float] = {}
    for user, data in graph.nodes(data=True):
        if data["op"] == "attend":
            share, (keys, values, *seen) = _share(data["attrs"], context), _joined(data)
            same = [v for v in seen if graph.nodes[v]["type"].has("head")]  # of others each use makes a view of its own
            for v in (keys, values, *same):
                bytes = share * _weigh(graph, v, meetings(graph, v, user))
                once[v, share] = max(once.get((v, share), 0.0), bytes)
            growing += sum(share * _weigh(graph, v, data["times"]) for v in seen if v not in same)
    growing += sum(once.values())
    joined: dict[tuple[int, int], int] = {}  # what shifts and convolutions look back at, once for each distance
    for user, data in graph.nodes(data=True):
        if data["op"] in PRIMITIVES and data["op"] != "attend":
            keeps = PRIMITIVES[data["op"]].keeps(operands(graph, user), data["attrs"], context)
            if data["op"] in ("shift", "conv"):
                ((_, vertex),) = data["operands"]
                bytes = BYTES * keeps[1] * meetings(graph, vertex, user)
                joined[vertex, keeps[1]] = max(joined.get((vertex, keeps[1]), 0), bytes)
            else:
                fixed += BYTES * keeps[1] * data["times"]
    return growing, fixed + sum(joined.values())


def cache_lower_bound(graph: nx.DiGraph, context: int) -> float:
    """The least that a decoder must keep per token: a minimum cut.

    Every value weighs its bytes per token. The cut separates what a block starts from (its input, the
    embedding, the results of earlier attention) from the keys and values that attention needs; what lies
    behind the cut is recomputed. A latent from which keys and values are made is such a cut.
    """
    cached = _cached(graph, context)
    need = {vertex: share for vertex, (share, _) in cached.items()}
    starts = {
        v for v, d in graph.nodes(data=True) if d["op"] in ("input", "carry", "attend") or _embeds_tokens(graph, v)
    }
    network = nx.DiGraph()
    for vertex in sorted(graph, reverse=True):
        inner = [u for u in graph.successors(vertex) if u in need and u not in starts]
        need[vertex] = max([need.get(vertex, 0.0), *(need[u] for u in inner)])
        if not need[vertex]:
            del need[vertex]
            continue
        network.add_edge((vertex, "in"), (vertex, "out"), capacity=need[vertex] * _weigh(graph, vertex))
        if vertex in starts:
            network.add_edge("start", (vertex, "in"))
        goals: list[tuple[Any, int]] = [((user, "in"), meetings(graph, vertex, user)) for user in inner]
        if vertex in cached:
            goals.append(("end", cached[vertex][1]))
        for goal, times in goals:
            if times < graph.nodes[vertex]["times"]:  # the result of a repeat: the last pass alone goes on
                leaving = (vertex, times)
                network.add_edge("start", leaving, capacity=need[vertex] * _weigh(graph, vertex, times))
                network.add_edge(leaving, goal)
            else:
                network.add_edge((vertex, "out"), goal)
    if "start" not in network or "end" not in network:
        return 0.0
    return float(nx.minimum_cut_value(network, "start", "end"))


def _embeds_tokens(graph: nx.DiGraph, vertex: int) -> bool:
    data = graph.nodes[vertex]
    return data["op"] == "embed" and data["type"].has("batch")
