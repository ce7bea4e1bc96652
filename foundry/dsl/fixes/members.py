"""Fixes for dotted names: modules of PyTorch, `self`, and methods of tensors, in the words of this language."""

from __future__ import annotations

from collections.abc import Iterator

from foundry.dsl.diagnostics import Fix
from foundry.dsl.fixes.words import Words
from foundry.dsl.synonyms import functions_here

# What stands before a dot without meaning anything here.
_PLACES = {"self", "nn", "F", "torch", "functional", "math", "np", "numpy", "jax", "jnp", "lax", "tl", "optim", "model"}
# Classes of torch.nn, whose arguments give shapes that are inferred here: what is left of the call.
_MODULES = {
    "Linear": (1, "linear"), "Embedding": (0, "embed"), "Conv1d": (None, "conv"), "LayerNorm": (None, "layernorm"),
    "RMSNorm": (None, "rmsnorm"), "GELU": (None, "gelu"), "SiLU": (None, "silu"), "ReLU": (None, "relu"),
    "Tanh": (None, "tanh"), "Sigmoid": (None, "sigmoid"), "Identity": (None, "identity"),
}  # fmt: skip
_SIZES = {"width", "shape", "size", "dim"}
_METHODS = {"mean", "sum", "max", "min", "abs", "exp", "log", "sqrt", "rsqrt", "sigmoid", "tanh", "relu", "softmax",
            "logsumexp", "sin", "cos", "floor", "detach"}  # fmt: skip


def member(words: Words, index: int) -> Iterator[Fix]:
    """What `a.b` means here."""
    first = index - 1
    while words.text(first - 1) == "." and first > 1:
        first -= 2
    last = index + 1
    while words.text(last + 1) == "." and words.text(last) in _PLACES:
        last += 2
    name = words.text(last)
    if words.text(first) in _PLACES and name:
        yield from _module(words, first, last, name)
    elif first == index - 1 and name:
        yield from _method(words, index, name)


def _module(words: Words, first: int, last: int, name: str) -> Iterator[Fix]:
    """`nn.Linear(64, 128)`, `F.silu(x)`, `self.mixer`"""
    opener = last + 1
    closer = words.partner.get(opener) if words.text(opener) == "(" else None
    if words.text(first) != "self" and name in _MODULES and closer is not None:
        kept, new = _MODULES[name]
        if kept is None:
            yield Fix(f"write `{new}`", (words.edit(first, closer + 1, new),))
            return
        at = opener + 1
        for _ in range(kept):
            at = words.right_edge(at) + 1
        stop = closer if name == "Embedding" else words.right_edge(at)
        call = f"{new}({words.source(at, stop)})"
        yield Fix(f"write `{call}`", (words.edit(first, closer + 1, call),))
        return
    known = name if words.text(first) == "self" else next(iter(functions_here(name)), name)
    yield Fix(f"write `{known}`", (words.edit(first, last + 1, known),))


def _method(words: Words, index: int, name: str) -> Iterator[Fix]:
    """`x.shape[-1]`, `x.mean(-1)`"""
    first = words.operand_before(index)
    stop = index + 2
    if words.text(stop) in ("(", "[") and stop in words.partner:
        stop = words.partner[stop] + 1
    if first == index or not (name in _SIZES or name in _METHODS):
        return
    function = "width" if name in _SIZES else "stop" if name == "detach" else name
    call = f"{function}({words.bare(first, index)})"
    yield Fix(f"write `{call}`", (words.edit(first, stop, call),))
