"""Found cases survive as files, and a file that is no case gets one line."""

import pytest

from foundry.dsl.check import examine
from foundry.testing.corpus import CorpusError, read_case, read_corpus, write_case
from foundry.testing.failures import Failure

GENOME = "@foundry(1);\n\n# a model\nmodel = embed(vocab = 61, width = 8) >> unembed;\n"


def failure(name="causal", content=GENOME, message="logit 3\nis not\x00 4"):
    return Failure(name, "Broken", "foundry/testing/properties/causality.py:40", message, content, 11)


def test_a_stored_case_comes_back(tmp_path):
    path = write_case(tmp_path / "new", failure())
    stored = read_case(path)
    assert (stored.property, stored.content, stored.seed) == ("causal", GENOME, 11)
    assert read_corpus(tmp_path / "new") == (stored,)


def test_a_stored_case_is_a_genome_that_says_what_it_broke(tmp_path):
    text = write_case(tmp_path, failure(message="logit 3\nis not 4")).read_text()
    assert examine(text).ok
    assert text.splitlines()[2] == ("# found: Broken at foundry/testing/properties/causality.py:40: logit 3 is not 4")


@pytest.mark.parametrize("content", [b"\xff\x00\r\n", "\ud800 model", ""])
def test_texts_come_back_byte_for_byte(tmp_path, content):
    path = write_case(tmp_path, failure("survives", content))
    stored = read_case(path)
    assert stored.property == "survives"
    assert stored.content == (content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))


def test_the_same_case_is_stored_once(tmp_path):
    assert write_case(tmp_path, failure()) == write_case(tmp_path, failure(message="other words"))
    assert len(list(tmp_path.iterdir())) == 1


def test_no_folder_holds_no_cases(tmp_path):
    assert read_corpus(tmp_path / "missing") == ()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (GENOME.encode(), "name no property"),
        (b"# property: causal\n# seed: x1\n" + GENOME.encode(), "the seed 'x1' is no number"),
        (b"# property: causal\n\xff\xff", "not UTF-8"),
        (b"# property: causal\n" + b"#" * 300_000, "larger than any genome"),
    ],
)
def test_a_file_that_is_no_case_gets_one_line(tmp_path, data, words):
    path = tmp_path / "x.genome"
    path.write_bytes(data)
    with pytest.raises(CorpusError) as error:
        read_corpus(tmp_path)
    assert words in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)
