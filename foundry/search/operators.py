"""The variation operators by name, and what applies them: a genome in, a different genome that checks clean out.

An operator takes a typed tree and gives a tree, or None where it finds no legal site. `mutate` and
`crossover` format what it gives, check it, and compare its canonical hash with the parents': what they
return always checks clean and always means something else.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from foundry.compiler.compare import describe
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import examine
from foundry.dsl.format import format_genome
from foundry.dsl.syntax import Genome
from foundry.generate.draw import Draw, drawing, weighted
from foundry.generate.naming import name_functions
from foundry.generate.trees import size, tidy
from foundry.generate.vocabulary import uses_withheld
from foundry.search.variation.arguments import extend_argument, set_argument, unset_argument
from foundry.search.variation.attending import sink_or_top
from foundry.search.variation.blocks import delete_binding, insert_binding, parallel, rewire
from foundry.search.variation.crossover import (
    cross_block,
    cross_function,
    cross_pattern,
    cross_recipe,
    cross_subtree,
)
from foundry.search.variation.experts import balance, upcycle
from foundry.search.variation.expressions import edit_formula, replace_expression, unwrap, wrap
from foundry.search.variation.functions import (
    Inner,
    expand,
    swap_activation,
    swap_channels,
    swap_function,
    swap_mixer,
    swap_norm,
)
from foundry.search.variation.layers import edit_pattern, specialise
from foundry.search.variation.memories import swap_decay
from foundry.search.variation.numbers import formula_constant, learning_rate, number
from foundry.search.variation.recipe import (
    batch_or_clip,
    optimizer_setting,
    swap_context,
    swap_difficulty,
    swap_loss,
    swap_optimizer,
    swap_schedule,
)
from foundry.search.variation.subject import Subject, subject

MAX_NODES = 2000  # of a child's tree: bloat beyond it is refused
PATIENCE = 200  # draws before a parent is given up


@dataclass(frozen=True)
class Operator:
    """A mutation. `doc` says in one line what it does; `weight` is its share before anything is learned."""

    name: str
    apply: Callable[[Subject, Draw], Genome | None]
    weight: float
    doc: str


@dataclass(frozen=True)
class Crossing:
    """A crossover: the first parent with a part of the second."""

    name: str
    apply: Callable[[Subject, Subject, Draw], Genome | None]
    weight: float
    doc: str


@dataclass(frozen=True)
class Child:
    """A new genome, the operator that made it, and how it differs from its (first) parent."""

    text: str
    operator: str
    description: str


@dataclass
class Tally:
    """What became of an operator's proposals, by its name.

    none: it found no legal site. refused: the child did not check clean. silent: the child meant the same as a parent.
    """

    proposed: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)
    none: Counter[str] = field(default_factory=Counter)

    def acceptance(self, operator: str) -> float:
        """The share of its proposals that checked clean, changed or not; 1 where it made none."""
        proposed = self.proposed[operator]
        return 1 - self.refused[operator] / proposed if proposed else 1.0


class Barren(Exception):
    """No operator found a different genome for a parent."""


# Changes to make inside a function that was just copied into the genome.
INNER: list[tuple[float, Inner]] = [
    (2, edit_formula),
    (2, wrap),
    (1, unwrap),
    (2, swap_function),
    (2, set_argument),
    (1, number),
    (1, formula_constant),
    (1, replace_expression),
    (1, rewire),
    (1, insert_binding),
    (0.7, delete_binding),
    (1, swap_mixer),
    (0.5, balance),
    (1, swap_decay),
]

_MUTATIONS: tuple[tuple[str, float, Callable[[Subject, Draw], Genome | None]], ...] = (
    ("number", 3, number),
    ("formula constant", 0.7, formula_constant),
    ("learning rate", 2.5, learning_rate),
    ("swap optimizer", 3, swap_optimizer),
    ("optimizer setting", 1, optimizer_setting),
    ("schedule", 1.2, swap_schedule),
    ("context", 0.5, swap_context),
    ("difficulty", 0.2, swap_difficulty),
    ("loss", 0.4, swap_loss),
    ("batch or clip", 1, batch_or_clip),
    ("set argument", 4, set_argument),
    ("unset argument", 0.7, unset_argument),
    ("extend argument", 1, extend_argument),
    ("swap activation", 4, swap_activation),
    ("swap norm", 0.8, swap_norm),
    ("swap function", 1.2, swap_function),
    ("swap mixer", 1.2, swap_mixer),
    ("swap channel mixer", 0.8, swap_channels),
    ("upcycle", 0.5, upcycle),
    ("balance", 0.3, balance),
    ("decay", 0.5, swap_decay),
    ("sink or top", 0.5, sink_or_top),
    ("edit formula", 1, edit_formula),
    ("wrap", 2, wrap),
    ("unwrap", 0.6, unwrap),
    ("replace expression", 0.8, replace_expression),
    ("insert binding", 0.8, insert_binding),
    ("delete binding", 0.2, delete_binding),
    ("rewire", 0.6, rewire),
    ("parallel", 0.3, parallel),
    ("edit pattern", 1.5, edit_pattern),
    ("specialise layers", 1, partial(specialise, inner=INNER)),
    ("expand", 1.5, partial(expand, inner=INNER)),
)


def _doc(function: Callable[..., Genome | None]) -> str:
    inner = function.func if isinstance(function, partial) else function
    return (inner.__doc__ or "").strip().splitlines()[0]


OPERATORS: dict[str, Operator] = {
    name: Operator(name, function, weight, _doc(function)) for name, weight, function in _MUTATIONS
}
CROSSINGS: dict[str, Crossing] = {
    name: Crossing(name, function, weight, _doc(function))
    for name, weight, function in (
        ("cross function", 2.0, cross_function),
        ("cross subtree", 1.0, cross_subtree),
        ("cross block", 1.5, cross_block),
        ("cross layer pattern", 1.0, cross_pattern),
        ("cross recipe", 1.5, cross_recipe),
    )
}


def mutate(
    text: str,
    rng: random.Random | Draw,
    weights: Mapping[str, float] | None = None,
    tally: Tally | None = None,
) -> Child:
    """A different genome, one mutation away.

    weights: operator name → weight; names that it leaves out keep their own. tally: counts what was proposed.

    Raises:
        GenomeError: the parent has errors. Barren: nothing different was found.
    """
    parent, draw = subject(text), drawing(rng)
    shares = {name: operator.weight for name, operator in OPERATORS.items()} | dict(weights or {})
    options = [(shares[name], operator) for name, operator in OPERATORS.items() if shares[name] > 0]
    for _ in range(PATIENCE):
        if not options:
            break
        operator = weighted(draw, options)
        tree = operator.apply(parent, draw)
        if tree is None:
            _count(tally, "none", operator.name)
            options = [option for option in options if option[1] is not operator]
            continue
        child = _accept(tree, operator.name, (parent,), tally)
        if child is not None:
            return child
    raise Barren("no operator found a different genome")


def crossover(
    text_a: str,
    text_b: str,
    rng: random.Random | Draw,
    tally: Tally | None = None,
    weights: Mapping[str, float] | None = None,
) -> Child:
    """The first genome with a part of the second, different from both. `weights` and `tally` as in `mutate`.

    Raises:
        GenomeError: a parent has errors. Barren: nothing different was found.
    """
    a, b, draw = subject(text_a), subject(text_b), drawing(rng)
    shares = {name: crossing.weight for name, crossing in CROSSINGS.items()} | dict(weights or {})
    options = [(shares[name], crossing) for name, crossing in CROSSINGS.items() if shares[name] > 0]
    for _ in range(PATIENCE):
        if not options:
            break
        crossing = weighted(draw, options)
        tree = crossing.apply(a, b, draw)
        if tree is None:
            _count(tally, "none", crossing.name)
            options = [option for option in options if option[1] is not crossing]
            continue
        child = _accept(tree, crossing.name, (a, b), tally)
        if child is not None:
            return child
    raise Barren("no crossover found a different genome")


def _accept(tree: Genome, operator: str, parents: tuple[Subject, ...], tally: Tally | None) -> Child | None:
    """The child that a tree is, where it checks clean and means something new."""
    _count(tally, "proposed", operator)
    tree = _without_stale_comments(name_functions(tidy(tree)), parents[0].genome)
    text = format_genome(tree)
    checked = examine(text)
    if checked.program is None or size(tree) > MAX_NODES:
        _count(tally, "refused", operator)
        return None
    if uses_withheld(tree):
        _count(tally, "refused", operator)
        return None
    if canonical_hash(checked.program) in {parent.hash for parent in parents}:
        _count(tally, "silent", operator)
        return None
    _count(tally, "accepted", operator)
    return Child(text, operator, "; ".join(describe(parents[0].program, checked.program)))


def _without_stale_comments(tree: Genome, parent: Genome) -> Genome:
    """The genome without the comments of definitions that are no longer what they describe."""
    old = {definition.name: definition for definition in parent.definitions}
    kept = (d if not d.comments or d == old.get(d.name) else replace(d, comments=()) for d in tree.definitions)
    return replace(tree, definitions=tuple(kept))


def _count(tally: Tally | None, outcome: str, operator: str) -> None:
    if tally is not None:
        getattr(tally, outcome)[operator] += 1
