"""`foundry fuzz-bytes` explores readers for some time, tells what fails, and tries it again the next time."""

import contextlib
import io
import os
import subprocess
import sys

import pytest

from foundry.cli.main import main
from foundry.testing.bytes import session, targets
from foundry.testing.bytes.target import Target, failure_of, file_name

SMALL = b"abc"


def foundry(*arguments):
    """A command line: its exit code, output and errors."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), errors.getvalue()


def breaks_on_x(data):
    if b"x" in data:
        raise KeyError("x")


@pytest.fixture
def fragile(monkeypatch):
    """A target that fails on every input with an x in it."""
    target = Target("fragile", "nothing", lambda folder: breaks_on_x, (), lambda: [SMALL])
    monkeypatch.setattr(targets, "TARGETS", (target,))
    monkeypatch.setattr(targets, "BY_NAME", {"fragile": target})
    return target


def test_the_list_names_every_target_and_what_it_promises():
    code, out, errors = foundry("fuzz-bytes", "--list")
    assert (code, errors) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == [target.name for target in targets.TARGETS]
    assert all(target.statement in out for target in targets.TARGETS)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["parsr"], "no target is called parsr; did you mean parser?"),
        (["parser", "--time", "soon"], "time 'soon' is not a number with a unit"),
        (["--inputs", "a"], "--inputs belongs to one target"),
        (["parser", "--corpus", "/dev/null/found"], "cannot keep anything in /dev/null/found: not a directory"),
    ],
)
def test_misuse_is_said_in_one_line(arguments, said):
    code, out, errors = foundry("fuzz-bytes", *arguments)
    assert (code, out) == (2, "") and said in errors and len(errors.splitlines()) == 1


def test_without_atheris_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(session.importlib.util, "find_spec", lambda name: None)
    code, _, errors = foundry("fuzz-bytes", "lines", "--time", "1s", "--corpus", tmp_path)
    assert code == 1 and "pip install 'foundry[fuzz]'" in errors and len(errors.splitlines()) == 1


def test_stored_cases_are_tried_first_and_count(fragile, monkeypatch, tmp_path):
    monkeypatch.setattr(session, "explore", lambda *arguments: session.Exploration("fragile", runs=7))
    folder = tmp_path / "bytes/fragile"
    folder.mkdir(parents=True)
    (folder / "good").write_bytes(b"abc")
    code, out, _ = foundry("fuzz-bytes", "--corpus", tmp_path)
    assert code == 0 and "7 inputs" in out and "0 failures" in out
    (folder / "bad").write_bytes(b"axc")
    code, out, _ = foundry("fuzz-bytes", "--corpus", tmp_path)
    assert code == 1 and out.startswith(f"{folder}/bad: KeyError")


def test_a_failure_is_told_by_its_kind_and_place():
    target = targets.BY_NAME["lines"]
    failure = failure_of(target, breaks_on_x, b"x", 1.0)
    assert (failure.kind, failure.content) == ("KeyError", b"x")
    assert file_name(failure).startswith("keyerror-")
    assert failure_of(target, breaks_on_x, b"y", 1.0) is None
    assert failure_of(target, lambda data: sum(range(10**6)), b"", 0.0).kind == "Slow"


def test_it_explores_a_reader_in_a_process_of_its_own(tmp_path):
    """For real, for a moment: inputs are run, new ones are kept, and the reader stands."""
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "foundry", "fuzz-bytes", "lines", "--time", "15s", "--corpus", "found",
               "--inputs", "kept"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=180, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert "0 failures" in done.stdout and list((tmp_path / "kept").iterdir())


def test_a_case_is_made_small():
    pytest.importorskip("atheris")
    from foundry.testing.bytes.explore import shrunk

    assert shrunk(b"some bytes and an x among them", lambda data: b"x" in data) == b"x"
    assert shrunk(b"0123456789", lambda data: len(data) % 2 == 0 and b"7" in data) in (b"67", b"78", b"57", b"79")
    assert shrunk(b"as it is", lambda data: data == b"as it is") == b"as it is"
