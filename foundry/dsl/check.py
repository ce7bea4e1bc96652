"""Checking: from the text of a genome to its typed program, or to what is wrong with it.

checked = check(text)
checked.ok, checked.diagnostics, checked.program
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, pairwise
from typing import Any

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix, GenomeError
from foundry.dsl.elaborate import Elaborator
from foundry.dsl.frames import MAX_OPERATIONS, PRELUDE
from foundry.dsl.parse import parse
from foundry.dsl.program import Program, operation_count, parameter_count
from foundry.dsl.ranges import misplaced
from foundry.dsl.resolve import resolve, unknown_arguments
from foundry.dsl.source import byte_length, resource
from foundry.dsl.syntax import Genome, Path, walk

MAX_PARAMETERS = 2 * 10**12
MAX_COPIED = 500_000  # operations with every call, repeat and expert written out, as the hash goes through them
MOST_TRIES = 12  # fixes that are tried out, of all the diagnostics of a genome
MOST_FIXES = 2  # verified fixes of one diagnostic
MOST_WORK = 40_000  # of a check with its fixes, as `Checked.work` counts it: about half a second


@dataclass
class Checked:
    """The outcome of a check.

    program: None where there are errors. genome: the syntax tree, None where the text does not parse.
    sorts: for every expression of the tree by its path, what it evaluated to (a TensorType, or the
        name of a sort, or for functions each type at which they were applied, as `Applied`).
    work: what the check took: an operation for two characters, and one for each step of the evaluation.
    """

    diagnostics: tuple[Diagnostic, ...]
    program: Program | None = None
    genome: Genome | None = None
    sorts: dict[Path, tuple[Any, ...]] = field(default_factory=dict)
    work: int = 0

    @property
    def ok(self) -> bool:
        return self.program is not None


@cache
def prelude() -> Genome:
    """The prelude's syntax tree."""
    return parse(resource("grammars", "prelude.genome"), PRELUDE)


def check(text: str, file: str = "") -> Checked:
    """Check a genome. Never raises on a bad genome: `diagnostics` says what is wrong, in the order of the text."""
    checked = examine(text, file)
    if not checked.diagnostics:
        return checked
    from foundry.dsl.fixes import propose  # a right genome need not wait for it

    trials = Trials(MOST_TRIES, MOST_WORK - checked.work)
    diagnostics = []
    for diagnostic in checked.diagnostics:
        if trials.left:
            proposed = chain(propose(diagnostic, text, checked.genome, checked.sorts), diagnostic.fixes)
            fixes = _verified(proposed, diagnostic, checked, text, file, trials)
            diagnostic = replace(diagnostic, fixes=fixes or diagnostic.fixes)
        diagnostics.append(diagnostic)
    return replace(checked, diagnostics=tuple(diagnostics))


def _too_large(program: Program) -> Diagnostic | None:
    """What is wrong with the size of a program that is right in all else."""
    if operation_count(program, copies=False) > MAX_OPERATIONS:
        message = f"the genome expands to more than {MAX_OPERATIONS:,} operations"
        return Diagnostic("F402", message, program.model.span, help="apply a shared function fewer times")
    if operation_count(program) > MAX_COPIED:
        message = f"with all its copies, the genome has more than {MAX_COPIED:,} operations"
        return Diagnostic("F402", message, program.model.span, help="make fewer copies of smaller functions")
    count = parameter_count(program)
    if count <= MAX_PARAMETERS:
        return None
    return Diagnostic(
        "F401",
        f"the genome has {count:,} parameters",
        program.model.span,
        found=f"{count:,}",
        expected=(f"at most {MAX_PARAMETERS:,}",),
        help="make it smaller",
    )


@dataclass
class Trials:
    """What is left of the tries, and of the work, that the fixes of one genome may take."""

    tries: int
    work: int

    @property
    def left(self) -> bool:
        return self.tries > 0 and self.work > 0


def load_program(text: str, file: str = "") -> Program:
    """The typed program of a genome.

    Raises:
        GenomeError: it has errors.
    """
    checked = examine(text, file)
    if checked.program is None:
        raise GenomeError(check(text, file).diagnostics, text)
    return checked.program


def examine(text: str, file: str = "") -> Checked:
    """The same without trying out the fixes of what is wrong, for whoever looks at many genomes."""
    try:
        genome = parse(text, file)
    except GenomeError as error:
        return Checked(error.diagnostics, work=len(text) // 2)
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 20_000))
    found = resolve(genome, prelude())
    elaborator = Elaborator(genome, prelude())
    circular = any(d.code == "F204" for d in found)
    model = None if circular else elaborator.model()
    recipe = None if circular else elaborator.whole_recipe(model.result.type.width if model else 256)
    diagnostics = [*found, *elaborator.diagnostics]
    if any(d.severity == "error" for d in diagnostics):
        # what nothing uses may be what an error should have named, and what was not evaluated may be wrong as well
        diagnostics = [d for d in diagnostics if d.severity == "error"]
        known = {(d.code, d.span) for d in diagnostics}
        others = [] if circular else unknown_arguments(genome, prelude())
        diagnostics += [d for d in others if (d.code, d.span) not in known]
    diagnostics.sort(key=lambda d: (d.span.start, d.code))
    program = None
    if model is not None and recipe is not None and not any(d.severity == "error" for d in diagnostics):
        program = Program(genome, model, recipe, model.result.type.width)
        too_large = _too_large(program)
        wrong = misplaced(program) if too_large is None else [too_large]
        if wrong:
            diagnostics += wrong
            program = None
    sorts = {path: tuple(elaborator.sorts[id(node)]) for path, node in walk(genome) if id(node) in elaborator.sorts}
    return Checked(tuple(diagnostics), program, genome, sorts, len(text) // 2 + elaborator.steps)


def _verified(
    fixes: Iterable[Fix], diagnostic: Diagnostic, checked: Checked, text: str, file: str, trials: Trials
) -> tuple[Fix, ...]:
    """Those of some fixes that remove a diagnostic and leave the fewest others."""
    found: list[tuple[int, Fix]] = []
    for fix in fixes:
        if sum(left == 0 for left, _ in found) == MOST_FIXES or not trials.left:
            break
        trials.tries -= 1
        if apart(fix.edits, text):
            after = examine(apply_edits(text, fix.edits), file)
            trials.work -= after.work
            if _removes(fix, diagnostic, checked, after):
                found.append((len(after.diagnostics), replace(fix, verified=True)))
    least = min((left for left, _ in found), default=0)
    return tuple(fix for left, fix in found if left == least)[:MOST_FIXES]


def _removes(fix: Fix, diagnostic: Diagnostic, before: Checked, after: Checked) -> bool:
    """Whether a genome with the fix applied no longer has the mistake, nor another in its place.

    A mistake hides others: one of the grammar all names and types, a circle of definitions all types, a wrong name the
    types of what it stands in. Those may come to light, but for a name only away from where the fix was made.
    """
    known, again = before.diagnostics, after.diagnostics

    def fewer(counts: Callable[[Diagnostic], bool]) -> bool:
        return sum(map(counts, again)) < sum(map(counts, known))

    if not fewer(lambda d: (d.code, d.message) == (diagnostic.code, diagnostic.message)):
        return False
    if before.genome is None:
        return after.genome is not None or len(again) < len(known)
    if after.genome is None:
        return False
    if diagnostic.code == "F204":
        return fewer(lambda d: d.code == "F204")
    if any(d.code == "F204" for d in again):
        return False
    if diagnostic.phase != "names" or diagnostic.severity != "error":
        return fewer(lambda d: d.severity in ("error", diagnostic.severity))
    old = {(d.code, d.message) for d in known}
    fresh = [d.span for d in again if d.severity == "error" and (d.code, d.message) not in old]
    return not any(span.start <= end and start <= span.end for span in fresh for start, end in _landed(fix.edits))


def _landed(edits: tuple[Edit, ...]) -> Iterator[tuple[int, int]]:
    """Where the text of each edit stands once they are applied."""
    grown = 0
    for edit in sorted(edits, key=lambda e: e.start):
        size = byte_length(edit.text)
        yield edit.start + grown, edit.start + grown + size
        grown += size - (edit.end - edit.start)


def apart(edits: tuple[Edit, ...], text: str) -> bool:
    """Whether edits lie within a text and do not overlap; two insertions in one place do."""
    places = sorted((edit.start, edit.end) for edit in edits)
    ordered = all(start <= end for start, end in places)
    gaps = all(a[1] <= b[0] and a != b for a, b in pairwise(places))
    return bool(places) and ordered and gaps and places[0][0] >= 0 and places[-1][1] <= byte_length(text)


def apply_edits(text: str, edits: tuple[Edit, ...]) -> str:
    """The text with edits applied; offsets are bytes of its UTF-8 form."""
    data = text.encode("utf-8", "surrogatepass")
    for edit in sorted(edits, key=lambda e: e.start, reverse=True):
        data = data[: edit.start] + edit.text.encode("utf-8", "surrogatepass") + data[edit.end :]
    return data.decode(errors="replace")
