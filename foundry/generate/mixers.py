"""Sequence mixers: the prelude's, and attention, memories and gated filters written out."""

from __future__ import annotations

from collections.abc import Callable

from foundry.dsl.syntax import Call, Expr, Function, Name
from foundry.generate.draw import Draw, weighted
from foundry.generate.genes import head_counts
from foundry.generate.parts import random_filter, random_position, ready, setting, small_part, use
from foundry.generate.trees import Value, applied, block, call, expr, fn, op
from foundry.generate.vocabulary import callees, shipped, unless_withheld, withheld

Bindings = list[tuple[str, Expr]]


def random_mixer(draw: Draw, width: int = 64, depth: int = 1) -> Expr:
    """A sequence mixer from seq[width] to itself: attention, or one of the others, or one written out."""
    return unless_withheld(lambda: _random_mixer(draw, width))


def _random_mixer(draw: Draw, width: int) -> Expr:
    others = [c for c in callees(shipped(), "mixer", "prelude") if ready(c) and c.name != "attention"]
    options: list[tuple[float, Callable[[], Expr]]] = [
        (0 if withheld("attention") else 3, lambda: random_attention(draw, width)),
        (3 if others else 0, lambda: use(draw, draw.choice(others), width)),
        (1, lambda: gated_mixer(draw, width)),
        (0.7, lambda: written_attention(draw, width)),
        (0.7, lambda: memory(draw, width)),
    ]
    return weighted(draw, options)()


def random_attention(draw: Draw, width: int = 64, rotary: bool = True) -> Call:
    """`attention(heads = …, …)` with some of what it can take."""
    heads = _heads(draw, width)
    given: dict[str, Value] = {"heads": heads}
    if heads > 1 and draw.chance(0.4):
        given["kv_heads"] = draw.choice([d for d in range(1, heads) if heads % d == 0])
    if rotary:
        given["pos"] = call("rope", theta=draw.choice((1e4, 1e3, 1e5)))
        if draw.chance(0.2):
            given["pos"] = random_position(draw, width)
    for name, probability in (("norm", 0.25), ("short", 0.3), ("score", 0.2), ("mask", 0.15)):
        if draw.chance(probability):
            value = setting(draw, "attention", name, width)
            assert value is not None
            given[name] = value
    return call("attention", **given)


def _heads(draw: Draw, width: int) -> int:
    return draw.choice([h for h in head_counts(width) if h <= 8] or [1])


def _split(source: str, channels: int, heads: int, through: Expr | None = None) -> Expr:
    """`through(split_heads(linear(source, channels), heads))`."""
    cut = call("split_heads", call("linear", source, channels), heads)
    return cut if through is None else applied(through, cut)


def _per_head(like: str, start: float, source: str = "x") -> Expr:
    """One number per head of `like`, made from a sequence: about `start` at first."""
    made = call("split_heads", call("linear", source, call("head_count", like), bias=1), call("head_count", like))
    return op(made, "+", start) if start else made


# Softmax attention written out ------------------------------------------------------------------------------------


def written_attention(draw: Draw, width: int = 64) -> Function:
    """Attention as a function in place, with what `attention` has no argument for: a sink, the largest logits alone,
    keys and values from a latent with a rotary part of their own, or logits that forget."""
    heads = _heads(draw, width)
    pos: Expr | None = None if withheld("rope") else call("rope", theta=draw.choice((1e4, 1e3, 1e5)))
    latent = draw.chance(0.35) and not withheld("mla")
    bindings = _latent(draw, width, heads, pos) if latent and pos else _projected(draw, width, heads, pos)
    given: dict[str, Value] = {}
    if draw.chance(0.4):
        given["sink"] = sink(draw, "q")
    if draw.chance(0.35):
        given["top"] = draw.choice((16, 8, 32, 4))
    if draw.chance(0.25):
        bindings.append(("past", call("scan", 1, call("softplus", _per_head("q", draw.choice((-2, -1, -3)))))))
        given["score"] = fading_score()
    elif draw.chance(0.2):
        given["score"] = small_part(draw, "score")
    out = call("merge_heads", call("attend", "q", "k", "v", **given))
    return fn(("x",), block(bindings, call("linear", out, call("width", "x"))))


def _projected(draw: Draw, width: int, heads: int, pos: Expr | None) -> Bindings:
    """Queries, keys and values as `attention` makes them."""
    groups = draw.choice([d for d in range(heads, 0, -1) if heads % d == 0])
    norm = small_part(draw, "norm") if draw.chance(0.3) and not withheld("attention") else None
    made = {}
    for name, count in (("q", heads), ("k", groups), ("v", groups)):
        made[name] = _split("x", width * count // heads, count, norm if name != "v" else None)
        if pos is not None and name != "v":
            made[name] = applied(pos, made[name])
    return [*made.items()]


def _latent(draw: Draw, width: int, heads: int, pos: Expr) -> Bindings:
    """Keys and values from a few channels, and one rotary key for all heads. DeepSeek-AI 2024, arXiv:2405.04434."""
    rank = 8 * max(1, round(width * draw.choice((0.5, 0.25, 0.75)) / 8))
    turned = draw.choice((8, 4, 16))
    count = call("head_count", "plain")
    latent = call("linear", "x", rank)
    rotary = call("split_heads", call("linear", "x", op(turned, "*", count)), count)
    return [
        ("latent", applied(small_part(draw, "norm"), latent) if draw.chance(0.7) else latent),
        ("plain", _split("x", width, heads)),
        ("q", call("concat", "plain", applied(pos, rotary))),
        ("k", call("concat", _split("latent", width, heads), applied(pos, _split("x", turned, 1)))),
        ("v", _split("latent", width, heads)),
    ]


def sink(draw: Draw, queries: str, source: str = "x") -> Expr:
    """A logit that takes weight and gives nothing: 0, or one number per head, learned or made from the token.

    queries: their name. source: the name of the sequence that it is made from, "" where there is none.
    Xiao et al. 2023, arXiv:2309.17453; Miller 2023, "Attention is off by one".
    """
    learned = applied(fn(("x",), call("param", draw.choice((0, 1, -1)), per="head")), queries)
    options: list[tuple[float, Expr]] = [(2, learned), (1, expr(0))]
    if source:
        options.append((0.5, _per_head(queries, 0, source)))
    return weighted(draw, options)


def fading_score() -> Function:
    """Logits that fall by what the tokens between query and key say: Lin et al. 2025, arXiv:2503.02130.

    It reads `past`, the sum of that up to each token.
    """
    return fn(("s",), op(op("s", "+", call("key", "past")), "-", call("query", "past")))


# Memories: recurrences on a matrix per head, or on channels ----------------------------------------------------------


def memory(draw: Draw, width: int = 64) -> Function:
    """Linear attention or the delta rule, which forgets in one of the ways of `random_decay`."""
    heads = _heads(draw, width)
    delta = draw.chance(0.4)
    short = random_filter(draw) if draw.chance(0.4) else None
    act = small_part(draw, "activation") if draw.chance(0.6) else None
    made = {name: _split("x", width, heads, short) for name in ("q", "k", "v")}
    if act is not None:
        made["q"], made["k"] = applied(act, made["q"]), applied(act, made["k"])
    if not delta and draw.chance(0.3):
        pos = call("rope", theta=draw.choice((1e4, 1e3)))
        made["q"], made["k"] = applied(pos, made["q"]), applied(pos, made["k"])
    bindings: Bindings = [("q", made["q"])]
    if delta:  # a key of length 1, so that a step replaces what the memory holds and never overshoots
        bindings += [("key_of", made["k"]), ("k", op("key_of", "*", _length("key_of"))), ("v", made["v"])]
    else:
        bindings += [("k", op(made["k"], "/", call("sqrt", call("width", "q")))), ("v", made["v"])]
    positional: list[Value] = ["q", "k", "v"]
    if delta:
        bindings.append(("beta", call("sigmoid", _per_head("k", draw.choice((0, 1))))))
        positional.append("beta")
    decay = random_decay(draw, per_channel=not delta)
    named: dict[str, Value] = {} if decay is None else {"decay": decay}
    read = call("delta_attend" if delta else "linear_attend", *positional, **named)
    out: Expr = call("merge_heads", applied(small_part(draw, "norm"), read))
    if draw.chance(0.6):
        gate = applied(small_part(draw, "activation"), call("linear", "x", width))
        bindings.append(("gate", gate))
        out = op("gate", "*", out)
    return fn(("x",), block(bindings, call("linear", out, call("width", "x"))))


def _length(name: str) -> Expr:
    """One over the length of a key."""
    return call("rsqrt", op(call("sum", op(name, "*", name)), "+", 1e-6))


def random_decay(draw: Draw, per_channel: bool, keys: str = "k", source: str = "x") -> Expr | None:
    """What a memory keeps from one token to the next, between 0 and 1: a constant for all heads or one for each,
    learned per head, or a gate that the token opens per head or per channel of the key. None keeps all.

    keys: the name of the keys. source: the name of the sequence that gates are made from.
    """
    start = draw.choice((3, 2, 4))
    learned = call("sigmoid", call("param", start, per="head"))
    gate = call("linear", source, op(call("head_count", keys), "*", call("width", keys)), bias=1)
    options: list[tuple[float, Expr | None]] = [
        (2, call("sigmoid", _per_head(keys, start, source))),
        (1, applied(fn(("x",), learned), keys)),
        (1, op(1, "-", op(2, "**", op(-draw.choice((3, 4, 5)), "-", call("head_index", keys))))),
        (0.7, expr(draw.choice((0.95, 0.9, 0.98, 0.99)))),
        (0.7, None),
    ]
    if per_channel:
        options.append((1.5, call("sigmoid", op(call("split_heads", gate, call("head_count", keys)), "+", start))))
    return weighted(draw, options)


def gated_mixer(draw: Draw, width: int = 64) -> Function:
    """A gate times a filtered value, through a state or a short convolution."""
    inner = 8 * max(1, round(width * draw.choice((1, 1.5, 0.5)) / 8))
    bindings: Bindings = [
        ("gate", applied(small_part(draw, "activation"), call("linear", "x", inner))),
        ("value", applied(random_filter(draw), call("linear", "x", inner))),
    ]
    mixed: Expr = Name("value")
    if draw.chance(0.6):
        forget = call("linear", "x", inner, bias=1)
        if inner == width and draw.chance(0.4):
            forget = call("param", draw.choice((2, 1, 3)), per="channel")
        bindings.append(("forget", call("sigmoid", forget)))
        bindings.append(("state", call("scan", "forget", op(op(1, "-", "forget"), "*", "value"))))
        mixed = Name("state")
    if draw.chance(0.3):
        mixed = applied(small_part(draw, "norm"), mixed)
    return fn(("x",), block(bindings, call("linear", op("gate", "*", mixed), call("width", "x"))))
