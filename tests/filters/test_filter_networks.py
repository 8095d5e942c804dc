"""The filters that need weights: what they make of a network's answer, and which network it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avbench import catalogue, filters
from avbench.errors import UserError, WeightsMissing
from avbench.features._base import assemble
from avbench.filters import _base, aesthetic, semantic
from avbench.recipe import FilterSpec
from tests.filters.rendered import FPS, moving, signals, without_weights


def coloured(*shares: tuple[float, tuple[int, int, int]], seconds: float = 4) -> np.ndarray:
    """A clip that is one colour after the other, each for its share."""
    count = round(seconds * FPS)
    parts = [np.broadcast_to(np.array(rgb, np.uint8), (round(share * count), 60, 80, 3)) for share, rgb in shares]
    return np.concatenate(parts)


RED, GREEN = (255, 0, 0), (0, 255, 0)


def test_semantic_is_the_mean_cosine_over_time_with_the_best_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    without_weights(monkeypatch)
    clip = signals(coloured((0.25, RED), (0.75, GREEN)))

    def value(*prompts: str) -> float:
        return semantic.Filter(prompts=prompts).measure(clip)

    assert value("red") == pytest.approx(0.25)
    assert value("green") == pytest.approx(0.75)
    assert value("white") == pytest.approx(3**-0.5)
    assert value("red", "green", "white") == pytest.approx(0.75)


def test_semantic_drops_below_its_threshold_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    without_weights(monkeypatch)
    clip = signals(coloured((0.25, RED), (0.75, GREEN)))
    assert semantic.Filter(prompts=("red",), min_cosine=0.25).judge(clip).keep
    dropped = semantic.Filter(prompts=("red",), min_cosine=0.3).judge(clip)
    assert dropped.reason == "shows none of the prompts, best cosine 0.250, under 0.3"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (["a concert", " "], "prompt 2 is blank"),
        (["word " * 100], "longer than the 75 tokens"),
        ([], "at least 1 item"),
    ],
)
def test_a_prompt_that_cannot_be_read_is_found_with_the_recipe(prompts: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _base.load([FilterSpec.model_validate({"name": "semantic", "prompts": prompts})])
    with pytest.raises(UserError, match="filter semantic: prompts"):
        _base.load([FilterSpec(name="semantic")])


def test_aesthetic_is_the_mean_of_first_middle_and_last_still(monkeypatch: pytest.MonkeyPatch) -> None:
    # the picture's own brightness instead of the network; white is 1, black is 0
    monkeypatch.setattr(aesthetic, "preprocess", lambda frames: frames.float().permute(0, 3, 1, 2) / 255)
    tower = lambda pictures: torch.stack([pictures.mean(dim=(1, 2, 3)), torch.zeros(len(pictures))], dim=1)  # noqa: E731
    monkeypatch.setattr(aesthetic, "_networks", lambda: (tower, lambda rows: 9 * rows[:, :1]))
    white_at_first = coloured((0.25, (255, 255, 255)), (0.75, (0, 0, 0)))
    assert aesthetic.Filter().measure(signals(white_at_first)) == pytest.approx(3)
    assert aesthetic.Filter().judge(signals(white_at_first)).reason == "aesthetic score 3.00, under 4.5"


def test_head_is_five_linear_layers_without_anything_between_them() -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in aesthetic.head_network().state_dict().items()}
    assert list(shapes) == [f"{place}.{kind}" for place in (0, 2, 4, 6, 7) for kind in ("weight", "bias")]
    state = {name: torch.randn(shape, generator=generator) / 10 for name, shape in shapes.items()}
    rows = torch.randn(3, aesthetic.DIM, generator=generator)
    expected = rows
    for place in (0, 2, 4, 6, 7):
        expected = expected @ state[f"{place}.weight"].T + state[f"{place}.bias"]
    head = assemble("aesthetic", aesthetic.head_network, state)
    torch.testing.assert_close(head(rows), expected)


@pytest.mark.slow
def test_published_files_are_as_large_as_the_networks() -> None:
    with torch.device("meta"):
        head = sum(tensor.numel() for tensor in aesthetic.head_network().parameters())
        whole = sum(tensor.numel() for tensor in aesthetic.clip_network("ViT-L-14").parameters())
        tower = aesthetic.tower_network()
    assert 0 < aesthetic.HEAD_WEIGHT.size_bytes - 4 * head < 10_000
    assert abs(aesthetic.CLIP_WEIGHT.size_bytes - 4 * whole) < 1_000_000
    assert any(type(part).__name__ == "QuickGELU" for part in tower.modules()), "OpenAI's weights need it"


@pytest.mark.slow
def test_the_two_clips_prepare_pictures_alike() -> None:
    from open_clip import get_model_config, get_pretrained_cfg

    ours, openai = get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k"), get_pretrained_cfg("ViT-L-14", "openai")
    for key in ("mean", "std", "interpolation", "resize_mode"):
        assert ours[key] == openai[key]
    assert len({get_model_config(model)["vision_cfg"]["image_size"] for model in ("ViT-B-32", "ViT-L-14")}) == 1


@pytest.mark.parametrize("name", ["semantic", "aesthetic"])
def test_missing_weights_are_found_before_any_clip_is_judged(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_WEIGHTS", str(tmp_path))
    options = {"prompts": ["a concert"]} if name == "semantic" else {}
    made = _base.load([FilterSpec.model_validate({"name": name, **options})])
    with pytest.raises(WeightsMissing, match=f"avbench weights fetch {made[0].weights[0].name}"):
        _base.check_weights(made)
    _base.check_weights(_base.load([FilterSpec(name="silence")]))


@pytest.mark.slow
def test_weights_of_filters_can_be_fetched_by_name() -> None:
    known = filters.published_weights()
    assert set(known) == {"clip", "clip-l14", "aesthetic"}
    for name, weight in known.items():
        assert catalogue.weights_named(name) == [weight]
        assert all(url.startswith("https://") for url in weight.urls)
        assert weight.licence
        assert len(weight.sha256 or "") == 64


def test_a_clip_of_one_frame_can_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    without_weights(monkeypatch)
    clip = signals(moving(0.1))
    assert np.isfinite(semantic.Filter(prompts=("white",)).measure(clip))
    assert np.isfinite(aesthetic.Filter().measure(clip))
