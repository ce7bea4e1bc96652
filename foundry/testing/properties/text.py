"""What holds of a genome's text, and of everything that is said of it without building it."""

from __future__ import annotations

import json
import math
import random
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator

from foundry.compiler.compare import compare
from foundry.compiler.cost import cost
from foundry.compiler.drawing import draw
from foundry.compiler.scale.candidates import Candidate
from foundry.compiler.scale.search import NEAR, Asked, ScaleError, scale
from foundry.compiler.shapes import shape_rows
from foundry.dsl.canonical import architecture_hash, canonical_hash
from foundry.dsl.check import check, examine
from foundry.dsl.complete import PATIENCE, complete
from foundry.dsl.document import entries
from foundry.dsl.format import WIDTH, format_genome
from foundry.dsl.lexer import Source, Word
from foundry.dsl.parse import lexer, parse
from foundry.dsl.render import to_json
from foundry.dsl.source import decode
from foundry.dsl.syntax import Genome, walk
from foundry.search.operators import Barren, mutate
from foundry.testing.case import Broken, Case, Property, Skipped
from foundry.testing.survival import survives

SECONDS = 5.0  # of processor time that what is said of a genome may take, each
OPEN = 3  # places where a completion is asked for
REMARKS = 4  # comments that are put into a genome


def survived(case: Case) -> None:
    errors = [d for d in survives(case.text) if d.severity == "error"]
    if errors:
        raise Broken(f"{errors[0].code}: {errors[0].message}")


def formatted(case: Case) -> None:
    tree = parse(case.text)
    text = format_genome(tree)
    again = parse(text)
    if again != tree:
        raise Broken("the formatted text has another tree")
    if remarks(again) != remarks(tree):
        raise Broken(f"comments {remarks(tree)} became {remarks(again)}")
    if format_genome(again) != text:
        raise Broken("what was formatted is not in the one format")
    if decode(text.encode()) != text or text != text.rstrip() + "\n":
        raise Broken("the formatted text does not end in one line end")
    wide = [line for line in text.split("\n") if len(line) > WIDTH and " " in line.strip() and "#" not in line]
    if any(len(line.split()) > len(line.strip()) // 3 for line in wide):
        raise Broken(f"a line of {len(wide[0])} characters could be broken: {wide[0][:60]}…")


def commented(case: Case) -> None:
    """Comments between any two words are still there, each once, in the formatted text, which means the same."""
    rng = random.Random(case.seed)
    told = [f"remark {index}" for index in range(REMARKS)]
    text = with_remarks(case.text, told, rng)
    once = format_genome(parse(text))
    for _ in range(2):
        missing = [remark for remark in told if once.count(f"# {remark}\n") != 1]
        if missing:
            raise Broken(f"{missing} not kept once, of\n{text}")
        once = format_genome(parse(once))
    if parse(text) != parse(case.text) or canonical_hash_of(once) != canonical_hash(case.program):
        raise Broken("comments changed what the genome means")


def with_remarks(text: str, told: list[str], rng: random.Random) -> str:
    """A text with comments between words, some behind a word and some on lines of their own."""
    words = lexed(text)
    data = text.encode()
    places = sorted(rng.sample(range(len(words) + 1), min(len(told), len(words) + 1)))
    for index, remark in reversed(list(zip(places, told, strict=False))):
        at = words[index].start if index < len(words) else len(data)
        before = rng.choice((" ", "\n", "\n\n"))
        data = data[:at] + f"{before}# {remark}\n".encode() + data[at:]
    return data.decode()


def lexed(text: str) -> list[Word]:
    """The words of a text, without the end."""
    return lexer().words(Source(text, ""))[:-1]


def remarks(genome: Genome) -> list[tuple[str, ...]]:
    """All comments of a tree, in its order."""
    found = [node.comments for _, node in walk(genome) if hasattr(node, "comments")]
    return [*found, genome.closing]


def canonical_hash_of(text: str) -> str:
    """The hash of a genome that is to check.

    Raises:
        Broken: it does not.
    """
    checked = examine(text)
    if checked.program is None:
        first = checked.diagnostics[0]
        raise Broken(f"{first.code}: {first.message}, in\n{text}")
    return canonical_hash(checked.program)


def completed(case: Case) -> None:
    rng = random.Random(case.seed)
    for at in (len(case.text), *(rng.randint(0, len(case.text)) for _ in range(OPEN - 1))):
        began = time.process_time()
        completion = complete(case.text, at)
        took = time.process_time() - began
        if took > PATIENCE + 1:
            raise Broken(f"completing at {at} took {took:.1f} s")
        for offer in completion.offers:
            if not 0 <= offer.start <= at:
                raise Broken(f"an offer at {at} replaces from {offer.start}")
            if offer.text and not offer.text.startswith(case.text[offer.start : at]):
                raise Broken(f"{offer.text!r} does not go on from {case.text[offer.start : at]!r}")
        if not completion.offers and not completion.problem:
            raise Broken(f"nothing is offered at {at}, and nothing said")


def described(case: Case) -> None:
    """What the commands say of a genome can be said, in time."""
    for name, tell in _TOLD.items():
        began = time.process_time()
        tell(case)
        took = time.process_time() - began
        if took > SECONDS:
            raise Broken(f"{name} took {took:.1f} s of processor time")


def _drawn(case: Case) -> None:
    for depth in (None, 0, 1, 9):
        picture = ElementTree.fromstring(draw(case.program, 'a <genome> & its "name"', depth))
        if not picture.tag.endswith("svg"):
            raise Broken(f"the picture is a {picture.tag}")


def _costed(case: Case) -> None:
    figures = [vars(cost(case.program, context)) for context in (None, 1, 64)]
    json.dumps(figures, allow_nan=False)


def _listed(case: Case) -> None:
    rows = shape_rows(case.program)
    if sum(row.parameters for row in rows) != cost(case.program).parameters:
        raise Broken("the parameters of the layers do not add up to those of the model")


def _told(case: Case) -> None:
    checked = check(case.text)
    json.dumps(to_json(checked.diagnostics, case.text))
    for name in {node.id for _, node in walk(parse(case.text)) if hasattr(node, "id")} & set(entries()):
        if entries()[name].name != name:
            raise Broken(f"the reference calls {name} {entries()[name].name}")


def _hashed(case: Case) -> None:
    for value in (canonical_hash(case.program), architecture_hash(case.program)):
        if len(value) != 16 or set(value) - set("0123456789abcdef"):
            raise Broken(f"the hash is {value!r}")


_TOLD: dict[str, Callable[[Case], None]] = {
    "hash": _hashed,
    "cost": _costed,
    "shapes": _listed,
    "graph": _drawn,
    "check": _told,
}


def compared(case: Case) -> None:
    """A genome does not differ from itself, and differs in something from a mutant."""
    itself = compare(case.program, Case(format_genome(parse(case.text))).program)
    if not itself.same or itself.changes:
        raise Broken(f"it differs from itself: {[change.text for change in itself.changes]}")
    try:
        child = mutate(case.text, random.Random(case.seed)).text
    except Barren:
        raise Skipped("no operator changes it") from None
    for first, second in ((case.program, Case(child).program), (Case(child).program, case.program)):
        found = compare(first, second)
        if found.same or not found.changes:
            raise Broken(f"nothing differs from\n{child}")
        for change in found.changes:
            if not change.text.strip() or "\n" in change.text:
                raise Broken(f"a change is told as {change.text!r}")


def scaled(case: Case) -> None:
    """Scaling gives the size that was asked for, or says why not."""
    rng = random.Random(case.seed)
    reached = 0
    for asked in _sizes(case, rng):
        try:
            result = scale(case.text, asked)
        except ScaleError as error:
            if not str(error):
                raise Broken(f"{asked}: no reason is given") from None
            continue
        reached += 1
        _as_asked(result.text, asked, result.after)
    if not reached:
        raise Skipped("it has no other size")


def _sizes(case: Case, rng: random.Random) -> Iterator[Asked]:
    parameters = cost(case.program).parameters
    yield Asked(width=rng.choice((8, 16, 24, 64, 96, 128)))
    yield Asked(depth=rng.randint(1, 7))
    yield Asked(parameters=max(1, int(parameters * rng.choice((0.3, 2.0, 7.0)))))
    yield Asked(vocab=rng.choice((2, 256, 1000)))


def _as_asked(text: str, asked: Asked, after: Candidate) -> None:
    program = Case(text).program
    count = cost(program).parameters
    if format_genome(parse(text)) != text:
        raise Broken("a scaled genome is not in the one format")
    if count != after.parameters:
        raise Broken(f"scaled to {count} parameters, but {after.parameters} are told")
    if asked.parameters is not None and not _near(count, asked.parameters):
        raise Broken(f"{asked.parameters} parameters were asked for, {count} came")
    for name in ("width", "depth"):
        wanted = getattr(asked, name)
        if wanted is not None and getattr(after, name) != wanted:
            raise Broken(f"a {name} of {wanted} was asked for, {getattr(after, name)} came")
    if asked.vocab is not None and program.vocab != asked.vocab:
        raise Broken(f"{asked.vocab} tokens were asked for, {program.vocab} came")


def _near(count: int, asked: int) -> bool:
    return abs(math.log(count / asked)) <= NEAR + 1e-9


PROPERTIES = (
    Property(
        "survives",
        "A right genome is checked in a second, and what is said of it is said of its own places.",
        survived,
        runs=False,
    ),
    Property(
        "format", "Formatting keeps the tree and all comments; doing it again changes nothing.", formatted, runs=False
    ),
    Property(
        "comments", "A comment anywhere is in the formatted text, once, and changes nothing.", commented, runs=False
    ),
    Property(
        "complete", "What may follow is found anywhere, in time, and goes on from what is there.", completed, runs=False
    ),
    Property(
        "described", "Hash, cost, shapes, picture and diagnostics are told, in time, and add up.", described, runs=False
    ),
    Property(
        "diff", "A genome differs in nothing from itself, and in something from its mutant.", compared, runs=False
    ),
    Property("scale", "A scaled genome has the size that was asked for.", scaled, runs=False),
)
