"""A program to one readable PyTorch file, which imports nothing but torch and the standard library.

The file mirrors the genome: a function with weights is a class, one without is a function, `6 * f` a ModuleList and
a loop. What runs a genome is this file, loaded (`foundry.compiler.load`).
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from foundry.compiler.emit_body import Context, body
from foundry.compiler.emit_module import definitions
from foundry.compiler.emit_text import Text, literal
from foundry.compiler.longest import longest
from foundry.compiler.names import FILE_NAMES, comment, docstring, number
from foundry.compiler.transfer import matrices
from foundry.dsl.program import Node, Program, Unit

MECHANISMS = (
    "past",
    "heads",
    "rotate",
    "concat",
    "lookup",
    "top",
    "experts",
    "penalty",
    "shift",
    "conv",
    "scan",
    "attend",
    "linear_attend",
    "delta_attend",
    "by_inputs",
    "adamw",
    "lion",
    "muon",
    "curriculum",
    "generate",
    "command",
)

INITIALISE = '''
    def initialise(self, seed):
        """GPT-2's initial weights, with the deviation scaled to each layer's width; filters start as the identity."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02 * (768 / module.in_features) ** 0.5, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02, generator=generator)
'''
INITIALISE_CONV = """            elif isinstance(module, Conv):
                nn.init.normal_(module.weight, std=0.02, generator=generator)
                module.weight.data[..., -1] += 1
"""


def emit(program: Program, title: str = "") -> str:
    """The source of a program's PyTorch file. `title` says in a few words what it is."""
    model = definitions(program, FILE_NAMES | frozenset(_sources()))
    model[-1] += "\n" + INITIALISE.rstrip() + ("\n" + INITIALISE_CONV.rstrip() if _mentions(model, "Conv") else "")
    recipe = _recipe(program)
    train, main = (_sources()[name] for name in ("train", "main"))
    if program.recipe.difficulty is not None:
        train = train.replace(
            "last = len(data) - length", "last = max(1, int((len(data) - length) * min(difficulty(t), 1)))"
        )
        read = "torch.frombuffer(text, dtype=torch.uint8)"
        main = main.replace(read, f"easiest_first({read})")
    endings = [
        _sources()["generate"],
        train,
        main,
        'if __name__ == "__main__":\n    main(*sys.argv[1:])',
    ]
    parts = [*_mechanisms([*model, *recipe, main]), *model, *recipe, *endings]
    return "\n\n\n".join([_header(program, title, parts), *parts]) + "\n"


def _header(program: Program, title: str, parts: list[str]) -> str:
    lines = [docstring(title) or "A language model.", ""]
    lines += [docstring(line) for line in program.genome.comments]
    lines += ["", "    python model.py train [--steps N] FILE...", "    python model.py generate WEIGHTS [PROMPT]"]
    text = re.sub(r"\n\n\n+", "\n\n", "\n".join(lines))
    imports = ["import sys", "", "import torch", "import torch.nn.functional as F", "from torch import nn"]
    if any("math." in part for part in parts):
        imports.insert(0, "import math")
    if any("zlib." in part for part in parts):
        imports.insert(imports.index(""), "import zlib")
    recipe = program.recipe
    constants = [
        f"VOCAB = {number(program.vocab)}  # tokens: bytes, where it is 256",
        f"LONGEST = {longest(program)}  # the longest context that its positions allow",
        f"BATCH = {number(recipe.batch)}  # tokens in a step of training",
        f"CLIP = {number(recipe.clip)}  # the largest norm of a gradient; 0 for any",
    ]
    return "\n".join([f'"""{text}\n"""', "", *imports, "", *constants])


FACTORS_TOLD = 5
LOSS = "The loss of each token: (B, T, 1)."

# ---- the recipe -------------------------------------------------------------------------------------------------


def _recipe(program: Program) -> list[str]:
    recipe = program.recipe

    def own(unit: Unit) -> bool:
        return program.genome.definition(unit.name) is not None

    taught = ("teacher=None",) if any(i.attrs["name"] == "teacher" for i in recipe.loss.inputs) else ()
    taught_how = " A teacher's logits may be given." if taught else ""
    eased = recipe.difficulty and _function(
        "difficulty",
        recipe.difficulty,
        own(recipe.difficulty),
        ("t",),
        "scalar",
        "The easiest share of the data to train on at progress t.",
    )
    return [
        _function("loss", recipe.loss, own(recipe.loss), ("logits", "y", *taught), "tensor", LOSS + taught_how),
        _function(
            "schedule",
            recipe.schedule,
            own(recipe.schedule),
            ("t",),
            "scalar",
            "The factor on the learning rate at progress t in [0, 1].",
        ),
        _function(
            "context",
            recipe.context,
            own(recipe.context),
            ("t",),
            "scalar",
            "How many tokens to train on in a row at progress t.",
        ),
        *([eased] if eased else []),
        _optimizers(program),
    ]


def _function(name: str, unit: Unit, own: bool, parameters: tuple[str, ...], mode: str, doc: str) -> str:
    """A function of the recipe, which has no weights and calls nothing. `own`: with the genome's comments."""
    index = {node: n for n, node in enumerate(unit.nodes)}

    def value(node: Node | None, what: str) -> Text:
        assert node is not None and node in index
        found = node.attrs["value"] if what == "value" else node.inputs[int(what.removeprefix("number_"))]
        assert isinstance(found, int | float)
        return literal(found)

    def refuse(node: Node, args: list[Text] | None = None) -> Text:
        raise AssertionError(f"{node.op} in a recipe")

    taken = frozenset(_sources()) | FILE_NAMES
    context = Context(mode, lambda node: refuse(node).code, value, refuse, taken)
    rendered = body(unit, context)
    result = rendered.result.code
    if mode == "tensor" and "channel" not in unit.result.type.axes:
        result = f"({result})[..., None]"
    untaught = ["if teacher is None:", "    teacher = logits.detach()"] if "teacher=None" in parameters else []
    lines = [f'"""{doc}"""', *untaught, *rendered.lines, f"return {result}"]
    above = [f"# {comment(c)}" for c in unit.comments if own and comment(c)]
    return "\n".join([*above, f"def {name}({', '.join(parameters)}):", *(f"    {line}" for line in lines)])


def _optimizers(program: Program) -> str:
    optimizer, width = program.recipe.optimizer, program.recipe.transfer
    settings = {name: _setting(value) for name, value in optimizer.settings.items()}
    lines = ["def optimizers(model):", '    """What steps the weights; every group knows its `peak_lr`."""']
    name, parameters, hidden = optimizer.name, "model.parameters()", ""
    if name == "muon":
        ours = _arguments({setting: settings[setting] for setting in ("lr", "momentum", "decay")})
        lines.append(f"    hidden, rest = muon(model, {ours})")
        settings = {"lr": settings["adamw_lr"], "betas": settings["betas"], "decay": settings["decay"]}
        name, parameters, hidden = "adamw", "rest", "hidden + "
    if not width:
        return "\n".join([*lines, f"    return {hidden}[{name}({parameters}, {_arguments(settings)})]"])
    settings |= {"lr": f"{settings['lr']} * factor", "decay": f"{settings['decay']} / factor"}
    lines += [
        f"    # {_factors(program)}",
        f"    return {hidden}[",
        f"        {name}(group, {_arguments(settings)})",
        f"        for factor, group in by_inputs({parameters}, model, {width})",
        "    ]",
    ]
    return "\n".join(lines)


def _arguments(settings: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _factors(program: Program) -> str:
    """In words, what the rates of the matrices are multiplied with."""
    by_inputs = {matrix.inputs: matrix.factor for matrix in matrices(program)}
    told = [f"{factor:.3g} with {inputs}" for inputs, factor in sorted(by_inputs.items())]
    more = ", …" if len(told) > FACTORS_TOLD else ""
    times = f": times {', '.join(told[:FACTORS_TOLD])}{more}" if told else ""
    return f"Rates are for matrices of {program.recipe.transfer} inputs{times}."


def _setting(value: object) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_setting(v) for v in value) + ")"
    assert isinstance(value, int | float)
    return number(value)


# ---- mechanisms -------------------------------------------------------------------------------------------------


@cache
def _sources() -> dict[str, str]:
    """The source of every class and function of the mechanisms, in the order of `MECHANISMS` and of their files."""
    folder = Path(__file__).parent / "mechanisms"
    found = {}
    for name in MECHANISMS:
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                found[node.name] = "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    return found


@cache
def _needs() -> dict[str, frozenset[str]]:
    """Which other mechanisms each refers to."""
    names = set(_sources())
    return {
        name: frozenset({n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)} & names - {name})
        for name, source in _sources().items()
    }


def _mentions(parts: list[str], name: str) -> bool:
    return any(re.search(rf"\b{name}\(", part) for part in parts)


def _mechanisms(parts: list[str]) -> list[str]:
    """The mechanisms that the rest of the file uses, and those that they use."""
    wanted = ["Past", *(name for name in _sources() if _mentions(parts, name))]
    chosen: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in chosen:
            chosen.add(name)
            wanted.extend(_needs()[name])
    return [source for name, source in _sources().items() if name in chosen - {"generate", "train", "main"}]
