"""What is in the picture of a program: boxes, what is inside them, and which feeds which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod

from foundry.compiler.outline import Body, Step
from foundry.compiler.picture.captions import LONGEST, argument_names, badge, details, kind_of, short, title
from foundry.compiler.spelling import SIGNS, WRITTEN, formula
from foundry.dsl.program import Node, Unit
from foundry.dsl.quote import shown
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.types import FUNCTION

LEAVES = frozenset({"number", "param", "position", "channel_index", "table"})
JOINS = {"add": "+", "multiply": "×", "subtract": "−", "divide": "÷"}


@dataclass(eq=False)
class Box:
    """Something that is drawn.

    shape: box, pill, circle, frame (with a scene inside), port (an input of a scene) or end (its result).
    kind: what it is for, which decides its colour. details: lines below the title. badge: how many copies.
    inputs: what feeds it; names: of the inputs, where there are several. label: the type of what it gives, where that
    is worth saying. parameters: learned numbers in all copies. steps: what of the program it stands for.
    """

    shape: str
    kind: str
    title: str
    details: tuple[str, ...] = ()
    badge: str = ""
    inputs: tuple[Box, ...] = ()
    names: tuple[str, ...] = ()
    label: str = ""
    parameters: int = 0
    inner: Scene | None = None
    steps: tuple[Step, ...] = ()


@dataclass(eq=False)
class Scene:
    """Boxes in the order in which they run. `ports` are the inputs, `end` takes the result."""

    ports: tuple[Box, ...]
    boxes: tuple[Box, ...]
    end: Box

    def all_boxes(self) -> Iterable[Box]:
        """Every box, those inside of others included."""
        for box in self.boxes:
            yield box
            if box.inner is not None:
                yield from box.inner.all_boxes()


def scene(body: Body, depth: int) -> Scene:
    """The picture of a model. depth: how many calls inside one another are opened; 0 shows the model's own alone."""
    return _Painter(set()).scene(body, depth)


@dataclass
class _Painter:
    counted: set[int] = field(default_factory=set)  # instances whose weights another box has

    def scene(self, body: Body, depth: int) -> Scene:
        return _Canvas(self, body, depth).scene()

    def parameters(self, nodes: Iterable[Node]) -> int:
        """The learned numbers of nodes in all their copies, those that were counted before left out."""
        total = 0
        for node in nodes:
            if (node.instance and node.instance in self.counted) or node.attrs.get("through"):
                continue
            if node.instance:
                self.counted.add(node.instance)
            if node.unit is not None:
                copies = 1 if node.attrs.get("shared") else int(node.attrs.get("times", 1))
                total += copies * _Painter(set(self.counted)).parameters(node.unit.nodes)
            elif node.op in PRIMITIVES:
                types = tuple(i.type if isinstance(i, Node) else i for i in node.inputs)
                total += sum(prod(shape) for shape in PRIMITIVES[node.op].weights(types, node.attrs).values())
            for value in node.attrs.values():
                total += self.parameters(value.nodes) if isinstance(value, Unit) else 0
        return total


@dataclass
class _Canvas:
    painter: _Painter
    body: Body
    depth: int
    boxes: list[Box] = field(default_factory=list)
    of: dict[Step, Box] = field(default_factory=dict)
    leaf: set[Step] = field(default_factory=set)

    def scene(self) -> Scene:
        several = len(self.body.inputs) > 1
        for step in self.body.inputs:
            label = f"{step.title} {step.type}" if several else str(step.type)
            if step.type == FUNCTION:  # weights that are handed in
                label = step.title
            self.of[step] = Box("port", "port", step.title, label=label)
        ports = tuple(self.of[step] for step in self.body.inputs)
        self.find_leaves()
        self.readers = Counter(i for step in self.body.steps for i in step.inputs if isinstance(i, Step))
        self.readers[self.body.result] += 1
        for step in self.body.steps:
            if not self.is_leaf(step):
                self.draw(step)
        if self.body.result not in self.of:
            self.alone(self.body.result)
        end = Box("end", "port", "", inputs=(self.of[self.body.result],))
        return Scene(ports, tuple(_leading_to(end, self.boxes)), end)

    def is_leaf(self, step: Step) -> bool:
        """Whether a step depends on no value of the sequence: a learned number, a position, arithmetic on them."""
        return step in self.leaf

    def find_leaves(self) -> None:
        for step in self.body.steps:
            inputs = [i for i in step.inputs if isinstance(i, Step)]
            if step.op in LEAVES or (step.is_term and all(i in self.leaf for i in inputs)):
                self.leaf.add(step)

    # ---- kinds of boxes -----------------------------------------------------------------------------------------

    def draw(self, step: Step) -> None:
        if step.is_term:
            self.term(step)
        elif step.op in ("split_heads", "merge_heads") and self.joins_box(step):
            self.extend(step)
        elif step.body is not None and step.op != "shared" and step.is_block and self.depth > 0:
            self.frame(step)
        else:
            self.box(step)

    def term(self, step: Step) -> None:
        """A formula: a sign where values meet, else a pill, with the terms inside it that nothing else reads."""
        sources = [i for i in step.inputs if isinstance(i, Step) and not self.is_leaf(i)]
        leaves = list(self.leaves(step))
        if len(sources) > 1:
            sign = JOINS.get(step.op, WRITTEN.get(step.op, SIGNS.get(step.op, step.op)))
            shape = "circle" if len(sign) == 1 else "pill"
            self.add(step, Box(shape, "join", sign, inputs=tuple(self.of[s] for s in sources)), leaves)
            return
        (source,) = sources
        below = self.of[source]
        if below.kind == "term" and below.steps[-1] is source and self.readers[source] == 1:
            self.boxes.remove(below)
            steps, inputs, count = below.steps, below.inputs, below.parameters
        else:
            steps, inputs, count = (), (below,), 0
        text = shown(formula(step, lambda s: s, lambda s: "" if s is step or s in steps else self.name(s)), LONGEST)
        self.add(step, Box("pill", "term", text, inputs=inputs, steps=steps, parameters=count), leaves)

    def leaves(self, step: Step) -> Iterable[Step]:
        """The leaves that a formula reads, and those that they do."""
        found: dict[Step, None] = {}
        stack = [step]
        while stack:
            for value in stack.pop().inputs:
                if isinstance(value, Step) and self.is_leaf(value) and value not in found:
                    found[value] = None
                    stack.append(value)
        return found

    def name(self, step: Step) -> str:
        """How a formula calls a value: formulas of leaves are written out, and a value without a name is a dot."""
        if self.is_leaf(step):
            return step.label if step.op == "param" and step.label else ""
        return step.label or ("·" if step.is_term else step.title)

    def joins_box(self, step: Step) -> bool:
        """Whether cutting into heads, or joining them, belongs to the box before."""
        (source,) = step.inputs
        assert isinstance(source, Step)
        below = self.of.get(source)
        return below is not None and below.shape == "box" and below.kind != "block" and self.readers[source] == 1

    def extend(self, step: Step) -> None:
        (source,) = step.inputs
        assert isinstance(source, Step)
        box = self.of[step] = self.of[source]
        if step.op == "split_heads":
            count = step.type.heads
            box.details = (*box.details, f"in {count} head{'s' if count != 1 else ''}")
        box.label = str(step.type)
        box.steps = (*box.steps, step)

    def frame(self, step: Step) -> None:
        """A call, a repeat or experts with what is inside; a call of one step is a box like it."""
        assert step.body is not None
        through = step.op == "repeat" and not step.title  # n * (f >> g): no call of its own
        inner = _Painter(set(self.painter.counted)).scene(step.body, self.depth if through else self.depth - 1)
        if step.op == "call" and len(inner.boxes) == 1 and inner.boxes[0].shape == "box":
            (only,) = inner.boxes
            self.add(step, Box("box", only.kind, title(step), only.details, label=only.label))
            return
        drawn = {s.role for s in step.body.steps}
        self.add(step, Box("frame", "block", title(step), details(step, drawn), badge(step), inner=inner))

    def box(self, step: Step) -> None:
        kind = kind_of(step)
        shape = "pill" if kind in ("structure", "activation") and step.op != "top" else "box"
        pill = Box("pill", kind, short(step))
        self.add(step, pill if shape == "pill" else Box("box", kind, title(step), details(step), badge(step)))

    def alone(self, step: Step) -> None:
        """A leaf that is read by itself."""
        if step not in self.of:
            text = step.label or shown(formula(step, lambda s: s, self.name), LONGEST)
            self.add(step, Box("pill", "term", text), list(self.leaves(step)))

    def add(self, step: Step, box: Box, leaves: list[Step] | None = None) -> None:
        """Put a box of a step on the canvas, fed by what the step reads."""
        if not box.inputs and not box.steps:
            read = [i for i in step.inputs if isinstance(i, Step)] if not self.is_leaf(step) else []
            for leaf in read:
                if self.is_leaf(leaf):
                    self.alone(leaf)
            box.inputs = tuple(self.of[i] for i in read)
            box.names = argument_names(step)[: len(read)] if len(read) > 1 else ()
        box.steps = (*box.steps, *(leaves or ()), step)
        box.parameters += self.painter.parameters(n for s in (*(leaves or ()), step) for n in nodes(s))
        first = next((i for i in step.inputs if isinstance(i, Step)), None)
        if not box.label and step.type.has("batch") and (first is None or first.type != step.type):
            box.label = str(step.type)
        self.of[step] = box
        self.boxes.append(box)


def _leading_to(end: Box, boxes: Iterable[Box]) -> Iterable[Box]:
    """The boxes that the result depends on: not those of which something takes the shape alone, as positions do."""
    needed, stack = {end}, [end]
    while stack:
        fresh = [box for box in stack.pop().inputs if box not in needed]
        needed.update(fresh)
        stack += fresh
    return [box for box in boxes if box in needed]


def nodes(step: Step) -> Iterable[Node]:
    """The nodes of the program that a step stands for; those inside calls not among them."""
    if step.body is not None and step.node.unit is None:
        for inner in step.body.steps:
            yield from nodes(inner)
    else:
        yield step.node
