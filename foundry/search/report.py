"""The report of a run: one HTML file that opens offline. The verdict comes first, then what it rests on.

Everything that comes from a genome, a file name or a machine is escaped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from foundry.dsl.check import load_program
from foundry.dsl.diagnostics import GenomeError
from foundry.search import history, verdict
from foundry.search.archive import Archive
from foundry.search.description import REPORTS, require
from foundry.search.leads import picked_leads
from foundry.search.noise import noise_by_rung
from foundry.search.page import bullets, coloured, escaped, section, table
from foundry.search.plots import Curve, Panel, Point, compact, loss_curves, scatter
from foundry.search.standings import Standing, standings
from foundry.search.state import SEED_SPAN
from foundry.search.traits import traits

Row = dict[str, Any]
DRAWN = 400  # points of each rung at most, the best ones


def write_report(run_dir: str | Path) -> Path:
    """Write `report.html` into a run folder, from its archive, and return its path.

    Raises:
        ArchiveError: it is no run folder, or a genome that the report needs is missing.
        OSError: the report cannot be written.
    """
    archive = Archive(run_dir)
    page = report_page(archive)
    path = archive.folder / "report.html"
    building = path.with_name(".report.html.tmp")
    building.write_text(page, encoding="utf-8")
    os.replace(building, path)
    return path


def report_page(archive: Archive) -> str:
    """The page as HTML text.

    Raises:
        ArchiveError: run.json is damaged, or a genome that the report needs is missing.
    """
    run = archive.read_run()
    require(run, REPORTS, archive.folder / "run.json")
    rows = archive.rows()
    sections = (
        _confirmation(archive),
        _winner(archive, run),
        _curves(archive, run, rows),
        _costs(archive, run, rows),
        _reduction(archive),
        _lineage(archive, run),
        _operators(rows, run),
        _savings(rows),
        _failures(rows),
        _facts(archive, run, rows),
    )
    style = Path(__file__).with_suffix(".css").read_text("utf-8")
    title = f"Foundry: {archive.folder.resolve().name}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{_head(archive, run, rows)}\n{''.join(sections)}</body>\n</html>\n"
    )


# The sections -------------------------------------------------------------------------------------------------------


def _head(archive: Archive, run: Row, rows: Sequence[Row]) -> str:
    sentence = verdict.sentence(archive)
    first, _, rest = sentence.partition(":")
    result = run.get("result") or {}
    kind = "confirmed" if result.get("verdict") == "confirmed" else "worse" if result.get("verdict") == "worse" else ""
    head = f"<b>{escaped(first)}:</b>{escaped(rest)}" if rest else escaped(sentence)
    genomes = len({row["genome_hash"] for row in rows})
    seconds = sum(session["seconds"] for session in run["sessions"])
    told = f"{archive.folder.resolve().name} · {genomes} genomes in {len(rows)} evaluations · {_duration(seconds)}"
    warnings = "".join(f'<p class="warning">{escaped(warning)}</p>' for warning in archive.warnings)
    return f'<header><p>{escaped(told)}</p><h1 class="{kind}">{head}</h1></header>\n{warnings}'


def _confirmation(archive: Archive) -> str:
    result = archive.read_run().get("result") or {}
    arms = verdict.arms(archive)
    if not arms:
        return ""
    cells = []
    for arm in arms:
        seeds = ", ".join("–" if score is None else f"{score:.3f}" for score in arm.scores)
        mean = "no score" if arm.mean is None else f"{arm.mean:.3f}"
        cells.append([verdict.ROLES[arm.role], arm.name, mean, seeds, f"{arm.learning_rate:g}"])
    compared = table(
        ["on test text", "genome", "bits per byte", "by seed", "learning rate"], cells, numbers=(2, 3, 4), winner=0
    )
    shares = []
    for key, what in (
        ("difference", "winner − best tuned baseline"),
        ("architecture_alone", "of that, its architecture (winner − third row)"),
        ("recipe_alone", "of that, its recipe (third row − baseline)"),
        ("against_rival", "winner − best of the random control"),
    ):
        d = result.get(key)
        if d:
            shares.append([what, verdict.signed(d["mean"]), verdict.bounds(d), str(d["n"])])
    difference = table(["difference in bits per byte", "mean", "95 % interval", "pairs"], shares, numbers=(1, 2, 3))
    sigma = result.get("sigma")
    noise = "" if sigma is None else f" One evaluation of the baseline varies by ±{sigma:.3f} (one standard deviation)."
    told = (
        f"Each trained for {compact(result['compute'])} FLOP on the same fresh seeds.{noise} "
        f"{verdict.picking(archive)} {verdict.against_random(archive)}"
    )
    return section("Confirmation", f'{compared}{difference}<p class="note">{escaped(told)}</p>')


def _winner(archive: Archive, run: Row) -> str:
    best = _best(run)
    if not best:
        return ""
    names = history.names(archive)
    heading = (
        f"The winner, {names.get(best, best[:8])}"
        if run["result"]["winner"]
        else f"The best baseline, {names.get(best, best[:8])}"
    )
    body = f"<pre>{coloured(archive.genome(best))}</pre>"
    body += f'<p class="note">It has {escaped(", ".join(found))}.</p>' if (found := _traits(archive, best)) else ""
    ancestor = history.lineage(archive, best)[0]
    if ancestor.genome_hash != best:
        changes = history.changes(archive, ancestor.genome_hash, best)
        body += f"<h3>Against {escaped(ancestor.name)}, which it descends from</h3>{bullets(changes)}"
    return section(heading, body)


def _traits(archive: Archive, genome_hash: str) -> tuple[str, ...]:
    """The known mechanisms that a genome has, spelled in whatever way."""
    try:
        return traits(load_program(archive.genome(genome_hash)))
    except GenomeError as error:
        raise archive.damaged(genome_hash, error) from None


def _curves(archive: Archive, run: Row, rows: Sequence[Row]) -> str:
    result, names = run.get("result") or {}, history.names(archive)
    figures = []
    if result.get("winner") and "rung" in result:
        labels = {result[role]: names.get(result[role], role) for role in verdict.ROLES if result.get(role)}
        if result.get("control"):
            labels[result["control"]] = "its recipe alone"
        labels[result["winner"]] = "winner"  # last: the control is the winner itself where only the recipe changed
        figures.append(("In confirmation", _curves_of(rows, result["rung"], labels, result["winner"])))
    firsts = {genome_hash: name for name, genome_hash in run["baselines"].items()}
    best = _best(run)
    if best and best not in firsts:
        firsts[best] = "winner"
    figures.append(("At the first rung, where every baseline ran as it is written", _curves_of(rows, 0, firsts, best)))
    body = "".join(f"<h3>{escaped(name)}</h3>{loss_curves(curves)}" for name, curves in figures if curves)
    return section("Loss curves", body) if body else ""


def _curves_of(rows: Iterable[Row], rung: int, labels: dict[str, str], winner: str) -> list[Curve]:
    """The training curve of each labelled genome on its first seed at a rung."""
    chosen: dict[str, Row] = {}
    for row in sorted((r for r in rows if r["rung"] == rung and r["train_curve"]), key=lambda r: r["seed"]):
        if row["genome_hash"] in labels and row["status"] == "ok":
            chosen.setdefault(row["genome_hash"], row)
    curves = []
    for genome_hash, row in chosen.items():
        end = row["train_curve"][-1][0] or 1.0
        x, y = [point[0] / end for point in row["train_curve"]], [point[1] for point in row["train_curve"]]
        curves.append(Curve(labels[genome_hash], x, y, genome_hash == winner))
    return curves


def _costs(archive: Archive, run: Row, rows: Sequence[Row]) -> str:
    tables = [(rung, found) for rung, found in standings(rows) if found[0].split == "validation"]
    if not tables:
        return ""
    names, best, baselines = history.names(archive), _best(run), set(run["baselines"].values())
    panels = []
    for label, cost in (
        ("training FLOP per token, bytes moved included", lambda row: row["compute_budget"] / max(row["tokens"], 1)),
        ("parameters", lambda row: row["parameters"]),
        ("decode cache, bytes per token", lambda row: row["cache_bytes_per_token"] or 0.0),
    ):
        points = []
        for rung, found in tables:
            for standing in found[:DRAWN]:
                genome_hash = standing.row["genome_hash"]
                mark = "winner" if genome_hash == best else "baseline" if genome_hash in baselines else ""
                title = f"{names.get(genome_hash, genome_hash[:8])}: {standing.bits_per_byte:.3f} at rung {rung}"
                points.append(Point(cost(standing.row), standing.bits_per_byte, rung, title, mark))
        panels.append(Panel(label, points))
    note = (
        "Each point is a genome at a rung; the fuller its colour, the longer it trained. ★ winner, ◇ baseline. "
        "The line joins the genomes of the longest rung that none beats in both respects."
    )
    leads = picked_leads(rows, run["baselines"].values())
    worth = f'<p class="note">At rung {leads[-1].rung}, {escaped(leads[-1].sentence)}.</p>' if leads else ""
    return section(
        "What it costs", f'{scatter(panels, tables[0][0])}<p class="note">{note}</p>{_leaders(tables, names)}{worth}'
    )


def _leaders(tables: Sequence[tuple[int, Sequence[Standing]]], names: dict[str, str]) -> str:
    rung, found = tables[0]
    cells = [
        [
            names.get(s.row["genome_hash"], s.row["genome_hash"][:8]), f"{s.bits_per_byte:.3f}", s.row["operator"],
            compact(s.row["parameters"]), compact(s.row["flops_per_token"] or 0.0),
            compact(s.row["cache_bytes_per_token"] or 0.0),
        ]
        for s in found[:8]
    ]  # fmt: skip
    headings = ["genome", "bits per byte", "made by", "parameters", "FLOPs/token", "cache B/token"]
    return f"<h3>The best at rung {rung}, on validation text</h3>{table(headings, cells, numbers=(1, 3, 4, 5))}"


def _lineage(archive: Archive, run: Row) -> str:
    best = (run.get("result") or {}).get("winner")
    if not best:
        return ""
    items = []
    for step in history.lineage(archive, best):
        score = "" if step.bits_per_byte is None else f" · {step.bits_per_byte:.3f} at rung {step.rung}"
        others = f" with {', '.join(step.other_parents)}" if step.other_parents else ""
        items.append(
            f"<li><code>{escaped(step.name)}</code> <span class=note>{escaped(step.operator + others + score)}</span>"
            f"{bullets(step.changes)}</li>"
        )
    return section("Lineage of the winner", f'<ol class="line">{"".join(items)}</ol>')


def _operators(rows: Sequence[Row], run: Row) -> str:
    cells = []
    for record in history.operators(rows, (run.get("result") or {}).get("winner") or ""):
        gain = "" if record.gain is None else f"{record.gain:.3f}"
        earned = f"{1e12 * record.gain_per_compute:.3f}" if record.wins else ""
        cells.append(
            [
                record.operator, str(record.children), str(record.failed), f"{record.better} of {record.compared}",
                str(record.wins), str(record.promoted), str(record.in_line or ""), gain, compact(record.compute),
                earned,
            ]
        )  # fmt: skip
    if not cells:
        return ""
    note = (
        "Ahead: of all parents, at the first rung, on the same seed; a win is ahead by more than the noise. Earned: "
        "bits per byte of all wins for each 10¹² FLOP that the operator's children cost. A bandit gives the shares."
    )
    headings = [
        "operator", "children", "failed", "ahead", "wins", "promoted", "in the winner's line", "largest gain", "FLOP",
        "earned",
    ]  # fmt: skip
    return section("Operators", f'{table(headings, cells, numbers=range(1, 10))}<p class="note">{note}</p>')


def _reduction(archive: Archive) -> str:
    """What of the winner is needed, where that was found out."""
    data = reduced(archive)
    if data is None:
        return ""
    names = history.names(archive)
    cells = [["; ".join(edit["changes"]), saved(edit["saves"])] for edit in data["edits"]]
    told = f"Against {names.get(data['baseline'], data['baseline'][:8])}, on validation text: the winner saves "
    told += f"{saved(data['full_gain'])} bits per byte, and what is left of it {saved(data['gain'])}"
    told += "." if data["keeps"] else ", so that it does not keep the gain on fresh seeds."
    dropped = [change for edit in data["dropped"] for change in edit]
    body = table(["edit", "bits per byte that it saves, 95 % interval"], cells) if cells else ""
    body += f"<h3>What brings nothing</h3>{bullets(dropped)}" if dropped else ""
    return section("What of the winner is needed", f'{body}<p class="note">{escaped(told)}</p>')


def reduced(archive: Archive) -> Row | None:
    """What `minimal.json` says of the winner, None where there is none."""
    try:
        data = json.loads((archive.folder / "minimal.json").read_bytes())
        return data if data["winner"] == (archive.read_run().get("result") or {}).get("winner") else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def saved(figure: Row | None) -> str:
    """Bits per byte with their interval."""
    if figure is None:
        return "?"
    return f"{figure['mean']:.3f} ({verdict.signed(figure['low'])} … {verdict.signed(figure['high'])})"


def _savings(rows: Sequence[Row]) -> str:
    """What was not paid for: duplicates, genomes that were given up or refused by cheap signals."""
    kinds = (
        ("computes the same as another genome", [r for r in rows if r["shared_with"]]),
        ("given up by its loss curve", [r for r in rows if r["status"] == "abandoned"]),
        ("refused by cheap signals", [r for r in rows if r["error_code"] == "screened"]),
    )
    cells = []
    for what, found in kinds:
        if found:
            spared = sum(r["compute_budget"] - r["compute_spent"] for r in found)
            share = spared / max(1.0, sum(r["compute_budget"] for r in rows))
            cells.append([what, str(len(found)), compact(spared), f"{share:.1%}"])
    if not cells:
        return ""
    headings = ["an evaluation that", "how many", "FLOP not spent", "of all that was asked for"]
    return section("What was not paid for", table(headings, cells, numbers=(1, 2, 3)))


def _failures(rows: Sequence[Row]) -> str:
    found = history.failures(rows)
    if not found:
        return section("Failures", "<p>No evaluation failed.</p>")
    cells = [[f.status, f.error_code, str(f.count), f"genomes/{f.example}.genome"] for f in found]
    return section("Failures", table(["status", "because", "evaluations", "for example"], cells, numbers=(2,)))


def _facts(archive: Archive, run: Row, rows: Sequence[Row]) -> str:
    settings, data, versions, machine = run["settings"], run["data"], run["versions"], run["machine"]
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB"
    facts = {
        "run": f"{run['run_id']}, begun {run['created']}, {len(run['sessions'])} session(s)",
        "budget": f"{settings['budget']['amount']:g} {settings['budget']['kind']}",
        "strategy": settings["strategy"],
        "seed": str(settings["seed"]),
        "workers": str(settings["workers"]),
        "rungs": ", ".join(compact(rung["compute"]) for rung in run["rungs"]) + " FLOP",
        "noise": "; ".join(
            f"±{one.sigma:.3f} at rung {one.rung} on {one.split} text ({one.n} evaluations of {one.genomes})"
            for one in noise_by_rung(rows, seeds_of(run))
        )
        or "not measured",
        "seeds used": ", ".join(map(str, sorted({row["seed"] for row in rows}))) or "none",
        "text": f"{data['name']}, content hash {data['hash']}",
        "machine": f"{machine['system']}, {machine['cores']} cores, {memory}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    if run.get("busy_share") is not None:
        facts["workers busy"] = f"{run['busy_share']:.1%} of the time"
    body = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in facts.items())
    again = f"foundry evolve --budget {_budget(settings['budget'])} --seed {settings['seed']}"
    again += "" if settings["strategy"] == "evolve" else f" --strategy {settings['strategy']}"
    again += f" --control {settings['control']}" if settings.get("control") else ""
    again += f" --data {settings['data']}" if settings["data"] else ""
    return section("Settings", f"<dl>{body}</dl><h3>The same search again</h3><pre>{escaped(again)}</pre>")


# What they are made of ----------------------------------------------------------------------------------------------


def _best(run: Row) -> str:
    """The hash of the winner; of the best baseline where there is no winner; empty before there is a result."""
    result = run.get("result") or {}
    return str(result.get("winner") or result.get("baseline") or "")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def seeds_of(run: Row) -> dict[int, int]:
    """The seed by which each rung of the search ranks genomes."""
    return {rung: SEED_SPAN * run["settings"]["seed"] + rung for rung in range(len(run["rungs"]))}


def _budget(budget: dict[str, Any]) -> str:
    from foundry.search.budget import Budget

    return str(Budget(**budget))
