"""The journal of a run: what is known of it step by step, on disk and to whoever looks on.

    log/metrics.csv      a line for each row, written at once
    log/metrics.parquet  the same rows, written whole whenever the journal is flushed; units in the columns' metadata
    log/samples.jsonl    what the model wrote along the way: {"step": …, "text": …}

A run that goes on takes up its journal at the step that it goes on from: later rows are dropped, so that none stands
there twice. A line that death cut short counts as not written.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from foundry.train.tensors import write_whole


def _unit(unit: str, default: Any = None) -> Any:
    return field(default=default, metadata={"unit": unit})


@dataclass(frozen=True)
class Row:
    """One line of the journal; None where a figure was not taken at this step."""

    step: int = _unit("steps done", 0)
    tokens: int = _unit("tokens trained on so far", 0)
    progress: float = _unit("of the schedule, 0 to 1", 0.0)
    bits_per_byte: float | None = _unit("of training text: mean since the row before")
    validation: float | None = _unit("bits per byte of validation text")
    best: float | None = _unit("bits per byte: the lowest validation so far")
    rate: float | None = _unit("factor on every peak learning rate")
    gradient_norm: float | None = _unit("before clipping")
    context: int | None = _unit("tokens in a row of the batch")
    tokens_per_s: float | None = _unit("tokens/s, in steps")
    utilisation: float | None = _unit("of the devices' peak, 0 to 1")
    seconds: float | None = _unit("s since this process began to train")
    step_seconds: float | None = _unit("s of those inside steps")
    validation_seconds: float | None = _unit("s of those inside validation and samples")
    seconds_left: float | None = _unit("s until the end, estimated")


NAMES = tuple(f.name for f in fields(Row))
WHOLE = ("step", "tokens", "context")  # columns of whole numbers


class Viewer(Protocol):
    """Whoever is told of a run as it goes."""

    def row(self, row: Row) -> None: ...

    def sample(self, step: int, text: str) -> None: ...

    def say(self, text: str) -> None:
        """A remark for people, one line."""

    def close(self) -> None: ...


class Journal:
    """Writes rows and samples to `folder`, and hands them on to viewers.

    step: what a run that goes on has done; later rows are dropped. A new run has 0, and drops all.

    Raises:
        OSError: the folder cannot be written, now or later.
    """

    def __init__(self, folder: str | Path, step: int = 0, viewers: Sequence[Viewer] = ()):
        self.folder, self.viewers = Path(folder), list(viewers)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rows = read_rows(self.folder / "metrics.csv", step)
        samples = read_samples(self.folder / "samples.jsonl", step)
        write_whole(self.folder / "metrics.csv", [_lines([NAMES, *map(astuple, self.rows)]).encode()])
        write_whole(self.folder / "samples.jsonl", [_sample(*sample).encode() for sample in samples])
        self._csv = (self.folder / "metrics.csv").open("a", encoding="utf-8", newline="")
        self._written = -1  # rows that metrics.parquet has
        self.flush()

    def row(self, row: Row) -> None:
        """Note a row: on disk when this returns, as far as the death of the process goes."""
        self.rows.append(row)
        self._csv.write(_lines([astuple(row)]))
        self._csv.flush()
        self._tell("row", row)

    def sample(self, step: int, text: str) -> None:
        """Note what the model wrote."""
        with (self.folder / "samples.jsonl").open("a", encoding="utf-8") as file:
            file.write(_sample(step, text))
        self._tell("sample", step, text)

    def say(self, text: str) -> None:
        """A remark for people, which is not kept."""
        self._tell("say", text)

    def flush(self) -> None:
        """Force the rows to disk, and write metrics.parquet; for every checkpoint."""
        if self._written != len(self.rows):
            os.fsync(self._csv.fileno())
            write_whole(self.folder / "metrics.parquet", [_parquet(self.rows)])
            self._written = len(self.rows)

    def close(self) -> None:
        """The end of the run, or of this part of it."""
        with contextlib.ExitStack() as stack:  # each of them, whichever fails
            stack.callback(self._tell, "close")
            stack.callback(self._csv.close)
            self.flush()

    def _tell(self, what: str, *told: Any) -> None:
        """Hand something on to each viewer. One that fails is left out from then on: training is worth more."""
        for viewer in list(self.viewers):
            try:
                getattr(viewer, what)(*told)
            except Exception as error:
                self.viewers.remove(viewer)
                reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
                self.say(f"no more is logged to {getattr(viewer, 'name', type(viewer).__name__)}: {reason}")


def read_rows(path: Path, step: int) -> list[Row]:
    """The rows of metrics.csv up to a step, without what is damaged; columns that it lacks are None."""
    if not step or not path.exists():
        return []
    text = path.read_text("utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]  # the last line may have been cut short
    found = []
    with contextlib.suppress(csv.Error):  # a field of a hundred thousand characters
        for values in csv.DictReader(io.StringIO(whole)):
            row = _row(values)
            if row is not None and row.step <= step:
                found.append(row)
    return found


def _row(values: dict[str, Any]) -> Row | None:
    try:
        known = {name: values[name] for name in NAMES if values.get(name)}
        numbers: dict[str, Any] = {name: (int if name in WHOLE else float)(value) for name, value in known.items()}
        return Row(**numbers)
    except (TypeError, ValueError):
        return None


def read_samples(path: Path, step: int) -> list[tuple[int, str]]:
    """The samples of samples.jsonl up to a step, without what is damaged."""
    if not step or not path.exists():
        return []
    found = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            sample = json.loads(line)
            number, text = int(sample["step"]), str(sample["text"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            continue
        if number <= step:
            found.append((number, text))
    return found


def _sample(step: int, text: str) -> str:
    return json.dumps({"step": step, "text": text}) + "\n"


def _lines(rows: Sequence[Sequence[Any]]) -> str:
    """Rows as CSV; floats have as many digits as it takes to read the same number back."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _parquet(rows: Sequence[Row]) -> memoryview:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        pa.field(f.name, pa.int64() if f.name in WHOLE else pa.float64(), metadata={"unit": f.metadata["unit"]})
        for f in fields(Row)
    )
    columns = [[getattr(row, name) for row in rows] for name in NAMES]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema), sink)
    return memoryview(sink.getvalue())


def figures(row: Row) -> dict[str, float]:
    """The figures of a row that are there and finite, without its step: what plots are made of."""
    named = zip(NAMES, astuple(row), strict=True)
    return {
        name: float(value) for name, value in named if name != "step" and value is not None and math.isfinite(value)
    }
