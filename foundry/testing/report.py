"""What a campaign did, as data and as a page in Markdown."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from typing import Any

import foundry
from foundry.dsl.registry import PRIMITIVES
from foundry.testing.campaign import State
from foundry.testing.coverage import compatible
from foundry.testing.worker import OWN

STAGES = ("checked", "built", "ran", "texts")
_REASONS = 8  # for skipping, that are shown
MISSING = 60  # pairs that no genome had, that are shown
_DIGITS = 300  # of a failure's message


def report(state: State) -> dict[str, Any]:
    """A campaign as JSON data; times in seconds."""
    tally, settings = state.tally, state.settings
    return {
        "seconds": round(state.seconds, 1),
        "stopped": state.stopped,
        "seed": settings.seed,
        "workers": settings.workers,
        "properties_asked": list(settings.names),
        "versions": versions(),
        "machine": machine(),
        "genomes": {**{stage: tally.stages[stage] for stage in STAGES[:-1]}, "origins": dict(tally.origins)},
        "texts": tally.stages["texts"],
        "replayed": state.replayed,
        "killed": state.killed,
        "properties": [
            {
                "name": name,
                "cases": tally.cases[name],
                "skipped": tally.skipped[name],
                "failed": tally.failed[name],
                "seconds": round(tally.seconds[name], 2),
            }
            for name in sorted({*tally.cases, *tally.failed})
        ],
        "skipped": dict(tally.why.most_common()),
        "failures": [
            {
                "property": found.failure.name,
                "kind": found.failure.kind,
                "place": found.failure.place,
                "message": found.failure.message,
                "origin": found.failure.origin,
                "seed": found.failure.seed,
                "file": str(found.path) if found.path else None,
                "known": found.known,
            }
            for found in state.found.values()
        ],
        "slowest": [{"seconds": round(s, 2), "property": name, "case": case} for s, name, case in tally.slowest],
        "coverage": coverage(state),
    }


def coverage(state: State) -> dict[str, Any]:
    """The primitives and the type-compatible pairs of them that the genomes had, and those that they had not."""
    seen, possible = state.tally.coverage, compatible()
    return {
        "primitives": {"seen": len(PRIMITIVES) - len(seen.unused), "possible": len(PRIMITIVES), "missing": seen.unused},
        "pairs": {
            "seen": len(possible & seen.pairs.keys()),
            "possible": len(possible),
            "missing": [str(pair) for pair in seen.missing],
        },
        "summary": seen.summary(),
    }


def versions() -> dict[str, str]:
    """What ran."""
    found = {"foundry": foundry.__version__, "python": platform.python_version()}
    for package in ("torch", "hypothesis", "numpy", "lark"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {cores} cores"


def statements() -> dict[str, str]:
    """What each property says, by name."""
    from foundry.testing.properties import PROPERTIES

    return {p.name: p.statement for p in PROPERTIES} | OWN


def markdown(data: dict[str, Any]) -> str:
    """The page that a report's data makes."""
    said = statements()
    genomes, done = data["genomes"], data["properties"]
    origins = ", ".join(f"{count:,} {origin}" for origin, count in sorted(genomes["origins"].items()))
    failures = data["failures"]
    parts = [
        f"{_clock(data['seconds'])} on {data['machine']}, {data['workers']} workers, seed {data['seed']}; "
        + ", ".join(f"{name} {version}" for name, version in data["versions"].items())
        + ".",
        table(
            ("what", "how many"),
            (
                ("genomes checked", f"{genomes['checked']:,} ({origins})"),
                ("genomes built", f"{genomes['built']:,}"),
                ("genomes run", f"{genomes['ran']:,}"),
                ("arbitrary texts", f"{data['texts']:,}"),
                ("stored cases tried again", f"{data['replayed']:,}"),
                *_covered(data["coverage"]),
                ("failures", f"{len(failures):,}"),
            ),
        ),
        "## Properties\n\n"
        + table(
            ("property", "what it says", "cases", "of them skipped", "failed", "ms per case"),
            (
                (
                    f"`{row['name']}`",
                    said.get(row["name"], ""),
                    f"{row['cases']:,}",
                    f"{row['skipped']:,}" if row["skipped"] else "",
                    f"**{row['failed']:,}**" if row["failed"] else "0",
                    f"{1000 * row['seconds'] / max(1, row['cases']):.0f}",
                )
                for row in done
            ),
            right=(2, 3, 4, 5),
        ),
    ]
    if data["skipped"]:
        why = list(data["skipped"].items())
        parts.append("Skipped because: " + "; ".join(f"{reason} ({count:,})" for reason, count in why[:_REASONS]) + ".")
    if failures:
        rows = ((f"`{f['property']}`", f"{f['kind']} at {f['place']}", f["message"], f["file"] or "") for f in failures)
        parts.append("## Failures\n\n" + table(("property", "where", "what", "file"), rows))
    missing = data["coverage"]["primitives"]["missing"] + data["coverage"]["pairs"]["missing"]
    left = f"Never drawn: {', '.join(f'`{m}`' for m in missing[:MISSING])}" + (" …" if len(missing) > MISSING else "")
    parts.append(f"## Coverage\n\n{data['coverage']['summary']}" + (f"\n\n{left}." if missing else ""))
    slowest = ((f"{row['seconds']:.2f}", f"`{row['property']}`", row["case"]) for row in data["slowest"])
    parts.append("## Slowest cases\n\n" + table(("seconds", "property", "case"), slowest, right=(0,)))
    return "\n\n".join(parts) + "\n"


def _covered(coverage: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for what, name in (("primitives", "primitives covered"), ("pairs", "type-compatible pairs of primitives covered")):
        seen, possible = coverage[what]["seen"], coverage[what]["possible"]
        yield name, f"{seen:,} of {possible:,} ({100 * seen / max(1, possible):.1f} %)"


def table(heading: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table in Markdown; the columns `right` are aligned right."""
    lines = [" | ".join(heading), " | ".join("--:" if i in right else "---" for i in range(len(heading)))]
    lines += [" | ".join(_cell(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text[:_DIGITS].split()).replace("|", "\\|")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
