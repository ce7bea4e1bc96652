"""What parts of a unit are called where several would have one name: by what they come before or after."""

from __future__ import annotations

from foundry.dsl.program import Node, Unit
from foundry.dsl.registry import PRIMITIVES

CUTS = ("split_heads", "merge_heads", "slice")  # what a norm of q may stand behind


def told_apart(parts: list[Node], words: list[str], unit: Unit) -> list[str]:
    """The words of a unit's parts, those that several share replaced where their neighbours tell them apart.

    A norm is `mlp_norm` before an mlp, `post_mlp_norm` after it, and `q_norm` after the linear map q.
    """
    known = {part: word for part, word in zip(parts, words, strict=True) if words.count(word) == 1}
    found = list(words)
    for wanted in {word for word in words if words.count(word) > 1}:
        same = [n for n, word in enumerate(words) if word == wanted]
        told = [_by_neighbours(parts[n], wanted, unit, known) for n in same]
        if all(told) and len(set(told)) == len(told) and not set(told) & set(words):
            for n, name in zip(same, told, strict=True):
                found[n] = name
    return found


def _by_neighbours(part: Node, wanted: str, unit: Unit, known: dict[Node, str]) -> str:
    users = [user for user in unit.nodes if part in user.tensors]
    short = "norm" if wanted.endswith("norm") else wanted
    if len(users) == 1 and users[0] in known:
        return f"{known[users[0]]}_{short}"
    before = part.tensors[0] if part.tensors else None
    while before is not None and before not in known and before.op in CUTS:
        before = before.tensors[0]
    if before not in known:
        return ""
    return f"{known[before]}_{short}" if before.op in PRIMITIVES else f"post_{known[before]}_{short}"
