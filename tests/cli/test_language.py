"""explain, doc and complete through the command line."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys

import pytest

from foundry.cli.main import main
from foundry.dsl.explain import explanations

TEXT = """@foundry(1);

layer(x) = x + attention(rmsnorm(x), heads = 4);
model = embed(vocab = 256, width = 96) >> layer >> unembed();
"""


def foundry(*arguments, text=""):
    """Run a command in this process; `text` is its standard input."""
    data = text.encode() if isinstance(text, str) else text
    out, errors = io.StringIO(), io.StringIO()
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(data))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = main([str(argument) for argument in arguments])
    finally:
        sys.stdin = before
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


def process(*arguments, text="", cwd=None):
    """The same as a process."""
    command = [sys.executable, "-m", "foundry", *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, cwd=cwd, timeout=60)


def one_line(done):
    (line,) = done.stderr.splitlines()
    return line


# explain ------------------------------------------------------------------------------------------------------------


def test_explain_without_a_code_lists_them_all():
    done = foundry("explain")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == len(explanations())
    assert "F301  shape                shapes that do not fit together" in done.stdout
    listed = json.loads(foundry("explain", "--json").stdout)
    assert [entry["code"] for entry in listed] == list(explanations())


def test_explain_shows_the_wrong_genome_what_is_said_of_it_and_the_right_one():
    done = process("explain", "F201")
    assert (done.returncode, done.stderr) == (0, "")
    wrong, right = done.stdout.split("right:")
    assert "rmsnrm" in wrong and "error[F201]: nothing is called rmsnrm" in wrong and "did you mean rmsnorm?" in wrong
    assert "rmsnorm" in right and "rmsnrm" not in right and "\x1b" not in done.stdout
    assert foundry("explain", "unknown-name").stdout == foundry("explain", "f201").stdout == done.stdout


@pytest.mark.parametrize("code", explanations())
def test_explain_of_every_code_as_text_and_as_json(code):
    assert foundry("explain", code).stdout.startswith(f"{code}  ")
    data = json.loads(foundry("explain", "--json", code).stdout)
    assert data["code"] == code and data["diagnostics"][0]["code"] == code


@pytest.mark.parametrize(
    ("code", "says"), [("F31", "did you mean F301"), ("shap", "shape"), ("zzzzz", "foundry explain lists them")]
)
def test_an_unknown_code_is_misuse_in_one_line(code, says):
    done = foundry("explain", code)
    assert done.returncode == 2 and done.stdout == "" and says in one_line(done)
    assert len(one_line(foundry("explain", "x" * 5000))) < 200


# doc ----------------------------------------------------------------------------------------------------------------


def test_doc_without_a_name_lists_every_name_by_kind():
    done = foundry("doc")
    assert done.returncode == 0
    for line in ("primitives", "  linear ", "  attention ", "  >> ", "  mask ", "  adamw ", "  pi ", "  share "):
        assert f"\n{line}" in "\n" + done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 110
    names = [entry["name"] for entry in json.loads(foundry("doc", "--json").stdout)]
    assert {"linear", "attention", "mask", "adamw"} <= set(names)


@pytest.mark.parametrize(
    ("name", "shows"),
    [
        ("linear", ["linear(x: seq, out: integer, bias: flag = 0)", "from 1 to 16,777,216", "seq[64] gives seq[128]"]),
        ("attend", ["a function of s, h, i, j", "a decoder keeps 64 numbers for each token", "used by: attention"]),
        ("rmsnorm", ["weight * x * rsqrt(mean(x * x) + eps)", "arXiv:1910.07467", "calls: param, rsqrt, mean"]),
        ("window", ["fits as: mask", "the position of the key"]),
        ("mask", ["the position of the key", "window"]),
        ("train", ["schedule", "a function of t, optional", "recipe = train("]),
        ("muon", ["momentum", "0.95 by default"]),
        ("*", ["n copies of the function f"]),
        ("-", ["-x is minus x"]),
        ("pi", ["3.14159"]),
        ("max", ["max(x), max(a, b)", "the largest over the channel"]),
    ],
)
def test_doc_of_a_name(name, shows):
    done = foundry("doc", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(words in " ".join(done.stdout.split()) for words in shows)


def test_doc_as_json_has_what_a_program_needs():
    data = json.loads(foundry("doc", "--json", "conv").stdout)
    kernel = data["arguments"][1]
    assert (kernel["name"], kernel["sort"], kernel["default"]) == ("kernel", "integer", "4")
    assert data["measured"]["stays"] == 2 * 64 and data["example"].startswith("@foundry(1);")


@pytest.mark.parametrize(
    ("name", "says"), [("atend", "attend"), ("Linear", "linear"), ("qqqqq", "foundry doc lists all")]
)
def test_an_unknown_name_is_misuse_in_one_line(name, says):
    done = foundry("doc", name)
    assert done.returncode == 2 and done.stdout == "" and says in one_line(done)


def test_doc_writes_pages_and_the_editor_s_grammar(tmp_path):
    pages, file = tmp_path / "deep" / "pages", tmp_path / "colours.json"
    done = foundry("doc", "--write", pages, "--colours", file)
    assert done.returncode == 0 and done.stdout == ""
    assert sorted(p.name for p in pages.iterdir()) == [
        "codes.md",
        "prelude.md",
        "primitives.md",
        "slots-and-recipes.md",
    ]
    assert all(p.read_text().startswith("<!-- Written by `foundry doc --write") for p in pages.iterdir())
    assert json.loads(file.read_text())["scopeName"] == "source.foundry"


def test_what_cannot_be_written_is_misuse_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = foundry("doc", "--write", tmp_path / "file")
    assert done.returncode == 2 and "cannot write" in one_line(done)
    assert foundry("doc", "linear", "--write", tmp_path).returncode == 2
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# complete -----------------------------------------------------------------------------------------------------------


def test_complete_prints_what_to_write_its_kind_and_what_it_is():
    done = process("complete", "-", text=TEXT + "more(x) = x + attention(x, ")
    assert (done.returncode, done.stderr) == (0, "")
    heads = next(line for line in done.stdout.splitlines() if line.startswith("heads ="))
    assert re.fullmatch(r"heads = +argument +a whole number from 1 to 16,777,216 \(required\)", heads)
    assert any(re.fullmatch(r"… +number .*", line) for line in done.stdout.splitlines())


def test_complete_at_a_place_in_a_file(tmp_path):
    file = tmp_path / "mine.genome"
    file.write_text(TEXT)
    column = TEXT.splitlines()[2].index("4)") + 1
    done = foundry("complete", file, "--at", f"3:{column}", "--json")
    report = json.loads(done.stdout)
    offered = [offer["text"] for offer in report["offers"] if offer["kind"] == "value"]
    assert offered == [str(n) for n in range(1, 97) if 96 % n == 0]
    assert report["problem"] == "" and {offer["start"] for offer in report["offers"]} == {report["end"]}


def test_offsets_of_complete_count_bytes():
    text = "@foundry(1);\n# é\nmodel = emb"
    report = json.loads(foundry("complete", "--json", "-", text=text).stdout)
    (embed,) = [offer for offer in report["offers"] if offer["text"] == "embed"]
    assert (embed["start"], report["end"]) == (len(text.encode()) - 3, len(text.encode()))


def test_complete_of_nothing_is_the_header():
    assert foundry("complete", "-").stdout.split()[0] == "@foundry(1);"


def test_where_nothing_can_follow_complete_says_why_and_exits_1():
    done = foundry("complete", "-", text="@foundry(1);\nmodel = ) ")
    assert done.returncode == 1 and done.stdout == "" and "2:9: `)` does not fit here" in one_line(done)
    done = foundry("complete", "--json", "-", text="@foundry(1);\nmodel = ) ")
    report = json.loads(done.stdout)
    assert done.returncode == 1 and report["offers"] == [] and "does not fit" in report["problem"]
    assert foundry("complete", "-", text=bytes(range(256))).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-", "--at", "9:1"], "no place 9:1"),
        (["-", "--at", "1:99"], "no place 1:99"),
        (["-", "--at", "0:0"], "no place 0:0"),
        (["-", "--at", "seven"], "such as 7:40"),
        (["-", "--at", "-1:2"], "such as 7:40"),
        (["no.genome"], "no file no.genome"),
        ([], "missing argument"),
    ],
)
def test_a_place_that_is_none_is_misuse_in_one_line(arguments, says):
    done = foundry("complete", *arguments, text=TEXT)
    assert done.returncode == 2 and done.stdout == "" and says in one_line(done)


# all ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["explain", "doc", "complete"])
def test_help_has_examples_that_call_the_verb(verb):
    done = foundry(verb, "--help")
    examples = re.findall(r"^ +(foundry .*)$", done.stdout.split("Examples:")[1], re.MULTILINE)
    assert done.returncode == 0 and examples and all(example.split()[1] == verb for example in examples)


EXAMPLES = [
    "foundry explain F301",
    "foundry explain shape",
    "foundry doc attention",
    "foundry doc --json linear",
    "foundry doc '>>'",
    "foundry doc --write docs/reference",
    "foundry complete mine.genome --at 3:40",
    "foundry complete --json - < beginning.genome",
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_the_help_do_what_they_say(example, tmp_path):
    helps = " ".join(foundry(example.split()[1], "--help").stdout.split())
    assert example in helps
    (tmp_path / "mine.genome").write_text(TEXT)
    (tmp_path / "beginning.genome").write_text(TEXT[:60])
    command = example.replace("foundry ", f"{sys.executable} -m foundry ", 1)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("arguments", [["explain", "F301"], ["doc", "attend"], ["doc"], ["complete", "-"]])
def test_the_verbs_import_nothing_heavy(arguments):
    code = (
        f"import sys; from foundry.cli.main import main; main({arguments!r});"
        "heavy = {'torch', 'networkx', 'pyarrow', 'optuna', 'numpy', 'matplotlib', 'rich', 'psutil', 'pydantic'};"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], input="", capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "heavy: []"
