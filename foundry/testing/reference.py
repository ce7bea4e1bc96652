"""A reference for the compiler: the program, run directly, as plainly as can be, in float64.

It shares no code with the emitter or its mechanisms. A value has all five axes (`foundry.testing.definitions`), every
unit is run node by node, and weights go by what the program says they are (`foundry.testing.weights`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from foundry.dsl.program import Node, Program, Unit
from foundry.dsl.types import FLOAT
from foundry.testing import definitions as mean
from foundry.testing.case import Skipped
from foundry.testing.definitions import CHANNEL, ELEMENTWISE, HEAD, KEY, TOKEN, along, constant
from foundry.testing.ties import Watch, tie
from foundry.testing.weights import Copies, Key, is_copied


@dataclass(frozen=True)
class Function:
    """A shared function and the place of its weights."""

    unit: Unit
    copies: Copies


@dataclass(frozen=True)
class Attended:
    """One run of an `attend`: its node, its inputs (B, H, T, 1, C), the place of its weights, and its result."""

    node: Node
    inputs: tuple[Tensor, ...]
    copies: Copies
    result: Tensor


@dataclass
class Reference:
    """Runs the units of a program.

    weights: by key, in float64, of the shapes that `weights_of` says.
    attended: every `attend` that was run. penalties: what the model adds to its loss where a gradient reaches a mark,
        with these marks, which are 0.
    watch: what happened on the way; None where it cannot be seen, as under `torch.vmap`.
    """

    weights: Mapping[Key, Tensor]
    attended: list[Attended] = field(default_factory=list)
    penalties: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    watch: Watch | None = field(default_factory=Watch)

    def logits(self, program: Program, tokens: Tensor) -> Tensor:
        """tokens (B, T) to logits (B, T, vocab)."""
        return self.run(program.model, [per_token(tokens)])[:, 0, :, 0]

    def loss(self, program: Program, logits: Tensor, y: Tensor, teacher: Tensor | None = None) -> Tensor:
        """logits (B, T, vocab), the tokens that came y (B, T), and another model's logits: the loss (B, T, 1).

        Without a teacher it is the model itself, held fixed.
        """
        taught = logits.detach() if teacher is None else teacher
        given = {"logits": logits[:, None, :, None], "y": per_token(y), "teacher": taught[:, None, :, None]}
        unit = program.recipe.loss
        return self.run(unit, [given[i.attrs["name"]] for i in unit.inputs])[:, 0, :, 0]

    def objective(self, loss: Tensor) -> Tensor:
        """What training lessens: the mean loss, and the penalties that its gradient reaches, or that of another one."""
        total, waiting = loss.mean(), list(self.penalties)
        while total.requires_grad:
            marks = [mark for mark, _ in waiting]
            reached = torch.autograd.grad(total, marks, retain_graph=True, allow_unused=True) if marks else ()
            found = [term for (_, term), slope in zip(waiting, reached, strict=True) if slope is not None]
            if not found:
                break
            waiting = [pair for pair, slope in zip(waiting, reached, strict=True) if slope is None]
            total = total + sum(found)
        return total

    def run(self, unit: Unit, inputs: list[Any], copies: Copies = ()) -> Any:
        """The result of a unit on values, which are tensors or functions."""
        values: dict[Node, Any] = dict(zip(unit.inputs, inputs, strict=True))
        for node in unit.nodes:
            args = [values[i] if isinstance(i, Node) else constant(i) for i in node.inputs]
            values[node] = self.node(node, args, copies)
            if self.watch is not None:
                self.watch.see(node, args, values[node])
        return values[unit.result]

    def node(self, node: Node, args: list[Any], copies: Copies) -> Any:
        match node.op:
            case "number":
                return constant(node.attrs["value"])
            case "shared":
                assert node.unit is not None
                return Function(node.unit, copies)
            case "call" if node.attrs.get("through"):
                function, *rest = args
                return self.run(function.unit, rest, function.copies)
            case "call":
                assert node.unit is not None
                return self.run(node.unit, args, copies)
            case "repeat":
                return self.repeat(node, args, copies)
            case "experts":
                return self.experts(node, args, copies)
            case "attend":
                return self.attend(node, args, copies)
            case "penalty":
                return self.penalty(node, *args)
        return ELEMENTWISE[node.op](*args) if node.op in ELEMENTWISE else self.primitive(node, args, copies)

    def primitive(self, node: Node, args: list[Tensor], copies: Copies) -> Tensor:
        """Weights, and what works along the sequence or on the structure of one value."""
        attrs = node.attrs
        x = args[0] if args else constant(0)
        match node.op:
            case "embed":
                return mean.embed(within(x, attrs["vocab"]), self.weight(node, copies))
            case "cross_entropy":
                return mean.cross_entropy(x, within(args[1], x.size(CHANNEL)))
            case "linear" | "unembed":
                return mean.linear(x, self.weight(node, copies), self.bias(node, copies))
            case "param":
                return mean.param(self.weight(node, copies))
            case "lookup":
                return mean.lookup(x, self.weight(node, copies))
            case "position":
                return along(TOKEN, range(x.size(TOKEN)))
            case "channel_index":
                return along(CHANNEL, range(attrs["count"]))
            case "head_index":
                return along(HEAD, range(node.type.heads))
            case "table":
                return along(CHANNEL, torch.tensor(attrs["numbers"], dtype=torch.float64))
            case "shift":
                return mean.shift(x, attrs["by"])
            case "conv":
                return mean.conv(x, self.weight(node, copies))
            case "split_heads":
                return mean.split_heads(x, attrs["heads"])
            case "slice":
                return x[..., attrs["start"] : attrs["stop"]]
            case "rotate":
                return mean.rotate(x, args[1], bool(attrs["interleaved"]))
            case "top":
                return mean.top(x, attrs["count"])
            case "scan" | "linear_attend" | "delta_attend" | "merge_heads" | "concat":
                return getattr(mean, node.op)(*args)
        raise Skipped(f"the reference does not know what {node.op} means")

    def weight(self, node: Node, copies: Copies) -> Tensor:
        """The weight of a node; a tied one is that of the embedding with the same instance, outside all copies."""
        return self.weights[(() if node.attrs.get("tied") else copies), node.instance, "weight"]

    def bias(self, node: Node, copies: Copies) -> Tensor | None:
        return self.weights[copies, node.instance, "bias"] if node.attrs["bias"] else None

    def repeat(self, node: Node, args: list[Tensor], copies: Copies) -> Tensor:
        """One pass after another, each with weights of its own, or all with those of the first."""
        assert node.unit is not None and is_copied(node)
        x, *rest = args
        for n in range(node.attrs["times"]):
            x = self.run(node.unit, [x, *rest], (*copies, 0 if node.attrs["shared"] else n))
        return x

    def experts(self, node: Node, args: list[Tensor], copies: Copies) -> Tensor:
        """The sum of what the experts give, each times its gate; one whose gate is 0 gives nothing."""
        assert node.unit is not None
        x, gates = args
        total = torch.zeros((), dtype=torch.float64)
        for n in range(node.attrs["times"]):
            gate = gates[..., n : n + 1]
            total = total + torch.where(gate != 0, gate * self.run(node.unit, [x], (*copies, n)), 0.0)
        return total

    def penalty(self, node: Node, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """x; the loss gets the sum over the channels (and heads) of mean(a) * mean(b)."""
        first, second = (term.mean((0, TOKEN), keepdim=True) for term in (a, b))
        if node.type.dtype != FLOAT:  # no gradient reaches whole numbers
            return x
        mark = torch.zeros((), dtype=torch.float64, requires_grad=True)
        self.penalties.append((mark, (first * second).sum()))
        return x + mark

    def attend(self, node: Node, args: list[Tensor], copies: Copies) -> Tensor:
        """Softmax attention over j <= i, with what the score makes of the logits, where the mask holds."""
        q, k, v = args[:3]
        sink = args[3] if node.attrs["sink"] else None
        logits = mean.attend_logits(q, k, node.attrs["scale"])
        i = along(TOKEN, range(q.size(TOKEN)))
        j = along(KEY, range(k.size(TOKEN)))
        counts = (j <= i).expand(logits.shape)
        seen = args[len(args) - node.attrs["seen"] :]
        places = {"h": along(HEAD, range(q.size(HEAD))), "i": i, "j": torch.minimum(i, j)}
        if node.attrs["mask"] is not None:
            counts = counts & (self.slot(node.attrs["mask"], places, seen, copies) != 0)
        if node.attrs["score"] is not None:
            logits = self.slot(node.attrs["score"], {"s": logits, **places}, seen, copies).expand(logits.shape)
        if node.attrs["top"]:
            counts = counts & self.among_largest(logits, counts, node.attrs["top"])
        result = mean.attend_values(logits, counts, sink, v)
        self.attended.append(Attended(node, tuple(args), copies, result))
        return result

    def slot(self, unit: Unit, places: dict[str, Tensor], seen: list[Tensor], copies: Copies) -> Tensor:
        """A score or a mask; query(v) is v at the query's position, key(v) at the key's.

        Where a key is later than the query it is asked about the query itself, so that nothing infinite arises.
        """
        inputs, finite = [], self.watch is None or self.watch.finite
        for node in unit.inputs:
            if "view" not in node.attrs:
                inputs.append(places[node.attrs["name"]])
                continue
            kind, index = node.attrs["view"]
            inputs.append(seen[index] if kind == "query" else seen[index].transpose(TOKEN, KEY))
        result = self.run(unit, inputs, copies)
        if self.watch is not None:  # a score may be infinite where the mask lets nobody look
            self.watch.finite = finite
        return result

    def among_largest(self, logits: Tensor, counts: Tensor, most: int) -> Tensor:
        """Which logits are among the `most` largest of their query; equals of the last of them are too."""
        larger = torch.where(counts, logits, -math.inf)
        if most >= larger.size(KEY):
            return counts
        if self.watch is not None and tie(larger.detach(), most, KEY):
            self.watch.jumps.add("top of attend")
        return larger >= larger.topk(most, KEY).values[:, :, :, most - 1 : most]


def within(index: Tensor, size: int) -> Tensor:
    """The index, where it lies in a table of this size."""
    if not bool(((index >= 0) & (index < size)).all()):
        raise Skipped("an index lies outside its table")
    return index


def per_token(tokens: Tensor) -> Tensor:
    """Token ids (B, T) with all five axes."""
    return tokens.double()[:, None, :, None, None]
