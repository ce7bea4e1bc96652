"""What changed from one genome to another, as edits that can be taken back one by one.

Every place where the syntax trees differ (`side_by_side.py`) is a hunk. Hunks that make sense only together are one
edit: what defines a name and what uses it, and changes that do not check alone. A function of the prelude that the
second genome has copied is compared with the prelude's, so that the edits are those inside it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import networkx as nx

from foundry.compiler.compare import describe_difference
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import examine, load_program, prelude
from foundry.dsl.format import format_genome
from foundry.dsl.inline import renamed
from foundry.dsl.parse import parse
from foundry.dsl.substitute import Captured, used_names
from foundry.dsl.syntax import Binding, Definition, Genome
from foundry.generate.trees import tidy
from foundry.search.side_by_side import Hunk, Part, Walk

COPIED = re.compile(r"(.+)_(?:[b-z]|[0-9]+)")  # the names that `fresh_name` gives


@dataclass(frozen=True)
class Edit:
    """Hunks that belong together, by their numbers, and in genome terms what they change, a line each."""

    hunks: frozenset[int]
    changes: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join(self.changes)


@dataclass(frozen=True)
class Edits:
    """All that changed from the genome `base` to the genome `result`; both check clean.

    Raises:
        GenomeError: when anything is asked of it, and one of them does not.
    """

    base: str
    result: str

    def without(self, edits: Collection[Edit]) -> str | None:
        """The result with some edits taken back; None where that does not check."""
        back = self._silent.union(*(edit.hunks for edit in edits))
        return self._text(back) if edits else self.result

    @cached_property
    def edits(self) -> tuple[Edit, ...]:
        """The edits that change what the result means, in the order of the text."""
        found = []
        for group in self._groups:
            text = self._text(group | self._silent)
            changes = describe_difference(text, self.result) if text is not None else ["everything"]
            found.append(Edit(frozenset(group), tuple(changes)))
        return tuple(found)

    # ---- hunks and what goes together ---------------------------------------------------------------------------

    @cached_property
    def _trees(self) -> tuple[Genome, Genome]:
        base, result = parse(self.base), parse(self.result)
        return _with_copies(base, result), result

    @cached_property
    def hunks(self) -> tuple[Hunk, ...]:
        walk = Walk(())
        walk.genome(*self._trees)
        return tuple(walk.hunks)

    @cached_property
    def _known(self) -> dict[frozenset[int], str | None]:
        return {}

    def _text(self, back: Collection[int]) -> str | None:
        """The result with some hunks taken back, if that checks."""
        key = frozenset(back)
        if key not in self._known:
            self._known[key] = self._merged(key)
        return self._known[key]

    def _merged(self, back: Collection[int]) -> str | None:
        genome = tidy(_without_copies(Walk(back).genome(*self._trees)))
        text = format_genome(genome)
        return text if examine(text).ok else None

    @cached_property
    def _silent(self) -> frozenset[int]:
        """Hunks that change nothing in what the genome means: names and spelling."""
        found: set[int] = set()
        for group in self._bundles:
            text = self._text(found | group)
            if text is not None and _meaning(text) == _meaning(self.result):
                found |= group
        return frozenset(found)

    @cached_property
    def _bundles(self) -> list[set[int]]:
        """The numbers of the hunks, those together of which one defines what another uses."""
        graph = nx.Graph()
        graph.add_nodes_from(range(len(self.hunks)))
        graph.add_edges_from(
            (i, j) for i, one in enumerate(self.hunks) for j, other in enumerate(self.hunks) if _defines_for(one, other)
        )
        return [set(group) for group in nx.connected_components(graph)]

    @cached_property
    def _groups(self) -> list[set[int]]:
        """The bundles that mean something, each large enough that taking it back checks; in the order of the text."""
        groups = [bundle for bundle in self._bundles if not bundle <= self._silent]
        while (stuck := next((group for group in groups if not self._reverts(group)), None)) and len(groups) > 1:
            others = [group for group in groups if group is not stuck]
            partner = next((other for other in others if self._reverts(stuck | other)), None)
            partners = [partner] if partner else [group for group in others if not self._reverts(group)] or others
            groups = [group for group in others if group not in partners] + [stuck.union(*partners)]
        return sorted(groups, key=min)

    def _reverts(self, group: Collection[int]) -> bool:
        return self._text(self._silent.union(group)) is not None


def _defines_for(one: Hunk, other: Hunk) -> bool:
    """Whether a hunk defines a name that another uses, on either side."""
    if one is other:
        return False
    near = len(one.path) <= 1 or one.path[:1] == other.path[:1]  # names of a block are seen in one definition alone
    new = _bound(one.after) - _bound(one.before)
    old = _bound(one.before) - _bound(one.after)
    return near and not (new.isdisjoint(_used(other.after)) and old.isdisjoint(_used(other.before)))


def _bound(part: Part) -> set[str]:
    """The names that a part defines for its surroundings."""
    return {node.name for node in _nodes(part) if isinstance(node, (Binding, Definition))}


def _used(part: Part) -> set[str]:
    return {name for node in _nodes(part) for name in used_names(node)}


def _nodes(part: Part) -> tuple[Any, ...]:
    return part if isinstance(part, tuple) else () if part is None else (part,)


# ---- functions of the prelude that a genome has made its own ---------------------------------------------------------


def _with_copies(base: Genome, result: Genome) -> Genome:
    """The base with the functions of the prelude copied and named as the result has them, so that what changed is
    inside them. The base as it is where that would change its meaning."""
    theirs = {definition.name: definition for definition in prelude().definitions}
    own = {definition.name for definition in base.definitions}
    definitions = list(base.definitions)
    for copy in result.definitions:
        name = _copied(copy.name, theirs)
        if not name or copy.name in own or name in own:
            continue
        if name != copy.name and any(name in used_names(d) for d in result.definitions):
            continue  # some of its uses are still the prelude's
        try:
            definitions = [renamed(definition, {name: copy.name}) for definition in definitions]
        except Captured:
            continue
        definitions.append(replace(theirs[name], name=copy.name))
    changed = replace(base, definitions=tuple(definitions))
    checked = examine(format_genome(changed))
    same = checked.program is not None and canonical_hash(checked.program) == _meaning(format_genome(base))
    return changed if same else base


def _without_copies(genome: Genome) -> Genome:
    """The genome without copies of the prelude's functions that are as the prelude has them, whatever their names."""
    theirs = {definition.name: definition for definition in prelude().definitions}
    names = {d.name: _copied(d.name, theirs) for d in genome.definitions}
    copies = {d.name for d in genome.definitions if names[d.name] and replace(theirs[names[d.name]], name=d.name) == d}
    copies -= {name for name in copies if names[name] != name and names[name] in names}  # that name is taken
    others = set(names) - copies
    while needed := {name for name in copies if not others.isdisjoint(used_names(theirs[names[name]]) - {names[name]})}:
        copies, others = copies - needed, others | needed  # it uses what the genome has under a name of the prelude
    kept = [d for d in genome.definitions if d.name not in copies]
    try:
        return replace(genome, definitions=tuple(renamed(d, {name: names[name] for name in copies}) for d in kept))
    except Captured:
        return genome


def _copied(name: str, theirs: Collection[str]) -> str:
    """The function of the prelude whose copy has this name; "" where none has."""
    numbered = COPIED.fullmatch(name)
    return next((one for one in (name, numbered[1] if numbered else "") if one in theirs), "")


@cache
def _meaning(text: str) -> str:
    return canonical_hash(load_program(text))
