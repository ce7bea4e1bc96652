"""How weights lie in memory while one token at a time is decoded on a processor.

A token's product with a matrix takes as long as reading the matrix. BLAS reads one with many more rows than columns up
to twice as fast by its columns (measured on one core: 16 against 9.5 GB/s for 1536 x 576, 17 against 10 for 49152 x
576, but 5 against 9 for 576 x 576), and maps that read the same input, like q, k and v, are one such matrix together.
The model's code, names, shapes and values stay as they are.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TALL = 1.5  # rows for each column from which on columns are better


def for_decoding(model: nn.Module) -> nn.Module:
    """The same model, in eval mode, laid out for decoding where it pays: float32 on a processor.

    The last thing to do to a model: what moves, copies or trains it afterwards would miss the matrices made here.
    """
    model.eval()
    if any(p.device.type != "cpu" or p.dtype != torch.float32 for p in model.parameters()):
        return model
    groups = maps_of_one_input(model)
    widest = max((module.out_features for module in model.modules() if isinstance(module, nn.Linear)), default=0)
    for module in model.modules():
        # An embedding is the matrix behind the logits as well where no linear map gives that many.
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Embedding) and module.num_embeddings > widest):
            module.weight.data = by_columns(module.weight.data)
    for group in groups:
        Together(group)
    return model


def by_columns(weight: Tensor) -> Tensor:
    """The same matrix; a tall one lies column by column."""
    rows, columns = weight.shape
    return weight.t().contiguous().t() if rows >= TALL * columns else weight.contiguous()


@torch.inference_mode()
def maps_of_one_input(model: nn.Module) -> list[list[nn.Linear]]:
    """Linear maps, without biases, that read one and the same tensor when the model reads a token."""
    inputs: list[tuple[Tensor, list[nn.Linear]]] = []  # in a list, so that none is freed and its place used again
    met: set[nn.Linear] = set()

    def note(module: nn.Module, arguments: tuple) -> None:
        assert isinstance(module, nn.Linear)
        if module in met or module.bias is not None:
            return
        met.add(module)
        for x, maps in inputs:
            if x is arguments[0]:
                maps.append(module)
                return
        inputs.append((arguments[0], [module]))

    hooks = [m.register_forward_pre_hook(note) for m in model.modules() if type(m) is nn.Linear]
    model(torch.zeros(1, 1, dtype=torch.long))
    for hook in hooks:
        hook.remove()
    return [maps for _, maps in inputs if len(maps) > 1]


class Together:
    """Linear maps of one input as one product: whichever is asked first computes it for all.

    Their weights become parts of one matrix. A map that is given another input than the others computes in vain what
    they would give for it, and nothing else.
    """

    def __init__(self, maps: list[nn.Linear]):
        self.sizes = [m.out_features for m in maps]
        self.weight = by_columns(torch.cat([m.weight.data for m in maps]))
        self.x: Tensor | None = None
        self.parts: tuple[Tensor, ...] = ()
        for n, (linear, weight) in enumerate(zip(maps, self.weight.split(self.sizes), strict=True)):
            linear.weight.data = weight
            linear.forward = partial(self.part, n)  # type: ignore[method-assign]

    def part(self, n: int, x: Tensor) -> Tensor:
        """What the n-th map gives for x."""
        if x is not self.x:
            self.x, self.parts = x, F.linear(x, self.weight).split(self.sizes, -1)
        return self.parts[n]
