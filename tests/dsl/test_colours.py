"""The editor's grammar, applied as an editor applies it: line by line, the leftmost match, the first rule of equals."""

import json
import re
from pathlib import Path

import pytest

from foundry.dsl.check import prelude
from foundry.dsl.colours import FILE, SCOPE, rules, textmate
from foundry.dsl.registry import CALLABLE, SPECIAL
from foundry.dsl.source import resource

ROOT = Path(__file__).parents[2]
EDITOR = ROOT / "editors" / "vscode"

SAMPLE = """@foundry(1);

# A capped score; heads = 3 here is a comment.
capped(s, cap = 30) = cap * tanh(s / cap);
layer(x) = {
  h2 = rmsnorm(x);
  x + attention(h2, heads=4, score = capped, mask = fn(i, j) => i - j <= 1e2)
};

model = embed(vocab = 256, width = 64) >> 2 * layer >> unembed(tied = 1);
recipe = train(optimizer = adamw(lr = .5e-3), clip = param(1, per = head) == pi);
"""


def coloured(text):
    """Pieces of a text that have a scope: (piece, scope)."""
    patterns = json.loads(textmate())["patterns"]
    compiled = [(re.compile(pattern["match"]), pattern["name"]) for pattern in patterns]
    pieces = []
    for line in text.split("\n"):
        position = 0
        while position < len(line):
            found = [
                (m.start(), n, m, scope) for n, (p, scope) in enumerate(compiled) if (m := p.search(line, position))
            ]
            if not found:
                break
            _, _, match, scope = min(found, key=lambda f: f[:2])
            pieces.append((match.group(), scope.removesuffix(".foundry")))
            position = match.end()
    return pieces


PIECES = coloured(SAMPLE)


def scope_of(piece):
    """The one scope that a piece has throughout the sample."""
    (scope,) = {scope for text, scope in PIECES if text == piece}
    return scope


@pytest.mark.parametrize(
    ("piece", "scope"),
    [
        ("@foundry", "keyword.control.header"),
        ("# A capped score; heads = 3 here is a comment.", "comment.line.number-sign"),
        ("layer", None),
        ("fn", "storage.type.function"),
        ("tanh", "support.function.primitive"),
        ("embed", "support.function.primitive"),
        ("attention", "support.function.prelude"),
        ("rmsnorm", "support.function.prelude"),
        ("train", "support.class.recipe"),
        ("adamw", "support.class.recipe"),
        ("heads", "variable.parameter"),
        ("h2", "variable.parameter"),
        ("width", "variable.parameter"),
        ("model", "entity.name.constant"),
        ("recipe", "entity.name.constant"),
        ("head", "constant.language"),
        ("pi", "constant.language"),
        ("256", "constant.numeric"),
        (".5e-3", "constant.numeric"),
        ("1e2", "constant.numeric"),
        (">>", "keyword.operator"),
        ("<=", "keyword.operator"),
        ("=>", "keyword.operator"),
        ("==", "keyword.operator"),
        ("/", "keyword.operator"),
        ("{", "punctuation"),
        (";", "punctuation"),
    ],
)
def test_each_kind_of_word_has_its_colour(piece, scope):
    if scope is None:  # a function of the genome: its definition stands out, its use does not
        assert [s for text, s in PIECES if text == piece] == ["entity.name.function"]
    else:
        assert scope_of(piece) == scope


def test_a_number_inside_a_name_is_no_number():
    assert ("2", "constant.numeric") in PIECES and [s for t, s in PIECES if t == "h2"] == ["variable.parameter"]
    assert coloured("  x2y + 1.5e1") == [("+", "keyword.operator"), ("1.5e1", "constant.numeric")]


def test_nothing_but_names_and_space_is_left_without_a_colour():
    rest = SAMPLE
    for piece, _ in PIECES:
        before, _, rest = rest.partition(piece)
        assert re.fullmatch(r"[\sA-Za-z0-9_]*", before)
    assert not rest.strip()


def test_all_names_of_the_language_have_a_colour():
    for name in [*CALLABLE, *SPECIAL, *(d.name for d in prelude().definitions)]:
        ((piece, scope),) = coloured(f"  {name}")
        assert piece == name and scope.split(".")[0] in ("support", "keyword")


def test_the_prelude_is_coloured_to_its_last_word():
    scopes = {scope for _, scope in coloured(resource("grammars", "prelude.genome"))}
    assert scopes <= {scope for scope, _ in rules()} and "entity.name.function" in scopes


def test_the_file_is_up_to_date():
    assert (ROOT / FILE).read_text("utf-8") == textmate(), "write it again: see its first line"


def test_the_folder_is_an_extension():
    package = json.loads((EDITOR / "package.json").read_text())
    (language,), (grammar,) = package["contributes"]["languages"], package["contributes"]["grammars"]
    assert language["extensions"] == [".genome"] and language["id"] == grammar["language"]
    assert grammar["scopeName"] == SCOPE == json.loads(textmate())["scopeName"]
    assert (EDITOR / grammar["path"]).samefile(ROOT / FILE)
    configuration = json.loads((EDITOR / language["configuration"]).read_text())
    assert configuration["comments"]["lineComment"] == "#" and ["{", "}"] in configuration["brackets"]
