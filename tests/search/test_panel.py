"""A panel does what it is asked once, keeps it, and lets a study decide what comes next."""

import importlib.metadata
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny
from finished_run import finished, make

import foundry
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import load_program
from foundry.dsl.diagnostics import GenomeError
from foundry.search.archive import Archive, ArchiveError
from foundry.search.panel import Panel, Wanted

HERE = str(Path(__file__).parent)
GENOME = """@foundry(1);

model = embed(vocab = 256, width = 16) >> rmsnorm >> unembed(tied = 1);

recipe = train(optimizer = adamw(lr = 1e-2));
"""
SPELLED = GENOME.replace("lr = 1e-2", "lr = 0.01")
FASTER = GENOME.replace("lr = 1e-2", "lr = 2e-2")


@dataclass(frozen=True)
class Text:
    """All that a panel and the jobs of tiny.py need of a corpus."""

    hash: str
    name: str = "words"


def panel(folder=None, job=tiny.landscape, texts=(Text("a" * 16),)):
    return Panel(texts, folder, 2, job, ("tiny",))


def test_results_come_in_the_order_of_what_was_wanted_and_equal_wishes_are_paid_once():
    with panel() as open_panel:
        told = []
        wanted = [Wanted(FASTER, 1e11, 3), Wanted(GENOME, 1e11, 3), Wanted(FASTER, 1e11, 3), Wanted(FASTER, 2e11, 3)]
        first = open_panel.measure(wanted, lambda done, total: told.append((done, total)))
        assert first[0] == first[2] != first[1] and first[3].bits_per_byte < first[0].bits_per_byte
        assert told[0] == (0, 3) and told[-1] == (3, 3)
        open_panel.measure(wanted, lambda done, total: told.append((done, total)))
        assert told[-1] == told[-2] == (3, 3) and len(told) == 5  # nothing was left to do


def test_two_spellings_of_one_genome_are_one_evaluation():
    with panel() as open_panel:
        a, b = open_panel.measure([Wanted(GENOME, 1e11, 0), Wanted(SPELLED, 1e11, 0)])
    assert a == b and a.status == "ok"


def test_conditions_tell_evaluations_apart(tmp_path):
    base = Wanted(GENOME, 1e11, 0, "validation", "a" * 16)
    others = [
        Wanted(GENOME, 1.5e11, 0, "validation", "a" * 16),
        Wanted(GENOME, 1e11, 1, "validation", "a" * 16),
        Wanted(GENOME, 1e11, 0, "test", "a" * 16),
        Wanted(GENOME, 1e11, 0, "validation", "b" * 16),
    ]
    with panel(tmp_path / "kept", texts=(Text("a" * 16), Text("b" * 16))) as open_panel:
        open_panel.measure([base, *others])
    rows = Archive(tmp_path / "kept").rows()
    assert len(rows) == 5 and {row["data_hash"] for row in rows} == {"a" * 16, "b" * 16}
    assert [row["test_bpb"] is not None for row in rows].count(True) == 1


def test_a_text_that_the_panel_has_not_is_refused():
    with panel(texts=(Text("a" * 16), Text("b" * 16))) as open_panel, pytest.raises(KeyError):
        open_panel.measure([Wanted(GENOME, 1e11, 0)])


def test_a_genome_with_errors_is_refused_before_anything_is_paid(tmp_path):
    with panel(tmp_path / "kept") as open_panel, pytest.raises(GenomeError):
        open_panel.measure([Wanted(GENOME, 1e11, 0), Wanted("@foundry(1);\n\nmodel = nothing;\n", 1e11, 0)])
    assert Archive(tmp_path / "kept").rows() == []


def test_a_folder_remembers_and_only_what_is_missing_is_done(tmp_path):
    with panel(tmp_path / "kept") as open_panel:
        first = open_panel.measure([Wanted(GENOME, 1e11, seed) for seed in range(3)])
    with panel(tmp_path / "kept", job=tiny.fault) as open_panel:  # whatever is done now crashes
        again = open_panel.measure([Wanted(GENOME, 1e11, seed) for seed in range(4)])
    assert again[:3] == first and again[3].error_code == "SIGSEGV"
    assert Archive(tmp_path / "kept").genome(Archive(tmp_path / "kept").rows()[0]["genome_hash"]) == GENOME


def test_a_failure_of_the_machine_is_tried_again_and_one_of_the_genome_is_not(tmp_path):
    wanted = [Wanted(GENOME, 1e11, 0)]
    with panel(tmp_path / "kept", job=tiny.fault) as open_panel:
        assert open_panel.measure(wanted)[0].status == "crashed"
    with panel(tmp_path / "kept", job=tiny.diverge) as open_panel:
        assert open_panel.measure(wanted)[0].status == "diverged"
    with panel(tmp_path / "kept") as open_panel:
        assert open_panel.measure(wanted)[0].status == "diverged"
    assert [row["status"] for row in Archive(tmp_path / "kept").rows()] == ["crashed", "diverged"]


def test_results_of_another_version_do_not_count(tmp_path, monkeypatch):
    wanted = [Wanted(GENOME, 1e11, 0)]
    with monkeypatch.context() as other, panel(tmp_path / "kept") as open_panel:
        other.setattr("foundry.search.panel_rows._versions", lambda: {"foundry_version": "0", "torch_version": "0"})
        open_panel.measure(wanted)
    with panel(tmp_path / "kept", job=tiny.diverge) as open_panel:
        assert open_panel.measure(wanted)[0].status == "diverged"


def test_a_failure_has_no_score_even_where_the_worker_gave_one():
    with panel(job=tiny.suspect) as open_panel:
        (measured,) = open_panel.measure([Wanted(GENOME, 1e11, 0)])
    assert (measured.status, measured.bits_per_byte) == ("quarantined", None)


def thinning(text):
    """A study: a hundredth of the compute as long as the score is below 3.6; that makes it 0.8 worse."""
    compute, scores = 1e13, [0.0]
    while scores[0] < 3.6:
        compute /= 100
        scores = yield [Wanted(text, compute, seed) for seed in range(2)]
    return compute, scores


def test_a_study_is_sent_the_scores_of_what_it_wants_until_it_has_a_result():
    told = []
    with panel(job=tiny.plain) as open_panel:
        compute, scores = open_panel.follow(thinning(GENOME), lambda done, total: told.append((done, total)))
        assert scores == [m.bits_per_byte for m in open_panel.measure([Wanted(GENOME, compute, s) for s in (0, 1)])]
    assert compute == 1e9 and told[-1][0] == told[-1][1] == 4


def test_a_note_stands_and_is_brought_back(tmp_path):
    with panel(tmp_path / "kept") as open_panel:
        assert open_panel.note("plan", {"compute": 1}) == {"compute": 1}
    with panel(tmp_path / "kept") as open_panel:
        assert open_panel.note("plan", {"compute": 2}) == {"compute": 1}
    with panel() as open_panel:
        assert open_panel.note("plan", 3) == 3


def test_two_panels_cannot_write_to_one_folder(tmp_path):
    with panel(tmp_path / "kept"), pytest.raises(ArchiveError, match="another process"):
        panel(tmp_path / "kept")


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ArchiveError, match="other files"):
        panel(tmp_path)


def test_the_folder_of_a_search_is_refused_and_stays_as_it_was(tmp_path):
    make(tmp_path / "run", finished())
    before = Archive(tmp_path / "run").rows()
    with pytest.raises(ArchiveError, match="holds a search"):
        panel(tmp_path / "run")
    assert Archive(tmp_path / "run").rows() == before


def test_what_a_search_has_found_is_not_paid_for_again():
    row = {
        "genome_hash": canonical_hash(load_program(GENOME)), "status": "ok", "shared_with": "", "test_bpb": 2.5,
        "val_bpb": None, "compute_budget": 1e11, "compute_spent": 1e11, "seed": 0, "data_hash": "a" * 16,
        "eval_id": "", "error_code": "", "foundry_version": foundry.__version__,
        "torch_version": importlib.metadata.version("torch"),
    }  # fmt: skip
    others = [row | {"seed": 1, "status": "diverged"}, row | {"seed": 2, "torch_version": "1"}]
    with panel(job=tiny.diverge) as open_panel:
        open_panel.learn([row, *others, row | {"seed": 3, "shared_with": "another"}])
        found = open_panel.measure([Wanted(GENOME, 1e11, seed, "test") for seed in range(4)])
        assert [one.bits_per_byte for one in found] == [2.5, None, None, None]
        assert open_panel.measure([Wanted(GENOME, 1e11, 0)])[0].status == "diverged"  # on validation text


MAIN = """
import sys
sys.path[:0] = {places!r}
import test_panel
from foundry.search.panel import Wanted
if __name__ == "__main__":
    with test_panel.panel(sys.argv[1]) as panel:
        tell = lambda done, total: print(done, flush=True)
        panel.measure([Wanted(test_panel.GENOME, 1e11, seed) for seed in range(400)], tell)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_what_was_told_is_kept_however_the_process_ends(tmp_path, sent):
    script = tmp_path / "main.py"
    script.write_text(MAIN.format(places=[HERE, str(Path(HERE).parent)]))
    with subprocess.Popen(
        [sys.executable, script, tmp_path / "kept"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        while int(process.stdout.readline()) < 3:
            pass
        process.send_signal(sent)
        told = max([3, *map(int, process.stdout.read().split())])
    time.sleep(0.1)
    kept = Archive(tmp_path / "kept").rows()
    assert told <= len(kept) < 400
    with panel(tmp_path / "kept", job=tiny.fault) as open_panel:
        done = open_panel.measure([Wanted(GENOME, 1e11, row["seed"]) for row in kept])
    assert all(measured.status == row["status"] for measured, row in zip(done, kept, strict=True))
