"""Learning rates that hold across widths: those of matrices go down with their inputs.

Yang et al. 2022, arXiv:2203.03466; Everett et al. 2024, arXiv:2407.05872, where the initial weights are as here.
"""

from torch import nn


def by_inputs(parameters, model, width):
    """Groups of parameters, each after the factor on its rate: `width` over the inputs of a matrix, 1 for the rest."""
    inputs = {m.weight: m.in_features for m in model.modules() if isinstance(m, nn.Linear)}
    groups: dict = {}
    for p in parameters:
        groups.setdefault(width / inputs[p] if p in inputs else 1, []).append(p)
    return groups.items()
