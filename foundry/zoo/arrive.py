"""A public model as a checkpoint: its tensors go from its files to ours one by one."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from shutil import rmtree

import torch

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.tokenizer import BYTES, Tokenizer, TokenizerError, read_tokenizer
from foundry.dsl.check import load_program
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.render import visible
from foundry.train.checkpoint import FLOATS, weights, write_model
from foundry.zoo.failure import ZooError
from foundry.zoo.family import Family
from foundry.zoo.known import of_config
from foundry.zoo.moves import Move
from foundry.zoo.source import Source, read_source
from foundry.zoo.streamed import Read, Shapes, Streamed, moved

Say = Callable[[str], None]
Tell = Callable[[int, int], None]  # tensors written, of how many
BASES = ("transformer.", "model.")  # what names begin with, where a head was published with the body
OTHER_TOKENIZERS = ("tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")


def arrive(
    source: str | Path,
    out: str | Path,
    dtype: torch.dtype | None = None,
    say: Say = lambda line: None,
    tell: Tell = lambda done, total: None,
) -> Path:
    """Write the model in a Hugging Face folder as a checkpoint, whose folder is given back.

    dtype: of the weights; as they are where it is None.

    Raises:
        ZooError: the folder or a file in it cannot be used, the model is of no known family, a tensor is missing, left
            over, of another shape, of a kind that weights cannot have or not finite; or `out` holds something.
        OSError: the disk is full, or `out` is not to be written to.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ZooError(f"{out}: there is something already; name a new folder")
    there = read_source(source)
    try:
        family = of_config(there.config)
        text = family.genome(there.config)
        moves = family.moves(there.config)
        expected = _expected(text)
        shapes, read = renamed(there, moves)
        _accounted(there, family, moves, shapes)
        found = moved(moves, shapes, read)
        _fits(found, moves, expected)
    except ZooError as error:
        raise ZooError(f"{there.folder}: {error}") from None
    tokenizer = _tokenizer(there, expected[1], say)
    count = sum(torch.Size(shape).numel() for _, shape in found.shapes.values())
    say(f"{family.name}: {count:,} weights in {len(shapes)} tensors, {tokenizer.vocab:,} tokens")
    about = {"source": there.config, "source_files": there.kept, "trained": {"steps": 0, "tokens": 0}}
    try:
        write_model(
            out, text=text, weights=followed(found, dtype, tell), tokenizer=tokenizer, config=about,
            template=there.template,
        )  # fmt: skip
    except BaseException as error:
        rmtree(out, ignore_errors=True)  # which held nothing before
        if isinstance(error, ZooError):
            raise ZooError(f"{there.folder}: {error}") from None
        raise
    return out


def renamed(source: Source, moves: list[Move]) -> tuple[Shapes, Read]:
    """The tensors of a file by the names of the whole model, whose beginning a body lacks that was saved alone."""
    wanted = {name for move in moves for name in move.theirs}
    for base in BASES:
        inside = {name for name in wanted if name.startswith(base)}
        if inside and not any(name.startswith(base) for name in source.shapes):
            theirs = {name if base + name not in wanted else base + name: name for name in source.shapes}
            shapes = {ours: source.shapes[name] for ours, name in theirs.items()}
            return shapes, lambda name, theirs=theirs: source.read(theirs[name])
    return source.shapes, source.read


def _expected(text: str) -> tuple[dict[str, torch.Tensor], int]:
    """Our tensors, on the device `meta`, and the vocabulary."""
    try:
        program = load_program(text, "model.genome")
    except GenomeError as error:
        raise ZooError(f"config.json: its sizes contradict each other ({str(error).splitlines()[0][:160]})") from None
    with torch.device("meta"):
        return weights(load(emit(program)).Model()), program.vocab


def _accounted(source: Source, family: Family, moves: list[Move], shapes: Shapes) -> None:
    """Every tensor of theirs has one place, or a reason to be left out.

    Raises:
        ZooError: one is missing, left over, or no number that weights may be.
    """
    used = {name for move in moves for name in move.theirs}
    if missing := sorted(used - shapes.keys()):
        raise ZooError(f"the tensor {missing[0]} is missing{_more(missing)}")
    skipped = family.skipped(source.config)
    short = {pattern.removeprefix("*.") for pattern in skipped}
    left = [n for n in shapes if n not in used and n not in short and not any(fnmatchcase(n, p) for p in skipped)]
    if left:
        raise ZooError(f"the tensor {visible(sorted(left)[0][:80])} is not of a {family.name} model{_more(left)}")
    for name in sorted(used):
        if shapes[name][0] not in FLOATS:
            kinds = ", ".join(_kind(kind) for kind in FLOATS)
            raise ZooError(f"the tensor {name} is {_kind(shapes[name][0])}; weights may be {kinds}")


def _fits(found: Streamed, moves: list[Move], expected: tuple[dict[str, torch.Tensor], int]) -> None:
    """The shapes are those of the model."""
    if apart := sorted(expected[0].keys() ^ found.shapes.keys()):
        raise ZooError(f"{apart[0]} has no counterpart")
    for name, tensor in expected[0].items():
        if (shape := found.shapes[name][1]) != tuple(tensor.shape):
            theirs = next(", ".join(move.theirs) for move in moves if name in move.ours)
            raise ZooError(f"the tensor {theirs} comes as {shape}, and config.json asks for {tuple(tensor.shape)}")


def followed(found: Streamed, dtype: torch.dtype | None, tell: Tell) -> Streamed:
    """The same tensors in another kind of number, telling how many are written."""
    total, done = len(found.shapes), 0

    def follow(make: Callable[[], list[torch.Tensor]]) -> Callable[[], list[torch.Tensor]]:
        def made() -> list[torch.Tensor]:
            nonlocal done
            tensors = [tensor.to(dtype) if dtype else tensor for tensor in make()]
            done += len(tensors)
            tell(done, total)
            return tensors

        return made

    shapes = {name: (dtype or kind, shape) for name, (kind, shape) in found.shapes.items()}
    return Streamed([(names, follow(make)) for names, make in found.groups], shapes)


def _tokenizer(source: Source, vocab: int, say: Say) -> Tokenizer:
    folder = source.folder
    if not (folder / "tokenizer.json").exists():
        others = [name for name in OTHER_TOKENIZERS if (folder / name).exists()]
        if others or vocab < BYTES.vocab:
            held = f"only {others[0]}" if others else "no tokenizer"
            how = "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of transformers writes one"
            raise ZooError(f"{folder}: it has {held} and no tokenizer.json; {how}")
        say("it has no tokenizer: tokens are taken for bytes")
        return BYTES
    try:
        tokenizer = read_tokenizer(folder)
    except TokenizerError as error:
        raise ZooError(str(error)) from None
    if tokenizer.vocab > vocab:
        held = f"{tokenizer.vocab:,} tokens, and the model has {vocab:,}"
        raise ZooError(f"{folder}: the tokenizer does not match the model: it has {held}")
    return tokenizer


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
