"""Draws docs/picture.svg: the live view of a real search, late in its search phase.

python docs/picture.py RUN BUDGET      python docs/picture.py runs/picture 10min
"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from foundry.cli.live import view
from foundry.search.budget import parse_budget
from foundry.search.evolve import evolve
from foundry.search.settings import Settings, Snapshot

MOMENT = 0.92  # of the snapshots that have a best child


def draw(snapshot: Snapshot, title: str) -> str:
    """The live view as SVG, with the reader's own monospace font instead of one from the network."""
    console = Console(width=96, record=True, file=io.StringIO(), highlight=False, force_terminal=True)
    console.print(view(snapshot))
    return re.sub(r"@font-face \{.*?\}", "", console.export_svg(title=title), flags=re.DOTALL)


def main(run: str, budget: str) -> None:
    kept: list[Snapshot] = []

    def notice(snapshot: Snapshot) -> None:
        if snapshot.phase == "search" and snapshot.best is not None and snapshot.running:
            kept.append(snapshot)

    evolve(Settings(out=run, budget=parse_budget(budget)), notice)
    picture = draw(kept[int(len(kept) * MOMENT)], f"foundry evolve --budget {budget}")
    Path(__file__).with_suffix(".svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
