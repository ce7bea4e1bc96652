"""Calls replaced by the bodies of what they call, so that a genome shows what it is made of.

Every step is checked: the genome means the same before and after, weight by weight (`foundry.dsl.canonical`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from foundry.dsl.calls import LEAVE, NEAT, PLAIN, Form, Round
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import Checked, check, examine, prelude
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.format import format_genome
from foundry.dsl.resolve import BUILT_IN, ROOTS
from foundry.dsl.substitute import Captured, free
from foundry.dsl.suggest import closest
from foundry.dsl.syntax import Definition, Genome


class ExpandError(Exception):
    """What was asked for cannot be written out; the message says why."""


class NotCalled(ExpandError):
    """A name of nothing that the genome calls."""


def expand(text: str, names: Collection[str] = ()) -> str:
    """A genome with calls of functions replaced by their bodies, formatted; its hash stays.

    names: functions of the prelude or of the genome's own; none of them means the whole prelude, so that the
    genome's own definitions and primitives are left.

    Raises:
        GenomeError: the genome has errors.
        NotCalled: there is no such function, or the genome does not call it.
        ExpandError: it cannot be written out.
    """
    checked = check(text)
    if checked.genome is None or checked.program is None:
        raise GenomeError(checked.diagnostics, text)
    _refuse(checked.genome, names)
    meaning = canonical_hash(checked.program)
    own = {d.name for d in checked.genome.definitions}
    targets = frozenset(names) or frozenset(d.name for d in prelude().definitions if d.name not in own)
    expanded: set[str] = set()
    while found := _found(checked, targets):
        expanded |= set(found)
        checked = _step(checked, targets, meaning, len(found))
    missing = sorted(set(names) - expanded)
    if missing:
        raise NotCalled(f"the genome does not call {' or '.join(missing)} itself")
    assert checked.genome is not None
    return format_genome(_without(checked.genome, set(names) & own))


def _refuse(genome: Genome, names: Collection[str]) -> None:
    """Raise for names that cannot be expanded in any genome like this one."""
    known = {d.name for d in (*genome.definitions, *prelude().definitions)}
    for name in names:
        if name in ROOTS:
            raise NotCalled(f"{name} is what a genome is, not something that it calls")
        if name in BUILT_IN:
            raise NotCalled(f"{name} is a part of the language and has no body")
        if name not in known:
            meant = closest(name, sorted(known))
            raise NotCalled(f"nothing is called {name}" + (f"; did you mean {meant[0]}?" if meant else ""))


def _found(checked: Checked, targets: frozenset[str]) -> list[str]:
    """The targets that the genome calls outside the arguments of other targets, as often as it does."""
    found = Round(checked, targets, lambda number: LEAVE)
    found.genome()
    return found.found


def _step(checked: Checked, targets: frozenset[str], meaning: str, calls: int) -> Checked:
    """The genome with its outermost calls written out, each in its neat form where that means the same.

    Raises:
        ExpandError: neither form means the same.
    """
    neat = _same(checked, targets, meaning, lambda number: NEAT)
    if neat is not None:
        return neat
    good = {n for n in range(calls) if _same(checked, targets, meaning, _only(n))}

    def mixture(number: int) -> str:
        return NEAT if number in good else PLAIN

    for form in (mixture, lambda number: PLAIN):
        mixed = _same(checked, targets, meaning, form)
        if mixed is not None:
            return mixed
    raise ExpandError("written out, the genome would be too large, or weights that it shares would not be shared")


def _only(one: int) -> Form:
    """One call in its neat form, the others left."""
    return lambda number: NEAT if number == one else LEAVE


def _same(checked: Checked, targets: frozenset[str], meaning: str, form: Form) -> Checked | None:
    """The genome with calls written out, or None where that is not the same genome."""
    try:
        again = examine(format_genome(Round(checked, targets, form).genome()))
    except Captured:
        return None
    return again if again.program is not None and canonical_hash(again.program) == meaning else None


def _without(genome: Genome, names: set[str]) -> Genome:
    """The genome without those of the definitions `names` that nothing uses any more; their comments stay."""
    needed = {name for d in genome.definitions if d.name not in names for name in free(d)} | set(ROOTS)
    comments: tuple[str, ...] = ()
    kept: list[Definition] = []
    for definition in genome.definitions:
        if definition.name in names - needed:
            comments += definition.comments
            continue
        kept.append(replace(definition, comments=(*comments, *definition.comments)))
        comments = ()
    return replace(genome, definitions=tuple(kept), closing=(*comments, *genome.closing))
