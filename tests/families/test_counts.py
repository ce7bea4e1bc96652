"""The genomes of the published models have exactly as many parameters as the models."""

import re
from pathlib import Path

import pytest
import torch
import transformers
from published import PUBLISHED, peer_config

from foundry.dsl.check import load_program
from foundry.dsl.program import parameter_count

FAMILIES = Path(__file__).parents[2] / "genomes" / "families"


def test_every_family_has_a_published_configuration():
    assert {path.stem for path in FAMILIES.glob("*.genome")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters(name):
    text = (FAMILIES / f"{name}.genome").read_text()
    with torch.device("meta"):
        peer = transformers.AutoModelForCausalLM.from_config(peer_config(name))
    theirs = sum(p.numel() for p in peer.parameters())  # tied weights once, buffers not at all
    assert parameter_count(load_program(text)) == theirs
    (stated,) = re.findall(r"([\d,]{9,}) parameters", text)  # in the comment that it starts with
    assert stated == f"{theirs:,}"
