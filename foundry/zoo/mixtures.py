"""What families with experts share: a router, the experts that it likes best, and their names in files."""

from __future__ import annotations

from foundry.zoo.failure import ZooError
from foundry.zoo.moves import Move, same


def moe(count: int, active: int, hidden: int, act: str, normed: bool) -> str:
    """The definition of a mixture. normed: the shares of those that are used add up to 1.

    Raises:
        ZooError: more experts are to be used than there are.
    """
    if active > count:
        raise ZooError(f"config.json: num_experts_per_tok is {active}, and there are {count} experts")
    gates = "kept / sum(kept)" if normed else "kept"
    return (
        f"moe(x) = {{\n  router = linear(x, {count});\n  shares = softmax(router);\n"
        f"  kept = shares * top(shares, {active});\n  experts(x, {gates}, glu(hidden = {hidden}, act = {act}))\n}};\n\n"
    )


def routed(theirs: str, ours: str, count: int, parts: dict[str, str]) -> list[Move]:
    """The router and the experts of a layer. theirs, ours: how their names begin. parts: of an expert."""
    found = [same(f"{theirs}.gate.weight", f"{ours}.moe.router.weight")]
    for e in range(count):
        for name, part in parts.items():
            found.append(same(f"{theirs}.experts.{e}.{name}.weight", f"{ours}.moe.experts.{e}.{part}.weight"))
    return found
