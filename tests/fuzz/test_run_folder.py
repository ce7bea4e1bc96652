"""A run folder under crashes, damage and company: nothing that was reported as done is lost, changed or doubled.

A machine of hypothesis writes into a folder from child processes that are killed, at any line of the code that writes,
by SIGKILL; damages files, drops foreign ones in, and reads all the while. What was reported is remembered here.
"""

import os
import pickle
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from foundry.search import archive as archive_module
from foundry.search.archive import Archive, ArchiveError
from foundry.search.state import open_state
from foundry.testing.bytes.folders import BASE, CHILD, CONTROL, GENOME, description, row

LINES = 150  # of the archive's code in an operation, about: where a process may be killed
KILLED = st.one_of(st.just(0), st.integers(1, LINES))  # 0: not at all
TEXTS = {h: GENOME.replace("SIZE", str(8 * size)) for size, h in enumerate((BASE, CHILD, CONTROL), start=1)}
STEPS = 12


def kill_after(lines):
    """Let this process be killed when so many lines of the archive's code have run."""
    left = lines

    def count(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename != archive_module.__file__:
            return None
        if event == "line":
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return count

    sys.settrace(count)


def in_a_process(operations, folder, lines, watch):
    """Do operations in a child process, which may be killed on the way.

    operations: functions of an archive. watch: called again and again meanwhile. Returns how many of them the child
    reported as done, and whether it lived to the end.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            if lines:
                kill_after(lines)
            archive = Archive(folder)
            archive.lock()
            for operation in operations:
                operation(archive)
                os.write(writing, b".")
            archive.close()
            os.write(writing, b"!")
        finally:
            os._exit(0)
    os.close(writing)
    told = b""
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while piece := pipe.read(1):
            told += piece
            watch()
    os.waitpid(child, 0)
    return told.count(b"."), told.endswith(b"!")


class RunFolder(RuleBasedStateMachine):
    """kept: rows that were reported, in order, by eval_id. maybe: rows that a killed process may have written.
    described: contents that run.json may have. genomes: texts by hash, that were reported."""

    def __init__(self):
        super().__init__()
        self.space = Path(tempfile.mkdtemp(prefix="foundry-run-"))
        self.folder = self.space / "run"
        self.kept, self.maybe = {}, {}
        self.genomes = {}
        self.described = []
        self.written = 0

    def teardown(self):
        shutil.rmtree(self.space)

    @initialize(lines=st.integers(0, 60))
    def create(self, lines):
        """A process that creates the folder may be killed too; another one then creates it."""
        run = description() | {"proposals": 0}
        self.described = [run]
        child = os.fork()
        if child == 0:
            try:
                if lines:
                    kill_after(lines)
                Archive.create(self.folder, run)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        if not (self.folder / "run.json").exists():
            Archive.create(self.folder, run).close()

    # ---- what processes write

    def rows(self, count):
        fresh = range(self.written, self.written + count)
        self.written += count
        return [row((BASE, CHILD, CONTROL)[number % 3], number % 2, number, 2.0 + number / 64) for number in fresh]

    @rule(counts=st.lists(st.integers(1, 4), min_size=1, max_size=3), lines=KILLED)
    def append(self, counts, lines):
        batches = [self.rows(count) for count in counts]
        operations = [lambda archive, rows=rows: archive.append(rows) for rows in batches]
        known = set(self.kept)

        def watch():
            seen = {r["eval_id"] for r in Archive(self.folder).rows()}
            assert known <= seen <= known | set(self.maybe) | {r["eval_id"] for rows in batches for r in rows}

        done, lived = in_a_process(operations, self.folder, lines, watch)
        assert lived or lines
        for number, rows in enumerate(batches):
            for one in rows:
                (self.kept if number < done else self.maybe)[one["eval_id"]] = one

    @rule(lines=KILLED, proposals=st.integers(1, 10**6))
    def describe(self, lines, proposals):
        run = description() | {"proposals": proposals}
        done, _ = in_a_process([lambda archive: archive.write_run(run)], self.folder, lines, lambda: None)
        self.described = [run] if done else [*self.described, run]

    @rule(lines=KILLED, genome=st.sampled_from(sorted(TEXTS)))
    def keep_a_genome(self, lines, genome):
        operation = [lambda archive: archive.write_genome(genome, TEXTS[genome])]
        done, _ = in_a_process(operation, self.folder, lines, lambda: None)
        if done:
            self.genomes[genome] = TEXTS[genome]

    @rule(room=st.integers(0, 20_000))
    def run_out_of_room(self, room):
        """A disk that is full, or full half-way: the operation fails in one line, and the next one works."""
        rows = self.rows(2)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                os.write(writing, pickle.dumps(_with_little_room(self.folder, rows, room)))
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = pickle.loads(pipe.read())
        os.waitpid(child, 0)
        if said == "":
            self.kept |= {one["eval_id"]: one for one in rows}
        else:
            assert len(said.splitlines()) == 1 and "cannot write" in said and str(self.folder) in said
            assert not {one["eval_id"] for one in rows} & {r["eval_id"] for r in Archive(self.folder).rows()}

    @rule()
    def two_at_once(self):
        archive = Archive(self.folder)
        archive.lock()
        done, lived = in_a_process([lambda archive: archive.append(self.rows(1))], self.folder, 0, lambda: None)
        assert (done, lived) == (0, False), "a second process that writes is refused"
        archive.close()

    # ---- what else befalls it

    def parts(self):
        return sorted(path for path in (self.folder / "evals").glob("part-*.parquet") if path.is_file())

    @precondition(lambda self: self.parts())
    @rule(data=st.data(), how=st.sampled_from(("cut", "garble", "empty", "other")))
    def damage(self, data, how):
        """One part: its rows are lost where no copy of it is left, and no others are."""
        part = data.draw(st.sampled_from(self.parts()))
        content, lost = part.read_bytes(), ids_in(part)
        match how:
            case "cut":
                part.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
            case "garble":
                part.write_bytes(content[:-8] + b"\xff" * 4 + content[-4:])
            case "empty":
                part.write_bytes(b"")
            case "other":
                pq.write_table(pa.table({"eval_id": ["a"], "b": [1]}), part)
        left = {eval_id for other in self.parts() if other != part for eval_id in ids_in(other)}
        for eval_id in lost - left:
            self.kept.pop(eval_id, None)
        self.settle(part.name)
        self.kept = {one["eval_id"]: self.kept[one["eval_id"]] for one in Archive(self.folder).rows()}

    @precondition(lambda self: self.parts())
    @rule(data=st.data())
    def copy_a_part(self, data):
        """Somebody copies a part: its rows count once."""
        part = data.draw(st.sampled_from(self.parts()))
        number = 1 + max(int(path.name.split(".")[0].removeprefix("part-")) for path in self.parts())
        shutil.copy(part, part.with_name(f"part-{number:06d}.parquet"))

    @rule(
        place=st.sampled_from(("evals", "genomes", ".")),
        name=st.sampled_from(
            ("notes.txt", ".part-000001.parquet.tmp", "part-x.txt", "part-000001.parquet.bak", "a.genome", ".hidden")
        ),
        content=st.binary(max_size=20),
    )
    def drop_a_file(self, place, name, content):
        (self.folder / place / name).write_bytes(content)

    @rule(number=st.integers(900, 905), kind=st.sampled_from(("folder", "link", "text")))
    def drop_a_false_part(self, number, kind):
        """What is called a part and is none is set aside with a line that names it."""
        path = self.folder / "evals" / f"part-{number:06d}.parquet"
        if path.exists() or path.is_symlink() or path.with_name(f"{path.name}.damaged").exists():
            return
        match kind:
            case "folder":
                path.mkdir()
            case "link":
                path.symlink_to("nowhere")
            case "text":
                path.write_text("PAR1 and so on")
        self.settle(*([] if kind == "link" else [path.name]))

    def settle(self, *damaged):
        """Read: a line for each damaged part. Who only reads leaves it in place; who writes sets it aside, so that
        the next reader finds nothing."""

        def parts():
            return sorted(path.name for path in (self.folder / "evals").glob("part-*"))

        before = parts()
        for writes in (False, True):
            archive = Archive(self.folder)
            if writes:
                archive.lock()
            archive.rows()
            archive.close()
            assert len(archive.warnings) == len(damaged), archive.warnings
            assert all(len(warning.splitlines()) == 1 for warning in archive.warnings)
            assert all(any(name in warning for warning in archive.warnings) for name in damaged)
            assert parts() == sorted(f"{n}.damaged" if writes and n in damaged else n for n in before)

    # ---- what must always hold

    @invariant()
    def everything_reported_is_there(self):
        if not self.described:
            return
        archive = Archive(self.folder)
        rows = archive.rows()
        assert not archive.warnings
        ids = [one["eval_id"] for one in rows]
        for eval_id in ids:  # what a killed process wrote and somebody has seen stays
            if eval_id in self.maybe:
                self.kept[eval_id] = self.maybe.pop(eval_id)
        assert ids == list(self.kept), "every row once, in the order of writing"
        for one in rows:
            expected = self.kept[one["eval_id"]]
            assert {name: one[name] for name in expected} == expected
        assert archive.read_run() in self.described
        for genome, text in self.genomes.items():
            assert archive.genome(genome) == text

    @rule()
    def go_on(self):
        """A resumed run knows every evaluation that was done."""
        operations = [lambda archive, h=h: archive.write_genome(h, TEXTS[h]) for h in TEXTS]
        done, _ = in_a_process(operations, self.folder, 0, lambda: None)
        assert done == len(TEXTS)
        self.genomes |= TEXTS
        archive = Archive(self.folder)
        state = open_state(archive, archive.read_run(), time.monotonic())
        assert state.done == set(self.kept)


def ids_in(part):
    return set(pq.read_table(part, columns=["eval_id"], partitioning=None).column(0).to_pylist())


def _with_little_room(folder, rows, room):
    """What an archive says when no file may be larger than `room` bytes; empty where that is enough."""
    import resource

    archive = Archive(folder)
    archive.lock()
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    try:
        archive.append(rows)
    except ArchiveError as error:
        return str(error)
    return ""


RunFolder.TestCase.settings = settings(
    max_examples=max(1, settings.default.max_examples // 2),
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestRunFolder = pytest.mark.filterwarnings("ignore")(RunFolder.TestCase)
