"""The known mechanisms that a program has, told from its graph of primitives and from no name: `traits(program)`.

Each is a small function of the program's flow. What counts is what is computed: rotary positions that a genome spells
out are rotary positions, and a function of its own called `rope` that does not turn is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from foundry.compiler.recognise import allows_everything, by_distance, window_of
from foundry.dsl.program import Program, Unit, all_units
from foundry.search.flowing import FIXED, LINEAR, POINTWISE, REDUCE, SHAPE, Flow

SHORT = 16  # positions: the longest filter that is a short one
PREPARED = POINTWISE | REDUCE | SHAPE | FIXED | {"rotate", "conv", "shift"}  # what queries and keys pass through
MEMORIES = ("scan", "linear_attend", "delta_attend")


@dataclass(frozen=True)
class Trait:
    """A mechanism: what people call it, where it comes from, and whether a program has it anywhere."""

    name: str
    source: str
    has: Callable[[Flow], bool]


def traits(program: Program) -> tuple[str, ...]:
    """The names of the traits that a program has, in the order of `TRAITS`."""
    flow = Flow(program)
    return tuple(trait.name for trait in TRAITS if trait.has(flow))


# Positions ----------------------------------------------------------------------------------------------------------


def rotary(flow: Flow) -> bool:
    """Queries and keys are turned by an angle that grows with the position, before they meet."""
    met = flow.all("attend", "linear_attend", "delta_attend")
    return any(all(_turned(flow, vertex) for vertex in flow.operands(m)[:2]) for m in met)


def _turned(flow: Flow, vertex: int) -> bool:
    """Whether a value passes a rotation on its way from its linear map: by `rotate`, or by sines and cosines."""
    waves = set()
    for v in flow.back(vertex, PREPARED):
        if flow.op(v) == "rotate" and flow.knows_position(flow.operands(v)[1]):
            return True
        if flow.op(v) == "multiply" and len(sides := flow.operands(v)) == 2:
            waves |= {flow.op(s) for s in sides if flow.knows_position(s)} if _is_content(flow, sides) else set()
    return {"sin", "cos"} <= waves


def _is_content(flow: Flow, sides: list[int]) -> bool:
    """Whether one of the factors holds what a token says."""
    return any(flow.sources(side, POINTWISE | REDUCE | SHAPE) for side in sides if not flow.knows_position(side))


def relative(flow: Flow) -> bool:
    """A score has a term that depends on the distance i - j alone, learned or not."""
    return any(isinstance(score, Unit) and by_distance(score) for score in _slots(flow, "score"))


def learned_positions(flow: Flow) -> bool:
    """A table is read at the position."""
    return any(flow.knows_position(flow.operands(v)[0]) for v in flow.all("embed"))


def waves(flow: Flow) -> bool:
    """Sines of the position are added to what a token says."""
    for v in flow.all("add"):
        sides = flow.operands(v)
        through = POINTWISE | SHAPE | FIXED
        fixed = [s for s in sides if flow.knows_position(s)]
        if len(sides) == 2 and len(fixed) == 1 and {"sin", "cos"} & {flow.op(w) for w in flow.back(fixed[0], through)}:
            return True
    return False


# Functions of one number --------------------------------------------------------------------------------------------

SAMPLES = (-3.0, -1.0, -0.2, 0.0, 0.3, 1.0, 2.5)


def squared_relu(flow: Flow) -> bool:
    """Some value of a token is another's square where that is above 0, and 0 elsewhere, up to a factor."""
    return any(
        _is_squared_relu(function)
        for v in flow.all("multiply", "power", "where", "divide", "maximum")
        if _is_stream(flow, v)
        for u in flow.back(v, POINTWISE) - {v}
        if (function := flow.function_of(v, u)) is not None
    )


def _is_squared_relu(function: Callable[[float], float]) -> bool:
    try:
        values = [function(x) for x in SAMPLES]
    except (ArithmeticError, ValueError):
        return False
    factor = values[-1] / SAMPLES[-1] ** 2
    errors = [abs(value - factor * max(x, 0.0) ** 2) for value, x in zip(values, SAMPLES, strict=True)]
    return abs(factor) > 1e-6 and max(errors) < 1e-6 * abs(factor)


def _is_stream(flow: Flow, vertex: int) -> bool:
    """Whether a vertex holds channels of a token, outside of scores and masks."""
    kind = flow.type(vertex)
    return kind.has("token") and kind.has("channel") and not flow.graph.nodes[vertex]["part"]


# Channels -----------------------------------------------------------------------------------------------------------


def gated(flow: Flow) -> bool:
    """Two linear maps of one input are multiplied, at least one through a nonlinearity, and mapped back."""
    through = POINTWISE | SHAPE | REDUCE
    for v in flow.all("multiply"):
        sides = flow.operands(v)
        if len(sides) < 2 or not _is_stream(flow, v) or not flow.reaches(v, {"linear", "unembed"}, through | {"conv"}):
            continue
        one, other = (_map_of(flow, side) for side in sides)
        bends = any(_bends(flow, side) for side in sides)
        if one and other and one != other and bends and _same_input(flow, one[0], other[0]):
            return True
    return False


def _map_of(flow: Flow, vertex: int) -> tuple[Any, ...] | None:
    """The one linear map that a value is made of, token by token, and which of its channels; None where it is not."""
    sources = flow.sources(vertex, POINTWISE | SHAPE | REDUCE)
    if len(sources) != 1 or flow.op(source := next(iter(sources))) != "linear":
        return None
    cuts = [flow.attrs(v) for v in flow.back(vertex, POINTWISE | SHAPE | REDUCE) if flow.op(v) == "slice"]
    return (source, *sorted((cut["start"], cut["stop"]) for cut in cuts))


def _bends(flow: Flow, vertex: int) -> bool:
    """Whether a value is no linear function of the map that it is made of."""
    through = POINTWISE | SHAPE | REDUCE
    for v in flow.back(vertex, through):
        op = flow.op(v)
        if op in POINTWISE - LINEAR and op != "power":
            return True
        if op in ("multiply", "divide", "power") and _varying(flow, v) > (0 if op == "power" else 1):
            return True
    return False


def _varying(flow: Flow, vertex: int) -> int:
    """How many operands of an operation depend on the token."""
    return sum(
        bool(flow.sources(o, POINTWISE | SHAPE | REDUCE)) for o in flow.operands(vertex) if flow.op(o) not in FIXED
    )


def _same_input(flow: Flow, one: int, other: int) -> bool:
    """Whether two linear maps read one value, or two that are made of the same."""
    a, b = flow.operands(one)[0], flow.operands(other)[0]
    through = POINTWISE | REDUCE
    return a == b or flow.sources(a, through) == flow.sources(b, through)


# Norms --------------------------------------------------------------------------------------------------------------


def qk_norm(flow: Flow) -> bool:
    """Queries and keys are normed between their linear maps and where they meet."""
    norms = {v for v, _, _ in _norms(flow)}
    return any(all(norms & flow.back(vertex, PREPARED) for vertex in flow.operands(m)[:2]) for m in flow.all("attend"))


def rms_norm(flow: Flow) -> bool:
    """Some value is divided by the root of its mean square, and not centred."""
    return any(squared and not centred for _, squared, centred in _norms(flow))


def layer_norm(flow: Flow) -> bool:
    """Some value has its mean taken away, and is divided by the root of its variance."""
    return any(squared and centred for _, squared, centred in _norms(flow))


def _norms(flow: Flow) -> Iterator[tuple[int, bool, bool]]:
    """Where a value is scaled by a statistic of its channels: whether of their squares, and whether it is centred."""
    for v in flow.all("multiply", "divide"):
        sides = flow.operands(v)
        if len(sides) < 2 or not _is_stream(flow, v):
            continue
        for value, statistic in (sides, sides[::-1]) if flow.op(v) == "multiply" else (sides,):
            if flow.type(statistic).width == 1 < flow.type(value).width and _is_linear(flow, value):
                reductions = [r for r in flow.back(statistic, POINTWISE) if flow.op(r) in REDUCE]
                own = [r for r in reductions if _is_of(flow, r, value)]
                if own:
                    ops = {flow.op(w) for w in flow.back(value, POINTWISE | REDUCE)}
                    yield v, any(_is_of_squares(flow, r) for r in own), "mean" in ops or "sum" in ops


def _is_linear(flow: Flow, vertex: int) -> bool:
    return all(flow.op(v) in LINEAR for v in flow.back(vertex, POINTWISE) if flow.op(v) in POINTWISE)


def _is_of(flow: Flow, reduction: int, value: int) -> bool:
    """Whether a reduction is of the value, or of what that is made of."""
    made = flow.sources(flow.operands(reduction)[0], POINTWISE | REDUCE)
    return bool(made & flow.sources(value, POINTWISE | REDUCE))


def _is_of_squares(flow: Flow, reduction: int) -> bool:
    for v in flow.back(flow.operands(reduction)[0], POINTWISE):
        pairs = flow.graph.nodes[v]["operands"]
        if flow.op(v) == "multiply" and pairs[0] == pairs[1]:
            return True
        if flow.op(v) == "power" and pairs[1] == ("number", 2.0):
            return True
    return False


# Along the sequence -------------------------------------------------------------------------------------------------


def short_convolution(flow: Flow) -> bool:
    """A learned filter over the last few positions: by `conv`, or as a sum over two shifts of one value or more."""
    if any(2 <= flow.attrs(v)["kernel"] <= SHORT for v in flow.all("conv")):
        return True
    shifts = [v for v in flow.all("shift") if flow.attrs(v)["by"] <= SHORT]
    sources = [flow.operands(v)[0] for v in shifts]
    return any(
        len({flow.attrs(s)["by"] for s in shifts if flow.operands(s)[0] == source}) > 1 for source in set(sources)
    )


def token_shift(flow: Flow) -> bool:
    """A value is mixed with its own of an earlier position."""
    return bool(flow.all("shift"))


def grouped_queries(flow: Flow) -> bool:
    """Several query heads share one head of keys and values."""
    return any(flow.type(q).heads > flow.type(k).heads for q, k, *_ in map(flow.operands, flow.all("attend")))


def latent_keys(flow: Flow) -> bool:
    """Keys and values are made from one and the same narrow map of the stream."""
    through = POINTWISE | REDUCE | SHAPE | FIXED
    stream = max(flow.type(flow.operands(v)[0]).width for v in flow.all("unembed"))
    for attend in flow.all("attend"):
        down = []
        for vertex in flow.operands(attend)[1:3]:
            maps = [flow.operands(v)[0] for v in flow.back(vertex, PREPARED) if flow.op(v) == "linear"]
            narrow = [v for v in maps if flow.type(v).width < stream]
            down.append({s for v in narrow for s in flow.sources(v, through) if flow.op(s) == "linear"})
        if down[0] & down[1]:
            return True
    return False


def window(flow: Flow) -> bool:
    """Some attention sees the last few positions alone."""
    return any(window_of(mask) is not None for mask in _slots(flow, "mask"))


def local_and_global(flow: Flow) -> bool:
    """Some attention sees a window, and some sees everything."""
    return window(flow) and any(allows_everything(mask) for mask in _slots(flow, "mask"))


def sparse_mask(flow: Flow) -> bool:
    """Some attention leaves out earlier positions, and not by a window."""
    return any(not allows_everything(mask) and window_of(mask) is None for mask in _slots(flow, "mask"))


def sink(flow: Flow) -> bool:
    """A logit takes weight and gives nothing."""
    return any(flow.attrs(v).get("sink") for v in flow.all("attend"))


def top_logits(flow: Flow) -> bool:
    """Only the largest logits of a query count."""
    return any(flow.attrs(v).get("top") for v in flow.all("attend"))


def _slots(flow: Flow, slot: str) -> list[Any]:
    return [flow.attrs(v).get(slot) for v in flow.all("attend")]


def recurrence(flow: Flow) -> bool:
    """A state is carried along the sequence, and fades or is written over; a plain sum of the past is none."""
    scans = (flow.graph.nodes[v]["operands"][0] for v in flow.all("scan"))
    return any(decay != ("number", 1.0) for decay in scans) or bool(flow.all("linear_attend", "delta_attend"))


# The table ----------------------------------------------------------------------------------------------------------


def _has(*ops: str) -> Callable[[Flow], bool]:
    return lambda flow: bool(flow.all(*ops))


def _optimizer(name: str) -> Callable[[Flow], bool]:
    return lambda flow: flow.program.recipe.optimizer.name == name


def tied(flow: Flow) -> bool:
    """The logits are made by the weights of the embedding."""
    return any(flow.attrs(v)["tied"] for v in flow.all("unembed"))


def shared_layers(flow: Flow) -> bool:
    """One set of weights runs more than once in depth."""
    return any(
        node.op == "repeat" and node.attrs.get("shared") and node.attrs["times"] > 1
        for unit in all_units(flow.program)
        for node in unit.nodes
    )


TRAITS: tuple[Trait, ...] = (
    Trait("rotary positions", "Su et al. 2021, arXiv:2104.09864", rotary),
    Trait("relative positions", "Shaw et al. 2018, arXiv:1803.02155", relative),
    Trait("learned positions", "Radford et al. 2019", learned_positions),
    Trait("waves", "Vaswani et al. 2017, arXiv:1706.03762", waves),
    Trait("squared ReLU", "So et al. 2021, arXiv:2109.08668", squared_relu),
    Trait("gated activation", "Shazeer 2020, arXiv:2002.05202", gated),
    Trait("short convolution", "So et al. 2021, arXiv:2109.08668", short_convolution),
    Trait("token shift", "Peng et al. 2023, arXiv:2305.13048", token_shift),
    Trait("QK-norm", "Henry et al. 2020, arXiv:2010.04245", qk_norm),
    Trait("RMS norm", "Zhang and Sennrich 2019, arXiv:1910.07467", rms_norm),
    Trait("layer norm", "Ba et al. 2016, arXiv:1607.06450", layer_norm),
    Trait("grouped queries", "Ainslie et al. 2023, arXiv:2305.13245", grouped_queries),
    Trait("latent keys", "DeepSeek-AI 2024, arXiv:2405.04434", latent_keys),
    Trait("window", "Beltagy et al. 2020, arXiv:2004.05150", window),
    Trait("local and global", "Beltagy et al. 2020, arXiv:2004.05150", local_and_global),
    Trait("sparse mask", "Child et al. 2019, arXiv:1904.10509", sparse_mask),
    Trait("sink", "Xiao et al. 2023, arXiv:2309.17453", sink),
    Trait("top logits", "Gupta et al. 2021, arXiv:2106.06899", top_logits),
    Trait("recurrence", "Martin and Cundy 2017, arXiv:1709.04057", recurrence),
    Trait("linear attention", "Katharopoulos et al. 2020, arXiv:2006.16236", _has("linear_attend")),
    Trait("delta rule", "Yang et al. 2024, arXiv:2406.06484", _has("delta_attend")),
    Trait("experts", "Shazeer et al. 2017, arXiv:1701.06538", _has("experts")),
    Trait("shared layers", "Dehghani et al. 2018, arXiv:1807.03819", shared_layers),
    Trait("tied output", "Press and Wolf 2016, arXiv:1608.05859", tied),
    Trait("Muon", "Jordan et al. 2024", _optimizer("muon")),
    Trait("Lion", "Chen et al. 2023, arXiv:2302.06675", _optimizer("lion")),
)
