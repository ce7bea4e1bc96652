"""Names for functions that were written where they are applied: `(fn(x) => …)(y)` becomes `norm(y)`."""

from __future__ import annotations

from dataclasses import replace

from foundry.dsl.substitute import fresh_name, occurrences, used_names
from foundry.dsl.syntax import Binding, Call, Definition, Expr, Function, Genome, Name, Parameter, walk
from foundry.generate.trees import transform
from foundry.generate.vocabulary import function_role, vocabulary

STEMS = {
    "activation": "act",
    "norm": "norm",
    "filter": "short",
    "mixer": "mix",
    "channels": "channel_mix",
    "expert": "expert",
    "router": "router",
    "gain": "learned",
    "per head": "of_head",
}


def name_functions(genome: Genome) -> Genome:
    """The genome with every function that is applied on the spot defined above its first use, equal ones once."""
    known = vocabulary(genome)
    taken = used_names(genome) | set(known)
    made: dict[tuple[tuple[Parameter, ...], Expr], str] = {}
    for definition in genome.definitions:
        if definition.parameters is not None:
            made.setdefault((definition.parameters, definition.value), definition.name)
    out: list[Definition] = []
    for definition in genome.definitions:
        local = {node.name for _, node in walk(definition) if isinstance(node, (Binding, Parameter))}

        def name_it(node: Expr, local: frozenset[str] = frozenset(local)) -> Expr:
            if not (isinstance(node, Call) and isinstance(node.function, Function)):
                return node
            function = node.function
            if set(occurrences(function)) & local or len(node.arguments) != len(function.parameters):
                return node
            key = (function.parameters, function.body)
            if key not in made or made[key] not in {d.name for d in out}:
                made[key] = fresh_name(STEMS.get(function_role(function, known), "f"), taken)
                taken.add(made[key])
                out.append(Definition(made[key], function.parameters, function.body))
            return replace(node, function=Name(made[key]))

        value = transform(definition.value, name_it)
        out.append(definition if value == definition.value else replace(definition, value=value))
    return replace(genome, definitions=tuple(out))
