"""Functions of the prelude copied into a genome, so that it says all of what it means by itself."""

from __future__ import annotations

from dataclasses import replace

from foundry.dsl.check import prelude
from foundry.dsl.registry import TRAIN
from foundry.dsl.substitute import free, fresh_name, substitute, used_names
from foundry.dsl.syntax import Argument, Call, Definition, Function, Genome, Name, put, walk

SCHEDULE = "warmup_cosine"  # what `train` takes from the prelude where no schedule is given


def self_contained(genome: Genome) -> Genome:
    """The genome with the functions of the prelude that it uses defined in it, under its own definitions.

    They keep their names and comments, and come in the prelude's order. One that uses a function of which the genome
    has another of the same name gets a copy of the prelude's under a new name. The schedule that a recipe has by
    default is written out. The genome means what it meant, and doing this twice is doing it once.
    """
    copies = Copies(genome, whole=True)
    genome = _with_schedule(genome, copies)
    for definition in genome.definitions:
        for name in sorted(free(definition)):
            if name in copies.theirs and name not in copies.own:
                copies.copy(name)
    return replace(genome, definitions=(*genome.definitions, *copies.definitions()))


class Copies:
    """Definitions that a genome gets from the prelude, and other names for what a local name hides.

    own: the names that the genome defines. theirs: the prelude's definitions by name. whole: whether a copy brings
    along copies of all that it uses, or only of what the genome hides from it.
    """

    def __init__(self, genome: Genome, whole: bool = False):
        self.whole = whole
        self.own = {definition.name for definition in genome.definitions}
        self.theirs = {definition.name: definition for definition in prelude().definitions}
        self.taken = used_names(genome) | set(self.theirs)
        self.copied: dict[str, Definition] = {}  # by the name that it has in the prelude
        self.aliases: dict[str, Definition] = {}  # by the name that it stands for

    def copy(self, name: str, title: str = "") -> str:
        """Copy a function of the prelude.

        Returns the name of the copy: `title`, or the one that it has in the prelude where the genome has it free.
        """
        if name not in self.copied:
            title = title or (self.fresh(name) if name in self.own else name)
            definition = self.theirs[name]
            self.copied[name] = replace(definition, name=title, comments=_own_comment(definition))
            used = [n for n in sorted(free(definition)) if n in self.theirs and (self.whole or n in self.own)]
            self.copied[name] = renamed(self.copied[name], {n: self.copy(n) for n in used})
        return self.copied[name].name

    def alias(self, name: str) -> str:
        """Another name for a name of the top level, which a local one hides."""
        if name not in self.aliases:
            self.aliases[name] = Definition(self.fresh(name), None, Name(name))
        return self.aliases[name].name

    def fresh(self, stem: str) -> str:
        name = fresh_name(stem, self.taken)
        self.taken.add(name)
        return name

    def definitions(self) -> tuple[Definition, ...]:
        """What has been copied, in the prelude's order, and the other names."""
        return (*(self.copied[name] for name in self.theirs if name in self.copied), *self.aliases.values())


def _own_comment(definition: Definition) -> tuple[str, ...]:
    """The paragraph right above a definition; what stands before it is about the file."""
    comments = definition.comments
    blank = max((index for index, line in enumerate(comments) if not line.strip()), default=-1)
    return comments[blank + 1 :]


def renamed(definition: Definition, names: dict[str, str]) -> Definition:
    """A definition with names of the top level replaced by others, which nothing in it binds."""
    new = {old: Name(now) for old, now in names.items() if old != now}
    whole = substitute(Function(definition.parameters or (), definition.value), new)
    assert isinstance(whole, Function)
    parameters = None if definition.parameters is None else whole.parameters
    return replace(definition, parameters=parameters, value=whole.body)


def _with_schedule(genome: Genome, copies: Copies) -> Genome:
    """The genome with the default schedule written out in its recipe."""
    if genome.definition("recipe") is None:
        recipe = Call(Name("train"), (Argument("schedule", Name(copies.copy(SCHEDULE))),))
        return replace(genome, definitions=(*genome.definitions, Definition("recipe", None, recipe)))
    place = next(index for index, argument in enumerate(TRAIN) if argument.name == "schedule")
    for path, node in list(walk(genome)):
        if isinstance(node, Call) and node.function == Name("train"):
            positional = sum(not argument.name for argument in node.arguments)
            if positional <= place and all(argument.name != "schedule" for argument in node.arguments):
                schedule = Argument("schedule", Name(copies.copy(SCHEDULE)))
                genome = put(genome, path, replace(node, arguments=(*node.arguments, schedule)))
    return genome
