"""The planted faults can be planted, and what plants them says whether they were found."""

import ast

import pytest
import run
from faults import REPOSITORY, Fault, faults, planted
from run import Verdict, judge, main

FAULTS = {fault.name: fault for fault in faults()}
SOME = ("window-off-by-one", "subtract-commutes")  # that continuous integration plants; `run.py` plants them all


def test_there_are_enough_of_them_in_every_room():
    rooms = [fault.room for fault in faults()]
    assert len(rooms) >= 25
    assert {"compiler", "compiler/mechanisms", "dsl", "search", "search/variation"} <= set(rooms)


def test_each_has_a_name_of_its_own():
    assert len(FAULTS) == len(faults())


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
def test_a_fault_changes_the_program_and_leaves_it_python(fault):
    before = (REPOSITORY / fault.file).read_text("utf-8")
    assert ast.dump(ast.parse(planted(fault))) != ast.dump(ast.parse(before))


def test_a_row_that_is_out_of_date_is_named(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    with pytest.raises(ValueError, match=r"twins: .* 2 times instead of once"):
        planted(Fault("twins", "a.py", "x = 1", "x = 2", "nothing", ""), tmp_path)


@pytest.mark.parametrize("name", SOME)
def test_the_suite_finds_a_fault(name):
    verdict = judge(FAULTS[name])
    assert (verdict.trouble, verdict.failed.startswith("test_")) == ("", True)


@pytest.mark.parametrize(
    ("clean", "faulty", "status", "told"),
    [
        (Verdict("", 90), Verdict("test_a.py::test_b", 7), 0, "| `test_a.py::test_b` | 7 |"),
        (Verdict("", 90), Verdict("", 95), 1, "| **survives** | 95 |"),
        (Verdict("", 90), Verdict("", 900, "no verdict in time"), 1, "| **no verdict in time** | 900 |"),
        (Verdict("test_a.py::test_b", 3), Verdict("", 0), 2, "without any fault: test_a.py::test_b"),
    ],
)
def test_the_exit_status_says_whether_all_were_found(clean, faulty, status, told, monkeypatch, capsys):
    monkeypatch.setattr(run, "judge", lambda fault, limit: clean if fault is None else faulty)
    assert main([SOME[0]]) == status
    assert told in "".join(capsys.readouterr())


def test_an_unknown_name_is_answered_with_those_that_there_are(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["nonsense"])
    assert ended.value.code == 2
    assert "no fault is called nonsense; there are mask-off-by-one, " in capsys.readouterr().err
