"""Forms to source: a class where there are weights, a function where there are none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, partial

from foundry.compiler.emit_body import Body, Context, body
from foundry.compiler.emit_forms import Form, Forms
from foundry.compiler.emit_text import LAMBDA, Text, literal
from foundry.compiler.emit_waves import with_waves_on_top
from foundry.compiler.emit_weights import attribute_names, weight, word
from foundry.compiler.names import Names, class_name, comment
from foundry.dsl.check import prelude
from foundry.dsl.program import Node, Program, Unit
from foundry.dsl.registry import PRIMITIVES, SPECIAL
from foundry.dsl.syntax import Call, Genome, Name, walk

WIDEST = 112  # characters of a line, its last indentation not counted
SLOT_ARGUMENTS = {"score": ("s", "h", "i", "j"), "bias": ("h", "i", "j"), "mask": ("h", "i", "j")}
TORCH_NAMES = {"silu": "F.silu({})", "gelu": "F.gelu({})", "gelu_tanh": 'F.gelu({}, approximate="tanh")',
    "softmax": "torch.softmax({}, -1)",
}  # fmt: skip


def definitions(program: Program, file_names: frozenset[str]) -> list[str]:
    """The source of every class and function of the model, in the order in which they need each other."""
    callees = _callees(program.genome) | _prelude_callees()
    model = with_waves_on_top(program.model)
    forms = Forms(model, file_names | callees - SPECIAL)
    names = Names(set(file_names))
    for form in forms.all:
        if form.unit is not model and not form.inline:
            form.name = names.claim(_title(form, forms))
    taken = file_names | names.taken
    written = [_Definition(form, forms, frozenset(taken)) for form in forms.all if not form.inline]
    return [d.source() for d in written if not d.in_place]


@cache
def _prelude_callees() -> frozenset[str]:
    return _callees(prelude())


def _callees(genome: Genome) -> frozenset[str]:
    """The names by which a genome calls functions: definitions, and parameters that are functions."""
    called = (node.function for _, node in walk(genome) if isinstance(node, Call))
    return frozenset({d.name for d in genome.definitions} | {f.id for f in called if isinstance(f, Name)})


def _title(form: Form, forms: Forms) -> str:
    """What a class or a function is called: as its function, or where several differ, as its binding as well."""
    unit = form.unit
    word = unit.name or form.slot or ("group" if set(form.callers) == {"groups"} else "layer")
    if not form.weights:
        return word
    rivals = [f for f in forms.all if f.unit.name == unit.name and f.weights and f is not form]
    callers = set(form.callers) - {unit.name}
    if rivals and unit.name and len(set(form.callers)) == 1 and callers:
        return class_name(callers.pop()) + class_name(word)
    for part in _parts(form, forms) if rivals else []:  # the first that the others lack says what is special
        if all(part not in _parts(rival, forms) for rival in rivals):
            return class_name(part) + class_name(word)
    return class_name(word)


def _parts(form: Form, forms: Forms) -> list[str]:
    """The names of what a class or a function is made of."""
    nodes = [node for node in form.unit.nodes if node.unit is not None or "turns" in node.attrs]
    names = [forms.of[node.unit].name if node.unit is not None else node.attrs["turns"] for node in nodes]
    return [name for name in names if name]


class _Definition:
    """The source of one form."""

    def __init__(self, form: Form, forms: Forms, taken: frozenset[str]):
        self.form, self.forms, self.unit, self.taken = form, forms, form.unit, taken
        self.is_model = not form.name
        self.index = {node: n for n, node in enumerate(self.unit.nodes)}
        self.in_forward: dict[str, None] = {}  # arguments of the constructor that `forward` uses
        self.attributes: dict[Node, str] = {}
        self.slot_attributes: dict[tuple[Node, str], str] = {}
        self.construction: list[str] = []
        names = Names()
        if form.weights or self.is_model:
            self.construct(names)
        self.argument_names = {a: names.claim(a) if form.weights else a for a in form.arguments}
        self.body = self.render()

    @property
    def in_place(self) -> bool:
        """A nameless score or mask of one expression is a lambda where it is used."""
        return bool(self.form.slot) and not (
            self.unit.name or self.form.weights or self.form.arguments or self.body.lines
        )

    # ---- numbers ----------------------------------------------------------------------------------------------

    def number(self, node: Node | None, what: str, building: bool = False) -> Text:
        """A number as the code has it: a literal, or an argument of the class or function."""
        slot = (self.index[node] if node is not None else -1, what)
        name = self.form.filling.get(slot)
        if name is None:
            return literal(self.forms.numbers[self.unit][slot])
        if building or not self.form.weights:
            return Text(name)
        self.in_forward[name] = None
        return Text(f"self.{self.argument_names[name]}")

    def numbers(self, node: Node, form: Form) -> list[str]:
        """The numbers that a function takes, by position."""
        return [self.number(node, f".{a}").code for a in form.arguments]

    def passed(self, node: Node, slot: str, form: Form, building: bool) -> list[str]:
        """The numbers that a class or function takes, as arguments."""
        return [f"{a}={self.number(node, f'{slot}.{a}', building).code}" for a in form.arguments]

    # ---- weights ----------------------------------------------------------------------------------------------

    def parts(self) -> Iterator[tuple[Node, str, str, str]]:
        """What `__init__` makes, in the order of the nodes: node, slot, the word for it, and its expression."""
        shared: set[int] = set()
        for node in self.unit.nodes:
            if node.op in PRIMITIVES and node.op not in ("attend", "experts") and self.forms.holds_weights(node):
                yield node, "", word(node, self.unit), weight(node, partial(self.number, node, building=True))
            for slot, inner in self.forms.inside(node):
                form = self.forms.of[inner]
                if not form.weights or node.attrs.get("through") or node.instance in shared:
                    continue
                if node.op in ("call", "shared"):
                    shared.add(node.instance)
                make = f"{form.name}({', '.join(self.passed(node, slot, form, building=True))})"
                if node.op in ("repeat", "experts") and not node.attrs.get("shared"):
                    make = f"nn.ModuleList({make} for _ in range({self.number(node, 'times', building=True).code}))"
                yield node, slot, inner.name or slot if slot else word(node, self.unit), make

    def construct(self, names: Names) -> None:
        """Name the weights and parts, and write the lines of `__init__` that make them."""
        parts = list(self.parts())
        for (node, slot, _, make), name in zip(parts, attribute_names(parts, self.unit, names), strict=True):
            kept = node.op == "param" and not node.attrs["learn"]
            self.construction.append(f'self.register_buffer("{name}", {make})' if kept else f"self.{name} = {make}")
            if slot:
                self.slot_attributes[node, slot] = name
            else:
                self.attributes[node] = name

    # ---- calls ------------------------------------------------------------------------------------------------

    def attribute(self, node: Node) -> str:
        """The expression of a node's weights; tied ones are the token embedding's."""
        if node.op == "unembed" and node.attrs["tied"]:
            return f"self.{self.table(self.unit, self, node.instance)}.weight"
        return f"self.{self.attributes[self.owner(node)]}"

    def owner(self, node: Node) -> Node:
        """The node whose weights a node uses: the first of those that share them."""
        return next(n for n in self.attributes if n is node or (n.instance and n.instance == node.instance))

    def table(self, unit: Unit, definition: _Definition, instance: int) -> str:
        """The path to the embedding with this instance."""
        for node in unit.nodes:
            if node.op == "embed" and node.instance == instance:
                return definition.attributes[node]
        for node in unit.nodes:
            if node.unit is not None and _embeds(node.unit, instance):
                inner = _Definition(self.forms.of[node.unit], self.forms, self.taken)
                first = "[0]" if node.op == "repeat" and not node.attrs.get("shared") else ""
                return f"{definition.attributes[node]}{first}.{self.table(inner.unit, inner, instance)}"
        raise AssertionError("a tied unembed without its embedding")

    def call(self, node: Node, args: list[Text]) -> Text:
        """The text of a call, a repeat, or a primitive with a mechanism, given the texts of its inputs."""
        codes = [a.code for a in args]
        if node.op == "position":
            return Text(f"position({codes[0]}, past, {codes[1]})")
        if node.op == "conv":
            return Text(f"{self.attribute(node)}({codes[0]}, past)")
        if node.op == "shift":
            return Text(f"shift({codes[0]}, {self.number(node, 'by').code}, past)")
        if node.op == "scan":
            return Text(f"scan({codes[0]}, {codes[1]}, past)")
        if node.op == "rotate":
            waves = codes[1] if node.attrs.get("ready") else self.waves(node, codes[1])
            return Text(f"rotate{'_pairs' if node.attrs['interleaved'] else ''}({codes[0]}, {waves})")
        if node.op == "waves":
            return Text(self.waves(node, codes[0]))
        if node.op == "concat":
            return Text(f"concat({codes[0]}, {codes[1]})")
        if node.op in ("linear_attend", "delta_attend"):
            return Text(f"{node.op}({', '.join(codes)}, past=past)")
        if node.op == "attend":
            return self.attend(node, codes)
        if node.op == "experts":
            return Text(f"experts({codes[0]}, {codes[1]}, {self.attribute(node)})")
        assert node.unit is not None
        form = self.forms.of[node.unit]
        past = ["past"] if form.stateful else []
        if form.inline:
            assert form.fused is not None
            return Text(TORCH_NAMES[form.fused.kind].format(codes[0]))
        if node.op == "call":
            if node.attrs.get("through"):
                return Text(f"{codes[0]}({', '.join([*codes[1:], *past])})")
            if form.weights:
                return Text(f"{self.attribute(node)}({', '.join([*codes, *past])})")
            return Text(f"{form.name}({', '.join([*codes, *self.numbers(node, form), *past])})")
        times = self.number(node, "times").code if not form.weights or node.attrs.get("shared") else ""
        if not form.weights:
            return Text(
                f"for _ in range({times}):\n{form.name}({', '.join([*codes, *self.numbers(node, form), *past])})"
            )
        name = self.attributes[node]
        if node.attrs.get("shared"):
            return Text(f"for _ in range({times}):\nself.{name}({', '.join([*codes, *past])})")
        single = Names(set(self.taken), set(codes)).claim(name[:-1] if name.endswith("s") else "layer")
        return Text(f"for {single} in self.{name}:\n{single}({', '.join([*codes, *past])})")

    def waves(self, node: Node, angle: str) -> str:
        """The cosines and sines of an angle, for a `rotate`."""
        if node.attrs["interleaved"]:
            return f"cos_sin_of_pairs({angle})"
        return f"cos_sin_of({angle}, {self.number(node, 'width').code})"

    def attend(self, node: Node, codes: list[str]) -> Text:
        plan = self.forms.plans[node]
        arguments = codes[:3]
        mechanism, window = plan.mechanism, self.number(node, "window").code
        if mechanism == "attend" and window != "None":
            varies = (self.index[node], "window") in self.form.filling
            mechanism = "attend_within" if varies else "attend_window"
            arguments.append(window)
        for slot, unit in plan.slots:
            arguments.append(f"{slot}={self.function(node, slot, unit)}")
        if window != "None" and plan.mechanism != "attend":
            arguments.append(f"window={window}")
        if plan.scale is not None:
            arguments.append(f"scale={self.number(node, 'scale').code}")
        if node.attrs["top"]:
            arguments.append(f"top={self.number(node, 'top').code}")
        if node.attrs["sink"]:
            arguments.append(f"sink={codes[3]}")
        if node.attrs["seen"]:
            seen = codes[len(codes) - int(node.attrs["seen"]) :]
            arguments.append(f"seen=({', '.join(seen)}{',' if len(seen) == 1 else ''})")
        return Text(f"{mechanism}({', '.join([*arguments, 'past=past'])})")

    def function(self, node: Node, slot: str, unit: Unit) -> str:
        """A score, bias or mask as a function of all its slots."""
        form = self.forms.of[unit]
        slots: dict[object, str] = {name: name for name in SLOT_ARGUMENTS[slot]}
        names = Names()
        for index, seen in enumerate(node.tensors[len(node.tensors) - int(node.attrs["seen"]) :]):
            name = names.claim(seen.name or "value")
            for kind in ("query", "key"):
                slots[kind, index] = f"{name}_{kind}"
        keys = [i.attrs.get("view", i.attrs["name"]) for i in unit.inputs]
        arguments = [slots[key] for key in keys]
        inner = _Definition(form, self.forms, self.taken)
        if not form.weights and inner.in_place:
            own = dict(zip(keys, inner.body.arguments, strict=True))
            slots = {key: own.get(key, f"{name}_" if name in own.values() else name) for key, name in slots.items()}
            return f"lambda {', '.join(slots.values())}: {inner.body.result.at(LAMBDA)}"
        head = f"lambda {', '.join(slots.values())}: "
        if form.weights:
            return f"{head}self.{self.slot_attributes[node, slot]}({', '.join(arguments)})"
        return f"{head}{form.name}({', '.join([*arguments, *self.passed(node, slot, form, False)])})"

    # ---- the whole ------------------------------------------------------------------------------------------

    def render(self) -> Body:
        context = Context(
            "slot" if self.form.slot else "tensor", self.attribute, self.number, self.call,
            self.taken | set(self.form.arguments), self.form.fused, self.logits() if self.is_model else None,
        )  # fmt: skip
        return body(self.unit, context)

    def logits(self) -> Node | None:
        """The `unembed` behind the result, where all that follows it goes token by token; else None.

        What comes before it is then needed only at the tokens whose logits are wanted.
        """
        node = self.unit.result
        while node.op != "unembed":
            inputs = [i for i in node.tensors if i.op not in ("param", "number")]
            if len(inputs) != 1 or self.forms.is_stateful(node):
                return None
            (node,) = inputs
        users = [n for n in self.unit.nodes if node in n.inputs]
        return node if len(users) <= 1 else None

    def source(self) -> str:
        lines = [comment(c) for c in self.unit.comments]
        if "" in lines:  # a paragraph before the last is on other functions too
            lines = lines[len(lines) - lines[::-1].index("") :]
        above = [f"# {line}" for line in lines]
        return "\n".join(above + (self.as_class() if self.form.weights or self.is_model else self.as_function()))

    def as_function(self) -> list[str]:
        arguments = [*self.body.arguments, *self.form.arguments, *(["past=None"] if self.form.stateful else [])]
        head = f"def {self.form.name}({', '.join(arguments)}):"
        return [head, *_indent([*self.body.lines, f"return {self.body.result.code}"])]

    def as_class(self) -> list[str]:
        name = self.form.name or "Model"
        past = ["past=None"] if self.form.stateful or self.is_model else []
        stored = [f"self.{self.argument_names[a]} = {a}" for a in self.in_forward]
        lines = [f"class {name}(nn.Module):"]
        made = ["super().__init__()", *stored, *self.construction]
        lines += _indent([f"def __init__({', '.join(['self', *self.form.arguments])}):", *_indent(made), ""])
        result = self.body.result.code
        ending = [f"return {result}"]
        if self.is_model:
            tokens = self.body.arguments[0]
            ending = [
                f"logits = {result}",
                "if past is not None:",
                f"    past.advance({tokens}.size(1))",
                "return logits",
            ]
        head = f"def forward({', '.join(['self', *self.body.arguments, *past])}):"
        return lines + _indent([head, *_indent([*self.body.lines, *ending])])


def _embeds(unit: Unit, instance: int) -> bool:
    return any(
        (n.op == "embed" and n.instance == instance) or (n.unit is not None and _embeds(n.unit, instance))
        for n in unit.nodes
    )


def _indent(lines: list[str]) -> list[str]:
    return [f"    {part}" if part else "" for line in lines for part in _folded(line)]


def _folded(line: str) -> list[str]:
    """A call of attention with functions for arguments may need three lines, or one for each argument."""
    match = re.fullmatch(r"( *)(.*\battend_\w+\()(.*)\)", line)
    if len(line) <= WIDEST or match is None:
        return [line]
    space, call, arguments = match.groups()
    inside = [arguments]
    if len(arguments) > WIDEST:
        inside = [
            f"{part}," for part in re.split(r", (?=(?:score|bias|mask|window|scale|top|sink|seen|past)=)", arguments)
        ]
    return [f"{space}{call}", *(f"{space}    {part}" for part in inside), f"{space})"]
