"""Whole genomes that nobody would write: grown from the registry, small, and quick to build."""

from __future__ import annotations

from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.syntax import Definition, Expr, Genome, Name, Parameter
from foundry.dsl.types import TOKENS, seq
from foundry.generate.draw import Draw, several
from foundry.generate.functions import FUNCTIONS, body, function, mixed, part
from foundry.generate.grow import Growth, value
from foundry.generate.learned import LEARNED
from foundry.generate.place import Place, name
from foundry.generate.policy import Policy
from foundry.generate.recipes import random_optimizer, random_recipe
from foundry.generate.slots import SETTINGS, loss, progress
from foundry.generate.tame import SMALL, TAME, Range
from foundry.generate.trees import Value, applied, block, call, chain, define, op
from foundry.generate.ways import Home

# What mixes positions, and what chooses experts; attention most often, since scores and masks come with it.
MIXERS = (
    "attend",
    *(n for n, p in PRIMITIVES.items() if p.kind == "sequence" and n != "position"),
    "experts",
    "attend",
)
PRODUCTIONS = LEARNED | FUNCTIONS


def growth(draw: Draw, policy: Policy) -> Growth:
    """A genome's dice: what it likes, and what it does without."""
    names = list(PRIMITIVES)
    liked = frozenset(draw.choice(names) for _ in range(draw.integer(0, policy.favourites)))
    off: frozenset[str] = frozenset()
    if draw.chance(0.5):
        off = frozenset(n for n in (*names, *FUNCTIONS) if n not in liked and draw.chance(policy.off))
    return Growth(draw, policy, PRODUCTIONS, SETTINGS, off, liked, left=policy.nodes)


def wild_tree(draw: Draw, policy: Policy) -> Genome:
    """The tree of a genome: what embeds, a few layers, what unembeds, and perhaps a recipe."""
    g = growth(draw, policy)
    width, vocab = draw.choice(policy.widths), draw.choice(policy.vocabularies)
    place = Place(Home("model", width))
    layers = several(draw, lambda: _stage(g, width, place), policy.layers, 0.6)
    longest = draw.choice(policy.longest) if draw.chance(0.15) else 0
    recipe = _recipe(g, vocab)
    if longest or draw.chance(0.4):
        model = _spelled(g, width, vocab, longest, layers)
    else:
        ends = [part(g, seq(width), place)] if draw.chance(0.5) else []
        output = call("unembed", tied=1) if draw.chance(0.5) else call("unembed")
        model = Definition("model", None, chain(call("embed", vocab=vocab, width=width), *layers, *ends, output))
    whole = (*g.definitions, model, *([define("recipe", None, recipe)] if recipe else []))
    return Genome(1, whole)


def _stage(g: Growth, width: int, place: Place) -> Expr:
    """A layer with a residual around it, or copies of it."""
    g.left = g.policy.nodes // 2
    layer = _layer(g, width, place)
    form = g.draw.choice(("once", "copies", "shared"))
    copies = op(g.draw.choice((2, 3)), "*", layer)
    return {"once": layer, "copies": copies, "shared": call("share", copies)}[form]


def _layer(g: Growth, width: int, place: Place) -> Expr:
    x = seq(width)
    if g.draw.chance(0.2):
        return function(g, x, x, TAME, g.policy.depth, place)
    inner = Place(place.home, (name("x", x),), x)
    norm = part(g, x, inner) if g.draw.chance(0.3) else Name("unitnorm")
    mixers = [mixer for mixer in MIXERS if mixer not in g.off]
    held = (mixed(g, g.draw.choice(mixers), g.policy.depth - 1, inner),) if mixers and g.draw.chance(0.7) else ()
    branch = body(g, x, SMALL, g.policy.depth, inner, held)
    made = block([("x", applied(norm, "x"))], branch)
    defined = g.name("layer")
    g.definitions.append(Definition(defined, (Parameter("x"),), op("x", "+", made)))
    return Name(defined)


def _spelled(g: Growth, width: int, vocab: int, longest: int, layers: list[Expr]) -> Definition:
    """`model(tokens) = …`, where more than one layer after the other is in sight."""
    start: Expr = call("embed", "tokens", vocab=vocab, width=width)
    if longest:
        start = op(start, "+", call("embed", call("position", "tokens"), vocab=longest, width=width))
    tokens = name("tokens", TOKENS, Range(0, vocab - 1))
    place = Place(Home("model", width), (tokens, name("x", seq(width))), TOKENS, outer=True)
    bindings: list[tuple[str, Expr]] = [("x", start), ("x", chain("x", *layers))] if layers else [("x", start)]
    g.left = g.policy.nodes // 3
    wide = Place(Home("model", vocab), place.leaves, TOKENS, outer=True)
    if g.draw.chance(0.4):
        bindings.append(("x", call("penalty", "x", op(0.1, "*", _second_loss(g, wide)))))
    if g.draw.chance(0.4):
        bindings.append(("x", op("x", "+", body(g, seq(width), SMALL, g.policy.depth - 1, place))))
    if g.draw.chance(0.3):
        result = value(g, seq(vocab), TAME, g.policy.depth - 1, wide)
        result = op(call("unembed", "x"), "+", result)
    else:
        tied: dict[str, Value] = {"tied": 1} if g.draw.chance(0.6) else {}
        result = call("unembed", applied(part(g, seq(width), place), "x"), **tied)
    return Definition("model", (Parameter("tokens"),), block(bindings, result))


def _second_loss(g: Growth, place: Place) -> Expr:
    """One number per token, made with the model's own cross entropy where that fits: what a penalty lessens."""
    names = list(PRIMITIVES)
    wish = (g.draw.choice(names), "cross_entropy", g.draw.choice(names))
    return value(g, seq(1), TAME, 3, place, wish[g.draw.integer(0, 1) :])


def _recipe(g: Growth, vocab: int) -> Expr | None:
    """How it is trained: nothing said, as people do, or grown."""
    form = g.draw.choice(("none", "grown", "usual", "grown"))
    if form == "none":
        return None
    if form == "usual":
        return random_recipe(g.draw)
    given: dict[str, Value] = {}
    if g.draw.chance(0.3):
        given["optimizer"] = random_optimizer(g.draw)
    if g.draw.chance(0.6):
        given["loss"] = loss(g, vocab)
    for kind, wanted in (("schedule", Range(0, 2)), ("context", Range(4, 64)), ("difficulty", Range(0.1, 1))):
        if g.draw.chance(0.5):
            given[kind] = progress(g, wanted)
    return call("train", **given)
