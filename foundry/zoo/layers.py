"""A stack of layers as one expression of a genome, and where the emitted model keeps each of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

import torch

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program

MARK = ".mixer.up.weight"  # what every layer of the probe has once


def arranged(kinds: Sequence[str]) -> tuple[str, list[str]]:
    """kinds: the name of each layer's block, the first layer first.

    Returns the expression that applies them in this order, such as "4 * (5 * local_block >> full_block) >> 2 *
    local_block", and for each layer how the names of its weights begin, such as "groups.0.local_blocks.3". The stack
    has to stand between the embedding and a norm called `norm` where kinds come back without a period; else anywhere.
    """
    expression = _expression(list(kinds))
    return expression, list(_prefixes(expression, tuple(dict.fromkeys(kinds))))


def _expression(kinds: list[str]) -> str:
    """Whole periods, then the beginning of one; runs of equal layers where nothing comes back."""
    for period in range(1, len(kinds) // 2 + 1):
        if all(kind == kinds[n % period] for n, kind in enumerate(kinds)):
            times, rest = divmod(len(kinds), period)
            inside = _runs(kinds[:period])
            whole = f"{times} * ({inside})" if period > 1 else f"{times} * {inside}"
            return f"{whole} >> {_runs(kinds[:rest])}" if rest else whole
    return _runs(kinds)


def _runs(kinds: list[str]) -> str:
    runs = [(kind, len(list(run))) for kind, run in groupby(kinds)]
    return " >> ".join(kind if times == 1 else f"{times} * {kind}" for kind, times in runs)


@lru_cache(maxsize=64)
def _prefixes(expression: str, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The compiler itself says what it calls the layers, of a small model with blocks of these names."""
    blocks = "".join(
        f"{kind}(x) = {{\n  x = x + mixer(norm(x), hidden = {n + 2});\n  x + norm(x)\n}};\n"
        for n, kind in enumerate(kinds)
    )
    text = (
        "@foundry(1);\nnorm = rmsnorm(eps = 1e-5);\n"
        "mixer(x, hidden) = {\n  up = linear(x, hidden);\n  down = linear(up, width(x));\n  down\n};\n"
        f"{blocks}model = embed(vocab = 5, width = 4) >> {expression} >> norm >> unembed;\n"
    )
    with torch.device("meta"):
        names = load(emit(load_program(text))).Model().state_dict()
    return tuple(name.removesuffix(MARK) for name in names if name.endswith(MARK))
