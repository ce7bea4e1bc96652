"""A run folder keeps what it reported, names what is damaged, and refuses what is not its own."""

import datetime
import os
import resource
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from foundry.search.archive import NAMES, Archive, ArchiveError

RUN = {"run_id": "feed", "settings": {}, "data": {}, "versions": {}, "machine": {}, "baselines": {}}
# DESIGN's columns of an evaluation row, and the score that only confirmation fills in
EXPECTED = [
    "eval_id", "run_id", "genome_hash", "behaviour_hash", "parent_hashes", "operator", "arm", "proposal", "rung",
    "seed", "status", "error_code", "compute_budget", "compute_spent", "tokens", "steps", "val_bpb", "test_bpb",
    "fingerprint", "shared_with", "signals", "train_curve", "parameters",
    "flops_per_token", "bytes_per_token", "cache_bytes_per_token", "peak_rss", "cpu_s", "wall_s", "data_hash",
    "foundry_version", "torch_version", "schema_version", "finished_at",
]  # fmt: skip


def row(number: int) -> dict:
    now = datetime.datetime(2026, 1, 2, 3, 4, 5, number, datetime.UTC)
    return {
        "eval_id": f"e{number}",
        "genome_hash": "0" * 16,
        "parent_hashes": [],
        "operator": "seed",
        "rung": 0,
        "seed": number,
        "status": "ok",
        "compute_budget": 1e11,
        "tokens": 1000,
        "parameters": 1000,
        "wall_s": 1.0,
        "val_bpb": 3.5,
        "train_curve": [[1.0, 8.0]],
        "finished_at": now,
    }


def test_a_row_has_the_agreed_columns_each_with_its_unit(tmp_path):
    archive = Archive.create(tmp_path / "run", RUN)
    archive.append([row(1)])
    schema = pq.read_schema(tmp_path / "run/evals/part-000001.parquet")
    assert schema.names == EXPECTED == list(NAMES)
    assert all(field.metadata[b"unit"] for field in schema)
    assert schema.field("compute_budget").metadata[b"unit"].startswith(b"flop")


def test_rows_come_back_in_order_and_absent_values_as_none(tmp_path):
    archive = Archive.create(tmp_path / "run", RUN)
    archive.append([row(1), row(2)])
    archive.append([row(3)])
    archive.close()
    rows = Archive(tmp_path / "run").rows()
    assert [r["eval_id"] for r in rows] == ["e1", "e2", "e3"]
    assert rows[0]["finished_at"] == row(1)["finished_at"] and rows[0]["train_curve"] == [[1.0, 8.0]]
    assert rows[0]["test_bpb"] is None


def test_a_part_of_version_1_is_read(tmp_path):
    archive = Archive.create(tmp_path / "run", RUN)
    archive.append([row(1)])
    archive.close()
    part = tmp_path / "run/evals/part-000001.parquet"
    later = ["arm", "proposal", "compute_spent", "fingerprint", "shared_with", "signals"]
    pq.write_table(pq.read_table(part, partitioning=None).drop_columns(later), part)
    archive = Archive(tmp_path / "run")
    (found,) = archive.rows()
    assert not archive.warnings and found["val_bpb"] == 3.5
    assert (found["arm"], found["compute_spent"], found["fingerprint"]) == ("search", 1e11, "")
    assert (found["shared_with"], found["signals"]) == ("", {})


def test_signals_come_back_by_name(tmp_path):
    archive = Archive.create(tmp_path / "run", RUN)
    archive.append([{**row(1), "signals": {"loss": 5.5, "norm": 0.1}, "arm": "control"}])
    archive.close()
    (found,) = Archive(tmp_path / "run").rows()
    assert found["signals"] == {"loss": 5.5, "norm": 0.1} and found["arm"] == "control"


def test_a_damaged_part_is_named_and_set_aside_and_its_number_is_not_used_again(tmp_path):
    archive = Archive.create(tmp_path / "run", RUN)
    for number in (1, 2, 3):
        archive.append([row(number)])
    archive.close()
    part = tmp_path / "run/evals/part-000003.parquet"
    part.write_bytes(part.read_bytes()[:-40])

    archive = Archive(tmp_path / "run")
    assert [r["eval_id"] for r in archive.rows()] == ["e1", "e2"]
    (warning,) = archive.warnings
    assert "part-000003.parquet" in warning and "left in place" in warning
    assert part.exists()  # who only reads changes nothing
    archive.lock()
    assert [r["eval_id"] for r in archive.rows()] == ["e1", "e2"]
    assert "set aside" in archive.warnings[-1]
    assert not part.exists() and part.with_name("part-000003.parquet.damaged").exists()
    archive.append([row(4)])
    assert [r["eval_id"] for r in Archive(tmp_path / "run").rows()] == ["e1", "e2", "e4"]
    assert not part.exists()


def test_a_parquet_file_of_another_kind_is_damaged_too(tmp_path):
    import pyarrow as pa

    archive = Archive.create(tmp_path / "run", RUN)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "run/evals/part-000001.parquet")
    assert archive.rows() == []
    assert "lacks the column eval_id" in archive.warnings[0]


def test_a_row_written_twice_counts_once(tmp_path):
    archive = Archive.create(tmp_path / "run", RUN)
    archive.append([row(1)])
    archive.append([row(1), row(2)])
    assert [r["eval_id"] for r in archive.rows()] == ["e1", "e2"]


def test_half_a_part_is_never_seen(tmp_path):
    archive = Archive.create(tmp_path / "run", RUN)
    archive.append([row(1)])
    archive.close()
    leftover = tmp_path / "run/evals/.part-000002.parquet.tmp"
    leftover.write_bytes(b"PAR1 and then the power went")
    archive = Archive(tmp_path / "run")
    assert len(archive.rows()) == 1 and not archive.warnings
    archive.lock()
    assert not leftover.exists()


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ArchiveError, match="holds other files"):
        Archive.create(tmp_path, RUN)
    assert sorted(os.listdir(tmp_path)) == ["thesis.tex"]
    with pytest.raises(ArchiveError, match="not a run folder"):
        Archive(tmp_path)
    with pytest.raises(ArchiveError, match="no such run folder"):
        Archive(tmp_path / "absent")


def test_a_run_json_that_is_not_ours_is_refused(tmp_path):
    for text in ("", "[]", "{}", "[" * 100_000, '{"run_id": 3}'):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(ArchiveError, match="not the description of a run"):
            Archive(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match="cannot make a run folder"):
        Archive.create(tmp_path / "file" / "run", RUN)


def test_a_new_run_does_not_overwrite_an_old_one(tmp_path):
    Archive.create(tmp_path / "run", RUN).close()
    with pytest.raises(ArchiveError, match="--resume"):
        Archive.create(tmp_path / "run", RUN)


def test_a_second_process_that_writes_is_refused_and_a_reader_is_not(tmp_path):
    archive = Archive.create(tmp_path / "run", RUN)
    archive.append([row(1)])
    script = (
        "import sys; from foundry.search.archive import *\n"
        "archive = Archive(sys.argv[1]); print(len(archive.rows()))\n"
        "try: archive.lock()\nexcept ArchiveError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "run"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("1\n") and "another process is writing" in done.stdout
    with pytest.raises(ArchiveError, match="reading only"):
        Archive(tmp_path / "run").append([row(2)])


def test_a_full_disk_loses_nothing_that_was_reported(tmp_path):
    """A real limit on the size of files: the second, larger part fails half-way through its write."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            archive = Archive.create(tmp_path / "run", RUN)
            archive.append([row(1)])
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
            large = row(2) | {"train_curve": [[float(i), i / 7] for i in range(10_000)]}
            try:
                archive.append([large])
            except ArchiveError as error:
                reason = str(error)
                archive.append([row(3)])
                code = 0 if "cannot write" in reason and len(archive.rows()) == 2 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    archive = Archive(tmp_path / "run")
    assert [r["eval_id"] for r in archive.rows()] == ["e1", "e3"] and not archive.warnings
    assert not list((tmp_path / "run/evals").glob(".*"))
