"""`--set key=value`: a genome whose recipe, or vocabulary, says something else.

An override edits the text, so that what was trained is what the checkpoint's genome says. Known are the arguments of
`train`, those of the genome's optimizer, and `vocab`. A value is an expression of the language:

    lr=1e-3   batch=8192   context=256   schedule=trapezoid   optimizer=muon(lr = 0.02)   vocab=8192
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from foundry.dsl.check import check, load_program
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.registry import OPTIMIZERS, TRAIN
from foundry.dsl.render import visible
from foundry.dsl.suggest import closest
from foundry.dsl.synonyms import arguments_here
from foundry.dsl.syntax import Argument, Call, Definition, Expr, Genome, Name, Path, Tree, at, put

RECIPE = tuple(argument.name for argument in TRAIN)
VOCAB, CONTEXT = "vocab", "context"
MOMENTS = 1000  # of a run at which its context is asked for
SHOWN = 60  # characters of a pair in a message


class SettingError(ValueError):
    """A setting that cannot be made. The message is one line that names it."""


def override(text: str, pairs: Iterable[str]) -> str:
    """The genome in `text` with each of `pairs`, "key=value", in effect, in their order; formatted.

    Raises:
        SettingError: a pair without a value, a key that is not known, or a value that the genome cannot have.
        GenomeError: the text has errors before anything is set.
    """
    before = check(text)
    if before.program is None:
        raise GenomeError(before.diagnostics, text)
    for pair in pairs:
        key, value = _split(pair)
        try:
            text = _resized(text, value) if key == VOCAB else format_genome(_with(parse(text), key, value))
        except SettingError as error:
            raise SettingError(f"--set {visible(pair[:SHOWN])}: {error}") from None
        _refuse_errors(text, pair)
        if key == CONTEXT:
            _refuse_long(text, pair)
    return text


def _split(pair: str) -> tuple[str, str]:
    key, equals, value = (part.strip() for part in pair.partition("="))
    if not equals or not key or not value:
        raise SettingError(f"--set {visible(pair[:SHOWN])!r}: write key=value, such as lr=1e-3")
    return key, value


def _refuse_errors(text: str, pair: str) -> None:
    first = next((d for d in check(text).diagnostics if d.severity == "error"), None)
    if first is not None:
        hint = f" ({first.help})" if first.help else ""
        raise SettingError(f"--set {visible(pair[:SHOWN])}: {first.message}{hint}")


def _refuse_long(text: str, pair: str) -> None:
    """Raise where rows would be longer than the model has positions, which the loop would cut off."""
    from foundry.compiler.cost import evaluate
    from foundry.compiler.longest import longest

    program = load_program(text)
    most, asked = longest(program), 0.0
    with contextlib.suppress(ArithmeticError, TypeError, ValueError):  # the plan says what has no value
        asked = max(evaluate(program.recipe.context, {"t": t / MOMENTS}) for t in range(MOMENTS))
    if most is not None and asked > most:
        raise SettingError(
            f"--set {visible(pair[:SHOWN])}: the model has {most:,} positions, and a row cannot have more tokens"
        )


def _with(genome: Genome, key: str, value: str) -> Genome:
    """The genome with an argument of `train` or of its optimizer set."""
    genome = _with_recipe(genome)
    recipe = _call(genome, _value_of(genome, "recipe"), ("train",), "recipe")
    new = _expression(value)
    if key == "optimizer" and isinstance(new, Name) and new.id in OPTIMIZERS:
        new = Call(new, ())
    if key in RECIPE:
        return put(genome, recipe, _set(at(genome, recipe), RECIPE, key, new))
    optimizer = _optimizer(genome, recipe)
    call = at(genome, optimizer) if optimizer else Call(Name("adamw"), ())
    assert isinstance(call, Call) and isinstance(call.function, Name)
    names = tuple(argument.name for argument in OPTIMIZERS[call.function.id])
    if key not in names:
        raise SettingError(_unknown(key, call.function.id, names))
    changed = _set(call, names, key, new)
    return put(genome, optimizer, changed) if optimizer else put(genome, recipe, _first(at(genome, recipe), changed))


def _with_recipe(genome: Genome) -> Genome:
    """The genome with a recipe, if only `train()`."""
    if genome.definition("recipe"):
        return genome
    recipe = Definition("recipe", None, Call(Name("train"), ()))
    return Genome(genome.version, (*genome.definitions, recipe), comments=genome.comments, closing=genome.closing)


def _value_of(genome: Genome, name: str) -> Path | None:
    """Where the value of a definition without parameters stands, or None."""
    places = (i for i, d in enumerate(genome.definitions) if d.name == name and d.parameters is None)
    return next((("definitions", i, "value") for i in places), None)


def _call(genome: Genome, path: Path | None, functions: Iterable[str], what: str) -> Path:
    """Where the call of one of `functions` stands that the expression at `path` is, or is the name of.

    Raises:
        SettingError: it is written in another way.
    """
    for _ in range(len(genome.definitions) + 1):
        node = at(genome, path) if path else None
        if path and isinstance(node, Call) and isinstance(node.function, Name) and node.function.id in functions:
            return path
        path = _value_of(genome, node.id) if isinstance(node, Name) else None
    raise SettingError(f"the {what} of this genome is not written as {'(…) or '.join(functions)}(…): edit it by hand")


def _optimizer(genome: Genome, recipe: Path) -> Path | None:
    """Where the optimizer's call stands; None where the recipe leaves the optimizer to its default."""
    call = at(genome, recipe)
    assert isinstance(call, Call)
    for index, argument in enumerate(call.arguments):
        if argument.name == "optimizer" or (not argument.name and index == RECIPE.index("optimizer")):
            return _call(genome, (*recipe, "arguments", index, "value"), OPTIMIZERS, "optimizer")
    return None


def _set(call: Tree, names: Sequence[str], key: str, value: Expr) -> Call:
    """The call with an argument replaced, wherever it stands, or added at the end."""
    assert isinstance(call, Call)
    arguments = list(call.arguments)
    for index, argument in enumerate(arguments):
        if argument.name == key or (not argument.name and names[index] == key):
            arguments[index] = Argument(argument.name, value)
            return Call(call.function, tuple(arguments))
    return Call(call.function, (*arguments, Argument(key, value)))


def _first(recipe: Tree, optimizer: Call) -> Call:
    assert isinstance(recipe, Call)
    return Call(recipe.function, (Argument("optimizer", optimizer), *recipe.arguments))


def _expression(value: str) -> Expr:
    """The syntax tree of a value.

    Raises:
        SettingError: it is no expression of the language, or more than one.
    """
    try:
        definitions = parse(f"@foundry(1);\nvalue = {value};").definitions
    except GenomeError as error:
        raise SettingError(f"the value is no expression: {error.diagnostics[0].message}") from None
    if len(definitions) != 1:
        raise SettingError("the value is more than one expression")
    return definitions[0].value


def _unknown(key: str, optimizer: str, names: Sequence[str]) -> str:
    """What to say of a key that is not known: what it may have meant, and what is."""
    known = [*RECIPE, *names, VOCAB]
    meant = arguments_here(key, known) or closest(key, known)
    hint = f"did you mean {' or '.join(meant)}? " if meant else ""
    return f"no such setting; {hint}known are {', '.join(RECIPE)}, {VOCAB}, and of {optimizer} {', '.join(names)}"


def _resized(text: str, value: str) -> str:
    """The genome with another number of tokens."""
    from foundry.compiler.scale.search import Asked, ScaleError, scale

    if not (value.isascii() and value.isdigit()) or not 2 <= int(value[:12]) < 10**9:
        raise SettingError("the vocabulary is a whole number of tokens, from 2 on")
    try:
        return scale(text, Asked(vocab=int(value))).text
    except ScaleError as error:
        raise SettingError(str(error)) from None
