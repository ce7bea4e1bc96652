"""The flat graph of a program: primitives, with units inlined and repeats once."""

import networkx as nx

from foundry.compiler.graph import build_graph
from foundry.dsl.check import load_program

TEXT = """@foundry(1);
layer(x) = {
  x = x + attention(rmsnorm(x), heads = 2, score = log_distance, mask = window(size = 8));
  x + mlp(x, hidden = 16, act = relu)
};
f = share(linear(8));
model = embed(vocab = 16, width = 8) >> 3 * layer >> f >> f >> share(2 * linear(8)) >> unembed(tied = 1);
"""


def vertices(graph, op):
    return [data for _, data in graph.nodes(data=True) if data["op"] == op]


def graph_of(text):
    return build_graph(load_program(text))


def test_it_is_a_flow_in_execution_order_that_ends_in_the_logits():
    graph = graph_of(TEXT)
    assert nx.is_directed_acyclic_graph(graph)
    assert all(a < b for a, b in graph.edges)
    assert graph.nodes[graph.graph["result"]]["op"] == "unembed"
    assert graph.graph["vocab"] == 16
    assert all(nx.has_path(graph, v, graph.graph["result"]) for v in graph)


def test_a_repeat_stands_once_with_its_multiplicity():
    (attend,) = vertices(graph_of(TEXT), "attend")
    assert (attend["times"], attend["path"]) == (3, "layer/attention/attend")


def test_shared_weights_are_counted_once():
    linears = {(d["path"], d["times"], d["copies"]) for d in vertices(graph_of(TEXT), "linear")}
    assert ("layer/attention/q", 3, 3) in linears
    rest = sorted((times, copies) for path, times, copies in linears if not path.startswith("layer"))
    assert rest == [(1, 0), (1, 1), (2, 1)]  # the second use of f, its first, and two passes through one


def test_names_of_the_genome_are_paths():
    paths = [d["path"] for d in vertices(graph_of(TEXT), "linear") if d["times"] == 3]
    assert paths == [f"layer/attention/{n}" for n in ("q", "k", "v", "out")] + ["layer/mlp/up", "layer/mlp/down"]


def test_scores_and_masks_are_parts_that_flow_into_their_attention():
    graph = graph_of(TEXT)
    parts = {d["part"] for v, d in graph.nodes(data=True)}
    assert parts == {"", "score", "mask"}
    (attend,) = (v for v, d in graph.nodes(data=True) if d["op"] == "attend")
    before = nx.ancestors(graph, attend)
    assert all(v in before for v, d in graph.nodes(data=True) if d["part"])


def test_a_recognised_norm_is_one_group():
    graph = graph_of(TEXT)
    members = [d for _, d in graph.nodes(data=True) if d["fused"] == "rmsnorm"]
    assert {d["group"] for d in members} == {max(v for v, d in graph.nodes(data=True) if d["fused"] == "rmsnorm")}
    assert {d["op"] for d in members} == {"param", "multiply", "mean", "add", "rsqrt"}


def test_numbers_are_operands_beside_vertices():
    graph = graph_of("@foundry(1);\nmodel = embed(vocab = 16, width = 8) >> (fn(x) => 3 - x) >> unembed(tied = 1);")
    (subtract,) = vertices(graph, "subtract")
    assert subtract["operands"][0] == ("number", 3.0) and subtract["operands"][1][0] == "vertex"
