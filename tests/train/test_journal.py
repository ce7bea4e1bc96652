"""The journal: what is written is there, once, whatever happens to the process; and it is shown and sent on."""

import io
import sys
import types
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from foundry.cli.training_view import Bar, Encoding, Lines, duration, indented, line, short, viewer
from foundry.train.journal import Journal, Row, figures
from foundry.train.trackers import TrackerError, trackers


def row(step, **figures):
    return Row(step=step, tokens=step * 512, progress=step / 100, bits_per_byte=8 / (1 + step), **figures)


def written(folder, steps, resumed=0):
    journal = Journal(folder, step=resumed)
    for step in steps:
        journal.row(row(step))
        journal.sample(step, f"text of {step}\n")
    return journal


def killed(journal):
    """The process ends: what the journal holds in memory is gone, its file is closed."""
    journal._csv.close()


def csv_steps(folder):
    return [int(text.split(",")[0]) for text in (folder / "metrics.csv").read_text().splitlines()[1:]]


def parquet_rows(folder):
    return pq.read_table(folder / "metrics.parquet").to_pylist()


class Seen:
    """A viewer that remembers."""

    def __init__(self):
        self.rows, self.samples, self.said, self.closed = [], [], [], False

    def row(self, row):
        self.rows.append(row)

    def sample(self, step, text):
        self.samples.append((step, text))

    def say(self, text):
        self.said.append(text)

    def close(self):
        self.closed = True


def test_every_row_is_in_both_files(tmp_path):
    written(tmp_path, (10, 20, 30)).close()
    assert csv_steps(tmp_path) == [10, 20, 30]
    assert [(r["step"], r["tokens"], r["bits_per_byte"]) for r in parquet_rows(tmp_path)] == [
        (step, step * 512, 8 / (1 + step)) for step in (10, 20, 30)
    ]


def test_every_column_has_a_unit(tmp_path):
    written(tmp_path, (1,)).close()
    assert all(field.metadata[b"unit"] for field in pq.read_schema(tmp_path / "metrics.parquet"))


def test_a_row_is_on_disk_before_the_journal_is_closed(tmp_path):
    killed(written(tmp_path, (10, 20)))
    assert csv_steps(tmp_path) == [10, 20]
    assert parquet_rows(tmp_path) == []


def test_a_run_that_goes_on_has_no_row_twice(tmp_path):
    killed(written(tmp_path, (10, 20, 30, 40)))  # the last checkpoint was made at step 25
    written(tmp_path, (30, 40, 50), resumed=25).close()
    assert csv_steps(tmp_path) == [10, 20, 30, 40, 50]
    assert [r["step"] for r in parquet_rows(tmp_path)] == [10, 20, 30, 40, 50]
    samples = (tmp_path / "samples.jsonl").read_text().splitlines()
    assert [text for text in samples if '"step": 30' in text] == ['{"step": 30, "text": "text of 30\\n"}']
    assert len(samples) == 5


def test_figures_are_read_back_to_the_bit(tmp_path):
    first = written(tmp_path, (1, 2, 3))
    killed(first)
    again = written(tmp_path, (), resumed=3)
    again.close()
    assert again.rows == first.rows


def test_a_line_that_was_cut_short_counts_as_not_written(tmp_path):
    killed(written(tmp_path, (10, 20)))
    path = tmp_path / "metrics.csv"
    path.write_text(path.read_text()[:-9])
    with (tmp_path / "samples.jsonl").open("a") as file:
        file.write('{"step": 20, "te')
    written(tmp_path, (20,), resumed=20).close()
    assert csv_steps(tmp_path) == [10, 20]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\xfe\0\n\xff\n",
        b"step,tokens\nten,twenty\n",
        b"a,b\n1,2\n\n\n",
        b"\0" * 99,
        b"step\n" + b"1" * 200_000 + b"\n",
        b'{"step": Infinity, "text": ""}\n',
    ],
)
def test_a_damaged_file_costs_its_rows_and_not_the_run(tmp_path, damage):
    (tmp_path / "metrics.csv").write_bytes(damage)
    (tmp_path / "samples.jsonl").write_bytes(damage)
    written(tmp_path, (30,), resumed=20).close()
    assert csv_steps(tmp_path)[-1] == 30


def test_a_new_run_begins_a_new_journal(tmp_path):
    written(tmp_path, (10, 20)).close()
    written(tmp_path, (5,)).close()
    assert csv_steps(tmp_path) == [5]


def test_viewers_are_told_of_everything(tmp_path):
    seen = Seen()
    journal = Journal(tmp_path, viewers=[seen])
    journal.row(row(10))
    journal.sample(10, "def f(x):")
    journal.say("the best so far")
    journal.close()
    assert (seen.rows, seen.samples, seen.said) == ([row(10)], [(10, "def f(x):")], ["the best so far"])
    assert seen.closed


def test_a_viewer_that_fails_is_left_out_and_the_others_are_told(tmp_path):
    class Failing(Seen):
        def row(self, row):
            raise ConnectionError("the server is gone\nTraceback")

    seen = Seen()
    journal = Journal(tmp_path, viewers=[Failing(), seen])
    journal.row(row(10))
    journal.row(row(20))
    journal.close()
    assert seen.said == ["no more is logged to Failing: the server is gone"]
    assert [r.step for r in seen.rows] == [10, 20] == csv_steps(tmp_path)


def test_a_full_disk_leaves_nothing_open(tmp_path, monkeypatch):
    def full(path, parts):
        raise OSError(28, "No space left on device")

    seen = Seen()
    journal = Journal(tmp_path, viewers=[seen])
    journal.row(row(10))
    monkeypatch.setattr("foundry.train.journal.write_whole", full)
    with pytest.raises(OSError, match="No space"):
        journal.close()
    assert seen.closed and journal._csv.closed
    assert csv_steps(tmp_path) == [10]


# ---- for people -----------------------------------------------------------------------------------------------------


def test_a_line_says_where_a_run_stands():
    shown = row(20, validation=2.5, best=2.5, tokens_per_s=12345.0, utilisation=0.382, seconds_left=200)
    assert line(shown, 100) == (
        "step 20 of 100: validation 2.500 bits per byte, the best so far, training 0.381, 12.3k tokens/s, "
        "38% of peak, 3 min 20 s left"
    )
    assert "best" not in line(row(20, validation=2.5, best=2.4), 100)


def test_plain_lines_are_few_and_miss_no_validation():
    now, out = SimpleNamespace(time=0.0), io.StringIO()
    lines = Lines(100, out, clock=lambda: now.time)
    for step in range(1, 101):
        now.time = step / 5
        lines.row(row(step, validation=3.0 if step == 30 else None))
    assert [text.split()[1] for text in out.getvalue().splitlines()] == ["1", "30", "80", "100"]


def test_text_that_takes_long_to_encode_gets_a_line_now_and_then():
    now, out = SimpleNamespace(time=0.0), io.StringIO()
    tell = Encoding(out, clock=lambda: now.time)
    for second in range(21):
        now.time = second
        tell(second * 50_000_000, 2_000_000_000)
    assert out.getvalue().splitlines() == [f"encoding text: {share}% of 2,000 MB" for share in (0, 25, 50)]


def test_a_sample_cannot_act_on_the_terminal():
    assert indented("a\tb\n\x1b[2J\u202e") == "  | a    b\n  | \\x1b[2J\\u{202e}"


def test_a_terminal_gets_a_bar_and_a_file_gets_lines():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    bar = viewer(100, terminal)
    assert isinstance(bar, Bar)
    bar.row(row(50, validation=2.0, best=2.0))
    bar.sample(50, "[bold]def f(x):")
    bar.close()
    assert "validation 2.000 bits per byte, the best so far" in terminal.getvalue()
    assert "  | [bold]def f(x):" in terminal.getvalue()
    assert isinstance(viewer(100, io.StringIO()), Lines)


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0"), (999, "999"), (999.9, "1.00k"), (12_345, "12.3k"), (123_456, "123k"), (1.5e6, "1.50M"), (2e9, "2.00B")],
)
def test_numbers_are_short(number, words):
    assert short(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3725, "1 h 2 min"), (90_000, "1 d 1 h")]
)
def test_durations_have_two_units(seconds, words):
    assert duration(seconds) == words


# ---- elsewhere ------------------------------------------------------------------------------------------------------


def test_figures_are_those_that_are_there_and_finite():
    assert figures(Row(step=3, tokens=9, progress=0.5, rate=float("nan"))) == {"tokens": 9, "progress": 0.5}


def test_tensorboard_can_read_the_figures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (tracker,) = trackers("tensorboard", tmp_path, {"seed": 3})
    tracker.row(row(10, validation=2.5))
    tracker.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    values = [(event.step, v) for event in EventFileLoader(str(file)).Load() for v in event.summary.value]
    assert {step: v.tensor.float_val[0] for step, v in values if v.tag == "validation"} == {10: 2.5}


@pytest.mark.parametrize("package", ["wandb", "trackio"])
def test_hosted_trackers_get_figures_by_step(tmp_path, monkeypatch, package):
    calls = []
    fake = types.ModuleType(package)
    fake.init = lambda **options: calls.append(("init", options["project"], options["name"], options["resume"]))
    fake.log = lambda figures, step: calls.append(("log", figures["validation"], step))
    fake.finish = lambda: calls.append(("finish",))
    monkeypatch.setitem(sys.modules, package, fake)
    (tracker,) = trackers(package, tmp_path / "mine" / "log", {}, step=5)
    tracker.row(row(10, validation=2.5))
    tracker.sample(10, "text")
    tracker.close()
    assert calls == [("init", "foundry", "mine", "allow"), ("log", 2.5, 10), ("finish",)]


def test_a_tracker_that_is_not_installed_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(TrackerError, match=r"logging to wandb needs the package wandb: pip install wandb"):
        trackers("wandb", tmp_path, {})


def test_a_tracker_that_does_not_start_says_why(tmp_path, monkeypatch):
    def init(**options):
        raise RuntimeError("not logged in\nrun wandb login")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with pytest.raises(TrackerError, match=r"^wandb does not start: not logged in$"):
        trackers("wandb", tmp_path, {})


def test_an_unknown_tracker_is_refused_before_any_starts(tmp_path):
    with pytest.raises(TrackerError, match="no log is called 'tensorbord'; did you mean tensorboard"):
        trackers("tensorboard,tensorbord", tmp_path, {})
    assert trackers("", tmp_path, {}) == []
