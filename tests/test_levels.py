"""The grey-level tables: they are what the public evaluators' own lines of arithmetic give, level by level."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avbench import levels
from avbench.errors import UserError

ALL = torch.arange(256, dtype=torch.uint8)


def test_mmdiffusion_lowers_63_levels_by_one_and_no_other() -> None:
    shift = levels.table("mmdiffusion").astype(int) - np.arange(256)
    assert sorted(set(shift.tolist())) == [-1, 0]
    assert (shift == -1).sum() == 63


def test_mmdiffusion_is_what_float32_arithmetic_in_torch_gives() -> None:
    signed = ALL.float() / 127.5 - 1
    back = ((signed + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    assert np.array_equal(levels.table("mmdiffusion"), back.numpy())


def test_javisbench_lifts_black_to_mid_grey_and_halves_the_contrast() -> None:
    table = levels.table("javisbench")
    assert table[[0, 64, 255]].tolist() == [127, 159, 255]
    assert len(set(table.tolist())) == 129
    assert (np.diff(table.astype(int)) >= 0).all()


def test_javisbench_is_what_float32_arithmetic_in_torch_gives() -> None:
    unit = ALL.float() / 255
    back = ((unit + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    assert np.array_equal(levels.table("javisbench"), back.numpy())


def test_plain_changes_nothing_and_copies_nothing() -> None:
    video = np.arange(256, dtype=np.uint8).reshape(2, 4, 4, 8)
    assert levels.apply(video, "plain") is video
    assert np.array_equal(levels.table("plain"), np.arange(256))


@pytest.mark.parametrize("name", ["mmdiffusion", "javisbench"])
def test_applying_keeps_shape_and_type_and_looks_each_level_up(name: str) -> None:
    video = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7, 3), dtype=np.uint8)
    seen = levels.apply(video, name)
    assert seen.dtype == np.uint8
    assert seen.shape == video.shape
    assert all(seen.flat[k] == levels.table(name)[video.flat[k]] for k in range(0, video.size, 17))


def test_a_table_cannot_be_changed_by_a_caller() -> None:
    with pytest.raises(ValueError, match="read-only"):
        levels.table("mmdiffusion")[0] = 1


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="plain, mmdiffusion or javisbench"):
        levels.apply(np.zeros((1, 2, 2, 3), np.uint8), "vanilla")
