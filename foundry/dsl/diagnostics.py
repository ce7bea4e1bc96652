"""Diagnostics: one schema for everything that is wrong with a genome, and its views as text and JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundry.dsl.syntax import NOWHERE, Span


@dataclass(frozen=True)
class Label:
    """A secondary span and what it contributes: where the other side of a clash came from."""

    span: Span
    message: str


@dataclass(frozen=True)
class Edit:
    """Replace the bytes `[start, end)` of the text by `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Fix:
    """Edits that would remove the error. `applicability` is safe or maybe; `verified` is true only
    where applying them and checking again removed it."""

    message: str
    edits: tuple[Edit, ...]
    applicability: str = "maybe"
    verified: bool = False


@dataclass(frozen=True)
class Diagnostic:
    """One mistake. Messages are lower case and say what is wrong; only `help` says what to do."""

    code: str
    message: str
    span: Span = NOWHERE
    severity: str = "error"  # error or warning
    labels: tuple[Label, ...] = ()
    path: str = ""
    expected: tuple[str, ...] = ()
    found: str = ""
    help: str = ""
    fixes: tuple[Fix, ...] = field(default=())
    trace: tuple[Label, ...] = ()  # the calls through the prelude that led here, outermost first

    @property
    def name(self) -> str:
        return CODES[self.code].name

    @property
    def phase(self) -> str:
        return CODES[self.code].phase


@dataclass(frozen=True)
class Code:
    """What a stable code stands for."""

    name: str
    phase: str  # read, parse, names, types, limits
    meaning: str


CODES: dict[str, Code] = {
    "F001": Code("not-text", "read", "the file is not UTF-8 text"),
    "F002": Code("too-large", "read", "the text is larger than a genome may be"),
    "F003": Code("empty", "read", "there is no genome in the text"),
    "F101": Code("syntax", "parse", "the text does not follow the grammar"),
    "F102": Code("character", "parse", "a character that no genome contains"),
    "F103": Code("too-deep", "parse", "expressions nest too deeply"),
    "F104": Code("number", "parse", "a number that has too many digits or is not finite"),
    "F105": Code("version", "parse", "a language version that this compiler does not know"),
    "F106": Code("too-long", "parse", "the genome has too many words"),
    "F201": Code("unknown-name", "names", "a name that nothing defines"),
    "F202": Code("unknown-argument", "names", "a function has no argument of that name"),
    "F203": Code("duplicate", "names", "a name is given twice where once is meant"),
    "F204": Code("recursion", "names", "a function that calls itself"),
    "F205": Code("unused", "names", "a definition that nothing uses"),
    "F206": Code("missing-definition", "names", "the genome does not define its model"),
    "F207": Code("reserved", "names", "a name that the language keeps for itself"),
    "F301": Code("shape", "types", "shapes that do not fit together"),
    "F302": Code("divide", "types", "a size that does not divide another"),
    "F303": Code("kind", "types", "a value of the wrong kind"),
    "F304": Code("missing-argument", "types", "a required argument is absent"),
    "F305": Code("too-many-arguments", "types", "more arguments than the function takes"),
    "F306": Code("range", "types", "a number outside its legal values"),
    "F307": Code("arithmetic", "types", "arithmetic that has no finite result"),
    "F308": Code("slot", "types", "a function that does not fit the place where it is used"),
    "F310": Code("recipe", "types", "a recipe that does not describe training"),
    "F401": Code("too-many-parameters", "limits", "more parameters than a genome may have"),
    "F402": Code("too-big", "limits", "the genome expands to more operations than allowed"),
}


class GenomeError(Exception):
    """A genome with errors. `diagnostics` holds them all; `text` is the genome."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...], text: str = ""):
        self.diagnostics, self.text = diagnostics, text
        first = next((d for d in diagnostics if d.severity == "error"), diagnostics[0])
        super().__init__(f"{first.code} at {first.span.line}:{first.span.column}: {first.message}")

    def __reduce__(self) -> tuple[type[GenomeError], tuple[tuple[Diagnostic, ...], str]]:
        return type(self), (self.diagnostics, self.text)  # one of a worker reaches the main process
