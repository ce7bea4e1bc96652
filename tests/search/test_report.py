"""The report says what the archive holds: verdict first, everything escaped, in one file that needs no other."""

import datetime
import re
from html.parser import HTMLParser

import pytest

from foundry.search import history, verdict
from foundry.search.archive import Archive, ArchiveError
from foundry.search.plots import compact, pareto
from foundry.search.report import write_report
from foundry.search.standings import standings

LLAMA, GPT2, TUNED, PARENT, WINNER, CONTROL, BROKEN = (digit * 16 for digit in "abcdef0")
GENOME = """@foundry(1);

# a <script>alert(1)</script> & other words
layer(x) = x + mlp(rmsnorm(x), hidden = HIDDEN, act = silu);

model = embed(vocab = 256, width = 64) >> 2 * layer >> rmsnorm >> unembed(tied = 1);

recipe = train(optimizer = adamw(lr = RATE), batch = 1024);
"""
RUN = {
    "run_id": "feed", "created": "2026-01-02T03:04:05+00:00",
    "versions": {"foundry": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
    "machine": {"system": "Linux <x86>", "cores": 2, "memory_bytes": 8 << 30},
    "settings": {"budget": {"kind": "seconds", "amount": 600.0}, "data": None, "seed": 7, "workers": 2,
                 "strategy": "evolve", "memory": 2 << 30},
    "data": {"name": "python", "hash": "0123456789abcdef"},
    "baselines": {"llama": LLAMA, "gpt2": GPT2},
    "state": "finished", "rungs": [{"compute": 1e11}, {"compute": 3e11}], "noise": {"sigma": 0.021},
    "sessions": [{"started": "2026-01-02T03:04:05+00:00", "seconds": 593.0}], "rounds": 0,
    "confirmation": {"rung": 2, "finalists": [WINNER, PARENT], "baseline": TUNED, "seeds": [11, 12, 13]},
    "result": {
        "verdict": "confirmed", "winner": WINNER, "baseline": TUNED, "control": CONTROL, "rung": 2, "compute": 1e12,
        "difference": {"mean": -0.2, "low": -0.2497, "high": -0.1503, "p": 0.003, "freedom": 2, "n": 3},
        "recipe_alone": {"mean": -0.05, "low": -0.1, "high": 0.0, "p": 0.05, "freedom": 2, "n": 3},
        "architecture_alone": {"mean": -0.15, "low": -0.2, "high": -0.1, "p": 0.01, "freedom": 2, "n": 3},
        "sigma": 0.02, "seeds": [11, 12, 13],
        "test_bpb": {"winner": [2.1, 2.12, 2.14], "baseline": [2.32, 2.3, 2.34], "control": [2.25, 2.27, None]},
    },
}  # fmt: skip


def row(genome, rung, seed, score, operator="seed", parents=(), status="ok", code="", test=False, parameters=100_000):
    curve = [[share / 20, 8 / (1 + share) + (score or 3)] for share in range(21)]
    return {
        "eval_id": f"{genome}-{rung}-{seed}", "run_id": "feed", "genome_hash": genome, "operator": operator,
        "parent_hashes": list(parents), "rung": rung, "seed": seed, "status": status, "error_code": code,
        "val_bpb": None if test else score, "test_bpb": score if test else None, "train_curve": curve,
        "compute_budget": 1e11 * 3**rung, "tokens": 50_000 * 3**rung, "parameters": parameters,
        "flops_per_token": 2.0 * parameters, "bytes_per_token": 9e4, "cache_bytes_per_token": 1024.0, "wall_s": 5.0,
        "finished_at": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    }  # fmt: skip


ROWS = [
    row(LLAMA, 0, 1, 3.0), row(GPT2, 0, 1, 3.4, parameters=120_000),
    row(TUNED, 0, 1, 2.9, "tune", [LLAMA]),
    row(PARENT, 0, 1, 2.7, "wrap <&>", [LLAMA], parameters=110_000),
    row(WINNER, 0, 1, 2.75, "crossover", [PARENT, GPT2], parameters=90_000),
    row(BROKEN, 0, 1, None, "wrap <&>", [LLAMA], "diverged", "loss"),
    row(LLAMA, 1, 2, 2.6), row(TUNED, 1, 2, 2.5, "tune", [LLAMA]), row(WINNER, 1, 2, 2.3, "crossover", [PARENT, GPT2]),
    *(row(g, 2, 11 + i, s, o, p, test=True)
      for g, o, p, scores in ((WINNER, "crossover", [PARENT, GPT2], (2.1, 2.12, 2.14)),
                              (TUNED, "tune", [LLAMA], (2.32, 2.3, 2.34)),
                              (CONTROL, "control", [TUNED, WINNER], (2.25, 2.27)))
      for i, s in enumerate(scores)),
]  # fmt: skip


def make_run(folder, run=RUN, rows=ROWS):
    archive = Archive.create(folder, run)
    for index, genome in enumerate((LLAMA, GPT2, TUNED, PARENT, WINNER, CONTROL, BROKEN)):
        rate = "5e-3" if genome == TUNED else "0.02" if genome in (WINNER, CONTROL) else "3e-3"
        archive.write_genome(genome, GENOME.replace("HIDDEN", str(64 * (index + 1))).replace("RATE", rate))
    if rows:
        archive.append(rows)
    archive.close()
    return folder


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "night & day")


class Reader(HTMLParser):
    """Collects a page's tags, its references and its visible text; fails where tags do not nest."""

    VOID = frozenset({"meta", "br", "img"})

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.references, self.words = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [v for k, v in attributes if k in ("src", "href", "xlink:href") and not v.startswith("#")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "svg"} & set(self.open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_report(make_run(tmp_path_factory.mktemp("run") / "night & day")).read_text()


def test_the_first_sentence_is_the_verdict_with_its_numbers(page):
    heading = Reader(re.search(r"<h1.*?</h1>", page, re.DOTALL)[0]).text
    assert heading.startswith("Confirmed: the winner needs 0.200 bits per byte less than the best tuned baseline")
    assert "llama lr=0.005" in heading and "−0.250 … −0.150, 3 paired seeds, test text" in heading


def test_the_page_needs_no_other_file_and_runs_nothing(page):
    reader = Reader(page)
    assert reader.references == []
    assert not re.search(r"https?://(?!www\.w3\.org/)", page) and "@import" not in page and "url(h" not in page
    assert "script" not in reader.tags
    assert len(page) < 1_000_000


def test_what_a_genome_says_is_escaped(page):
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "wrap &lt;&amp;&gt;" in page and "Linux &lt;x86&gt;" in page and "night &amp; day" in page


def test_confirmation_has_three_rows_with_learning_rates_and_names_a_missing_seed(run, page):
    arms = verdict.arms(Archive(run))
    assert [(arm.role, arm.learning_rate) for arm in arms] == [("winner", 0.02), ("baseline", 0.005), ("control", 0.02)]
    assert arms[2].scores == (2.25, 2.27, None) and arms[2].mean == pytest.approx(2.26)
    text = Reader(page).text
    assert "baseline with the winner's recipe" in text and "2.250, 2.270, –" in text
    assert "of that, its architecture (winner − third row) −0.150 −0.200 … −0.100 3" in text
    assert "picked from 3 genomes by validation text alone, through 2 finalists" in text


def test_lineage_goes_back_to_the_baseline_by_first_parents(run):
    steps = history.lineage(Archive(run), WINNER)
    assert [step.name for step in steps] == ["llama", PARENT[:8], WINNER[:8]]
    assert [step.operator for step in steps] == ["seed", "wrap <&>", "crossover"]
    assert steps[2].other_parents == ("gpt2",) and (steps[2].rung, steps[2].bits_per_byte) == (1, 2.3)
    assert steps[0].changes == () and steps[1].changes and all("\n" not in change for change in steps[1].changes)


def test_an_operator_is_credited_for_children_ahead_of_their_parent_on_the_same_seed():
    records = {record.operator: record for record in history.operators(ROWS)}
    wrap, crossover = records["wrap <&>"], records["crossover"]
    assert (wrap.children, wrap.failed, wrap.compared, wrap.better) == (2, 1, 1, 1)
    assert wrap.gain == pytest.approx(0.3)
    assert (crossover.children, crossover.compared, crossover.better, crossover.gain) == (1, 1, 0, None)
    assert "seed" not in records and "control" not in records


def test_failures_are_counted_by_kind_with_an_example():
    (kind,) = history.failures(ROWS)
    assert (kind.status, kind.error_code, kind.count, kind.example) == ("diverged", "loss", 1, BROKEN)


def test_standings_rank_means_over_seeds_and_leave_failures_out():
    (top, confirmed), (_, second), (_, first) = standings(ROWS)
    assert top == 2 and confirmed[0].split == "test"
    assert [(s.row["genome_hash"], s.seeds) for s in confirmed] == [(WINNER, 3), (CONTROL, 2), (TUNED, 3)]
    assert confirmed[0].bits_per_byte == pytest.approx(2.12)
    assert [s.row["genome_hash"] for s in second] == [WINNER, TUNED, LLAMA]
    assert BROKEN not in {s.row["genome_hash"] for s in first}


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (None, "This run is not over"),
        ({"verdict": "no difference shown", "winner": "", "baseline": LLAMA, "control": "", "difference": None},
         "No confirmed improvement: the search ended with nothing to confirm"),
        ({**RUN["result"], "verdict": "worse", "difference": {**RUN["result"]["difference"], "mean": 0.1, "low": 0.05}},
         "Worse: the winner needs 0.100 bits per byte more"),
        ({**RUN["result"], "verdict": "no difference shown"}, "No difference shown: the winner needs 0.200"),
        ({**RUN["result"], "difference": None}, "ended before there were two pairs"),
    ],
)  # fmt: skip
def test_every_outcome_has_its_sentence_and_a_report(tmp_path, result, words):
    run = make_run(tmp_path / "run", {**RUN, "result": result})
    assert words in Reader(write_report(run).read_text()).text


def test_a_run_that_has_just_begun_has_a_report(tmp_path):
    run = {**RUN, "result": None, "confirmation": None, "rungs": [], "noise": None}
    assert "not over" in write_report(make_run(tmp_path / "run", run, [])).read_text()


def test_a_damaged_part_is_named_in_the_report(run):
    part = run / "evals" / "part-000001.parquet"
    part.write_bytes(b"PAR1")
    assert "part-000001.parquet" in Reader(write_report(run).read_text()).text


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ArchiveError, match=r"run\.json"):
        write_report(tmp_path)


def test_the_front_holds_what_nothing_beats_in_both():
    assert pareto([(3, 1), (1, 3), (2, 2), (2, 4), (4, 1)]) == [(1, 3), (2, 2), (3, 1)]


def test_compact_numbers():
    assert [compact(v) for v in (0, 12.5, 1024, 1_500_000, 3e11)] == ["0", "12.5", "1.02k", "1.5M", "300G"]
