"""How two genomes differ in what they mean, and in what they cost.

Programs are compared, not texts: functions that were renamed, written out or spelled in another way are the same.
What differs is said in the words of the genomes: functions by their names, arguments by theirs, formulas as source.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from foundry.compiler.cost import Cost, cost
from foundry.compiler.difference.bodies import Comparer, Inside
from foundry.compiler.difference.changes import Change, merged
from foundry.compiler.difference.words import NOTHING, name_of, slot_texts
from foundry.compiler.outline import Body, meaning, outline, outline_function
from foundry.dsl.canonical import architecture_hash, canonical_hash
from foundry.dsl.check import load_program
from foundry.dsl.program import Optimizer, Program, Recipe, Unit
from foundry.dsl.quote import call, quote, shown
from foundry.dsl.syntax import Name
from foundry.dsl.trace import Trace, trace

MOST = 40  # changes that are listed
AS_IT_WAS, OTHERWISE = "as it was", "the same parts, put together otherwise"
REORDERED = "the same operations, their weights made in another order"


@dataclass(frozen=True)
class Comparison:
    """Two genomes side by side.

    hashes: the content hash of each; equal where the genomes differ in spelling alone. changes: what differs in
    meaning, no more than `MOST` of them; left_out: how many more there are. costs: of each, at the context length
    that its training ends with.
    """

    hashes: tuple[str, str]
    changes: tuple[Change, ...]
    left_out: int
    costs: tuple[Cost, Cost]

    @property
    def same(self) -> bool:
        return self.hashes[0] == self.hashes[1]

    @property
    def figures(self) -> dict[str, dict[str, float | None]]:
        """Every figure of the cost model before and after, and their ratio; None where there was nothing."""
        before, after = (asdict(c) for c in self.costs)
        return {
            name: {"before": before[name], "after": after[name], "ratio": _ratio(before[name], after[name])}
            for name in before
        }


def _ratio(before: float, after: float) -> float | None:
    if before == after:
        return 1.0
    return after / before if before else None


def compare(a: Program, b: Program) -> Comparison:
    """Two checked programs side by side, the first being the one that was changed."""
    hashes = canonical_hash(a), canonical_hash(b)
    found = differences(a, b) if hashes[0] != hashes[1] else []
    return Comparison(hashes, tuple(found[:MOST]), max(0, len(found) - MOST), (cost(a), cost(b)))


def describe_difference(a_text: str, b_text: str) -> list[str]:
    """What changed from the first genome to the second, a line each; none where they mean the same.

    Raises:
        GenomeError: one of them has errors.
    """
    a, b = load_program(a_text), load_program(b_text)
    return [] if canonical_hash(a) == canonical_hash(b) else describe(a, b)


def describe(a: Program, b: Program) -> list[str]:
    """As `describe_difference`, of programs that are known not to mean the same."""
    found = differences(a, b)
    lines = [change.text for change in found[:MOST]]
    return [*lines, f"and {len(found) - MOST} more"] if len(found) > MOST else lines


def differences(a: Program, b: Program) -> list[Change]:
    """Every change from the first program to the second, of programs whose content hashes differ; at least one."""
    before, after = trace(a), trace(b)
    comparer = Comparer()
    comparer.bodies(outline(before), outline(after), Inside())
    if not comparer.changes and architecture_hash(a) != architecture_hash(b):
        alike = meaning(a.model, numbered=False) == meaning(b.model, numbered=False)
        comparer.note("changed", "", "model", AS_IT_WAS, REORDERED if alike else OTHERWISE)
    return [*merged(comparer.changes), *_recipe(before, after)]


# ---- the recipe ---------------------------------------------------------------------------------------------------


def _recipe(a: Trace, b: Trace) -> list[Change]:
    """What differs between the recipes; as a whole where only one of the genomes has one."""
    parts = _parts(a, b)
    if parts and not (a.recipe and b.recipe):
        old, new = (shown(call(Name("train"), t.recipe)) if t.recipe else "the default" for t in (a, b))
        return [Change("changed", "", "recipe", old, new)]
    return parts


def _parts(a: Trace, b: Trace) -> list[Change]:
    old, new = a.program.recipe, b.program.recipe
    out = _optimizer(old.optimizer, new.optimizer)
    for part in fields(Recipe):
        before, after = getattr(old, part.name), getattr(new, part.name)
        if part.name == "optimizer" or before == after:
            continue
        if isinstance(before, (int, float)) and isinstance(after, (int, float)):
            out.append(Change("changed", "", part.name, shown(quote(before)), shown(quote(after))))
        elif before is None or after is None or meaning(before) != meaning(after):
            texts = [_function(trace, part.name, unit) for trace, unit in ((a, before), (b, after))]
            (old_value, old_body), (new_value, new_body) = texts
            out.append(Change("changed", "", part.name, *slot_texts(old_value, old_body, new_value, new_body)))
    return out


def _function(trace: Trace, part: str, unit: Unit | None) -> tuple[str, Body | None]:
    """What the genome gives for a part of its recipe, or what the default is called, and what it does."""
    if unit is None:
        return NOTHING, None
    given = trace.recipe.get(part)
    if given is None:
        given = unit.result.attrs.get("value")
    return unit.name if given is None else name_of(given), outline_function(trace, unit)


def _optimizer(a: Optimizer, b: Optimizer) -> list[Change]:
    if a.name != b.name:
        return [Change("changed", "", "optimizer", shown(quote(a)), shown(quote(b)))]
    pairs = [(name, a.settings[name], b.settings[name]) for name in a.settings]
    return [
        Change("changed", "optimizer", name, shown(quote(old)), shown(quote(new)))
        for name, old, new in pairs
        if old != new
    ]
