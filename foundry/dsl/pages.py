"""The reference as pages: one entry for a terminal, all of them as Markdown or as data."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator
from typing import Any

from foundry.dsl.document import KINDS, Entry, entries, fits
from foundry.dsl.explain import COMMAND
from foundry.dsl.explain import page as codes
from foundry.dsl.registry import CALLABLE, PRIMITIVES, SLOTS, SPECIAL
from foundry.dsl.samples import CONTEXT, NAME, example, measure

WIDTH = 100  # columns of a terminal page
# The pages that the command writes: title, introduction, kinds of entries.
PAGES = {
    "primitives.md": (
        "Primitives",
        "What the language is made of. Sizes and operations are per token; x in an example is a seq[64].",
        ("primitive",),
    ),
    "prelude.md": (
        "The prelude",
        "Functions that every genome may call, written in the language. A genome can hold a changed copy of any.",
        ("function",),
    ),
    "slots-and-recipes.md": (
        "Operators, slots and recipes",
        "Everything else that has a name.",
        ("form", "special", "constant", "slot", "recipe"),
    ),
}
# The kinds of primitives in the registry, and what each holds.
GROUPS = {
    "pointwise": "Elementwise",
    "reduce": "Reductions over the channel",
    "weights": "Learned",
    "sequence": "Along the sequence",
    "structure": "Structure",
    "loss": "Loss",
}
IN_A_TABLE = (GROUPS["pointwise"], GROUPS["reduce"])


def figures(entry: Entry) -> str:
    """What a primitive gives and costs in its example, in a line; "" for other entries."""
    found = measure(entry.name)
    if found is None:
        return ""
    given = [str(t) for t in found.inputs]
    several = len(given) > 1 or given[:1] == ["tokens"] or "".join(given).startswith("values")
    before = " and ".join(filter(None, (", ".join(given[:-1]), *given[-1:])))
    parts = [f"{before} give{'' if several else 's'} {found.result}" if given else f"it gives {found.result}"]
    at = f" at a context of {CONTEXT}" if found.contextual else ""
    parts.append(f"{found.flops:,.0f} FLOP{'s' * (found.flops != 1)} per token{at}")
    parts += [f"learns {name} {list(shape)}" for name, shape in found.weights.items()]
    if found.repeated:
        parts.append("besides, what each copy of the function costs and learns")
    if found.grows:
        parts.append(f"a decoder keeps {found.grows:,} numbers for each token")
    if found.stays:
        parts.append(f"a decoder keeps {found.stays:,} numbers, whatever the length")
    return "; ".join(parts)


def as_data(entry: Entry) -> dict[str, Any]:
    """An entry as plain data; an argument's `default` is null where it is required, "" where it may be left out."""
    data = {key: value for key, value in dataclasses.asdict(entry).items() if value}
    data["arguments"] = [
        {"name": t.name, "sort": t.sort, "default": t.default, "legal": t.legal, "required": t.required}
        for t in entry.arguments
    ]
    data["binds"] = dict(entry.binds)
    data |= {title.replace(" ", "_"): list(names) for title, names in _links(entry)}
    if _example(entry):
        data["example"] = _example(entry)
    if (found := measure(entry.name)) is not None:
        types = {"inputs": [str(t) for t in found.inputs], "result": str(found.result)}
        data["measured"] = dataclasses.asdict(found) | types
    return data


def _example(entry: Entry) -> str:
    """A genome that uses what an entry is about, or ""."""
    return example(entry.name) if entry.name in CALLABLE | SPECIAL else ""


def _arguments(entry: Entry) -> Iterator[tuple[str, str]]:
    """An entry's arguments, or the names that a slot binds, with their meanings."""
    bound = dict(pair for slot in _slots(entry) for pair in entries()[slot].binds)
    yield from ((taken.name, bound.get(taken.name, taken.meaning)) for taken in entry.arguments)
    yield from entry.binds


def _slots(entry: Entry) -> tuple[str, ...]:
    """The slots that a function of the prelude fits by its names."""
    return tuple(slot for slot in SLOTS if entry.kind == "function" and entry.name in fits(slot))


def _links(entry: Entry) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The names that belong to an entry, by what they are to it."""
    fitting = fits(entry.name) if entry.kind == "slot" else ()
    titles = {"calls": entry.calls, "used by": entry.used_by, "fits as": _slots(entry), "in the prelude": fitting}
    mechanism = PRIMITIVES[entry.name].mechanism if entry.name in PRIMITIVES else ""
    titles["code"] = (f"foundry/compiler/mechanisms/{mechanism}.py",) if mechanism else ()
    yield from ((title, names) for title, names in titles.items() if names)


def text(entry: Entry) -> str:
    """An entry as a terminal shows it."""
    kind = f"{entry.kind}, {entry.group}" if entry.group else entry.kind
    lines = [*_usage(entry), "", f"  {kind}", ""]
    lines += textwrap.wrap(entry.doc or "no comment", WIDTH, initial_indent="  ", subsequent_indent="  ")
    rows = list(_arguments(entry))
    if rows:
        width = max(len(name) for name, _ in rows)
        lines += ["", *(f"  {name:<{width}}  {meaning}" for name, meaning in rows)]
    if links := list(_links(entry)):
        lines.append("")
        for title, names in links:
            words = f"{title}: {', '.join(names)}"
            lines += textwrap.wrap(words, WIDTH, initial_indent="  ", subsequent_indent="    ")
    if entry.source:
        lines += ["", *_indented(entry.source)]
    if _example(entry):
        lines += ["", "  example:", "", *_indented(_example(entry))]
    if found := figures(entry):
        lines += ["", *textwrap.wrap(f"there, {found}", WIDTH, initial_indent="  ", subsequent_indent="  ")]
    return "\n".join(lines) + "\n"


def _usage(entry: Entry) -> list[str]:
    """How an entry is written, broken between its arguments."""
    joined = entry.usage.replace(": ", ":\0").replace(" = ", "\0=\0")
    lines = textwrap.wrap(joined, WIDTH, subsequent_indent=" " * (len(entry.name) + 1))
    return [line.replace("\0", " ") for line in lines]


def _indented(block: str) -> list[str]:
    return [f"    {line}".rstrip() for line in block.rstrip().split("\n")]


def listing() -> str:
    """Every name by kind, with the first words of what it is."""
    lines: list[str] = []
    for kind, title in KINDS.items():
        lines += ([""] if lines else []) + [title]
        for entry in entries().values():
            if entry.kind == kind:
                words = entry.doc if len(entry.doc) <= 80 else entry.doc[:77].rsplit(" ", 1)[0] + " …"
                lines.append(f"  {entry.name:<16} {words}")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Every generated page of the reference by its file's name."""
    return {name: page(name) for name in PAGES} | {"codes.md": codes()}


def page(name: str) -> str:
    """A page of the reference as Markdown; its first line says what wrote it."""
    title, introduction, kinds = PAGES[name]
    lines = [f"<!-- Written by `{COMMAND}` from the registry and the prelude; do not edit. -->", "", f"# {title}", ""]
    lines += [introduction, ""]
    found = [entry for entry in entries().values() if entry.kind in kinds]
    sections = {KINDS[kind].capitalize(): [e for e in found if e.kind == kind] for kind in kinds}
    if kinds == ("primitive",):
        groups = [*GROUPS, *sorted({e.group for e in found} - set(GROUPS))]
        sections = {GROUPS.get(g, g.capitalize()): [e for e in found if e.group == g] for g in groups}
    elif kinds == ("function",):
        sections = {"": found}
    for heading, listed in sections.items():
        if heading and listed:
            lines += [f"## {heading}", ""]
        plain = all(not e.arguments and not e.binds and not e.source and not _example(e) for e in listed)
        if plain:
            lines += _table([(entry.usage, entry.doc) for entry in listed])
        elif heading in IN_A_TABLE:
            lines += _table([(entry.usage, entry.doc, _line(entry), figures(entry)) for entry in listed])
        else:
            lines += [line for entry in listed for line in _section(entry)]
    return "\n".join(lines).rstrip() + "\n"


def _line(entry: Entry) -> str:
    """What a short example does, where that is one line."""
    head = f"{NAME}(x) = "
    lines = example(entry.name).split("\n")
    return next((line.removeprefix(head)[:-1] for line in lines if line.startswith(head) and line.endswith(";")), "…")


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of (usage, what it is) or of (usage, what it is, example, figures) as a table."""
    if not rows:
        return []
    titles = ("written", "is", "for example", "there")[: len(rows[0])]
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for row in rows:
        cells = [f"`{cell}`" if index in (0, 2) else cell for index, cell in enumerate(row)]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return [*lines, ""]


def _section(entry: Entry) -> list[str]:
    lines = [f"### {entry.name}", "", f"`{entry.usage}`", ""]
    lines += [entry.doc, ""] if entry.doc else []
    if rows := list(_arguments(entry)):
        lines += [*(f"- `{name}`: {meaning}" for name, meaning in rows), ""]
    if entry.source:
        lines += ["```", entry.source, "```", ""]
    if _example(entry):
        lines += ["```", _example(entry).rstrip(), "```", ""]
    if found := figures(entry):
        lines += [f"There, {found}.", ""]
    for title, names in _links(entry):
        lines += [f"{title.capitalize()}: {', '.join(f'`{name}`' for name in names)}.", ""]
    return lines
