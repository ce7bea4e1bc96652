"""Layers of which some see a window and others everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from foundry.dsl.render import visible
from foundry.zoo.failure import ZooError
from foundry.zoo.family import Config
from foundry.zoo.fields import whole
from foundry.zoo.layers import arranged

LOCAL, FULL = "sliding_attention", "full_attention"
BLOCKS = {LOCAL: "local_block", FULL: "full_block"}


@dataclass(frozen=True)
class Windows:
    """parameter: what a block takes more, or "". argument: what its attention is called with more. blocks: the
    definitions of the two kinds, or "". stack, places: see `arranged`."""

    parameter: str
    argument: str
    blocks: str
    stack: str
    places: list[str]


def layer_types(config: Config, local: Callable[[int], bool]) -> list[str]:
    """What each layer sees, as `layer_types` says it; where it is absent, `local` tells it of a layer's number.

    Raises:
        ZooError: it is no list, of another length, or has a word that is not known here.
    """
    count, said = whole(config, "num_hidden_layers"), config.get("layer_types")
    if said is None:
        return [LOCAL if local(n) else FULL for n in range(count)]
    if not isinstance(said, list) or len(said) != count:
        raise ZooError(f"config.json: layer_types must have one word for each of num_hidden_layers, {count}")
    for word in said:
        if word not in (LOCAL, FULL):
            raise ZooError(f"config.json: layer_types has {visible(repr(word)[:60])}; known here: {LOCAL}, {FULL}")
    return list(said)


def windows(config: Config, types: list[str]) -> Windows:
    """The blocks for what each layer sees. The size is that of `sliding_window`, where a layer has one.

    Raises:
        ZooError: there is no size.
    """
    mask = f"window(size = {whole(config, 'sliding_window')})" if LOCAL in types else "everything"
    if len(set(types)) == 1:
        stack, places = arranged(len(types) * ["block"])
        return Windows("", f", mask = {mask}" if LOCAL in types else "", "", stack, places)
    stack, places = arranged([BLOCKS[kind] for kind in types])
    blocks = f"local_block = block(mask = {mask});\nfull_block = block(mask = everything);\n\n"
    return Windows(", mask", ", mask = mask", blocks, stack, places)


def told(config: Config, first: int = 28) -> list[str]:
    """The layers of Qwen: none has a window unless `use_sliding_window` says so, then those from
    `max_window_layers` on."""
    if config.get("use_sliding_window") is not True or config.get("sliding_window", 4096) is None:
        return [FULL] * whole(config, "num_hidden_layers")
    start = whole(config, "max_window_layers", first, least=0)
    return layer_types(config, lambda n: n >= start)
