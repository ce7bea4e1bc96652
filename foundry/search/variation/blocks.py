"""Blocks: insert, delete and rewire their bindings."""

from __future__ import annotations

from dataclasses import replace

from foundry.dsl.substitute import Captured, fresh_name, substitute, used_names
from foundry.dsl.syntax import Binary, Binding, Block, Expr, Function, Genome, Name, Path, at, put
from foundry.generate.draw import Draw, shuffled
from foundry.generate.trees import op
from foundry.search.variation.expressions import streams, wrapped
from foundry.search.variation.subject import Site, Subject, parent


def insert_binding(of: Subject, draw: Draw) -> Genome | None:
    """Bind a new value, made of a name in sight, and use it in that name's place or beside it."""
    sites = [site for site in streams(of) if isinstance(site.node, Name)]
    for site in shuffled(draw, sites):
        home = _home(of, site.path)
        if home is None:
            continue
        path, index = home
        name = fresh_name(draw.choice(("h", "mixed", "branch", "y")), used_names(of.genome))
        use: Expr = Name(name) if draw.chance(0.6) else op(site.node, "+", name)
        genome = put(of.genome, site.path, use)
        return put(genome, path, _with_binding(at(genome, path), index, Binding(name, wrapped(draw, site))))  # type: ignore[arg-type]
    return None


def _home(of: Subject, path: Path) -> tuple[Path, int] | None:
    """Where a binding for a value used at `path` can stand: the body of the function around it, and the place in it."""
    for end in range(len(path) - 1, 1, -1):
        node = at(of.genome, path[:end])
        if isinstance(node, Function):
            return None  # a function in place may see names that its surroundings do not
        if isinstance(node, Block):
            step = path[end]
            return path[:end], int(path[end + 1]) if step == "bindings" else len(node.bindings)
    definition = at(of.genome, path[:2])
    if getattr(definition, "parameters", None) and path[2] == "value":
        return path[:3], 0
    return None


def _with_binding(body: Expr, index: int, new: Binding) -> Block:
    if not isinstance(body, Block):
        return Block((new,), body)
    return replace(body, bindings=body.bindings[:index] + (new,) + body.bindings[index:])


def _blocks(of: Subject) -> list[Site]:
    return [site for site in of.sites if isinstance(site.node, Block) and site.node.bindings]


def delete_binding(of: Subject, draw: Draw) -> Genome | None:
    """Drop a binding: what used its value uses another value of the same type, its own input first."""
    typed = {site.path: site for site in of.sites}
    candidates: list[tuple[Site, int]] = []
    for site in _blocks(of):
        assert isinstance(site.node, Block)
        candidates += [(site, index) for index in range(len(site.node.bindings))]
    for site, index in shuffled(draw, candidates):
        block = site.node
        assert isinstance(block, Block)
        binding = block.bindings[index]
        value = typed.get((*site.path, "bindings", index, "value"))
        if value is None or value.type is None or value.guarded:
            continue
        same = [name for name, kind in value.scope.items() if kind == value.type]
        if not same:
            continue
        own = [name for name in same if name == binding.name]
        shorter = replace(block, bindings=block.bindings[:index] + block.bindings[index + 1 :])
        if own:  # x = x + f(x): leaving the step out needs no new name
            return put(of.genome, site.path, shorter)
        rest = replace(block, bindings=block.bindings[index + 1 :])
        try:
            renamed = substitute(rest, {binding.name: Name(draw.choice(same))})
        except Captured:
            continue
        assert isinstance(renamed, Block)
        return put(of.genome, site.path, replace(renamed, bindings=block.bindings[:index] + renamed.bindings))
    return None


def rewire(of: Subject, draw: Draw) -> Genome | None:
    """Let a use of a name use another name of the same type instead."""
    candidates: list[tuple[Site, str]] = []
    for site in of.sites:
        if isinstance(site.node, Name) and site.type is not None and not site.is_called and not site.guarded:
            candidates += [
                (site, name) for name, kind in site.scope.items() if kind == site.type and name != site.node.id
            ]
    for site, name in shuffled(draw, candidates):
        _, above = parent(of, site.path)
        if isinstance(above, Binding) and above.name == name:
            continue
        return put(of.genome, site.path, Name(name))
    return None


def parallel(of: Subject, draw: Draw) -> Genome | None:
    """Rewire a layer from one step after the other to side by side: the second step reads what the first read."""
    for site in shuffled(draw, _blocks(of)):
        block = site.node
        assert isinstance(block, Block)
        for index, binding in enumerate(block.bindings):
            value = next((s for s in of.sites if s.path == (*site.path, "bindings", index, "value")), None)
            if value is None or value.type is None or value.scope.get(binding.name) != value.type:
                continue
            name = fresh_name("y", used_names(of.genome))
            renamed = replace(block, bindings=(*block.bindings[:index], replace(binding, name=name)))
            rest = replace(block, bindings=block.bindings[index + 1 :])
            tail = _first_to(rest, binding.name, name)
            return put(
                of.genome, site.path, replace(renamed, bindings=renamed.bindings + tail.bindings, result=tail.result)
            )
    return None


def _first_to(rest: Block, old: str, new: str) -> Block:
    """The rest of a block with the residual use of a name, the bare one in a sum, replaced by another name."""

    def residual(value: Expr) -> Expr:
        if isinstance(value, Binary) and value.operator == "+":
            if value.left == Name(old):
                return replace(value, left=Name(new))
            return replace(value, left=residual(value.left))
        return value

    if rest.bindings:
        first = rest.bindings[0]
        return replace(rest, bindings=(replace(first, value=residual(first.value)), *rest.bindings[1:]))
    return replace(rest, result=residual(rest.result))
