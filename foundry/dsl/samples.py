"""An example genome for everything that the language itself knows, and what a primitive gives and costs in its own.

Most examples follow from the registry; the others stand in `examples/built_in.genome`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from foundry.dsl.check import check
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.program import Node, Program
from foundry.dsl.registry import OPTIMIZERS, PRIMITIVES, REQUIRED, SLOTS, TRAIN
from foundry.dsl.syntax import Argument, Binary, Call, Definition, Expr, Genome, Name, Number, Parameter
from foundry.dsl.types import TensorType

WRITTEN = Path(__file__).parent / "examples" / "built_in.genome"
CONTEXT = 128  # tokens, which the cost of attention depends on
NAME = "example"  # what the function of an example is called

_MODEL = "model = embed(vocab = 256, width = 64) >> {} >> unembed(tied = 1);"
_USUAL: dict[str, Expr] = {"integer": Number(4), "number": Number(1), "flag": Number(1), "function": Name("silu")}


@dataclass(frozen=True)
class Measured:
    """A primitive in its example.

    inputs, result: their types, numbers as numbers. flops: per token, forward, at a context of `CONTEXT` tokens;
    contextual: whether a longer context takes more. weights: learned shapes by name. grows, stays: numbers that a
    decoder keeps for each token, and whatever the length. repeated: whether the copies of a function come on top.
    """

    inputs: tuple[TensorType | float, ...]
    result: TensorType
    flops: float
    contextual: bool
    weights: dict[str, tuple[int, ...]]
    grows: int
    stays: int
    repeated: bool


@cache
def example(name: str) -> str:
    """The text of a genome without errors that uses a name of the language.

    "" where the registry suggests no example that checks clean, and none is written out.
    """
    for definition in _definitions(name):
        text = _genome(definition)
        checked = check(text)
        if checked.ok and not checked.diagnostics:
            return text
    return ""


@cache
def measure(name: str) -> Measured | None:
    """What a primitive gives and costs in its example; None for what has none."""
    program = check(example(name)).program if name in PRIMITIVES else None
    node = _first(program, name) if program else None
    if node is None:
        return None
    types = tuple(i.type if isinstance(i, Node) else i for i in node.inputs)
    primitive = PRIMITIVES[name]
    grows, stays = primitive.keeps(types, node.attrs, CONTEXT)
    flops, longer = (primitive.flops(types, node.attrs, node.type, context) for context in (CONTEXT, 2 * CONTEXT))
    weights = primitive.weights(types, node.attrs)
    return Measured(types, node.type, flops, longer > flops, weights, grows, stays, node.unit is not None)


def in_slot(slot: str, function: str) -> str:
    """The text of definitions that use a function in a slot."""
    if any(argument.name == slot for argument in TRAIN):
        return _MODEL.format("rmsnorm") + f"\nrecipe = train({slot} = {function});"
    return _MODEL.format(f"attention(heads = 4, {slot} = {function})")


@cache
def written() -> Genome:
    """The examples that are written out, under the names that they are about."""
    return parse(WRITTEN.read_text("utf-8"), WRITTEN.name)


def _definitions(name: str) -> Iterator[Definition]:
    """The example that is written out, or else what the registry suggests."""
    definition = written().definition(name)
    if definition is not None:
        yield definition
    elif name in OPTIMIZERS:
        first = OPTIMIZERS[name][0]
        optimizer = _call(name, Argument(first.name, Number(first.default)))
        yield Definition(name, None, _call("train", Argument("optimizer", optimizer)))
    elif name in PRIMITIVES:
        for tensor in (Name("x"), _call("split_heads", Name("x"), Number(4))):
            yield from _suggested(name, tensor)


def _suggested(name: str, tensor: Expr) -> Iterator[Definition]:
    """A primitive applied to a tensor, where usual values fit its other arguments."""
    primitive, x = PRIMITIVES[name], Name("x")
    needed = [arg for arg in primitive.args if arg.default is REQUIRED]
    values = [tensor if arg.is_tensor else _USUAL[arg.sort] for arg in needed if arg.is_tensor or arg.sort in _USUAL]
    value: Expr = _call(name, *values)
    if primitive.kind == "reduce":
        value = Binary("-", x, value)
    for used in (value, Binary("*", tensor, value)):
        yield Definition(name, (Parameter("x"),), used if tensor == x else _call("merge_heads", used))


def _call(function: str, *arguments: Expr | Argument) -> Call:
    return Call(Name(function), tuple(a if isinstance(a, Argument) else Argument("", a) for a in arguments))


def _genome(definition: Definition) -> str:
    """A genome around an example."""
    names = None if definition.parameters is None else {p.name for p in definition.parameters}
    slot = next((slot for slot in SLOTS if names and names <= set(SLOTS[slot])), "")
    title, rest = NAME, _MODEL.format(NAME)
    if names is None:
        title, rest = "recipe", _MODEL.format("rmsnorm")
    elif names == {"tokens"}:
        title, rest = "model", ""
    elif slot:
        rest = in_slot(slot, NAME)
    example = replace(definition, name=title, comments=())
    around = parse(f"@foundry(1);\n{rest}").definitions
    order = (*around, example) if names is None else (example, *around)
    return format_genome(Genome(1, order))


def _first(program: Program, op: str) -> Node | None:
    """The first operation of that name."""
    units = [program.model, program.recipe.loss]
    for unit in units:
        for node in unit.nodes:
            if node.op == op:
                return node
        units.extend(unit.subunits())
    return None
