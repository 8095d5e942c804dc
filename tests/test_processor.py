"""bfloat16 is used where a device has it, and said to be slow where it is imitated."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from avbench import processor
from avbench.errors import UserError
from avbench.models import _attention as attention
from avbench.progress import Reporter
from avbench.runs import Run

CPU = torch.device("cpu")


@pytest.mark.skipif(platform.system() != "Linux" or platform.machine() != "x86_64", reason="reads an x86 /proc/cpuinfo")
def test_a_processor_has_bfloat16_where_its_flags_say_so() -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next(line for line in lines if line.startswith("flags")).split()
    assert processor.has_bfloat16(CPU) == ("avx512bw" in flags or "avx_ne_convert" in flags)


@pytest.mark.parametrize("has", [True, False])
def test_imitation_is_said_in_a_sentence_and_only_then(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(processor, "has_bfloat16", lambda device: has)
    said, told = Reporter(), []
    monkeypatch.setattr(said, "warn", told.append)
    processor.warn_of_imitation("cpu", said, "train.bf16 = true", "give --no-bf16")
    fact = "this processor has no bfloat16, which is computed in float32 and rounded: no faster"
    assert told == ([] if has else [f"train.bf16 = true: {fact}; give --no-bf16"])
    if not has:
        processor.warn_of_imitation("cuda:1", said, "train.bf16 = true", "give --no-bf16")
        assert told[1:] == ["train.bf16 = true: cuda:1 only imitates bfloat16, slower than float32; give --no-bf16"]


@pytest.mark.parametrize("has", [True, False])
def test_attention_is_written_out_only_where_bfloat16_is_arithmetic(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(attention, "has_bfloat16", lambda device: has)
    fused, calls = torch.nn.functional.scaled_dot_product_attention, []
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", lambda *qkv: calls.append(qkv) or fused(*qkv)
    )
    tokens = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    attention.attention(tokens, tokens, tokens, 2)
    assert bool(calls) != has


@pytest.mark.parametrize(("asked", "wanted"), [(None, (True, False)), (True, (True, True)), (False, (False, False))])
def test_one_option_says_it_for_training_and_sampling(asked: bool | None, wanted: tuple[bool, bool]) -> None:
    recipe = Run.open("mmdiffusion", "small", dataset=None, out=None, bf16=asked).recipe
    assert (recipe.training.bf16, recipe.sample.bf16) == wanted


def test_sampling_warns_before_it_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processor, "has_bfloat16", lambda device: False)
    said, told = Reporter(), []
    monkeypatch.setattr(said, "warn", told.append)
    for asked in (False, True):
        run = Run.open(
            "mmdiffusion", "tiny", dataset=None, out=tmp_path, device="cpu", sampling={"bf16": asked}, reporter=said
        )
        with pytest.raises(UserError, match="holds no checkpoint"):
            run.sample()
    (sentence,) = told
    assert "has no bfloat16" in sentence
    assert sentence.endswith("give --no-bf16")
