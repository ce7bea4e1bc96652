"""A TextMate grammar for editors, from the terminals of the grammar and the names of the registry and the prelude.

Editors try the patterns at each place of a line in their order; the first that matches furthest to the left colours
what it covers. Scopes are named as in https://macromates.com/manual/en/language_grammars.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from foundry.dsl.document import entries
from foundry.dsl.expectation import OPERATORS
from foundry.dsl.parse import grammar, lexer
from foundry.dsl.registry import CONSTANTS

SCOPE = "source.foundry"
FILE = "editors/vscode/syntaxes/foundry.tmLanguage.json"
COMMAND = f"foundry doc --colours {FILE}"

# What each kind of name is to an editor's theme.
_KINDS = {
    "primitive": "support.function.primitive",
    "function": "support.function.prelude",
    "special": "keyword.other",
    "recipe": "support.class.recipe",
}


def textmate() -> str:
    """The grammar as JSON."""
    patterns = [{"name": f"{scope}.foundry", "match": match} for scope, match in rules()]
    note = f"written by `{COMMAND}` from grammars/foundry.lark, the registry and the prelude; do not edit"
    whole = {
        "information_for_contributors": note,
        "name": "Foundry genome",
        "scopeName": SCOPE,
        "fileTypes": ["genome"],
        "patterns": patterns,
    }
    return json.dumps(whole, indent=2) + "\n"


def rules() -> list[tuple[str, str]]:
    """Scopes with the regular expressions of what has them, in the order in which they are tried."""
    fixed = {name: sign for sign, name in lexer().types.items()}
    patterns = {terminal.name: terminal.pattern.value for terminal in grammar().terminals if terminal.name not in fixed}
    name = patterns["NAME"]
    operators = OPERATORS | {"NOT", "EQUAL", "ARROW"}
    signs = [sign for terminal, sign in fixed.items() if not re.search(r"\w", sign)]
    of_operators = [fixed[terminal] for terminal in operators]
    return [
        ("comment.line.number-sign", patterns["COMMENT"]),
        ("keyword.control.header", re.escape(fixed["FOUNDRY"]) + r"\b"),
        ("storage.type.function", rf"\b{fixed['FN']}\b"),
        ("entity.name.function", rf"^{name}(?=\s*\()"),
        ("entity.name.constant", rf"^{name}(?=\s*=(?![=>]))"),
        ("variable.parameter", rf"\b{name}(?=\s*=(?![=>]))"),
        *((scope, _words(e.name for e in entries().values() if e.kind == kind)) for kind, scope in _KINDS.items()),
        ("constant.language", _words(CONSTANTS)),
        ("constant.numeric", rf"(?<![A-Za-z0-9_])(?:{patterns['NUMBER']})"),
        ("keyword.operator", _signs(of_operators)),
        ("punctuation", _signs(sign for sign in signs if sign not in of_operators)),
    ]


def _words(names: Iterable[str]) -> str:
    return rf"\b(?:{'|'.join(sorted(names))})\b"


def _signs(signs: Iterable[str]) -> str:
    """Any of some signs, the longer before the shorter."""
    return "|".join(re.escape(sign) for sign in sorted(signs, key=lambda sign: (-len(sign), sign)))
