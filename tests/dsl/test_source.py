"""Reading genomes: files, standard input, limits, and the files that ship with the package."""

from __future__ import annotations

import io
import subprocess
import sys
from types import SimpleNamespace

import pytest

from foundry.dsl import source
from foundry.dsl.diagnostics import Diagnostic, GenomeError
from foundry.dsl.source import MAX_BYTES, decode, read_genome, resource, resource_folder


def error(data: bytes) -> Diagnostic:
    with pytest.raises(GenomeError) as caught:
        decode(data, "my.genome")
    (problem,) = caught.value.diagnostics
    assert problem.span.file == "my.genome"
    return problem


def test_a_file_and_standard_input_are_read_alike(tmp_path, monkeypatch):
    text = "@foundry(1);\n# é\na = 1;\r\n"
    path = tmp_path / "a.genome"
    path.write_bytes(text.encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    assert read_genome(str(path)) == text
    assert read_genome("-") == text


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_genome(str(tmp_path / "none.genome"))


def test_no_more_is_read_than_a_genome_may_hold(monkeypatch):
    with open("/dev/zero", "rb") as endless:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=endless))
        with pytest.raises(GenomeError) as caught:
            read_genome("-")
    assert caught.value.diagnostics[0].code == "F002"


@pytest.mark.parametrize(
    ("data", "code", "line", "column", "said"),
    [
        (b"", "F003", 1, 1, "nothing"),
        (b" \n\t\r\n", "F003", 1, 1, "nothing"),
        (b"x" * (MAX_BYTES + 1), "F002", 1, 1, "256 KiB"),
        (b"@foundry(1);\n\xc3\xa9a \xff", "F001", 2, 4, "0xFF at offset 17"),
        (b"\xff\xfe@\x00", "F001", 1, 1, "0xFF at offset 0"),
        (b"@foundry(1);\na = \x00;", "F001", 2, 5, "U+0000"),
        (b"\x7fELF\x02\x01\x01\x00", "F001", 1, 1, "U+007F"),
    ],
)
def test_bytes_that_are_no_text_are_refused_where_they_stop_being_text(data, code, line, column, said):
    problem = error(data)
    assert (problem.code, problem.span.line, problem.span.column) == (code, line, column)
    assert said in problem.message
    assert problem.help


def test_another_encoding_is_recognised():
    assert "UTF-16" in error("@foundry(1);".encode("utf-16")).help


def test_the_largest_text_is_still_text():
    assert len(decode(b"#" * MAX_BYTES)) == MAX_BYTES


def test_shipped_files_are_found_in_a_checkout():
    assert "start:" in resource("grammars", "foundry.lark")
    assert (resource_folder("genomes") / "llama.genome").is_file()


def test_shipped_files_are_found_inside_an_installed_package(tmp_path, monkeypatch):
    (tmp_path / "_resources" / "grammars").mkdir(parents=True)
    (tmp_path / "_resources" / "grammars" / "foundry.lark").write_text("the installed one")
    monkeypatch.setattr(source, "_PACKAGE", tmp_path)
    assert resource("grammars", "foundry.lark") == "the installed one"


def test_parsing_imports_nothing_heavy():
    code = (
        "import sys; import foundry.dsl.parse, foundry.dsl.format, foundry.dsl.render;"
        "print([m for m in ('torch', 'numpy', 'networkx') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
