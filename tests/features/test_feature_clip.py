"""CLIP: open_clip's own numbers frame by frame, their plain mean, and prompts in the same space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from avbench import features
from avbench.errors import UserError, WeightsMissing
from avbench.features import clip

Seeded = Callable[[str], Any]

PROMPTS = ["a dog barks", "waves break on the shore", "a photo of a cat"]
START, END = 49406, 49407


def texture(count: int, frames: int, height: int = 90, width: int = 130) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, frames, height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def reference(seeded_state: Callable[[str], dict[str, Tensor]]) -> tuple[Any, Callable[[Image.Image], Tensor]]:
    """The model and preprocessing that open_clip makes by itself, filled with the same tensors."""
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32")
    model.load_state_dict(seeded_state("clip"), strict=True)
    return model.eval(), preprocess


def frame_rows(reference: tuple[Any, Callable[[Image.Image], Tensor]], frames: np.ndarray) -> np.ndarray:
    """Embedding of every frame alone, each of length 1, in float64."""
    model, preprocess = reference
    with torch.inference_mode():
        rows = [model.encode_image(preprocess(Image.fromarray(frame))[None])[0].numpy() for frame in frames]
    return np.stack([row / np.linalg.norm(row) for row in np.asarray(rows, dtype=np.float64)])


@pytest.mark.slow
def test_the_published_file_is_as_large_as_these_tensors(seeded_state: Callable[[str], dict[str, Tensor]]) -> None:
    """The header of a safetensors file spells every name and shape, so its exact size leaves little room for others."""
    state = seeded_state("clip")
    assert sum(tensor.numel() for tensor in state.values()) == 151_277_313
    assert len(safetensors.torch.save(state, metadata={"format": "pt"})) == clip.WEIGHT.size_bytes


@pytest.mark.slow
def test_a_row_is_the_plain_mean_of_open_clips_frames(seeded: Seeded, reference: Any) -> None:
    batch = texture(2, 3)
    values, owner = seeded("clip").embed(batch)
    expected = np.stack([frame_rows(reference, frames).mean(axis=0) for frames in batch])
    np.testing.assert_array_equal(owner, [0, 1])
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6)
    assert (np.linalg.norm(values, axis=1) < 0.9999).all(), "the mean is not brought back to length 1"


@pytest.mark.slow
def test_frames_count_equally_and_in_any_order(seeded: Seeded) -> None:
    frames = texture(1, 3)
    row = seeded("clip").embed(frames).values
    np.testing.assert_allclose(seeded("clip").embed(frames[:, ::-1].copy()).values, row, rtol=0, atol=1e-6)
    still = seeded("clip").embed(frames[:, [1, 1, 1, 1]]).values
    np.testing.assert_allclose(still, seeded("clip").embed(frames[:, 1:2]).values, rtol=0, atol=1e-6)
    assert np.linalg.norm(still) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_prompts_have_open_clips_rows(seeded: Seeded, reference: Any) -> None:
    rows = seeded("clip").embed_text(PROMPTS)
    with torch.inference_mode():
        expected = reference[0].encode_text(open_clip.get_tokenizer("ViT-B-32")(PROMPTS), normalize=True).numpy()
    assert rows.dtype == np.float32
    assert rows.shape == (3, 512)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


@pytest.mark.slow
def test_clip_times_prompt_is_the_mean_cosine_of_the_frames(seeded: Seeded, reference: Any) -> None:
    frames = texture(1, 3)
    text = seeded("clip").embed_text(PROMPTS)
    cosines = frame_rows(reference, frames[0]) @ text.T
    np.testing.assert_allclose((seeded("clip").embed(frames).values @ text.T)[0], cosines.mean(axis=0), atol=1e-5)


@pytest.mark.slow
def test_chunks_and_neighbours_do_not_show(seeded: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = texture(2, 3)
    whole, prompts = seeded("clip").embed(batch).values, seeded("clip").embed_text(PROMPTS)
    monkeypatch.setattr(clip, "CHUNK_FRAMES", 2)  # the second chunk holds frames of both clips
    monkeypatch.setattr(clip, "CHUNK_PROMPTS", 2)
    np.testing.assert_allclose(seeded("clip").embed(batch).values, whole, rtol=0, atol=1e-6)
    np.testing.assert_allclose(seeded("clip").embed_text(PROMPTS), prompts, rtol=0, atol=1e-6)
    for k, prompt in enumerate(PROMPTS):
        np.testing.assert_allclose(seeded("clip").embed_text([prompt])[0], prompts[k], rtol=0, atol=1e-6)


def test_tokens_are_those_of_clip() -> None:
    tokens = clip.tokenize(["a photo of a cat", "A  Photo of a cat ", "a dog"])
    assert tokens.shape == (3, 77)
    assert tokens.dtype == torch.int64
    assert tokens[0, :8].tolist() == [START, 320, 1125, 539, 320, 2368, END, 0]
    assert tokens[1].tolist() == tokens[0].tolist(), "case and spaces do not matter"
    assert tokens[2, :5].tolist() == [START, 320, 1929, END, 0]
    assert (tokens[:, 8:] == 0).all()


def test_a_prompt_is_read_whole_or_refused() -> None:
    longest = clip.tokenize(["cat " * 75])[0]
    assert longest.tolist() == [START, *[2368] * 75, END]
    with pytest.raises(UserError, match=r"prompt 2 \('cat cat .*longer than the 75 tokens"):
        clip.tokenize(["a dog", "cat " * 76])
    with pytest.raises(UserError, match=r"prompt 1 .*longer than the 75 tokens"):
        clip.tokenize(["cat " * 300])


@pytest.mark.parametrize(
    ("prompts", "message"),
    [("a dog", "not one string"), ([], "no prompts"), (["a dog", " \n"], "prompt 2 is blank")],
)
def test_what_is_not_a_list_of_prompts_is_refused(prompts: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"feature clip.* {message}"):
        clip.tokenize(prompts)


MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
"""Of OpenAI's CLIP, per channel, for pictures in [0, 1]."""


def test_colours_are_centred_and_scaled_as_openai_did() -> None:
    frames = np.stack([np.full((30, 40, 3), level, np.uint8) for level in ((0, 0, 0), (255, 51, 0))])
    seen = clip.preprocess(torch.from_numpy(frames)).numpy()
    assert seen.shape == (2, 3, 224, 224)
    assert seen.dtype == np.float32
    for frame, colour in zip(seen, ([0, 0, 0], [1, 0.2, 0]), strict=True):
        np.testing.assert_allclose(
            frame, np.broadcast_to(((colour - MEAN) / STD)[:, None, None], frame.shape), atol=1e-6
        )


@pytest.mark.parametrize(
    ("size", "resized", "left", "top"), [((64, 48), (298, 224), 37, 0), ((360, 480), (224, 298), 0, 37)]
)
def test_the_shorter_side_becomes_224_by_antialiased_bicubic_and_the_middle_stays(
    size: tuple[int, int], resized: tuple[int, int], left: int, top: int
) -> None:
    """Against Pillow alone; sizes as (width, height)."""
    frames = texture(1, 1, size[1], size[0])[0]
    picture = Image.fromarray(frames[0]).resize(resized, Image.Resampling.BICUBIC)
    middle = np.asarray(picture.crop((left, top, left + 224, top + 224)))
    seen = clip.preprocess(torch.from_numpy(frames))[0].numpy().transpose(1, 2, 0) * STD + MEAN
    np.testing.assert_allclose(seen * 255, middle, atol=1e-3)


@pytest.mark.weights
@pytest.mark.slow
def test_a_colour_is_nearest_to_its_own_name() -> None:
    try:
        feature = features.load("clip")
    except WeightsMissing as missing:
        pytest.skip(str(missing))
    colours = {"red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255)}
    clips = np.stack([np.full((2, 64, 64, 3), colour, np.uint8) for colour in colours.values()])
    names = feature.embed_text([f"a plain {name} picture" for name in colours])
    assert (feature.embed(clips).values @ names.T).argmax(axis=1).tolist() == [0, 1, 2]
