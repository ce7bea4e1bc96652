"""The command line as people and agents meet it: real processes, exit codes, what goes where."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foundry.cli.main import main

GOOD = """@foundry(1);

layer(x) = x + mlp(rmsnorm(x), hidden = 128);
model = embed(vocab = 256, width = 64) >> 2 * layer >> unembed(tied = 1);
"""


def process(*arguments, text="", cwd=None):
    """Run a command as a process; `text` (str or bytes) is its standard input."""
    data = text.encode() if isinstance(text, str) else text
    command = [sys.executable, "-m", "foundry", *map(str, arguments)]
    done = subprocess.run(command, input=data, capture_output=True, cwd=cwd, timeout=120)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in done.stderr
    return done


def foundry(*arguments, text=""):
    """The same inside this process, which is quicker."""
    data = text.encode() if isinstance(text, str) else text
    out, errors = io.StringIO(), io.StringIO()
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(data))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = main([str(argument) for argument in arguments])
    finally:
        sys.stdin = before
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


def one_line(done):
    """The single line on standard error."""
    (line,) = done.stderr.splitlines()
    return line


# check --------------------------------------------------------------------------------------------------------------


def test_a_clean_genome_is_ok_by_path_by_name_and_from_standard_input(tmp_path):
    (tmp_path / "a.genome").write_text(GOOD)
    done = process("check", tmp_path / "a.genome", "llama", "-", text=GOOD)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.rsplit(": ", 1)[1] for line in done.stdout.splitlines()] == ["ok"] * 3


def test_json_of_a_clean_genome():
    done = foundry("check", "--json", "llama", "gpt2")
    assert done.returncode == 0 and json.loads(done.stdout) == {"ok": True, "diagnostics": []}


def test_json_of_an_error_has_place_remedy_and_a_fix_that_was_tried():
    done = process("check", "--json", "-", text=GOOD.replace("rmsnorm", "rmsnrm"))
    assert done.returncode == 1
    report = json.loads(done.stdout)
    (found,) = report["diagnostics"]
    assert report["ok"] is False and found["code"] == "F201" and found["severity"] == "error"
    assert (found["span"]["line"], found["span"]["column"]) == (3, len("layer(x) = x + mlp(") + 1)
    assert "rmsnorm" in found["help"]
    assert any(fix["verified"] and fix["edits"][0]["text"] == "rmsnorm" for fix in found["fixes"])


def test_errors_of_several_files_are_all_reported(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.genome").write_text(GOOD.replace("rmsnorm", f"norm_{name}"))
    done = foundry("check", tmp_path)
    assert done.returncode == 1 and "norm_a" in done.stdout and "norm_b" in done.stdout
    assert len(json.loads(foundry("check", "--json", tmp_path).stdout)["diagnostics"]) == 2


LAYER = "model = embed(vocab = 256, width = {width}) >> {body} >> unembed(tied = 1);"
BAD = {
    "empty": (b"", "F003"),
    "binary": (bytes(range(256)) * 4, "F001"),
    "ten megabytes": (b"# words\n" * (10 * 2**20 // 8), "F002"),
    "nested 100,000 deep": ("@foundry(1);\nmodel = " + "(" * 100_000 + "1" + ")" * 100_000 + ";", "F103"),
    "a number of 5000 digits": (f"@foundry(1);\nmodel = {'9' * 5000};", "F104"),
    "1e999": ("@foundry(1);\nmodel = 1e999;", "F104"),
    "an unknown name": ("@foundry(1);\n" + LAYER.format(width=64, body="rmsnrm"), "F201"),
    "shapes that clash": ("@foundry(1);\n" + LAYER.format(width=64, body="(fn(x) => x + linear(x, 32))"), "F301"),
    "heads that do not divide": ("@foundry(1);\n" + LAYER.format(width=64, body="attention(heads = 7)"), "F302"),
    "recursion": ("@foundry(1);\nf(x) = f(x);\n" + LAYER.format(width=64, body="f"), "F204"),
    "too many parameters": ("@foundry(1);\n" + LAYER.format(width=65536, body="1000 * mlp(hidden = 16777216)"), "F401"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_genomes_get_a_clear_error_with_its_place_and_exit_1(name):
    text, code = BAD[name]
    began = time.monotonic()
    done = process("check", "-", text=text)
    assert time.monotonic() - began < 20
    assert done.returncode == 1 and done.stderr == ""
    assert f"error[{code}]" in done.stdout and re.search(r"--> (-|<stdin>):\d+:\d+", done.stdout)
    assert len(done.stdout) < 5000
    report = json.loads(foundry("check", "--json", "-", text=text).stdout)
    assert report["diagnostics"][0]["code"] == code


@pytest.mark.parametrize("verb", ["show", "emit", "mutate", "eval"])
def test_other_verbs_refuse_a_bad_genome_on_standard_error(verb):
    done = foundry(verb, "-", text=GOOD.replace("rmsnorm", "rmsnrm"))
    assert done.returncode == 1 and done.stdout == ""
    assert "error[F201]" in done.stderr and done.stderr.splitlines()[-1] == "foundry: - has 1 error"


def test_check_is_quick_because_it_imports_nothing_heavy():
    code = (
        "import sys; from foundry.cli.main import main; main(['check', 'llama']);"
        "heavy = {'torch', 'networkx', 'pyarrow', 'optuna', 'numpy', 'matplotlib', 'rich', 'psutil', 'pydantic'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "llama: ok\n[]\n"


# misuse -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chek", "llama"], "check"),
        (["check"], "missing argument"),
        (["check", "llama", "--nope"], "--nope"),
        (["check", "lama"], "gpt2, hybrid, llama, primer"),
        (["check", "no/such.genome"], "no file no/such.genome"),
        (["show", "."], "is a folder"),
        (["fmt", "llama"], "no file llama"),
        (["mutate", "llama", "-n", "0"], "-n"),
        (["mutate", "llama", "--seed", "x"], "--seed"),
        (["emit", "llama", "-o", "no/such/folder/model.py"], "no/such/folder/model.py"),
        (["eval", "llama", "--seeds", "0"], "--seeds"),
        (["evolve"], "--budget 10min"),
        (["evolve", "--budget", "soon"], "10min"),
        (["evolve", "--budget", "5 parsecs"], "unknown unit"),
        (["evolve", "--budget", "-3min"], "positive"),
        (["evolve", "--budget", "nan"], "not a number"),
        (["evolve", "--budget", "3s"], "too short to confirm anything"),
        (["evolve", "--budget", "10min", "--workers", "-1"], "--workers"),
        (["evolve", "--budget", "10min", "--strategy", "luck"], "random"),
        (["evolve", "--resume", ".", "--budget", "10min"], "leave out --budget"),
    ],
)
def test_misuse_is_one_line_and_exit_2(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = foundry(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert words in one_line(done)
    assert list(tmp_path.iterdir()) == []


def test_misuse_of_a_process_is_one_line_and_exit_2(tmp_path):
    done = process("evolve", "--budget", "3s", cwd=tmp_path)
    assert (
        done.returncode == 2
        and one_line(done).startswith("foundry: budget '3s' is too short")
        and list(tmp_path.iterdir()) == []
    )


@pytest.mark.parametrize("verb", ["report", "top"])
def test_a_folder_that_is_no_run_is_refused(verb, tmp_path):
    done = foundry(verb, tmp_path)
    assert done.returncode == 1 and "run.json" in one_line(done)
    assert foundry(verb, tmp_path / "nowhere").returncode == 1


@pytest.mark.parametrize("content", [None, b"", b"a few words"], ids=["missing", "empty", "too small"])
def test_a_bad_corpus_is_one_line_and_leaves_no_run_folder(content, tmp_path):
    data, out = tmp_path / "words.txt", tmp_path / "run"
    if content is not None:
        data.write_bytes(content)
    done = foundry("evolve", "--budget", "10min", "--data", data, "--out", out)
    assert done.returncode == 1 and "words.txt" in one_line(done)
    assert not out.exists()


def test_evolve_leaves_a_foreign_folder_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    done = foundry("evolve", "--budget", "10min", "--out", tmp_path)
    assert done.returncode == 1 and str(tmp_path) in one_line(done)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


# fmt ----------------------------------------------------------------------------------------------------------------


def test_fmt_check_names_what_would_change_and_changes_nothing(tmp_path):
    file = tmp_path / "a.genome"
    file.write_text(GOOD.replace(" = ", "="))
    before = file.read_bytes()
    done = foundry("fmt", "--check", tmp_path)
    assert done.returncode == 1 and str(file) in done.stdout and file.read_bytes() == before


def test_fmt_writes_files_in_place_once_and_keeps_their_mode(tmp_path):
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep" / "a.genome"
    file.write_text(GOOD.replace(" = ", "="))
    file.chmod(0o640)
    first, second = foundry("fmt", tmp_path), foundry("fmt", tmp_path)
    assert first.returncode == second.returncode == 0
    assert first.stdout == f"formatted {file}\n" and second.stdout == ""
    assert file.read_text() == GOOD and file.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in file.parent.iterdir()] == ["a.genome"]


def test_fmt_of_standard_input_is_a_filter():
    done = foundry("fmt", "-", text=GOOD.replace(" = ", "="))
    assert (done.returncode, done.stdout, done.stderr) == (0, GOOD, "")


def test_fmt_leaves_a_file_that_does_not_parse_and_formats_the_others(tmp_path):
    bad, good = tmp_path / "a.genome", tmp_path / "b.genome"
    bad.write_text("@foundry(1);\nmodel = (;")
    good.write_text(GOOD.replace(" = ", "="))
    done = foundry("fmt", tmp_path)
    assert done.returncode == 1 and "error[F101]" in done.stderr
    assert bad.read_text() == "@foundry(1);\nmodel = (;" and good.read_text() == GOOD


# show, emit, mutate, cross, random ----------------------------------------------------------------------------------


def test_show_json_has_the_promised_keys():
    summary = json.loads(foundry("show", "--json", "llama").stdout)
    assert re.fullmatch(r"[0-9a-f]{16}", summary["hash"])
    # 256·64 embedding, tied; per layer: q, k, v, o 64·(64+32+32+64), glu 3·64·176, two norms; a last norm
    assert summary["parameters"] == 256 * 64 + 4 * (64 * 192 + 3 * 64 * 176 + 2 * 64) + 64
    assert summary["cache_bytes_per_token"] == 4 * 2 * 2 * 16 * 4  # layers, key and value, heads, width, float32
    assert summary["flops_per_token"] > 2 * summary["parameters"] * 0.9 and summary["bytes_per_token"] > 0
    (keys,) = [entry for entry in summary["layers"] if entry["path"] == "layer/attention/k"]
    assert (keys["times"], keys["shape"], keys["parameters"]) == (4, "seq[32]", 4 * 64 * 32)


def test_show_for_people_names_sizes_and_shapes():
    out = foundry("show", "llama").stdout
    assert "201,280" in out and "layer/attention/k" in out and "seq[64]" in out


def test_emit_prints_a_file_that_compiles_or_writes_it(tmp_path):
    printed = foundry("emit", "llama")
    written = foundry("emit", "llama", "-o", tmp_path / "model.py")
    assert printed.returncode == written.returncode == 0 and written.stdout == ""
    assert (tmp_path / "model.py").read_text() == printed.stdout
    compile(printed.stdout, "model.py", "exec")


def test_variation_is_reproducible_and_its_genomes_check_clean():
    first, again, other = (foundry("mutate", "llama", "--seed", seed).stdout for seed in (3, 3, 4))
    assert first == again != other
    for text in (first, foundry("cross", "llama", "primer").stdout, foundry("random", "--seed", 5).stdout):
        assert foundry("check", "-", text=text).returncode == 0


def test_mutate_prints_as_many_children_as_asked():
    assert foundry("mutate", "llama", "-n", "3").stdout.count("@foundry(1);") == 3


# help, version, pipes, signals --------------------------------------------------------------------------------------

VERBS = [
    "check",
    "fmt",
    "show",
    "emit",
    "mutate",
    "cross",
    "random",
    "eval",
    "evolve",
    "report",
    "top",
    "confirm",
    "minimal",
    "multiplier",
]


def test_version_and_help_without_arguments():
    assert re.fullmatch(r"foundry \d+\.\d+\.\d+\n", foundry("--version").stdout)
    done = foundry()
    assert done.returncode == 0 and all(f"\n  {verb} " in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_has_examples_that_call_it(verb):
    done = foundry(verb, "--help")
    assert done.returncode == 0
    examples = re.findall(r"^ +(foundry .*)$", done.stdout.split("Examples:")[1], re.MULTILINE)
    assert examples and any(example.split()[1] == verb for example in examples)


EXAMPLES = [
    "foundry check genomes/llama.genome",
    "foundry check --json - < candidate.genome",
    "foundry fmt - < mine.genome",
    "foundry show --json llama",
    "foundry emit llama -o model.py",
    "foundry mutate llama -n 5 --seed 7",
    "foundry mutate llama | foundry check -",
    "foundry cross llama primer --seed 3 > child.genome",
    "foundry random --seed 3 | foundry show -",
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_the_help_do_what_they_say(example, tmp_path):
    helps = " ".join(foundry(example.split()[1], "--help").stdout.split())
    assert example in helps
    (tmp_path / "genomes").mkdir()
    for name in ("genomes/llama.genome", "candidate.genome", "mine.genome"):
        (tmp_path / name).write_text(GOOD)
    command = example.replace("foundry ", f"{sys.executable} -m foundry ")
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()


def test_a_reader_that_goes_away_is_no_error_message():
    command = f"{sys.executable} -m foundry mutate llama -n 40 | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("#") and done.stderr == ""


def test_an_exit_that_no_broken_pipe_is_behind_keeps_its_code(monkeypatch):
    monkeypatch.setattr("foundry.cli.main.app", lambda **_: sys.exit(3))
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 3


def test_ctrl_c_ends_with_130_and_no_traceback():
    process = subprocess.Popen(
        [sys.executable, "-m", "foundry", "check", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and errors == ""


def test_an_unreadable_file_is_named(tmp_path):
    file = tmp_path / "secret.genome"
    file.write_text(GOOD)
    file.chmod(0)
    if os.access(file, os.R_OK):  # the superuser reads everything; a folder in the way of the path is as good
        file = Path(file, "inside.genome")
    done = foundry("check", file)
    assert done.returncode in (1, 2) and str(file) in one_line(done)


# arguments that mean nothing  ------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("check", ""), "empty argument"),
        (("check", "-", "-"), "only once"),
        (("cross", "-", "-"), "only once"),
        (("check", "x" * 5000), "5000 characters"),
        (("random", "--seed", "-1"), "--seed"),
        (("evolve", "--budget", "10min", "--seed", str(10**18)), "--seed"),
        (("evolve", "--budget", "１0min"), "not a number with a unit"),  # a full-width digit
    ],
)
def test_arguments_that_mean_nothing_are_misuse_in_one_line(arguments, says):
    done = foundry(*arguments, text=GOOD)
    assert done.returncode == 2
    assert says in one_line(done) and len(one_line(done)) < 200


def test_fmt_of_an_unset_variable_touches_nothing(tmp_path, monkeypatch):
    (tmp_path / "a.genome").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert foundry("fmt", "").returncode != 0
    assert (tmp_path / "a.genome").read_text() == GOOD


@pytest.mark.parametrize("verb", [("report",), ("top",), ("evolve", "--resume")])
@pytest.mark.parametrize("content", ['{"run_id": "x"}', '{"run_id": "x", "settings": {}}', "[1, 2]", "{"])
def test_a_damaged_description_of_a_run_is_named(verb, content, tmp_path):
    (tmp_path / "run.json").write_text(content)
    done = foundry(*verb, tmp_path)
    assert done.returncode == 1
    assert "run.json" in one_line(done)
