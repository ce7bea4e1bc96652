"""Weights in emitted classes: what their attributes are called, and the expressions that make them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from foundry.compiler.emit_text import Text
from foundry.compiler.names import Names
from foundry.compiler.parts import told_apart
from foundry.dsl.program import Node, Unit
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.rules import lookup_shape, param_shape


def word(node: Node, unit: Unit) -> str:
    """What to call the weights, or the part, of a node of a unit."""
    if node.op == "unembed":
        return "unembed"
    if node.op == "experts":
        return "experts"
    if node.op == "repeat":
        applied = "" if node.bound or node.name == "layers" else node.name  # a binding's name is that of the result
        single = applied or (node.unit.name if node.unit is not None else "") or "layer"
        return single if node.attrs.get("shared") or single.endswith("s") else single + "s"
    if node.op == "embed" and (len(node.name) < 2 or node.name.endswith("_embed")):
        return "embed" if node.tensors[0].type.is_tokens else "positions"
    if node.name:
        return node.name
    if node.op == "linear" and node is unit.result:
        return "out"
    return node.unit.name if node.op == "call" and node.unit else {"param": "weight"}.get(node.op, node.op)


def attribute_names(parts: list[tuple[Node, str, str, str]], unit: Unit, names: Names) -> list[str]:
    """Distinct names for the parts of a class (node, slot, word, expression).

    Where several want one word they are called by what they come before or after (`attention_norm`, `post_mlp_norm`),
    and where that does not tell them apart they are numbered.
    """
    words: list[str] = []
    first: dict[str, str] = {}
    for node, _, wanted, _ in parts:  # the convolution after a linear map `v` is `v_conv`
        other = first.setdefault(wanted, node.op) != node.op and node.op in PRIMITIVES
        words.append(f"{wanted}_{node.op}" if other else wanted)
    words = told_apart([node for node, *_ in parts], words, unit)
    counts, seen, found = Counter(words), Counter[str](), []
    for wanted in words:
        seen[wanted] += 1
        numbered = f"{wanted}_{seen[wanted]}" if counts[wanted] > 1 else wanted
        found.append(numbered if wanted == "unembed" else names.claim(numbered))
    return found


def weight(node: Node, number: Callable[[str], Text]) -> str:
    """The expression that makes the weights of a primitive. `number` gives the text of one of its numbers."""
    match node.op:
        case "linear":
            bias = "" if node.attrs["bias"] else ", bias=False"
            return f"nn.Linear({number('width').code}, {number('out').code}{bias})"
        case "unembed":
            bias = "" if node.attrs["bias"] else ", bias=False"
            return f"nn.Linear({number('width').code}, {number('vocab').code}{bias})"
        case "embed":
            return f"nn.Embedding({number('vocab').code}, {number('width').code})"
        case "conv":
            return f"Conv({number('width').code}, {number('kernel').code})"
        case "param" if not node.attrs["learn"]:
            return _filled(number, param_shape(node.type), node.type.has("head"), node.type.has("channel"))
        case "lookup":
            return f"nn.Parameter({_filled(number, lookup_shape(node.attrs), node.type.has('head'), True)})"
    filled = _filled(number, param_shape(node.type), node.type.has("head"), node.type.has("channel"))
    return f"nn.Parameter({filled})"


def _filled(number: Callable[[str], Text], shape: tuple[int, ...], heads: bool, width: bool) -> str:
    """The initial value of learned numbers: a tensor full of one of them. `heads`, `width`: whether it has the axis."""
    init = number("init").code
    sizes = ["1"] * len(shape)
    if heads:
        sizes[0] = number("heads").code
    if width:
        sizes[-1] = number("width").code
    constant = {"1": "ones", "1.0": "ones", "0": "zeros", "0.0": "zeros"}.get(init)
    if constant and shape:
        return f"torch.{constant}({', '.join(sizes)})"
    decimal = f"{init}.0" if re.fullmatch(r"-?\d+", init) else init
    if not re.match(r"-?\d", init):  # an argument, which may be a whole number
        decimal = f"float({init})"
    if not shape:
        return f"torch.tensor({decimal})"
    return f"torch.full(({', '.join(sizes)}{',' if len(sizes) == 1 else ''}), {decimal})"
