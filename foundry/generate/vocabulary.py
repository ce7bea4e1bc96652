"""What a genome can call, and what each is for: primitives, the prelude, and the genome's own definitions.

A function's role follows from its parameters and from the primitives that it comes down to, so that a
new definition in the prelude, or in a genome, takes part in the search without being listed anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from foundry.dsl.check import prelude
from foundry.dsl.registry import CALLABLE, PRIMITIVES, REQUIRED, SLOTS
from foundry.dsl.substitute import occurrences
from foundry.dsl.syntax import Call, Expr, Function, Genome, Name, Number, Tree, walk

# What the function in a named slot is for. Score, mask, schedule, context, difficulty and loss are the language's own.
SLOT_ROLES = {slot: slot for slot in SLOTS} | {
    "act": "activation",
    "norm": "norm",
    "short": "filter",
    "pos": "position",
    "mix": "mixer",
    "expert": "expert",
    "router": "router",
}


@dataclass(frozen=True)
class Callee:
    """A function as its callers see it.

    parameters: in order. required: those without a default, leading ones apart. optional: those with
    one, and the default (None in a primitive that has no expression for it). leading: what a caller may
    leave out to get a function. effects: the primitives that it comes down to.
    """

    name: str
    origin: str  # primitive, prelude, genome
    parameters: tuple[str, ...]
    leading: tuple[str, ...]
    required: tuple[str, ...]
    optional: Mapping[str, Expr | None]
    effects: frozenset[str]
    role: str


Vocabulary = Mapping[str, Callee]

_STRUCTURE = {name for name, p in PRIMITIVES.items() if p.kind in ("structure", "loss")}


def effects(tree: Expr | Function, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The primitives that an expression comes down to, through the definitions in `known`, and `head` where it learns
    something per head. max and min of one argument count as the reductions `largest` and `smallest`.
    """
    out: set[str] = set()
    for name in occurrences(tree):
        if name in _REDUCTIONS:
            out |= _reductions(tree)
        elif name in known:
            out |= known[name]
        elif name in CALLABLE or name == "head":
            out.add(name)
    return frozenset(out)


_REDUCTIONS = {"max": "largest", "min": "smallest"}


def _reductions(tree: Tree) -> set[str]:
    """The reductions that calls of max and min with one argument are."""
    return {
        _REDUCTIONS[node.function.id]
        for _, node in walk(tree)
        if isinstance(node, Call)
        and isinstance(node.function, Name)
        and node.function.id in _REDUCTIONS
        and len(node.arguments) == 1
    }


def role_of(leading: tuple[str, ...], found: frozenset[str]) -> str:
    """What a function is for, from its leading parameters and the primitives that it comes down to."""
    names = set(leading)
    if "s" in names and names <= set(SLOTS["score"]):
        return "score"
    if names and names <= set(SLOTS["mask"]):
        return "mask"
    if names == {"t"}:
        return "schedule"
    if "logits" in names:
        return "loss"
    for primitives, role in (
        ({"embed"}, "input"),
        ({"unembed"}, "output"),
        ({"attend", "linear_attend", "delta_attend", "scan"}, "mixer"),
    ):
        if primitives & found:
            return role
    if "top" in found and "experts" not in found:
        return "router"
    if found & {"linear", "experts"}:
        return "mixer" if found & {"conv", "shift"} else "channels"
    for primitives, role in (
        ({"rotate", "position"}, "position"),
        ({"conv", "shift"}, "filter"),
        (_STRUCTURE, "structure"),
        ({"logsumexp"}, "shares"),
        ({"head"}, "per head"),
        ({name for name, p in PRIMITIVES.items() if p.kind == "reduce"}, "norm"),
    ):
        if primitives & found:
            return role
    return "gain" if found == {"param"} else "activation"


def _primitive(name: str) -> Callee:
    entry = PRIMITIVES.get(name)
    if entry is None:  # max and min: a reduction of one argument, a choice between two
        return Callee(name, "primitive", ("a", "b"), ("a",), ("b",), {}, frozenset({name}), "operator")
    tensors = tuple(a.name for a in entry.args if a.is_tensor)
    rest = [a for a in entry.args if a.name not in tensors[:1]]
    required = tuple(a.name for a in rest if a.default is REQUIRED)
    optional = {
        a.name: Number(a.default) if isinstance(a.default, (int, float)) else None
        for a in rest
        if a.default is not REQUIRED
    }
    role = {"pointwise": "operator", "reduce": "reduction"}.get(entry.kind, "structure")
    if entry.kind == "pointwise" and len(tensors) == 1 and name != "stop":
        role = "activation"
    if name in ("conv", "shift"):
        role = "filter"
    parameters = tuple(a.name for a in entry.args)
    return Callee(name, "primitive", parameters, tensors[:1], required, optional, frozenset({name}), role)


def _definitions(genome: Genome, origin: str, known: dict[str, Callee]) -> dict[str, Callee]:
    """The callees of a genome's definitions; a definition sees those that it refers to, in any order."""
    by_name = {d.name: d for d in genome.definitions}
    out: dict[str, Callee] = {}

    def visit(name: str, trail: frozenset[str]) -> None:
        definition = by_name[name]
        for used in occurrences(definition):
            if used in by_name and used not in out and used not in trail:
                visit(used, trail | {used})
        seen = known | out
        found = effects(
            Function(definition.parameters or (), definition.value), {n: c.effects for n, c in seen.items()}
        )
        parameters = definition.parameters or ()
        required = tuple(p.name for p in parameters if p.default is None)
        slotted = any(set(required) <= set(slot) for slot in SLOTS.values()) and required != ()
        leading = required if slotted else required[:1]
        role = role_of(leading, found)
        if definition.parameters is None:
            role = _value_role(definition.value, seen, found)
        out[name] = Callee(
            name,
            origin,
            tuple(p.name for p in parameters),
            leading,
            tuple(name for name in required if name not in leading),
            {p.name: p.default for p in parameters if p.default is not None},
            found,
            role,
        )

    for name in by_name:
        if name not in out:
            visit(name, frozenset({name}))
    return out


def _value_role(value: Expr, seen: Mapping[str, Callee], found: frozenset[str]) -> str:
    """The role of a definition without parameters: of the function that it stands for, or `value`."""
    if isinstance(value, Name) and value.id in seen:
        return seen[value.id].role
    if isinstance(value, Call) and isinstance(value.function, Name):
        if value.function.id in ("train", "adamw", "lion", "muon"):
            return "recipe"
        callee = seen.get(value.function.id)
        return callee.role if callee else "value"
    if isinstance(value, Function):
        return role_of(tuple(p.name for p in value.parameters), found)
    if isinstance(value, Number) or not found:
        return "value"
    return role_of((), found)


@lru_cache(maxsize=1)
def shipped() -> Mapping[str, Callee]:
    """The primitives and the prelude."""
    primitives = {name: _primitive(name) for name in sorted(CALLABLE)}
    return primitives | _definitions(prelude(), "prelude", primitives)


@lru_cache(maxsize=256)
def vocabulary(genome: Genome) -> Vocabulary:
    """Everything that a genome can call, its own definitions before the prelude's of the same name."""
    base = dict(shipped())
    return base | _definitions(genome, "genome", base)


def function_role(tree: Expr, known: Vocabulary) -> str:
    """The role of an expression that stands for a function."""
    found = effects(tree, {name: callee.effects for name, callee in known.items()})
    if isinstance(tree, Function):
        return role_of(tuple(p.name for p in tree.parameters), found)
    if isinstance(tree, Name):
        return known[tree.id].role if tree.id in known else SLOT_ROLES.get(tree.id, "")
    if isinstance(tree, Call) and isinstance(tree.function, Name) and tree.function.id in known:
        return known[tree.function.id].role
    return role_of((), found)


def callees(known: Vocabulary, role: str, origin: str | None = None) -> list[Callee]:
    """The functions with a role, in a fixed order: primitives, the prelude, the genome's own."""
    order = {"primitive": 0, "prelude": 1, "genome": 2}
    found = [c for c in known.values() if c.role == role and origin in (None, c.origin) and _is_offered(c)]
    return sorted(found, key=lambda c: (order[c.origin], c.name))


# Doing without ------------------------------------------------------------------------------------------------------

REDRAWS = 50  # of a part that uses what is withheld

_withheld: frozenset[str] = frozenset()


@contextmanager
def withholding(names: Iterable[str]) -> Iterator[None]:
    """Within the context, generators and operators of this process do without some functions of the prelude.

    What a generator writes out by hand goes by the name of the function that it stands for: without `rope` nothing
    turns by the position unless it is drawn primitive by primitive. A genome may define such a name for itself.
    """
    global _withheld
    before, _withheld = _withheld, frozenset(names)
    try:
        yield
    finally:
        _withheld = before


def withheld(name: str) -> bool:
    """Whether generators are to do without a function of the prelude, and without what they write by hand for it."""
    return name in _withheld


def uses_withheld(tree: Expr | Genome) -> bool:
    """Whether an expression, or a genome that does not define it, uses something that is withheld."""
    if not _withheld:
        return False
    if isinstance(tree, Genome):
        own = {definition.name for definition in tree.definitions}
        return any(_withheld & set(occurrences(definition)) - own for definition in tree.definitions)
    return not _withheld.isdisjoint(occurrences(tree))


def unless_withheld(make: Callable[[], Expr]) -> Expr:
    """What `make` gives, drawn again while it uses something that is withheld; the last draw where all do."""
    made = make()
    for _ in range(REDRAWS if uses_withheld(made) else 0):
        made = make()
        if not uses_withheld(made):
            break
    return made


def _is_offered(callee: Callee) -> bool:
    return callee.origin != "prelude" or callee.name not in _withheld
