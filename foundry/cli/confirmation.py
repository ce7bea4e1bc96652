"""Verbs that ask what a win is worth: confirm, minimal, multiplier."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foundry.cli.arguments import Genome, Json, Source, load_source
from foundry.cli.failures import ERRORS, Failure, Misuse
from foundry.cli.measuring import bar, corpora, panel
from foundry.cli.several import several

if TYPE_CHECKING:
    from foundry.data.corpus import Corpus
    from foundry.evals.statistics import Difference
    from foundry.search.archive import Archive
    from foundry.search.budget import Budget
    from foundry.search.holding import Holding, OnText, Size
    from foundry.search.minimal import Minimal
    from foundry.search.multiplier import Multiplier, Multipliers
    from foundry.search.panel import Panel

CONFIRM_EXAMPLES = """\b
Examples:
  foundry confirm runs/night/best.genome --against llama
  foundry confirm mine.genome --against llama --sizes 4 --seeds 5 --budget 2h
  foundry confirm mine.genome --against llama --data code/ books.parquet

Both genomes grow by doublings of their parameters and train on a constant number of tokens per parameter, at equal
compute, each at the best of three learning rates or more. The gain is in bits per byte of test text; its intervals all
hold at once with 95 %. It grows, holds or fades with the size; it fades as well where it is not shown at the largest.

Exit code: 0 the comparison is complete, 1 scores are missing, 2 misuse."""

MINIMAL_EXAMPLES = """\b
Examples:
  foundry minimal runs/night
  foundry minimal runs/night --seeds 5

Takes back each edit of the winner, drops what brings nothing on validation text, and writes what is left to
minimal.genome in the run folder, with the worth of each remaining edit in minimal.json.

Exit code: 0 done, 1 the run has no winner or cannot be read, 2 misuse."""

MULTIPLIER_EXAMPLES = """\b
Examples:
  foundry multiplier runs/night
  foundry multiplier runs/night --seeds 5 --json
  foundry multiplier runs/night --of other.genome

Trains the winner with fractions of the compute of its confirmation and says with how much less it reaches the bits per
byte of the best tuned baseline, and of the baseline's architecture with the winner's recipe, on test text. With --of,
another genome stands in the winner's place.

Exit code: 0 done, 1 the run has no winner or a score is missing, 2 misuse."""

Run = Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished run.")]
FEWEST = "an interval needs at least two seeds"
FRESH = 5000  # beyond the seeds that a run itself uses, of the ten thousand that are its own
CAREFUL = 0.85  # of a budget of time is planned with
KEPT = "panel"  # the folder inside a run for what was evaluated afterwards


def register(app: typer.Typer) -> None:
    app.command(epilog=CONFIRM_EXAMPLES, cls=several("--data"))(confirm)
    app.command(epilog=MINIMAL_EXAMPLES)(minimal)
    app.command(epilog=MULTIPLIER_EXAMPLES)(multiplier)


# ---- confirm ---------------------------------------------------------------------------------------------------------


def confirm(
    file: Genome,
    against: Annotated[str, typer.Option(metavar="F", help="The genome to compare with.")] = "",
    sizes: Annotated[int, typer.Option(metavar="N", min=1, max=8, help="The genome's own size, and doublings.")] = 3,
    seeds: Annotated[int, typer.Option(metavar="N", min=2, max=100, help="Of each comparison.")] = 3,
    data: Annotated[list[str] | None, typer.Option(metavar="PATH…", help="Texts; default: Python's library.")] = None,
    budget: Annotated[str, typer.Option(metavar="B", help="For all of it: 30min, 2h or 1e15flop.")] = "",
    out: Annotated[str, typer.Option(metavar="DIR", help="Keep every result here, and go on from there.")] = "",
    as_json: Json = False,
) -> int:
    """Compare two genomes at growing sizes: does the gain hold?"""
    from foundry.search.holding import grown, hold

    if not against:
        raise Misuse("say what to compare with, for example --against llama")
    if file == against == "-":
        raise Misuse("standard input can be read only once: give - once")
    genome, rival = _different(file, against)
    steps, asked = _sizes(genome, rival, sizes), _budget(budget)
    texts = corpora(data or ())
    folder = Path(out) if out else Path("runs", f"confirm-{_short(genome)}-{_short(rival)}")
    with panel(texts, folder) as open_panel:
        compute = _compute(open_panel, steps, seeds, budget, asked)
        steps = grown(genome.text, rival.text, sizes, compute)
        _announce(open_panel, steps, seeds, len(texts))
        with bar() as tell:
            holding = open_panel.follow(hold(steps, seeds, [corpus.hash for corpus in texts]), tell)
    if as_json:
        print(json.dumps(_holding_as_data(holding, genome, rival, texts, seeds), indent=2))
    else:
        _print_holding(holding, genome, rival, texts)
        print(f"kept in {folder}")
    return 0 if all(gain is not None for text in holding.texts for gain in text.gains) else ERRORS


def _different(file: str, against: str) -> tuple[Source, Source]:
    """Two genomes that do not mean the same."""
    from foundry.dsl.canonical import canonical_hash

    (genome, a), (rival, b) = load_source(file), load_source(against)
    if canonical_hash(a) == canonical_hash(b):
        raise Misuse(f"{file} and {against} are the same program")
    return genome, rival


def _short(source: Source) -> str:
    from foundry.dsl.canonical import canonical_hash
    from foundry.dsl.check import load_program

    return canonical_hash(load_program(source.text))[:8]


def _sizes(genome: Source, rival: Source, count: int) -> tuple[Size, ...]:
    """Both genomes at all sizes, at the usual compute."""
    from foundry.compiler.scale.search import ScaleError
    from foundry.evals.rungs import RUNGS
    from foundry.search.holding import grown

    try:
        return grown(genome.text, rival.text, count, RUNGS[1].compute)
    except ScaleError as error:
        raise Failure(f"they cannot be compared at {count} sizes: {error}") from None


def _budget(text: str) -> Budget | None:
    from foundry.search.budget import BudgetError, parse_budget

    try:
        asked = parse_budget(text) if text else None
    except BudgetError as error:
        raise Misuse(str(error)) from None
    if asked and asked.kind == "evals":
        raise Misuse("--budget is a time or a number of flop here: sizes and seeds say how many evaluations there are")
    return asked


def _compute(open_panel: Panel, sizes: tuple[Size, ...], seeds: int, budget: str, asked: Budget | None) -> float:
    """The flop of an evaluation at the first size, as the budget allows; as noted where the folder has a plan."""
    from foundry.search.confirm import rounded_down
    from foundry.search.holding import evaluations

    planned = {"budget": budget, "sizes": len(sizes), "seeds": seeds, "compute": sizes[0].compute}
    if asked and open_panel.noted("confirm") is None:
        flop = asked.amount
        if asked.kind == "seconds":
            flop *= CAREFUL * open_panel.count * min(map(open_panel.speed, sizes[0].texts))
        _, whole = evaluations(sizes, seeds, len(open_panel.corpora))
        planned["compute"] = rounded_down(sizes[0].compute * flop / whole)
    plan = open_panel.note("confirm", planned)
    if any(plan[name] != planned[name] for name in ("budget", "sizes", "seeds")):
        told = f"--sizes {plan['sizes']} --seeds {plan['seeds']}"
        told += f" --budget {plan['budget']}" if plan["budget"] else ""
        raise Misuse(f"{open_panel.folder} holds the same comparison with {told}: give these, or another --out")
    return float(plan["compute"])


def _announce(open_panel: Panel, sizes: tuple[Size, ...], seeds: int, texts: int) -> None:
    from foundry.cli.live import clock
    from foundry.search.holding import evaluations
    from foundry.search.panel import usual_speed

    count, flop = evaluations(sizes, seeds, texts)
    time = clock(flop / usual_speed() / open_panel.count)
    print(f"about {count} evaluations at {len(sizes)} sizes, {time} on {open_panel.count} free cores", file=sys.stderr)


def _holding_as_data(
    holding: Holding, genome: Source, rival: Source, texts: list[Corpus], seeds: int
) -> dict[str, Any]:
    """What `--json` prints; gains in bits per byte that the genome saves, with 95 % intervals."""
    names = {corpus.hash: corpus.name for corpus in texts}
    sizes = [
        {"parameters": list(size.parameters), "compute": size.compute, "rate_factors": list(size.rates)}
        for size in holding.sizes
    ]
    found = [
        {
            "data": names[text.data],
            "data_hash": text.data,
            "bits_per_byte": [list(scores) for scores in text.scores],
            "gains": [gain and asdict(gain) for gain in text.gains],
            "gain_per_doubling": text.trend and asdict(text.trend),
            "verdict": text.verdict,
        }
        for text in holding.texts
    ]
    about = {"genome": genome.label, "against": rival.label, "split": "test", "seeds": seeds}
    return {**about, "sizes": sizes, "texts": found, "verdict": holding.verdict}


def _print_holding(holding: Holding, genome: Source, rival: Source, texts: list[Corpus]) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for text, corpus in zip(holding.texts, texts, strict=True):
        console.print(f"{genome.label} against {rival.label}, test text of {corpus.name}", style="bold")
        console.print(_gains(holding, text))
        console.print(f"  {_meaning(text)}\n")
    if len(texts) > 1:
        console.print(f"over all texts: {holding.verdict}", style="bold")


def _gains(holding: Holding, text: OnText) -> Any:
    from rich.table import Table

    from foundry.search.plots import compact

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("parameters", "flop", "rates", "bits per byte", "gain"):
        table.add_column(heading, justify="right", no_wrap=True)
    for size, gain, scores in zip(holding.sizes, text.gains, text.scores, strict=True):
        counts = " ".join(compact(count) for count in size.parameters)
        rates = " ".join(f"×{rate:g}" for rate in size.rates)
        shown = " ".join("none" if score is None else f"{score:.3f}" for score in scores)
        table.add_row(counts, f"{size.compute:.3g}", rates, shown, _interval(gain))
    return table


def _meaning(text: OnText) -> str:
    if text.trend is None:
        return text.verdict
    return f"{text.verdict}: {_interval(text.trend)} for each doubling of the parameters"


def _interval(saved: Difference | None) -> str:
    from foundry.search.verdict import signed

    return "" if saved is None else f"{signed(saved.mean)} ({signed(saved.low)} … {signed(saved.high)})"


# ---- what a run's winner is worth ------------------------------------------------------------------------------------


def minimal(
    run: Run,
    seeds: Annotated[int, typer.Option(metavar="N", min=2, max=100, help="Of each comparison.")] = 3,
    as_json: Json = False,
) -> int:
    """Reduce the winner of a run to what it needs, and say what each edit is worth."""
    from foundry.dsl.diagnostics import GenomeError
    from foundry.search.archive import ArchiveError
    from foundry.search.edits import Edits
    from foundry.search.minimal import as_data, baseline_of, minimise

    archive, result, corpus = _finished(run)
    try:
        base = baseline_of(archive.rows(), result["winner"], result["baseline"])
        changes = Edits(archive.genome(base), archive.genome(result["winner"]))
        described = archive.read_run()
        compute = described["rungs"][-1]["compute"]
        first = 10_000 * described["settings"]["seed"] + FRESH
        count = len(changes.edits)
        told = f"{count} edit{'' if count == 1 else 's'} from {base[:8]} to the winner {result['winner'][:8]}"
        print(told, file=sys.stderr)
        with panel([corpus], Path(run, KEPT)) as open_panel, bar() as tell:
            found = open_panel.follow(minimise(changes, compute, range(first, first + seeds)), tell)
        data = {"winner": result["winner"], "baseline": base, **as_data(found)}
        archive.lock()
        archive.write_file("minimal.genome", found.text)
        archive.write_file("minimal.json", json.dumps(data, indent=1) + "\n")
    except (ArchiveError, GenomeError) as error:
        raise Failure(f"{run}: {error}" if isinstance(error, GenomeError) else str(error)) from None
    finally:
        archive.close()
    if as_json:
        print(json.dumps(data, indent=2))
    else:
        _print_minimal(found, base)
        print(f"wrote {run}/minimal.genome")
    return 0


def _print_minimal(found: Minimal, base: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    table.add_column("bits per byte that it saves", justify="right", no_wrap=True)
    table.add_column("what is left of the winner")
    for one in found.edits:
        table.add_row(_interval(one.saves) or "no score without it", "\n".join(one.edit.changes))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(table if found.edits else "no edit is left: none helps")
    for edit in found.dropped:
        console.print(f"dropped: {edit}", style="dim")
    for what, saved in (("the winner", found.full_gain), ("what is left", found.gain)):
        console.print(f"{what} against {base[:8]}: {_interval(saved) or 'no score'}")
    if found.dropped:
        console.print("it keeps the gain" if found.keeps else "it does not keep the gain on fresh seeds")


def multiplier(
    run: Run,
    seeds: Annotated[int, typer.Option(metavar="N", min=2, max=100, help="Of each comparison.")] = 3,
    of: Annotated[str, typer.Option(metavar="F", help="A genome in the winner's place.")] = "",
    as_json: Json = False,
) -> int:
    """Say with how much less training the winner of a run equals its baseline."""
    from foundry.search.archive import ArchiveError
    from foundry.search.multiplier import multipliers

    archive, result, corpus = _finished(run)
    try:
        if of:
            winner = load_source(of)[0].text
            rivals = _rivals(archive.genome(result["baseline"]), winner)
        else:
            winner = archive.genome(result["winner"])
            rivals = {role: archive.genome(result[role]) for role in ("baseline", "control") if result[role]}
        run_seeds = _seeds(result["seeds"], seeds)
        study = multipliers(winner, rivals, result["compute"], run_seeds)
        with panel([corpus], Path(run, KEPT)) as open_panel, bar() as tell:
            open_panel.learn(archive.rows())
            found = open_panel.follow(study, tell)
    except ArchiveError as error:
        raise Failure(str(error)) from None
    if as_json:
        print(json.dumps(_multipliers_as_data(found, run_seeds), indent=2))
    else:
        _print_multipliers(found)
    return 0 if all(found.against.values()) else ERRORS


def _rivals(baseline: str, winner: str) -> dict[str, str]:
    """A baseline, and its architecture with a winner's recipe where that makes a program."""
    from foundry.dsl.check import load_program
    from foundry.dsl.diagnostics import GenomeError
    from foundry.search.confirm import transplant_recipe

    control = transplant_recipe(baseline, winner)
    try:
        load_program(control)
    except GenomeError:
        return {"baseline": baseline}
    return {"baseline": baseline, "control": control}


def _seeds(confirmed: list[int], count: int) -> list[int]:
    """The seeds of the confirmation, which no choice was made on, and further ones."""
    return [*confirmed, *range(max(confirmed) + 1, max(confirmed) + 1 + count)][:count]


def _multipliers_as_data(found: Multipliers, seeds: list[int]) -> dict[str, Any]:
    curve = [
        {"compute": compute, "bits_per_byte": found.curve.scores[compute]} for compute in sorted(found.curve.scores)
    ]
    against = {name: one and asdict(one) for name, one in found.against.items()}
    return {"compute": found.compute, "seeds": seeds, "winner": curve, "levels": dict(found.levels), "against": against}


def _print_multipliers(found: Multipliers) -> None:
    from foundry.search.verdict import ROLES

    print("training compute that the other needs for the same bits per byte, over the winner's, and its 95 % interval:")
    for role, one in found.against.items():
        print(f"  {_times(one):<24} against the {ROLES[role]}")
    print(f"\n  {'flop':>10}  {'of its own':>10}  winner, bits per byte by seed")
    for compute in sorted(found.curve.scores, reverse=True):
        scores = " ".join(f"{score:.3f}" for score in found.curve.scores[compute])
        print(f"  {compute:>10.3g}  {compute / found.compute:>10.2f}  {scores}")
    for role, level in found.levels.items():
        print(f"  {found.compute:>10.3g}  {'':>10}  {' '.join(f'{s:.3f}' for s in level or ())}  {ROLES[role]}")


def _times(one: Multiplier | None) -> str:
    """`×3.12 (2.60 … 3.90)`; a side that was not reached is open."""
    if one is None:
        return "no score"
    if one.value is None:
        return f"over ×{one.tried[1]:.2g}" if one.low is not None else f"under ×{one.tried[0]:.2g}"
    low, high = ("?" if end is None else f"{end:.2f}" for end in (one.low, one.high))
    return f"×{one.value:.2f} ({low} … {high})"


def _finished(run: str) -> tuple[Archive, dict[str, Any], Corpus]:
    """A finished run with a winner, its result, and the text that it was trained on.

    Raises:
        Failure: it has none, it cannot be read, or the text is another one now.
    """
    from foundry.search.archive import Archive, ArchiveError

    try:
        archive = Archive(run)
        about = archive.read_run()
    except ArchiveError as error:
        raise Failure(str(error)) from None
    result = about.get("result")
    if not result or not result.get("winner"):
        raise Failure(f"{run}: it has no winner" + ("" if result else " yet: it is not over"))
    path = about["settings"].get("data")
    (corpus,) = corpora((path,) if path else ())
    if corpus.hash != about["data"]["hash"]:
        raise Failure(f"{run}: its text, {about['data']['name']}, is no longer what it was; bring it back")
    return archive, result, corpus
