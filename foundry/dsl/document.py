"""What there is to know of every name of the language, from the registry and from the prelude's text and comments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from foundry.dsl.check import check, prelude
from foundry.dsl.format import LEVELS, format_genome, format_number
from foundry.dsl.registry import CALLABLE, CONSTANTS, OPERATORS, OPTIMIZERS, PRIMITIVES, SLOTS, SPECIAL
from foundry.dsl.resolve import definition_names
from foundry.dsl.samples import in_slot
from foundry.dsl.signatures import Taken, binds_all, signatures
from foundry.dsl.syntax import Definition, Genome

# The kinds of names, in the order in which they are listed, and what each is called.
KINDS = {
    "form": "forms and operators, the loosest first",
    "primitive": "primitives",
    "function": "functions of the prelude, written in the language",
    "special": "what the checker itself gives meaning to",
    "recipe": "recipes: how a model is trained",
    "slot": "slots: places that give a function its arguments by name",
    "constant": "constants",
}

_FORMS = {
    "@foundry": ("@foundry(1);", "the version of the language; every genome begins with it"),
    "fn": ("fn(x, y = 1) => …", "a function without a name"),
    "{": ("{ name = …; result }", "a block: names for parts of its result"),
    "[": ("[a, b]", "a list, for an argument that takes one"),
    ">>": ("x >> f, f >> g", "f applied to x; or the function that applies f, then g"),
}
# What each operator means, by its primitive.
_MEANINGS = {
    "add": "the sum",
    "subtract": "the difference; -x is minus x",
    "multiply": "the product",
    "divide": "the quotient",
    "power": "a to the power b; it groups to the right",
    "less": "whether a is less than b",
    "less_equal": "whether a is at most b",
    "greater": "whether a is more than b",
    "greater_equal": "whether a is at least b",
    "equal": "whether a and b are equal",
    "unequal": "whether a and b differ",
    "both": "a and b",
    "either": "a or b",
}
_COPIES = "; n * f is n copies of the function f, one after another, each with weights of its own"
_SPECIALS = {
    "share": (
        "share(f)",
        "f with one set of weights wherever it is applied; share(n * f) passes n times through one f",
    ),
    "width": ("width(x)", "how many channels x has, as a number that is known when the genome is checked"),
    "query": ("query(x)", "in a score or a mask: what x, a number per token (and head), is at the query's position"),
    "key": ("key(x)", "in a score or a mask: what x, a number per token (and head), is at the key's position"),
    "head_count": ("head_count(x)", "how many heads x has, as a number that is known when the genome is checked"),
}
_RECIPES = {
    "train": "the recipe; every part has a default, so that a genome may leave its recipe out; transfer = n says that "
    "learning rates are meant for matrices of n inputs, and lowers them for wider ones",
    "adamw": "Adam with decoupled weight decay: Loshchilov and Hutter 2017, arXiv:1711.05101",
    "lion": "the sign of an interpolated momentum: Chen et al. 2023, arXiv:2302.06675",
    "muon": "orthogonalised momentum for matrices, and AdamW at adamw_lr for embeddings, the output layer, vectors and "
    "numbers: Jordan et al. 2024, kellerjordan.github.io/posts/muon",
}
_SLOTS = {
    "score": "what becomes of the logit of a query and a key",
    "mask": "which keys a query sees; later positions are never seen, whatever the mask says",
    "schedule": "the factor on the learning rate",
    "context": "the length of the training sequences, in tokens",
    "difficulty": "the share of the training text in use, the easiest first",
    "loss": "the loss of one token; training averages over the tokens",
}
_BINDS = {
    "s": "the scaled logit",
    "h": "the head, from 0",
    "i": "the position of the query",
    "j": "the position of the key",
    "t": "the progress of training, from 0 to 1",
    "logits": "the model's output",
    "y": "the token to predict",
    "teacher": "the logits of a teacher; without one, the model's own, held fixed",
}
_CONSTANTS = {"head": "the axis of heads, for per", "channel": "the axis of channels, for per"}


@dataclass(frozen=True)
class Entry:
    """A name of the language.

    kind: one of KINDS. usage: how it is written, with the sorts of its arguments. doc: what it is, in a line.
    group: for a primitive its kind in the registry. source: for a function of the prelude its definition.
    binds: the names that a slot gives its function, with their meanings. calls: what a function of the prelude calls.
    used_by: functions of the prelude.
    """

    name: str
    kind: str
    usage: str
    doc: str
    arguments: tuple[Taken, ...] = ()
    group: str = ""
    binds: tuple[tuple[str, str], ...] = ()
    source: str = ""
    calls: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()


@cache
def entries() -> dict[str, Entry]:
    """Every name of the language with its entry, in the order of KINDS."""
    found = [*_forms(), *_primitives(), *_functions(), *_specials(), *_recipes(), *_slots(), *_constants()]
    order = list(KINDS)
    return {entry.name: entry for entry in sorted(found, key=lambda entry: order.index(entry.kind))}


def _forms() -> Iterator[Entry]:
    for name in ("@foundry", "fn", "{", "["):
        yield Entry(name, "form", *_FORMS[name])
    for sign in sorted({*OPERATORS, ">>"}, key=lambda sign: (LEVELS[sign], list(LEVELS).index(sign))):
        if sign in _FORMS:
            yield Entry(sign, "form", *_FORMS[sign])
        else:
            doc = _MEANINGS.get(OPERATORS[sign], "") + (_COPIES if sign == "*" else "")
            yield Entry(sign, "form", PRIMITIVES[OPERATORS[sign]].doc, doc)
    yield Entry("!", "form", PRIMITIVES["invert"].doc, "not x")


def usage(name: str, taken: tuple[Taken, ...]) -> str:
    """How a function is written, with the sorts of its arguments."""
    return f"{name}({', '.join(map(str, taken))})"


def _primitives() -> Iterator[Entry]:
    known, users = signatures(), _users()
    for name, primitive in PRIMITIVES.items():
        if name in CALLABLE:
            yield Entry(
                name,
                "primitive",
                usage(name, known[name]),
                primitive.doc,
                known[name],
                primitive.kind,
                used_by=users.get(name, ()),
            )
    for name in sorted(CALLABLE - set(PRIMITIVES)):  # max and min: a reduction of one argument, a choice between two
        docs = [p.doc.partition(": ") for p in PRIMITIVES.values() if p.doc.startswith(f"{name}(")]
        docs.sort(key=lambda parts: parts[0].count(","))
        written, doc = ", ".join(d[0] for d in docs), "; or ".join(d[2] for d in docs)
        yield Entry(name, "primitive", written, doc, group="reduce", used_by=users.get(name, ()))


def comment(definition: Definition) -> str:
    """The comment above a definition: its last paragraph, since those before it speak of what follows."""
    paragraph: list[str] = []
    for line in definition.comments:
        paragraph = [*paragraph, line.strip()] if line.strip() else []
    return " ".join(paragraph)


def _functions() -> Iterator[Entry]:
    known, users = signatures(), _users()
    for definition in prelude().definitions:
        name = definition.name
        yield Entry(
            name,
            "function",
            usage(name, known.get(name, ())),
            comment(definition),
            known.get(name, ()),
            source=source(definition),
            calls=calls(definition),
            used_by=users.get(name, ()),
        )


def source(definition: Definition) -> str:
    """The text of a definition without the comment above it."""
    return format_genome(Genome(1, (replace(definition, comments=()),))).split("\n", 2)[2].rstrip()


def calls(definition: Definition) -> tuple[str, ...]:
    """The names of the language that a definition uses, in the order of their first use."""
    names = dict.fromkeys(name.id for name, _ in definition_names(definition))
    return tuple(name for name in names if name not in CONSTANTS)


def _users() -> dict[str, tuple[str, ...]]:
    """The functions of the prelude that use a name."""
    users: dict[str, tuple[str, ...]] = {}
    for definition in prelude().definitions:
        for name in calls(definition):
            users[name] = (*users.get(name, ()), definition.name)
    return users


def _specials() -> Iterator[Entry]:
    for name in sorted(SPECIAL - set(OPTIMIZERS) - {"train"}):
        written, doc = _SPECIALS.get(name, (name, ""))
        yield Entry(name, "special", written, doc, used_by=_users().get(name, ()))


def _recipes() -> Iterator[Entry]:
    known = signatures()
    for name in ("train", *OPTIMIZERS):
        yield Entry(name, "recipe", usage(name, known[name]), _RECIPES.get(name, ""), known[name])


def _slots() -> Iterator[Entry]:
    for slot, binds in SLOTS.items():
        meanings = tuple((name, _BINDS.get(name, "")) for name in binds)
        where = ", ".join(name for name, taken in signatures().items() if any(t.slot == slot for t in taken))
        written = f"{slot} = fn({', '.join(binds)}) => …"
        doc = f"{_SLOTS.get(slot, slot)}; a function of any of {', '.join(binds)}, as an argument of {where}"
        yield Entry(slot, "slot", written, doc, binds=meanings)


def _constants() -> Iterator[Entry]:
    for name, value in CONSTANTS.items():
        number = isinstance(value, (int, float))
        yield Entry(name, "constant", name, format_number(value) if number else _CONSTANTS.get(name, ""))  # type: ignore[arg-type]


@cache
def fits(slot: str) -> tuple[str, ...]:
    """The functions of the prelude whose names a slot binds, and which the checker takes there."""
    known = signatures()
    names = [d.name for d in prelude().definitions if binds_all(known.get(d.name, ()), slot)]
    return tuple(name for name in names if check(f"@foundry(1);\n{in_slot(slot, name)}").ok)
