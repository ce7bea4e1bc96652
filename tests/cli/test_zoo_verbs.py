"""foundry import, export and zoo at the terminal."""

import json
import sys
from pathlib import Path

import pytest

from foundry.cli.main import main

sys.path.insert(0, str(Path(__file__).parents[1] / "zoo"))
from zoo_folders import folder_of, tokenizer_into


def test_import_generate_export(tmp_path, capsys):
    folder_of("llama", tmp_path / "hf")
    tokenizer_into(tmp_path / "hf")
    hf, ckpt, out = (str(tmp_path / name) for name in ("hf", "ckpt", "out"))
    assert main(["import", hf, "-o", ckpt]) == 0
    assert "Llama: " in capsys.readouterr().err
    assert main(["generate", ckpt, "--prompt", "a house", "--max-tokens", "3", "--seed", "0"]) == 0
    assert main(["export", ckpt, "--to", "hf", "-o", out]) == 0
    assert json.loads((tmp_path / "out/config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    assert main(["export", ckpt, "--to", "py", "-o", str(tmp_path / "py")]) == 0
    assert (tmp_path / "py/load.py").exists()
    capsys.readouterr()
    assert main(["export", ckpt, "--to", "hf", "-o", out]) == 1
    assert capsys.readouterr().err == f"foundry: {out}: there is something already; name a new place\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["import", "/no/such", "-o", "x"], 1, "/no/such: no such folder"),
        (["import", "models", "-o", "x", "--dtype", "int8"], 2, "keep, float32, bfloat16 or float16"),
        (["import", ".", "-o", "x", "--revision", "main"], 2, "--revision is for ids of the hub"),
        (["export", "x", "--to", "tflite", "-o", "y"], 2, "hf, gguf, onnx, torch-export or py"),
        (["export", "x", "--to", "hf", "-o", "y", "--kind", "F16"], 2, "--kind is for --to gguf"),
        (["export", "x", "--to", "gguf", "-o", "y", "--kind", "Q9"], 2, "F32, F16, Q8_0 or Q4_0"),
        (["export", "x", "--to", "hf", "-o", "y"], 1, "x: no such folder"),
        (["zoo", "show", "nobody"], 1, "no family nobody; there are "),
    ],
)
def test_refused(arguments, code, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1


def test_interrupted(tmp_path, capsys, monkeypatch):
    """Ctrl-C leaves nothing behind."""
    folder_of("llama", tmp_path / "hf")

    def stop(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("foundry.zoo.source.Source.read", stop)
    assert main(["import", str(tmp_path / "hf"), "-o", str(tmp_path / "ckpt")]) == 130
    assert "stopped; nothing is written" in capsys.readouterr().err
    assert not (tmp_path / "ckpt").exists()


def test_zoo(capsys):
    assert main(["zoo", "list"]) == 0
    assert "Llama" in capsys.readouterr().out
    assert main(["zoo", "show", "LLAMA", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["architecture"] == "LlamaForCausalLM" and "GGUF" in about["import"]
