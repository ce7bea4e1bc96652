"""The statements of one unit: which values get a line of their own, what they are called, and their expressions.

A value is a line where the genome names it, where it is used more than once, or where the expression
would grow too long; everything else is written where it is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from foundry.compiler.emit_text import (
    ATOM,
    REDUCTIONS,
    Text,
    elementwise,
    in_memory,
    indexed,
    literal,
    method,
    scalar,
)
from foundry.compiler.names import RESERVED, Names, comment
from foundry.compiler.reading import ANCHORED, anchor, needed, reads
from foundry.compiler.recognise import Fused
from foundry.dsl.program import Node, Unit
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.types import FLOAT, TensorType

LONG = 76  # characters of an expression beyond which it gets a line of its own
GENERIC = ("x", "y", "z", "u", "w")


@dataclass
class Context:
    """What the statements of a unit may refer to.

    mode: tensor, slot (scores and masks, over head, token and key) or scalar (Python numbers).
    attribute: the expression of a node's weights or module. number: the expression of a number of a node.
    call: the text of a node that applies a unit, attends, or needs the past, given its argument texts.
    taken: names of the file. logits: the `unembed` whose result is the logits, up to what is done to each of them; None
    where the unit has none.
    """

    mode: str
    attribute: Callable[[Node], str]
    number: Callable[[Node | None, str], Text]
    call: Callable[[Node, list[Text]], Text]
    taken: frozenset[str]
    fused: Fused | None = None
    logits: Node | None = None


@dataclass
class Body:
    """A rendered unit: argument names, lines of statements, and the expression of the result."""

    arguments: list[str]
    lines: list[str] = field(default_factory=list)
    result: Text = field(default_factory=lambda: Text(""))


def body(unit: Unit, context: Context) -> Body:
    """Render a unit. Done twice: the first pass finds what is too long to stand inside another expression."""
    plan = _Plan(unit, context)
    plan.lines |= _Writer(plan, naming=False).too_long()
    return _Writer(plan, naming=True).write()


class _Plan:
    """What reads what, and which nodes are lines."""

    def __init__(self, unit: Unit, context: Context):
        self.unit, self.context = unit, context
        computed = needed(unit, lambda _, node: self.reads(node))
        self.nodes = [n for n in unit.nodes if n in computed]
        self.uses = Counter(r for n in self.nodes for r in self.reads(n))
        self.lines = {n for n in self.nodes if n.op == "repeat"}
        self.lines |= {n for n in self.nodes if self.uses[n] > 1 and n.op not in ("param", "number", "shared")}
        self.lines |= {n for n in self.nodes if n is not unit.result and self.is_binding(n)}
        for node in self.nodes:  # a loop starts from a variable, and computes nothing but its body
            if node.op == "repeat":
                self.lines |= {n for n in node.tensors if n.op not in ("input", "param", "number", "shared")}

    def reads(self, node: Node) -> list[Node]:
        """The nodes whose text appears in the text of this one."""
        fused = self.context.fused
        if fused is not None and node is self.unit.result:
            return [self.unit.inputs[0], *(n for n in (fused.weight, fused.bias) if n is not None)]
        return reads(self.unit, node)

    def is_binding(self, node: Node) -> bool:
        """Whether the genome gives this value a name, and not the one of the function that computes it."""
        named = node.bound and node.op not in ("param", "number", "repeat")
        return named and (node.unit is None or node.name != node.unit.name)


class _Writer:
    def __init__(self, plan: _Plan, naming: bool):
        self.plan, self.context, self.unit, self.naming = plan, plan.context, plan.unit, naming
        self.texts: dict[Node, Text] = {}
        self.pending: list[str] = []  # comments on what has not been written yet
        self.names = Names(set(self.context.taken))
        self.arguments = [self.names.claim(i.name or str(i.attrs["name"])) for i in self.unit.inputs]
        self.holder: dict[str, Node] = dict(zip(self.arguments, self.unit.inputs, strict=True))
        for name, node in self.holder.items():
            self.texts[node] = Text(name)
        self.last: dict[Node, int] = {}
        if naming:
            self.find_last_reads()

    def find_last_reads(self) -> None:
        """For every variable, the line in which it is read last."""
        leaves: dict[Node, set[Node]] = {}
        for place, node in enumerate(self.plan.nodes):
            leaves[node] = set()
            for read in self.plan.reads(node):
                variable = read in self.plan.lines or read.op == "input"
                leaves[node] |= {read} if variable else leaves.get(read, set())
            if node in self.plan.lines or node is self.unit.result:
                for leaf in leaves[node]:
                    self.last[leaf] = place

    def too_long(self) -> set[Node]:
        """Nodes that must be lines so that no expression grows too long."""
        found: set[Node] = set()
        for node in self.plan.nodes:
            text = self.text(node)
            if node in self.plan.lines:
                self.texts[node] = Text(node.name or "x")
            elif len(text.code) > LONG and node is not self.unit.result and node.op != "param":
                found.add(node)
                self.texts[node] = Text(node.name or "x")
            else:
                self.texts[node] = text
        return found

    def write(self) -> Body:
        lines: list[str] = []
        for place, node in enumerate(self.plan.nodes):
            self.pending += [f"# {comment(c)}" for c in node.comments if comment(c)]
            if node.op == "repeat":
                lines += self.pending
                lines += self.loop(node, place)
                self.pending = []
                continue
            text = self.text(node)
            if node not in self.plan.lines:
                self.texts[node] = text
                continue
            name = self.variable(node, place)
            lines += [*self.pending, f"{name} = {text.code}"]
            self.texts[node] = Text(name)
            self.pending = []
        return Body(self.arguments, lines + self.pending, self.texts[self.unit.result])

    def variable(self, node: Node, place: int) -> str:
        """A name for a line: one whose former value nobody reads any more, or a new one."""
        if self.plan.is_binding(node):
            telling, plain = [node.name], [node.name]
        elif self.context.mode != "tensor":
            telling, plain = [], ["value"]
        elif node.op == "repeat":
            telling, plain = [self.texts[node.tensors[0]].code], list(GENERIC)
        else:
            telling, plain = self.role(node), list(GENERIC)
        for words in (telling, plain):
            for word in words:
                holder = self.holder.get(word)
                given = holder is not None and holder.op == "input" and holder.type.axes != node.type.axes
                if holder is not None and not given and self.last.get(holder, -1) <= place:
                    self.holder[word] = node
                    return word
            free = next((word for word in words if word not in self.names.taken | RESERVED), None)
            if free is not None:
                plain = [free]
                break
        name = self.names.claim(plain[0])
        self.holder[name] = node
        return name

    def role(self, node: Node) -> list[str]:
        """What the operation that uses this value calls it, where that is telling."""
        for user in self.plan.nodes:
            if user.op in ("attend", "rotate") and node in user.inputs:
                return [PRIMITIVES[user.op].args[user.inputs.index(node)].name]
            if user.op == "waves" and node in user.inputs:
                return ["angle"]
        return ["mixed"] if node.op == "attend" else []

    def loop(self, node: Node, place: int) -> list[str]:
        """`for layer in self.layers: x = layer(x)`."""
        start = node.tensors[0]
        before = self.texts[start].code
        busy = start in node.tensors[1:] or self.last.get(start, -1) > place
        lines = []
        for kept in node.tensors[0 if busy else 1 :]:  # what is needed after the first pass
            self.last[kept] = max(self.last.get(kept, -1), place + 1)
        name = self.variable(node, place)
        if busy or name != before:
            lines.append(f"{name} = {before}")
        step = self.context.call(node, [Text(name), *(self.texts[n] for n in node.tensors[1:])])
        self.texts[node] = Text(name)
        head, call = step.code.split("\n")
        return [*lines, head, f"    {name} = {call}"]

    def operand(self, node: Node, place: int, want: tuple[str, ...] | None = None) -> Text:
        """The text of an input, with axes added so that it broadcasts over `want`."""
        value = node.inputs[place]
        if not isinstance(value, Node):
            return self.context.number(node, f"number_{place}")
        text = self.texts[value]
        if want is None or self.context.mode != "tensor":
            return text
        return indexed(text, in_memory(value.type), want)

    def floats(self, node: Node, place: int = 0) -> Text:
        """The text of an input of an operation that takes no whole numbers or booleans."""
        value = node.inputs[place]
        text = self.operand(node, place)
        return method(text, "float()") if isinstance(value, Node) and value.type.dtype != FLOAT else text

    def text(self, node: Node) -> Text:
        """The expression of a node, in terms of its inputs' texts."""
        if self.context.fused is not None and node is self.unit.result:
            return self.norm(self.context.fused)
        if node.op == "number":
            return self.context.number(node, "value")
        if node.op in ("param", "shared"):
            return Text(self.context.attribute(node))
        if node.op == "repeat" and not self.naming:
            return Text("x")
        if node.op in PRIMITIVES:
            if PRIMITIVES[node.op].kind == "pointwise":
                return self.pointwise(node)
            if node.op in REDUCTIONS:
                return method(self.floats(node), f"{REDUCTIONS[node.op]}(-1, keepdim=True)")
        return self.structural(node)

    def pointwise(self, node: Node) -> Text:
        if self.context.mode == "scalar":
            return scalar(node.op, [self.operand(node, n) for n in range(len(node.inputs))])
        types: list[TensorType | None] = [i.type if isinstance(i, Node) else None for i in node.inputs]
        tensors = [t for t in types if t is not None]
        order = ("batch", "head", "token", "key", "channel")
        want = tuple(axis for axis in order if any(axis in in_memory(t) for t in tensors))
        args = [self.operand(node, n, want) for n in range(len(node.inputs))]
        if node.op == "where" and types[1:] == [None, None]:
            args[1:] = [Text(f"float({a.code})") if not a.code[-1].isdigit() else _float(a) for a in args[1:]]
        return elementwise(node.op, args, types, node.type)

    def norm(self, fused: Fused) -> Text:
        (x,) = self.unit.inputs
        arguments = [self.texts[x].code, f"({self.context.number(None, 'width').code},)"]
        for name, part in (("weight", fused.weight), ("bias", fused.bias)):
            if part is not None:
                arguments.append(f"{name}={self.texts[part].code}")
        arguments.append(f"eps={self.context.number(None, 'eps').code}")
        return Text(f"F.{'rms_norm' if fused.kind == 'rmsnorm' else 'layer_norm'}({', '.join(arguments)})")

    def structural(self, node: Node) -> Text:
        """Weights, sequence and structure operations, and calls."""
        x = self.operand(node, 0) if node.inputs and node.op not in ANCHORED else Text("")
        match node.op:
            case "embed" | "linear":
                return Text(f"{self.context.attribute(node)}({(x if node.op == 'embed' else self.floats(node)).code})")
            case "unembed":
                weights, x = self.context.attribute(node), self.floats(node)
                if node is self.context.logits:
                    x = Text(f"asked({x.code}, past)")
                return Text(f"F.linear({x.code}, {weights})" if node.attrs["tied"] else f"{weights}({x.code})")
            case "position":
                at_hand = anchor(self.unit, node)
                axes = in_memory(at_hand.type)
                name = self.texts[at_hand].at(ATOM)
                return self.context.call(node, [Text(f"{name}.size({axes.index('token')})"), Text(f"{name}.device")])
            case "channel_index":
                device = self.texts[anchor(self.unit, node)].at(ATOM)
                return Text(f"torch.arange({self.context.number(node, 'count').code}, device={device}.device)")
            case "head_index":
                device = self.texts[anchor(self.unit, node)].at(ATOM)
                count = self.context.number(node, "heads").code
                return Text(f"torch.arange({count}, device={device}.device)[:, None, None]")
            case "split_heads":
                return Text(f"split_heads({x.code}, {self.context.number(node, 'heads').code})")
            case "merge_heads":
                return Text(f"merge_heads({x.code})")
            case "concat":
                pair = [self.operand(node, n, in_memory(node.type)) for n in (0, 1)]
                if len({(i.type.axes, i.type.heads) for i in node.tensors}) > 1:  # they broadcast
                    return self.context.call(node, pair)
                return Text(f"torch.cat(({pair[0].code}, {pair[1].code}), -1)")
            case "table":
                device = self.texts[anchor(self.unit, node)].at(ATOM)
                numbers = node.attrs["numbers"]
                assert isinstance(numbers, tuple)
                listed = ", ".join(literal(float(n)).code for n in numbers)
                return Text(f"torch.tensor([{listed}], device={device}.device)")
            case "top":
                return Text(f"top({self.floats(node).code}, {self.context.number(node, 'count').code})")
            case "penalty":
                return Text(f"penalty({x.code}, {self.term(node).code})")
            case "lookup":
                return Text(f"lookup({self.context.attribute(node)}, {x.code})")
            case "slice":
                start, stop = (self.context.number(node, name).code for name in ("start", "stop"))
                first = "" if start == "0" else start
                last = "" if stop == str(node.tensors[0].type.width) else stop
                return Text(f"{x.at(ATOM)}[..., {first}:{last}]")
            case "cross_entropy":
                y = self.operand(node, 1)
                flat = f"{method(self.floats(node), 'flatten(0, 1)').code}, {method(y, 'flatten()').code}"
                return Text(f'F.cross_entropy({flat}, reduction="none").view(*{y.at(ATOM)}.shape, 1)')
            case "scan":
                want = in_memory(node.type)
                b = self.floats(node, 1)
                return self.context.call(node, [self.operand(node, 0, want), b])
            case "rotate":
                angle = self.operand(node, 1, None if node.attrs.get("ready") else in_memory(node.type))
                return self.context.call(node, [self.floats(node), angle])
            case "waves":
                return self.context.call(node, [self.operand(node, 0, node.type.axes)])
            case "linear_attend" | "delta_attend":
                want = ("batch", "head", "token", "channel")
                factors = [self.operand(node, n, want) for n in range(3, len(node.inputs))]
                return self.context.call(node, [*(self.floats(node, n) for n in range(3)), *factors])
            case "experts":
                return self.context.call(node, [self.floats(node), self.floats(node, 1)])
            case "attend":
                want = ("batch", "head", "token", "channel")
                extra = [self.operand(node, n, want) for n in range(3, len(node.inputs))]
                return self.context.call(node, [*(self.floats(node, n) for n in range(3)), *extra])
            case "shift" | "conv":
                return self.context.call(node, [self.floats(node)])
        return self.context.call(node, [self.texts[n] for n in node.tensors])

    def term(self, node: Node) -> Text:
        """What a penalty adds to the loss: its factors, averaged over the tokens where they have any."""
        factors, types = [], []
        for n in (1, 2):
            value, text = node.inputs[n], self.operand(node, n)
            if not isinstance(value, Node) and value == 1:
                continue
            types.append(value.type if isinstance(value, Node) else None)
            per_token = isinstance(value, Node) and value.type.has("token")
            factors.append(Text(f"average({text.code})") if per_token else text)
        return factors[0] if len(factors) == 1 else elementwise("multiply", factors, types, node.type)


def _float(text: Text) -> Text:
    """A literal as a decimal."""
    return text if any(c in text.code for c in ".e") else Text(text.code + ".0", text.level)
