"""A batch that is computed in parts, one after the other or in several processes, is the same batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from avbench.errors import UserError
from avbench.training.log import read_log
from avbench.training.processes import Processes
from avbench.training.randomness import sample_seed, step_generator
from tests.training import toy

ROOT = Path(__file__).resolve().parents[2]


def weights_agree(one: Path, other: Path, relative: float = 1e-6) -> None:
    """Not to the bit: a mean over parts adds the same numbers up in another order, and float32 rounds each sum.

    Measured against the largest weight of a tensor: Adam divides by the gradient's size, so where a gradient is nearly
    nothing its rounding is not.
    """
    for name in ("model", "ema"):
        want, got = load_file(one / f"{name}.safetensors"), load_file(other / f"{name}.safetensors")
        assert want.keys() == got.keys()
        for key in want:
            assert (want[key] - got[key]).abs().max() <= relative * want[key].abs().max(), key


def test_what_a_sample_draws_depends_on_its_number_alone() -> None:
    whole = step_generator(7, 3, 24, 32)
    parts = [step_generator(7, 3, first, first + 2) for first in range(24, 32, 2)]
    want = [torch.randn(5, generator=g) for g in whole.samples]
    got = [torch.randn(5, generator=g) for part in parts for g in part.samples]
    assert all(map(torch.equal, want, got))
    assert len({tuple(draw.tolist()) for draw in want}) == 8
    shared = [torch.randn(5, generator=part) for part in (whole, *parts)]
    assert all(torch.equal(shared[0], each) for each in shared[1:])
    assert not any(torch.equal(shared[0], draw) for draw in want)


def test_seeds_of_near_samples_and_runs_do_not_meet() -> None:
    seeds = {sample_seed(seed, g) for seed in range(4) for g in range(500)}
    assert len(seeds) == 2000
    assert max(seeds) < 2**32


@pytest.mark.parametrize("accumulate", [2, 8])
def test_micro_batches_give_the_weights_of_the_whole_batch(tmp_path: Path, accumulate: int) -> None:
    whole = toy.run(tmp_path / "whole", toy.recipe())
    parts = toy.run(tmp_path / "parts", toy.recipe(accumulate=accumulate))
    weights_agree(whole.checkpoint, parts.checkpoint)
    for want, got in zip(*(read_log(tmp_path / name / "log.jsonl") for name in ("whole", "parts")), strict=True):
        assert want.keys() == got.keys()
        assert {k: v for k, v in got.items() if "seconds" not in k} == pytest.approx(
            {k: v for k, v in want.items() if "seconds" not in k}, rel=1e-5
        )


def test_a_batch_that_cannot_be_divided_is_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"batch_size = 8 cannot be divided into 1 processes x 3 micro-batches"):
        toy.run(tmp_path, toy.recipe(accumulate=3))


def test_a_process_takes_its_share_of_a_whole_batch_or_the_share_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes(toy.CPU)
    processes.rank, processes.world = 1, 4
    whole = toy.batch(3, 8)
    assert torch.equal(processes.share(toy.batch, 3, 8).audio, whole.audio[2:4])
    given = processes.share(lambda step, size: toy.batch(step, size // 4), 3, 8)
    assert torch.equal(given.audio, toy.batch(3, 2).audio)


def together(folder: Path, rank: int, steps: int, port: int) -> subprocess.Popen[str]:
    """One of two processes that train to ``steps`` // 2, and then go on to ``steps`` from the checkpoint."""
    program = f"""
from pathlib import Path
from tests.training import toy
from avbench.training.loop import train
for steps in ({steps // 2}, {steps}):
    toy.run(Path({str(folder)!r}), toy.recipe(steps, accumulate=2))
"""
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, **place, **address}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one_and_resume(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    alone = toy.run(tmp_path / "alone", toy.recipe(accumulate=2))
    both = [together(tmp_path / "both", rank, 12, port) for rank in range(2)]
    outputs = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(outputs)
    weights_agree(alone.checkpoint, tmp_path / "both" / "checkpoints" / alone.checkpoint.name)
    # one writer: a row per step, of the whole batch
    rows = [json.loads(line) for line in (tmp_path / "both" / "log.jsonl").read_text().splitlines()]
    want = read_log(tmp_path / "alone" / "log.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 13))
    for name in ("loss", "loss_video", "loss_audio", "grad_norm"):
        assert [row[name] for row in rows] == pytest.approx([row[name] for row in want], rel=1e-5)
