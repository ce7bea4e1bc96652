"""What a program looks like from far away: the sizes and constants by which a family guesses its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundry.dsl.program import Node, Program, Unit


@dataclass(frozen=True)
class Attention:
    """One attend, in the order in which a pass through the model meets them. Heads, channels of a query and of a
    value."""

    heads: int
    kv_heads: int
    head_dim: int
    v_dim: int
    mask: tuple[float, ...]  # numbers in the mask; () where there is none
    score: tuple[float, ...]  # numbers in the score; () where there is none


@dataclass(frozen=True)
class Outline:
    """vocab, width. attentions: one for each layer. linears: (channels in, out, with a bias) of every linear map as a
    pass meets them, and of an expert's once. embeddings: (ids, channels) of each table. experts: (how many, used by a
    token) of each mixture. numbers: every constant that stands in the model, each once, in ascending order.
    operations: the names of all primitives that occur. tied: whether the logits come from the embedding. head_bias:
    whether they have one."""

    vocab: int
    width: int
    attentions: tuple[Attention, ...]
    linears: tuple[tuple[int, int, bool], ...]
    embeddings: tuple[tuple[int, int], ...]
    experts: tuple[tuple[int, int], ...]
    numbers: tuple[float, ...]
    operations: frozenset[str]
    tied: bool
    head_bias: bool


def outline(program: Program) -> Outline:
    """The outline of a program's model: every layer as often as it runs, an expert's body once."""
    survey = _Survey()
    survey.unit(program.model)
    head = next((node for node in survey.heads), None)
    tables = survey.embeddings
    return Outline(
        vocab=program.vocab,
        width=next((width for ids, width in tables if ids == program.vocab), tables[0][1] if tables else 0),
        attentions=tuple(survey.attentions),
        linears=tuple(survey.linears),
        embeddings=tuple(tables),
        experts=tuple(survey.experts),
        numbers=tuple(sorted(survey.numbers)),
        operations=frozenset(survey.operations),
        tied=bool(head and head.attrs["tied"]),
        head_bias=bool(head and head.attrs["bias"]),
    )


@dataclass
class _Survey:
    """What a walk through a program in the order of a pass has met."""

    attentions: list[Attention] = field(default_factory=list)
    linears: list[tuple[int, int, bool]] = field(default_factory=list)
    embeddings: list[tuple[int, int]] = field(default_factory=list)
    experts: list[tuple[int, int]] = field(default_factory=list)
    heads: list[Node] = field(default_factory=list)
    numbers: set[float] = field(default_factory=set)
    operations: set[str] = field(default_factory=set)

    def unit(self, unit: Unit) -> None:
        if any(node.op == "rotate" for node in unit.nodes):  # some of what its positions are made from is folded
            self.numbers |= {float(value) for value in unit.constants.values()}
        for node in unit.nodes:
            self.operations.add(node.op)
            self.numbers |= {float(i) for i in node.inputs if not isinstance(i, Node)}
            if node.op == "number":
                self.numbers.add(float(node.attrs["value"]))
            if node.op == "repeat" and node.unit is not None:
                for _ in range(int(node.attrs["times"])):
                    self.unit(node.unit)
            elif node.unit is not None:
                if node.op == "experts":
                    self.experts.append((int(node.attrs["times"]), int(node.attrs["active"])))
                self.unit(node.unit)
            else:
                self.primitive(node)

    def primitive(self, node: Node) -> None:
        if node.op == "linear":
            self.linears.append((node.tensors[0].type.width, int(node.attrs["out"]), bool(node.attrs["bias"])))
        elif node.op == "embed":
            self.embeddings.append((int(node.attrs["vocab"]), int(node.attrs["width"])))
        elif node.op == "unembed":
            self.heads.append(node)
        elif node.op == "attend":
            q, k, v = (x.type for x in node.tensors[:3])
            mask, score = (self.constants(node.attrs[part]) for part in ("mask", "score"))
            self.attentions.append(Attention(q.heads, k.heads, q.width, v.width, mask, score))
            if node.attrs["scale"] is not None:
                self.numbers.add(float(node.attrs["scale"]))

    def constants(self, unit: object) -> tuple[float, ...]:
        """The numbers in a slot's function, each once, as it meets them."""
        if not isinstance(unit, Unit):
            return ()
        inside = _Survey()
        inside.unit(unit)
        self.numbers |= inside.numbers
        self.operations |= inside.operations
        return tuple(sorted(inside.numbers))
