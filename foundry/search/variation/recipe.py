"""Recipe genes: the optimizer and its rates, the schedule, the curriculum, the loss, the batch and the clip."""

from __future__ import annotations

from foundry.dsl.syntax import Call, Definition, Expr, Genome, Name, Number
from foundry.generate.draw import Draw, weighted
from foundry.generate.genes import BETAS, gene, step
from foundry.generate.parts import small_part
from foundry.generate.recipe_formulas import random_schedule
from foundry.generate.recipes import random_optimizer
from foundry.generate.trees import (
    Value,
    call,
    list_of,
    named_argument,
    put_definition,
    rounded,
    with_argument,
    without_argument,
)
from foundry.search.variation.subject import Subject


def recipe_call(genome: Genome) -> Call:
    """The genome's `train(…)`, or an empty one where it has none written so."""
    definition = genome.definition("recipe")
    if definition is not None and isinstance(definition.value, Call):
        return definition.value
    return call("train")


def with_recipe(genome: Genome, recipe: Expr) -> Genome:
    """The genome with another recipe."""
    old = genome.definition("recipe")
    if old is None:
        definitions = (*genome.definitions, Definition("recipe", None, recipe))
        return Genome(genome.version, definitions, comments=genome.comments, closing=genome.closing)
    return put_definition(genome, Definition("recipe", None, recipe, comments=old.comments))


def optimizer_of(recipe: Call) -> Call:
    """The optimizer's call; AdamW's where the recipe leaves it out or names it alone."""
    given = named_argument(recipe, "optimizer")
    if given is not None and isinstance(given.value, Call):
        return given.value
    if given is not None and isinstance(given.value, Name):
        return call(given.value)
    return call("adamw")


def _number(node: Call, name: str, default: float) -> float:
    given = named_argument(node, name)
    return float(given.value.value) if given is not None and isinstance(given.value, Number) else default


def swap_optimizer(of: Subject, draw: Draw) -> Genome | None:
    """Swap the optimizer for another, with the rate that suits it."""
    recipe = recipe_call(of.genome)
    old = optimizer_of(recipe)
    name = old.function.id if isinstance(old.function, Name) else "adamw"
    usual = {"adamw": 5e-3, "lion": 6e-4, "muon": 2e-2}
    # AdamW's rate, from which the others' follow
    rate = {
        "adamw": lambda: _number(old, "lr", 3e-3),
        "lion": lambda: _number(old, "lr", 5e-4) * 8,
        "muon": lambda: _number(old, "adamw_lr", 3e-3),
    }.get(name, lambda: 3e-3)()
    decay = _number(old, "decay", 0.1)
    options: list[tuple[float, Call]] = [
        (3, call("muon", lr=draw.choice((0.02, 0.01, 0.03)), decay=decay, adamw_lr=rounded(rate))),
        (2, call("adamw", lr=rounded(draw.choice((rate, usual["adamw"]))), betas=list_of(0.9, 0.95), decay=decay)),
        (1, call("lion", lr=rounded(rate / 8), betas=list_of(0.9, 0.99), decay=decay)),
        (1, random_optimizer(draw)),
    ]
    new = weighted(draw, [(weight, made) for weight, made in options if made.function != Name(name)])
    return with_recipe(of.genome, with_argument(recipe, "optimizer", new))


def optimizer_setting(of: Subject, draw: Draw) -> Genome | None:
    """Change the optimizer's betas, momentum, decay or epsilon, given or left at its default."""
    recipe = recipe_call(of.genome)
    optimizer = optimizer_of(recipe)
    name = optimizer.function.id if isinstance(optimizer.function, Name) else "adamw"
    settings = {"adamw": ("decay", "betas", "eps"), "lion": ("decay", "betas"), "muon": ("momentum", "decay", "betas")}
    if name not in settings:
        return None
    setting = draw.choice(settings[name])
    value: Value | None
    if setting == "betas":
        first = draw.choice(BETAS[0].ladder)
        value = list_of(first, draw.choice([second for second in BETAS[1].ladder if second >= first]))
    else:
        ladder = gene(name, setting)
        assert ladder is not None
        default = {"decay": 0.1, "momentum": 0.95, "eps": 1e-8}[setting]
        value = step(draw, ladder, _number(optimizer, setting, default))
    if value is None:
        return None
    return with_recipe(of.genome, with_argument(recipe, "optimizer", with_argument(optimizer, setting, value)))


def swap_schedule(of: Subject, draw: Draw) -> Genome | None:
    """Give the recipe another schedule: of the prelude, with other settings, or a fresh one."""
    new = random_schedule(draw) if draw.chance(0.3) else small_part(draw, "schedule")
    return with_recipe(of.genome, with_argument(recipe_call(of.genome), "schedule", new))


def swap_context(of: Subject, draw: Draw) -> Genome | None:
    """Change how the training context grows, or drop the curriculum."""
    return _set_or_drop(of, draw, "context", small_part(draw, "context"))


def swap_difficulty(of: Subject, draw: Draw) -> Genome | None:
    """Change how training goes on from the easiest data to all of it, or drop that."""
    return _set_or_drop(of, draw, "difficulty", small_part(draw, "difficulty"))


def swap_loss(of: Subject, draw: Draw) -> Genome | None:
    """Add an extra to the loss, change it, or drop it."""
    return _set_or_drop(of, draw, "loss", small_part(draw, "loss"))


def batch_or_clip(of: Subject, draw: Draw) -> Genome | None:
    """Change the tokens of a step, or the norm at which gradients are clipped."""
    name, default = draw.choice((("batch", 2048), ("clip", 1.0)))
    recipe = recipe_call(of.genome)
    ladder = gene("train", name)
    assert ladder is not None
    value = step(draw, ladder, _number(recipe, name, default))
    if value is None:
        return None
    new: Value = int(value) if name == "batch" else value
    return with_recipe(of.genome, with_argument(recipe, name, new))


def _set_or_drop(of: Subject, draw: Draw, name: str, new: Expr) -> Genome:
    recipe = recipe_call(of.genome)
    if named_argument(recipe, name) is not None and draw.chance(0.4):
        return with_recipe(of.genome, without_argument(recipe, name))
    return with_recipe(of.genome, with_argument(recipe, name, new))
