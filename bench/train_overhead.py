"""The time that a real `foundry train` spends outside its steps: on data, journal and checkpoints.

    python bench/train_overhead.py [--time 60s] [--genome llama] [-- OPTIONS OF TRAIN]

Trains in a process of its own on Python's library, with the journal, the validations and the checkpoints that a run
has by default, and reads log/metrics.csv. Validation and samples are neither step nor loss; what is left over is.
Prints the share that is lost, which should be below 3 %.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def run(genome: str, time: str, options: list[str], out: Path) -> list[dict[str, str]]:
    """The rows of the journal of a run."""
    command = [sys.executable, "-m", "foundry", "train", genome, "--time", time, "--out", str(out), *options]
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    subprocess.run(command, env=os.environ | threads, check=True)
    with (out / "log" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", default="60s")
    parser.add_argument("--genome", default="llama")
    parser.add_argument("options", nargs="*", help="after --: options of foundry train")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        rows = run(args.genome, args.time, args.options, Path(folder) / "run")
    last = rows[-1]
    seconds, step, validation = (float(last[name]) for name in ("seconds", "step_seconds", "validation_seconds"))
    validations = sum(bool(row["validation"]) for row in rows)
    print(f"{int(last['step']):,} steps in {seconds:.1f} s, {len(rows)} rows of the journal")
    print(f"      steps: {step:8.2f} s")
    print(f" validation: {validation:8.2f} s ({validations} times, with samples)")
    print(f"       lost: {seconds - step - validation:8.2f} s")
    print(f"share lost outside steps and validation: {(seconds - step - validation) / (seconds - validation):.2%}")


if __name__ == "__main__":
    main()
