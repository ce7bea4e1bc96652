"""Names and literals in emitted files: legal, unambiguous, and never able to be anything but a name or a literal."""

from __future__ import annotations

import builtins
import keyword
import math
import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Attributes of nn.Module, which a layer may not be called.
MODULE_ATTRIBUTES = _words(
    """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double dump_patches eval
    extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half initialise ipu load_state_dict
    modules mtia named_buffers named_children named_modules named_parameters parameters register_backward_hook
    register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
    set_submodule share_memory state_dict to to_empty train training type xpu zero_grad unembed
    """
)
# Module-level names of every emitted file, beside those of the mechanisms it uses.
FILE_NAMES = _words(
    """
    torch nn F math sys Model loss schedule context optimizers generate train main past self
    VOCAB LONGEST BATCH CLIP
    """
)
RESERVED = FILE_NAMES | frozenset(keyword.kwlist) | frozenset(keyword.softkwlist) | frozenset(dir(builtins))

ACRONYMS = {"rmsnorm": "RMSNorm", "layernorm": "LayerNorm", "mlp": "MLP", "glu": "GLU", "mla": "MLA", "moe": "MoE"}
ACRONYMS |= {"swiglu": "SwiGLU", "geglu": "GeGLU", "reglu": "ReGLU"}


class Names:
    """Names taken in one scope. Words of the genome come in, legal and distinct identifiers go out."""

    def __init__(self, *taken: frozenset[str] | set[str]):
        self.taken: set[str] = set().union(*taken)

    def claim(self, word: str) -> str:
        """`word`, with an underscore where it is reserved, and a number where it is taken."""
        name = identifier(word)
        if name in RESERVED or name in MODULE_ATTRIBUTES:
            name += "_"
        number, free = 1, name
        while free in self.taken:
            number += 1
            free = name + str(number) if name[:1].isupper() else f"{name.rstrip('_')}_{number}"
        self.taken.add(free)
        return free


def identifier(word: str) -> str:
    """A word of a genome as an ASCII identifier without a leading underscore, so that it is no private name."""
    return re.sub(r"\W", "_", word, flags=re.ASCII).lstrip("_0123456789") or "value"


def class_name(word: str) -> str:
    """`sliding_window` → `SlidingWindow`."""
    if word in ACRONYMS:
        return ACRONYMS[word]
    return "".join(part[:1].upper() + part[1:] for part in identifier(word).split("_")) or "Part"


def number(value: int | float | None) -> str:
    """A number of a genome as a Python literal."""
    if value is None:
        return "None"
    if value == math.pi:
        return "math.pi"
    text = re.sub(r"e([+-])0", r"e\1", repr(value))
    short = re.sub(r"\.?0*e[+]0*", "e", f"{value:e}")  # 1e9 rather than 1000000000.0
    exact = isinstance(value, float) and abs(value) >= 1e4 and float(short) == value
    return short if exact and len(short) < len(text) else text


def comment(text: str) -> str:
    """One line of text that is safe after `#`."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def docstring(text: str) -> str:
    """One line of text that is safe inside a docstring."""
    return comment(text).replace("\\", "/").replace('"', "'")
