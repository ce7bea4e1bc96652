"""What a diagnostic's fix may be, the likeliest first. Nothing here knows whether a fix is right: `check` tries it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from foundry.dsl.diagnostics import Diagnostic, Fix
from foundry.dsl.fixes import kinds, names, shapes, slots
from foundry.dsl.fixes.habits import parse_fixes
from foundry.dsl.fixes.site import Site
from foundry.dsl.syntax import Genome, Path

_BY_CODE: dict[str, Callable[[Site], Iterator[Fix]]] = {
    "F201": names.unknown_name,
    "F202": names.unknown_argument,
    "F203": names.given_twice,
    "F205": names.unused,
    "F206": names.no_model,
    "F207": names.reserved,
    "F301": shapes.shape,
    "F302": shapes.divide,
    "F303": kinds.kind,
    "F304": kinds.missing,
    "F305": kinds.too_many,
    "F306": kinds.out_of_range,
    "F308": slots.slot,
    "F310": slots.recipe,
}


def propose(
    diagnostic: Diagnostic, text: str, genome: Genome | None, sorts: Mapping[Path, tuple[Any, ...]]
) -> Iterator[Fix]:
    """Fixes for a diagnostic beyond those that it carries.

    genome: the text's tree, None where it does not parse. sorts: what its expressions evaluated to, by path.
    """
    if genome is None:
        yield from parse_fixes(diagnostic, text)
    elif find := _BY_CODE.get(diagnostic.code):
        for fix in find(Site(diagnostic, text.encode("utf-8", "surrogatepass"), genome, sorts)):
            if fix.edits:
                yield fix
