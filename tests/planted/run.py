"""Plants each known fault in a copy of the package and runs the fuzzing suite there: every one has to be found.

    python tests/planted/run.py                       all of them, and a table in Markdown
    python tests/planted/run.py mask-off-by-one       some of them
    python tests/planted/run.py --jobs 2 --time 300   two at a time, five minutes each at most

The suite is `tests/fuzz` as continuous integration runs it, without shrinking what it finds. First it has to pass on
an unchanged copy. Exit status 1 if a fault survives, 2 if the copy without one fails or a name is unknown.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from faults import REPOSITORY, Fault, faults, planted

COPIED = ("foundry", "grammars", "genomes", "tests", "docs", "editors", "pyproject.toml")
SUITE = "tests/fuzz"
UNSHRUNK = "not shrinks"  # the plugin `unshrunk` leaves nothing to the tests of shrinking
LIMIT = 900.0  # seconds of the suite with one fault
PASSED, FAILED, NONE_SELECTED = 0, 1, 5  # how pytest ends


@dataclass(frozen=True)
class Verdict:
    """What the suite says of a copy.

    failed: the test that failed first, "" where all passed. seconds: how long that took. trouble: why the suite could
    not judge, "" where it could.
    """

    failed: str
    seconds: float
    trouble: str = ""


def judge(fault: Fault | None, limit: float = LIMIT) -> Verdict:
    """Run the suite, up to its first failure, on a copy of the package with a fault in it, or with none."""
    began = time.monotonic()
    with copied() as folder:
        if fault is None and (trouble := _loaded_elsewhere(folder)):
            return Verdict("", 0, trouble)
        if fault is not None:
            (folder / fault.file).write_text(planted(fault), "utf-8")
        for selected in (f"({fault.first}) and {UNSHRUNK}", UNSHRUNK) if fault is not None else (UNSHRUNK,):
            failed, trouble = _tested(folder, selected, limit - (time.monotonic() - began))
            if failed or trouble:
                break
        return Verdict(failed, time.monotonic() - began, trouble)


def _tested(folder: Path, selected: str, limit: float) -> tuple[str, str]:
    """The first test that fails in a folder, and why there is no verdict; "" each where there is nothing to say."""
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "unshrunk", "-k", selected]
    status, output = _run([*command, f"--junitxml={report}", SUITE], folder, max(1.0, limit))
    if status is None:
        return "", "no verdict in time"
    if status not in (PASSED, FAILED, NONE_SELECTED):
        return "", f"pytest ended with {status}: {_last_line(output)}"
    return _first_failure(report), ""


@contextmanager
def copied() -> Iterator[Path]:
    """A folder with a copy of what the suite needs of the repository."""
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        folder = Path(name)
        for part in COPIED:
            if (REPOSITORY / part).is_dir():
                shutil.copytree(REPOSITORY / part, folder / part)
            else:
                shutil.copy2(REPOSITORY / part, folder / part)
        yield folder


def _loaded_elsewhere(folder: Path) -> str:
    """Why a test in a folder would not be one of the package there; "" where it would."""
    status, output = _run([sys.executable, "-c", "import foundry; print(foundry.__file__)"], folder, 60)
    inside = status == 0 and folder.resolve() in Path(_last_line(output)).resolve().parents
    return "" if inside else f"foundry would be loaded from {_last_line(output)}"


def _run(command: list[str], folder: Path, limit: float) -> tuple[int | None, str]:
    """The exit status of a command and what it printed; None where it was killed, with all it started, at the limit."""
    path = os.pathsep.join([str(folder), str(folder / "tests" / "planted")])
    surroundings = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HYPOTHESIS_PROFILE": "quick"}
    with subprocess.Popen(
        command, cwd=folder, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", start_new_session=True,
    ) as process:  # fmt: skip
        try:
            output, _ = process.communicate(timeout=limit)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, ""


def _last_line(output: str) -> str:
    return (output.strip().splitlines() or ["it printed nothing"])[-1]


def _first_failure(report: Path) -> str:
    """The first test of a report that failed, `test_causality.py::test_later_tokens[attend]`, or ""."""
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            file = next(part for part in case.get("classname", "").split(".") if part.startswith("test_"))
            return f"{file}.py::{case.get('name')}"
    return ""


def table(verdicts: Sequence[tuple[Fault, Verdict]]) -> str:
    """The verdicts as a table in Markdown."""
    lines = ["| fault | what it breaks | in | caught by | s |", "|---|---|---|---|--:|"]
    for fault, verdict in verdicts:
        caught = f"`{verdict.failed}`" if verdict.failed else f"**{verdict.trouble or 'survives'}**"
        lines.append(f"| {fault.name} | {fault.breaks} | `{fault.file}` | {caught} | {verdict.seconds:.0f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Does the fuzzing suite find every planted fault?")
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults to plant; all of them where none is named")
    parser.add_argument("--jobs", type=int, default=1, help="copies under test at a time (1)")
    parser.add_argument("--time", type=float, default=LIMIT, help=f"seconds for each at most ({LIMIT:.0f})")
    options = parser.parse_args(arguments)
    known = {fault.name: fault for fault in faults()}
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no fault is called {unknown[0]}; there are {', '.join(known)}")
    chosen = [known[name] for name in options.names] or list(known.values())

    clean = judge(None, limit=options.time)
    if clean.failed or clean.trouble:
        print(f"without any fault: {clean.failed or clean.trouble}", file=sys.stderr)
        return 2
    print(f"without any fault the suite passes in {clean.seconds:.0f} s", file=sys.stderr)

    def judged(fault: Fault) -> tuple[Fault, Verdict]:
        verdict = judge(fault, limit=options.time)
        said = verdict.failed or verdict.trouble or "survives"
        print(f"{fault.name}: {said} ({verdict.seconds:.0f} s)", file=sys.stderr, flush=True)
        return fault, verdict

    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = list(pool.map(judged, chosen))
    caught = sum(bool(verdict.failed) for _, verdict in verdicts)
    print(table(verdicts))
    print(f"\n{caught} of {len(verdicts)} caught; without any fault the suite passes in {clean.seconds:.0f} s.")
    return 0 if caught == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
