"""Checking: from the text of a genome to its typed program, or to what is wrong with it.

checked = check(text)
checked.ok, checked.diagnostics, checked.program
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix, GenomeError
from foundry.dsl.elaborate import Elaborator
from foundry.dsl.frames import PRELUDE
from foundry.dsl.parse import parse
from foundry.dsl.program import Program, parameter_count
from foundry.dsl.resolve import resolve
from foundry.dsl.source import resource
from foundry.dsl.syntax import Call, Genome, Number, Path, walk

MAX_PARAMETERS = 2 * 10**12
MOST_TRIES = 12  # fixes that are tried out, of all the diagnostics of a genome
LONGEST_TRIED = 20_000  # characters of a genome whose fixes are tried out


@dataclass
class Checked:
    """The outcome of a check.

    program: None where there are errors. genome: the syntax tree, None where the text does not parse.
    sorts: for every expression of the tree by its path, what it evaluated to (a TensorType, or the
        name of a sort, or for functions each type at which they were applied, as `Applied`).
    """

    diagnostics: tuple[Diagnostic, ...]
    program: Program | None = None
    genome: Genome | None = None
    sorts: dict[Path, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.program is not None


@cache
def prelude() -> Genome:
    """The prelude's syntax tree."""
    return parse(resource("grammars", "prelude.genome"), PRELUDE)


def check(text: str, file: str = "") -> Checked:
    """Check a genome. Never raises on a bad genome: `diagnostics` says what is wrong, in the order of the text."""
    checked = _check(text, file)
    if checked.ok:
        return checked
    tries = MOST_TRIES if len(text) <= LONGEST_TRIED else 0
    diagnostics = []
    for diagnostic in checked.diagnostics:
        fixes = list(diagnostic.fixes)
        if checked.genome is not None:
            fixes += _legal_values(diagnostic, checked.genome)
        verified = [replace(fix, verified=_removes(fix, diagnostic, checked, text, file)) for fix in fixes[:tries]]
        tries -= len(verified)
        diagnostics.append(replace(diagnostic, fixes=(*verified, *fixes[len(verified) :])))
    return replace(checked, diagnostics=tuple(diagnostics))


def load_program(text: str, file: str = "") -> Program:
    """The typed program of a genome.

    Raises:
        GenomeError: it has errors.
    """
    checked = _check(text, file)
    if checked.program is None:
        raise GenomeError(check(text, file).diagnostics, text)
    return checked.program


def _check(text: str, file: str) -> Checked:
    try:
        genome = parse(text, file)
    except GenomeError as error:
        return Checked(error.diagnostics)
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 20_000))
    found = resolve(genome, prelude())
    elaborator = Elaborator(genome, prelude())
    circular = any(d.code == "F204" for d in found)
    model = None if circular else elaborator.model()
    recipe = None if circular else elaborator.whole_recipe(model.result.type.width if model else 256)
    diagnostics = sorted([*found, *elaborator.diagnostics], key=lambda d: (d.span.start, d.code))
    program = None
    if model is not None and recipe is not None and not any(d.severity == "error" for d in diagnostics):
        program = Program(genome, model, recipe, model.result.type.width)
        count = parameter_count(program)
        if count > MAX_PARAMETERS:
            diagnostics.append(
                Diagnostic(
                    "F401",
                    f"the genome has {count:,} parameters",
                    model.span,
                    found=f"{count:,}",
                    expected=(f"at most {MAX_PARAMETERS:,}",),
                    help="make it smaller",
                )
            )
            program = None
    sorts = {path: tuple(elaborator.sorts[id(node)]) for path, node in walk(genome) if id(node) in elaborator.sorts}
    return Checked(tuple(diagnostics), program, genome, sorts)


def _removes(fix: Fix, diagnostic: Diagnostic, checked: Checked, text: str, file: str) -> bool:
    """Whether a genome with the fix applied no longer has the error, nor (where it parsed) another in its place."""
    again = _check(apply_edits(text, fix.edits), file).diagnostics
    before, after = (sum(d.code == diagnostic.code and d.message == diagnostic.message for d in found)
                     for found in (checked.diagnostics, again))  # fmt: skip
    return after < before and (diagnostic.phase == "parse" or len(again) < len(checked.diagnostics))


def _legal_values(diagnostic: Diagnostic, genome: Genome) -> Iterator[Fix]:
    """For a size that does not divide: the nearest legal numbers in place of the one in the call at fault."""
    if diagnostic.code != "F302" or not diagnostic.expected:
        return
    legal = sorted(int(e) for e in diagnostic.expected if e.isdigit())
    inside = [
        node
        for _, node in walk(genome)
        if isinstance(node, Call) and node.span.start <= diagnostic.span.start and diagnostic.span.end <= node.span.end
    ]
    for call in reversed(inside):
        for argument in call.arguments:
            value = argument.value
            if isinstance(value, Number) and diagnostic.message.startswith(f"{value.value} "):
                for number in sorted(legal, key=lambda n: abs(n - value.value))[:2]:
                    yield Fix(f"use {number}", (Edit(value.span.start, value.span.end, str(number)),))
                return


def apply_edits(text: str, edits: tuple[Edit, ...]) -> str:
    """The text with edits applied; offsets are bytes of its UTF-8 form."""
    data = text.encode()
    for edit in sorted(edits, key=lambda e: e.start, reverse=True):
        data = data[: edit.start] + edit.text.encode() + data[edit.end :]
    return data.decode(errors="replace")
