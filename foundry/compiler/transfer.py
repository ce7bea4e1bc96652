"""Learning rates that hold across widths: the factor on the rate of every weight matrix, from a program's graph.

AdamW and Lion move each element of a matrix by about the learning rate, whatever the size of its gradient. What the
matrix gives is a sum over its inputs, and the elements that one step changes agree in sign with what comes in, so the
sum changes in proportion to rate times inputs: a model twice as wide takes steps twice as long. `train(transfer = W)`
says that the rates of a recipe are meant for matrices of W inputs, and gives one of n inputs the factor W / n. With
initial deviations of one over the root of the inputs, as `initialise` draws them, this is the maximal update
parametrisation (Yang et al. 2022, arXiv:2203.03466, table 8) in the form that needs no multipliers in the model
(Everett et al. 2024, arXiv:2407.05872, "standard parametrisation, full alignment").

Everything whose inputs do not grow with the model keeps its rate: embeddings (of which a token uses one row), an output
that is tied to them, norms, biases, filters and scalars. So do the matrices that Muon steps: it makes the update of a
matrix orthogonal, and its size independent of the inputs by itself. Decay goes the other way, so that rate times
decay, the share of a matrix that a step takes away, stays as it is (Wang and Aitchison 2024, arXiv:2405.13698).
"""

from __future__ import annotations

from dataclasses import dataclass

from foundry.compiler.graph import build_graph
from foundry.dsl.program import Program


@dataclass(frozen=True)
class Matrix:
    """A weight matrix of a linear map or of an output layer of its own.

    path: where it stands, by the names of the genome. inputs: how many numbers it takes. copies: how many of it there
    are. factor: on the learning rate.
    """

    path: str
    inputs: int
    copies: int
    factor: float


def matrices(program: Program) -> list[Matrix]:
    """The matrices of a program whose rate follows from their inputs, in the order of the graph.

    Those that Muon steps are not among them, nor is anything where the recipe does not ask for it.
    """
    width, graph = program.recipe.transfer, build_graph(program)
    if not width:
        return []
    found = []
    for _, data in graph.nodes(data=True):
        by_muon = program.recipe.optimizer.name == "muon" and data["op"] == "linear"
        if data["op"] not in ("linear", "unembed") or not data["copies"] or by_muon or data["attrs"].get("tied"):
            continue
        ((_, x), *_) = data["operands"]
        inputs = graph.nodes[x]["type"].width
        found.append(Matrix(data["path"], inputs, data["copies"], width / inputs))
    return found
