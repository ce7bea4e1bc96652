"""What may follow in a genome at a cursor: words of the language, names in sight, arguments and their legal values.

Whether a value is legal is the checker's to say: it is put in the cursor's place, what is open is closed, and the
whole is checked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from foundry.dsl.cursor import Cursor, callee, locate
from foundry.dsl.document import comment, entries, usage
from foundry.dsl.draft import Draft, draft
from foundry.dsl.lexer import END
from foundry.dsl.parse import lexer
from foundry.dsl.registry import OPTIMIZERS, PRIMITIVES
from foundry.dsl.resolve import ROOTS
from foundry.dsl.signatures import Taken, binds_all, signatures, waits_for_one
from foundry.dsl.syntax import Definition
from foundry.dsl.usual import usual

PATIENCE = 2.0  # seconds of computing that trying values out may take
_DEFINED = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)[ \t]*(?:\(|=(?!=))", re.MULTILINE)


@dataclass(frozen=True)
class Offer:
    """Something that may stand at the cursor.

    text: what to write; "" for any number, for a new name, and for the end of the genome. kind: word, sign, number,
    name, end, value, argument, binding, parameter, definition, or a kind of the reference (primitive, function, …).
    detail: what it is, in a line. start: the character of the text from which it replaces what precedes the cursor.
    """

    text: str
    kind: str
    detail: str = ""
    start: int = 0


@dataclass(frozen=True)
class Completion:
    """The offers at a cursor, the likeliest first; `problem` says why there are none."""

    offers: tuple[Offer, ...]
    problem: str = ""


@dataclass(frozen=True)
class _View:
    """What is known around the cursor: the genome with a hole there, its definitions and what functions take."""

    cursor: Cursor
    draft: Draft | None
    defined: tuple[str, ...]
    definitions: dict[str, Definition]
    known: dict[str, tuple[Taken, ...]]


def complete(text: str, at: int | None = None) -> Completion:
    """What may follow the first `at` characters of a text, by default all of it; never raises."""
    at = len(text) if at is None else at
    cursor = after = locate(text[:at])
    if cursor.problem:
        return Completion((), cursor.problem)
    offers = [replace(offer, start=cursor.start) for offer in _begins(cursor.partial, _here(cursor, text, at))]
    if cursor.partial:  # the word may be whole, and a sign be next
        if {"NAME", "NUMBER"} <= cursor.expects and cursor.partial[0] in ".0123456789":
            offers.append(Offer("", "number", "more digits", at))
        after = locate(text[:at] + " ")
        offers += [replace(offer, start=at) for offer in _signs(after)]
    unique: dict[tuple[str, str], Offer] = {}
    for offer in offers:
        unique.setdefault((offer.text, "" if offer.text else offer.kind), offer)
    problem = "" if unique else after.problem or f"nothing begins with `{cursor.partial}` here"
    return Completion(tuple(unique.values()), problem)


def _begins(partial: str, offers: Iterable[Offer]) -> Iterator[Offer]:
    return (offer for offer in offers if (offer.text.startswith(partial) if offer.text else not partial))


def _here(cursor: Cursor, text: str, at: int) -> Iterator[Offer]:
    """Everything that may stand at a cursor."""
    if "FOUNDRY" in cursor.expects:
        yield Offer("@foundry(1);", "word", "every genome begins with it")
    elif "NAME" in cursor.expects:
        yield from (_expressions if "NUMBER" in cursor.expects else _new_names)(_view(cursor, text, at))
    elif "NUMBER" in cursor.expects:
        yield Offer("1", "value", "the version of the language")
    if not cursor.partial:
        yield from _signs(cursor)


def _view(cursor: Cursor, text: str, at: int) -> _View:
    hole = draft(cursor, text, at) if "NUMBER" in cursor.expects else None
    whole = hole.genome.definitions if hole else ()
    definitions = {d.name: d for d in (*whole, *cursor.definitions)}
    defined = tuple(dict.fromkeys([*definitions, *_DEFINED.findall(text)]))
    return _View(cursor, hole, defined, definitions, signatures(definitions))


def _signs(cursor: Cursor) -> Iterator[Offer]:
    """Words and signs of the language, operators before brackets."""
    known = entries()
    signs = [sign for sign, name in lexer().types.items() if name in cursor.expects and name != "FOUNDRY"]
    for sign in sorted(signs, key=lambda sign: (sign not in known, sign)):
        entry = known.get(sign)
        yield Offer(sign, "word" if sign.isidentifier() else "sign", f"{entry.usage}: {entry.doc}" if entry else "")
    if END in cursor.expects:
        yield Offer("", "end", "the genome may end here")


def _new_names(view: _View) -> Iterator[Offer]:
    """Where a definition or a parameter gets its name."""
    here = view.cursor.open[-1]
    if here.kind == "parameters":
        taken = _argument(view, 1)
        binds = entries()[taken.slot].binds if taken and taken.slot else ()
        yield from (Offer(name, "parameter", meaning) for name, meaning in binds if name not in here.names)
        yield Offer("", "name", "a new name for a parameter")
        return
    roots = {"model": "the model, which every genome defines", "recipe": "how it is trained"}
    yield from (Offer(name, "definition", roots.get(name, "")) for name in ROOTS if name not in view.defined)
    yield Offer("", "name", "a new name for a definition")


def _expressions(view: _View) -> Iterator[Offer]:
    here = view.cursor.open[-1]
    taken = _argument(view)
    if here.kind == "call" and view.cursor.fresh:
        for t in _open_arguments(view):
            yield Offer(f"{t.name} = ", "argument", t.meaning)
    if taken is not None:
        yield from _values(taken, view)
    yield from _names(view)
    if here.kind == "block" and view.cursor.fresh:
        yield Offer("", "name", "a new name for a part of the result")
    yield Offer("", "number", taken.legal if taken and taken.sort in ("integer", "number", "flag") else "any number")


def _names(view: _View) -> Iterator[Offer]:
    """The names in sight, innermost first."""
    for opened in reversed(view.cursor.open):
        for name in reversed(opened.lambdas):
            yield Offer(name, "parameter", "of the function around this place")
        for name, kind in reversed(opened.names.items()):
            yield Offer(name, kind, "above" if kind == "binding" else "before this one")
    for name in view.defined:
        if name not in ROOTS and name != view.cursor.open[0].name:
            said = comment(view.definitions[name]) if name in view.definitions else ""
            yield Offer(name, "definition", said or (usage(name, view.known[name]) if name in view.known else ""))
    for kind in ("function", "primitive", "special", "constant", "recipe"):
        yield from (Offer(entry.name, kind, entry.doc) for entry in entries().values() if entry.kind == kind)


# ---- arguments ----------------------------------------------------------------------------------------------------


def _argument(view: _View, out: int = 0) -> Taken | None:
    """The argument whose value begins at the cursor, or `out` brackets around it, where that is known."""
    here = view.cursor.open[len(view.cursor.open) - 1 - out]
    if here.kind != "call":
        return None
    if not here.name:
        return next(iter(_open_arguments(view)), None)
    name, _ = callee(here.function, here.given)
    return next((t for t in view.known.get(name, ()) if t.name == here.name), None)


def _open_arguments(view: _View) -> list[Taken]:
    """The arguments that the call around the cursor does not have yet; one that is led into has its first."""
    here = view.cursor.open[-1]
    name, given = callee(here.function, here.given)
    taken = [t for t in view.known.get(name, ()) if t.name not in given]
    count = given.count("")
    led = here.piped and not count and bool(taken) and taken[0].is_tensor
    return taken[count + led :]


def _values(taken: Taken, view: _View) -> Iterator[Offer]:
    """The values of an argument that the checker takes here, or where it cannot say, those that look right."""
    function, _ = callee(view.cursor.open[-1].function, [])
    offers = [o for o in _candidates(taken, function, view) if o.text != view.cursor.open[0].name]
    if view.draft is not None and offers and view.draft.particular():
        offers = list(_taken(offers, view.draft)) or offers
    yield from offers


def _taken(offers: list[Offer], draft: Draft) -> Iterator[Offer]:
    """Those that the checker takes, as far as it gets within its patience; all names are offered below them anyhow."""
    began = time.process_time()
    for offer in offers:
        if time.process_time() - began > PATIENCE:
            return
        if draft.takes(offer.text + ")" * offer.text.endswith("(")):
            yield offer


def _candidates(taken: Taken, function: str, view: _View) -> Iterator[Offer]:
    about = f"{taken.name} of {function}"
    default = f"{about} by default"
    if taken.sort == "flag":
        yield from (Offer(v, "value", default if v == taken.default else about) for v in ("0", "1"))
    elif taken.sort == "axes":
        yield from (Offer(v, "value", about) for v in ("head", "channel", "[head, channel]"))
    elif taken.sort == "optimizer":
        yield from (Offer(f"{name}(", "value", entries()[name].doc) for name in OPTIMIZERS)
    elif taken.slot or taken.sort == "function":
        for name in _functions(taken, view.known):
            entry = entries().get(name)
            yield Offer(name, "value", default if name == taken.default else entry.doc if entry else about)
    elif taken.sort in ("integer", "number", "list"):
        sizes = view.draft.sizes() if view.draft is not None and taken.sort == "integer" else ()
        yield from (Offer(str(n), "value", f"{about}: divides evenly") for n in sizes)
        if taken.default and not sizes:
            yield Offer(taken.default, "value", default)
        for value in () if sizes else usual(function, taken.name):
            yield Offer(value, "value", f"{about} in genomes that come along")


def _functions(taken: Taken, known: dict[str, tuple[Taken, ...]]) -> list[str]:
    """The functions that an argument may be: the default, then those whose names its slot binds, then those of one
    argument; the genome's own and the prelude's before primitives."""
    fitting = {n for n, t in known.items() if waits_for_one(t) or (taken.slot and binds_all(t, taken.slot))}
    named = {n for n in fitting if taken.slot and binds_all(known[n], taken.slot)}
    return sorted(fitting, key=lambda n: (n != taken.default, n not in named, n in PRIMITIVES, list(known).index(n)))
