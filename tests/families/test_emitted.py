"""The emitted files of the published models read as if a careful person had written them."""

import ast
import re
import subprocess
import sys

import pytest
from published import PUBLISHED
from small import FOLDER

from foundry.compiler.emit import emit
from foundry.dsl.check import load_program

MIXTURES = ("mixtral_8x7b", "qwen3_30b_a3b", "deepseek_v2_lite", "deepseek_v3", "gpt_oss_20b")


@pytest.fixture(scope="module")
def emitted():
    return {name: emit(load_program((FOLDER / f"{name}.genome").read_text()), title=name) for name in PUBLISHED}


def names(text):
    """What a file calls its classes, functions, arguments, variables and attributes."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.arg(arg=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                found.add(name)
    return found


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in MIXTURES])
def test_a_dense_model_that_trains_and_generates_takes_less_than_400_lines(emitted, name):
    assert len(emitted[name].splitlines()) < 400


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_name_is_another_name_with_a_number(emitted, name):
    found = names(emitted[name])
    assert {"Block", "Attention", "MLA", "LocalBlock", "DenseBlock"} & found
    numbered = {n for n in found if re.search(r"_\d+$", n) or re.sub(r"\d+$", "", n) in found - {n}}
    assert not numbered


@pytest.mark.parametrize(
    ("name", "lines"),
    {
        "llama2_7b": [
            "self.blocks = nn.ModuleList(Block() for _ in range(32))",
            "cos_sin = rope(tokens, past)",
            "x = x + self.attention(self.attention_norm(x), cos_sin, past)",
            "return x + self.glu(self.glu_norm(x))",
        ],
        "gemma2_2b": [
            "self.groups = nn.ModuleList(Group() for _ in range(13))",
            "self.local_block = Block(window=4096)",
            "self.full_block = Block(window=None)",
        ],
        "gemma3_1b": [
            "self.groups = nn.ModuleList(Group() for _ in range(4))",
            "local_cos_sin = rope(tokens, 1e4, past)",
            "full_cos_sin = rope(tokens, 1e6, past)",
            "self.local_blocks = nn.ModuleList(Block(window=512) for _ in range(5))",
            "self.full_block = Block(window=None)",
            "self.local_blocks = nn.ModuleList(Block(window=512) for _ in range(2))",
        ],
        "deepseek_v3": [
            "self.dense_blocks = nn.ModuleList(DenseBlock() for _ in range(3))",
            "self.sparse_blocks = nn.ModuleList(SparseBlock() for _ in range(58))",
            "self.experts = nn.ModuleList(GLU(hidden=2048) for _ in range(256))",
        ],
    }.items(),
)
def test_the_pattern_of_the_layers_is_visible(emitted, name, lines):
    written = [line.strip() for line in emitted[name].splitlines()]
    for line in lines:
        assert line in written


def test_the_linter_has_nothing_to_say(emitted, tmp_path):
    for name, text in emitted.items():
        (tmp_path / f"{name}.py").write_text(text)
    check = ["ruff", "check", "--isolated", "--select", "E,F,W,I", "--line-length", "120", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", *check], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
