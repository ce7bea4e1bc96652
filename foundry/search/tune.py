"""Learning rates: reading and scaling a genome's, and asking Optuna which to try next."""

from __future__ import annotations

import math
from collections.abc import Sequence

from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.registry import OPTIMIZERS, Arg
from foundry.dsl.syntax import Argument, Binary, Call, Definition, Expr, Genome, Name, Number, put, walk

RANGE = (0.2, 10.0)  # factors on a baseline's own learning rate
FIRST = (1.0, 3.0)  # tried before Optuna is asked
STEP = 1.7  # up and down from a promising child's
RATES = ("lr", "adamw_lr")


def scale_learning_rate(text: str, factor: float) -> str:
    """The genome with every learning rate of its optimizer multiplied, rounded to three digits.

    A rate that the genome leaves to its default is written out. Rates stay within their legal values.

    Raises:
        GenomeError: the text is not a genome.
    """
    genome = parse(text)
    found = False
    for path, node in list(walk(genome)):
        if isinstance(node, Call) and isinstance(node.function, Name) and node.function.id in OPTIMIZERS:
            genome = put(genome, path, _scaled(node, OPTIMIZERS[node.function.id], factor))
            found = True
    return format_genome(genome if found else _with_optimizer(genome, factor))


def _scaled(call: Call, parameters: tuple[Arg, ...], factor: float) -> Call:
    arguments = list(call.arguments)
    positions = {parameter.name: index for index, parameter in enumerate(parameters)}
    for parameter in parameters:
        if parameter.name not in RATES:
            continue
        for index, argument in enumerate(arguments):
            if argument.name == parameter.name or (not argument.name and index == positions[parameter.name]):
                arguments[index] = Argument(argument.name, _times(argument.value, factor, parameter))
                break
        else:
            arguments.append(Argument(parameter.name, _times(Number(parameter.default), factor, parameter)))
    return Call(call.function, tuple(arguments))


def _times(value: Expr, factor: float, parameter: Arg) -> Expr:
    if isinstance(value, Number):
        rate = min(max(value.value * factor, parameter.low), parameter.high)
        return Number(float(f"{rate:.3g}"))
    return Binary("*", value, Number(float(f"{factor:.3g}")))


def _with_optimizer(genome: Genome, factor: float) -> Genome:
    """The genome with the default optimizer written out, its rate scaled."""
    optimizer = Argument("optimizer", _scaled(Call(Name("adamw"), ()), OPTIMIZERS["adamw"], factor))
    definitions = list(genome.definitions)
    for index, definition in enumerate(definitions):
        if definition.name == "recipe" and isinstance(definition.value, Call):
            call = Call(definition.value.function, (optimizer, *definition.value.arguments))
            definitions[index] = Definition("recipe", definition.parameters, call, comments=definition.comments)
            break
    else:
        definitions.append(Definition("recipe", None, Call(Name("train"), (optimizer,))))
    return Genome(genome.version, tuple(definitions), comments=genome.comments, closing=genome.closing)


def learning_rate(text: str) -> float:
    """The first learning rate that the genome writes as a number; the default's where it writes none."""
    for _, node in walk(parse(text)):
        if isinstance(node, Call) and isinstance(node.function, Name) and node.function.id in OPTIMIZERS:
            parameters = OPTIMIZERS[node.function.id]
            for index, argument in enumerate(node.arguments):
                named = argument.name == "lr" or (not argument.name and parameters[index].name == "lr")
                if named and isinstance(argument.value, Number):
                    return float(argument.value.value)
            return float(next(p.default for p in parameters if p.name == "lr"))
    return float(next(p.default for p in OPTIMIZERS["adamw"] if p.name == "lr"))


def next_factor(trials: Sequence[tuple[float, float | None]], seed: int) -> float:
    """The factor on the learning rate to try next, given (factor, score) so far; None: no score yet, or failed.

    A tree-structured Parzen estimator on the logarithm (Bergstra et al. 2011), through Optuna.
    """
    for factor in FIRST:
        if all(abs(math.log(factor / tried)) > 0.1 for tried, _ in trials):
            return factor
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    range_ = optuna.distributions.FloatDistribution(*RANGE, log=True)
    sampler = optuna.samplers.TPESampler(seed=seed + len(trials), n_startup_trials=2)
    study = optuna.create_study(sampler=sampler)
    worst = max((score for _, score in trials if score is not None), default=8.0)
    for factor, score in trials:
        value = worst + 1 if score is None else score
        inside = min(max(factor, RANGE[0]), RANGE[1])
        study.add_trial(optuna.trial.create_trial(params={"f": inside}, distributions={"f": range_}, value=value))
    return float(study.ask({"f": range_}).params["f"])
