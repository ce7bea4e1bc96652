"""Speed, utilisation and the time that is left, on a clock that the test winds."""

import pytest
import torch

from foundry.compiler.cost import cost
from foundry.dsl.check import load_program
from foundry.dsl.source import read_genome, shipped_genomes
from foundry.train.throughput import Pace, known_peak, measured_peak, peak_flops, training_flops


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def __call__(self):
        return self.now


def run(pace, clock, steps, seconds, progress_each, tokens=1000, context=128):
    for _ in range(steps):
        with pace.inside("step"):
            clock.now += seconds
        pace.step(tokens, context, pace._progress + progress_each)


def pace_of(clock, **options):
    return Pace(lambda context: 6e6, clock=clock, **options)


def test_tokens_a_second_are_those_of_the_steps_alone():
    clock = Clock()
    pace = pace_of(clock, peak=None)
    run(pace, clock, steps=4, seconds=0.5, progress_each=0.1)
    with pace.inside("validation"):
        clock.now += 10
    assert pace.speed().tokens_per_s == pytest.approx(2000)
    assert pace.parts == pytest.approx({"step": 2.0, "validation": 10.0})
    assert pace.seconds == pytest.approx(12.0)


def test_utilisation_is_the_operations_of_the_model_over_the_peak():
    clock = Clock()
    pace = pace_of(clock, peak=24e9)
    run(pace, clock, steps=3, seconds=0.5, progress_each=0.1)
    assert pace.speed().utilisation == pytest.approx(2000 * 6e6 / 24e9)


def test_without_a_known_peak_there_is_no_utilisation():
    clock = Clock()
    pace = pace_of(clock, peak=None)
    run(pace, clock, steps=1, seconds=1, progress_each=0.1)
    assert pace.speed().utilisation is None


def test_the_time_left_has_pauses_in_it():
    clock = Clock()
    pace = pace_of(clock, peak=None)
    run(pace, clock, steps=5, seconds=1, progress_each=0.05)
    with pace.inside("validation"):
        clock.now += 5
    assert pace.speed().seconds_left == pytest.approx(30)  # a quarter took ten seconds


def test_a_run_that_goes_on_reckons_from_where_it_began():
    clock = Clock()
    pace = pace_of(clock, peak=None, done=0.8)
    run(pace, clock, steps=1, seconds=3, progress_each=0.1)
    assert pace.speed().seconds_left == pytest.approx(3)


def test_before_the_first_step_nothing_is_known():
    speed = pace_of(Clock(), peak=1e12).speed()
    assert (speed.tokens_per_s, speed.utilisation, speed.seconds_left) == (0, None, None)


def test_the_speed_follows_a_change():
    clock = Clock()
    pace = pace_of(clock, peak=None)
    run(pace, clock, steps=50, seconds=4, progress_each=0.001)
    run(pace, clock, steps=50, seconds=1, progress_each=0.001)
    assert pace.speed().tokens_per_s == pytest.approx(1000)


def test_a_part_within_another_is_not_the_others_time():
    clock = Clock()
    pace = pace_of(clock, peak=None)
    with pace.inside("step"):
        clock.now += 1
        for _ in range(2):
            with pace.inside("data"):
                clock.now += 3
        clock.now += 2
    with pace.inside("step"):
        clock.now += 1
    assert pace.parts == {"data": 6.0, "step": 4.0}


def test_a_part_that_fails_is_counted_all_the_same():
    clock = Clock()
    pace = pace_of(clock, peak=None)
    with pytest.raises(OSError), pace.inside("checkpoint"):
        clock.now += 2
        raise OSError
    assert pace.parts == {"checkpoint": 2.0}


def test_training_takes_three_forward_passes():
    program = load_program(read_genome(str(shipped_genomes()["gpt2"])))
    assert training_flops(program)(64) == pytest.approx(3 * cost(program, 64).flops_per_token)


def test_the_operations_of_gpt2_are_about_six_for_each_parameter():
    """6 N + 12 L D T of Chowdhery et al. 2022, appendix B, with the matrices as N: tables of embeddings add nothing."""
    program = load_program(read_genome(str(shipped_genomes()["families/gpt2_124m"])))
    matrices = 12 * 12 * 768**2 + 50257 * 768
    assert training_flops(program)(1024) == pytest.approx(6 * matrices + 12 * 12 * 768 * 1024, rel=0.03)


@pytest.mark.parametrize(
    ("name", "dtype", "tf32", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", torch.bfloat16, False, 989),
        ("NVIDIA H100 PCIe", torch.bfloat16, False, 756),
        ("NVIDIA A100-SXM4-80GB", torch.float32, True, 156),
        ("NVIDIA A100-SXM4-80GB", torch.float32, False, 19.5),
        ("NVIDIA A10", torch.bfloat16, False, 125),
        ("NVIDIA L40S", torch.bfloat16, False, 362),
        ("NVIDIA L4", torch.bfloat16, False, 121),
        ("NVIDIA GB200", torch.bfloat16, False, 2500),
        ("Tesla V100-SXM2-16GB", torch.float16, False, 125),
        ("NVIDIA GeForce RTX 4090", torch.bfloat16, False, 165.2),
    ],
)
def test_gpus_are_known_by_the_names_that_drivers_give(name, dtype, tf32, tera):
    assert known_peak(name, dtype, tf32) == pytest.approx(tera * 1e12)


@pytest.mark.parametrize(
    "name", ["NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA A10G", "NVIDIA RTX A4000", "Radeon", ""]
)
def test_of_other_gpus_nothing_is_said(name):
    assert known_peak(name, torch.bfloat16) is None


def test_the_peak_of_a_processor_is_its_best_matrix_product():
    times = iter([0.0, 10.0, 10.5, 10.5, 20.0, 20.25, 99.0])
    assert measured_peak(clock=lambda: next(times)) == pytest.approx(2 * 1024**3 / 0.5)
    assert peak_flops("meta") is None
