"""Joint latent diffusion from dataset to clips: what failed in its first public attempt cannot happen here.

There noise was added to pixels before they were encoded, the loss compared noise of pixels with heads of latents,
latents were not normalised, sound had the wrong rate, and decoding did not work.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from avbench.baselines import _base, _latent_run, latent
from avbench.diffusion.conditioning import GivenClip
from avbench.diffusion.noise_schedule import linear_schedule
from avbench.errors import UserError
from avbench.progress import Bar
from avbench.recipe_baseline import BaselineRecipe, ConditionRecipe, SampleRecipe
from avbench.schema import Batch
from avbench.training import checkpoint
from avbench.training.latent_space import LatentStatistics
from avbench.training.latents import LatentLoader
from avbench.training.randomness import step_generator
from tests.training import folding
from tests.training.rendered_sets import write_clips

CPU = torch.device("cpu")


def recipe(network: str = "tiny", train: dict[str, object] | None = None, **sample: object) -> BaselineRecipe:
    return BaselineRecipe.model_validate(
        {
            "baseline": "latent",
            "preset": "toy",
            "network": network,
            "protocol": "demo-v1",
            "codec": {"video": "folded", "audio": "low-tones", "frames": 9, "size": 16, "stride": 4},
            "train": {"steps": 2, "batch_size": 2, "checkpoint_every": 1, **(train or {})},
            "sample": {
                "n": 3, "steps": 2, "batch_size": 2, "video_threshold": "none", "audio_threshold": "none", **sample,
            },
        }
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    folding.install(monkeypatch)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A dataset, and a run of two steps on it."""
    with pytest.MonkeyPatch.context() as patch:
        folding.install(patch)
        folder = tmp_path_factory.mktemp("latent")
        latent.train(folding.write_set(folder / "data"), recipe(), folder / "run", device=CPU)
        yield folder


class Oracle(torch.nn.Module):
    """The best denoiser of a dataset that holds one clip: it knows the clip, so it knows the noise."""

    def __init__(self, video: torch.Tensor, audio: torch.Tensor) -> None:
        super().__init__()
        self.video, self.audio = video, audio
        self.anchor = torch.nn.Parameter(torch.zeros(()))

    def forward(
        self, video: torch.Tensor, audio: torch.Tensor, timesteps: torch.Tensor, **_: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        kept = linear_schedule().alphas_cumprod[timesteps]
        noises = []
        for noisy, clean in ((video, self.video), (audio, self.audio)):
            level = kept.view(-1, *[1] * (noisy.ndim - 1))
            noises.append((noisy - level.sqrt() * clean) / (1 - level).sqrt())
        return noises[0], noises[1]


def latents(place: Path) -> LatentLoader:
    pair = folding.pair()
    return _latent_run.encoded(place / "data", recipe(), pair)


def test_noise_is_added_to_normalised_latents_and_the_target_has_their_shape(place: Path) -> None:
    loader = latents(place)
    video, audio, name = loader.raw(4)
    clean = loader.statistics.normalise(torch.from_numpy(video)[None], torch.from_numpy(audio)[None])
    oracle = Oracle(clean[0], clean[1].transpose(1, 2))
    batch = Batch(*(part.repeat(6, *[1] * (part.ndim - 1)) for part in clean), (name,) * 6)
    loss = latent.step_loss(oracle, batch, step_generator(0, 0, 0, 6))
    # knowing the clean normalised latents is knowing the noise: true for no other place where noise might be added
    assert loss.video.max() < 1e-4
    assert loss.audio.max() < 1e-4
    wrong = Oracle(clean[0] + 1, clean[1].transpose(1, 2))
    assert latent.step_loss(wrong, batch, step_generator(0, 0, 0, 6)).video.max() > 1


@pytest.mark.parametrize("kind", ["none", "clip"])
def test_sampling_with_a_perfect_denoiser_gives_the_clip_back(
    place: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    loader = latents(place)
    video, audio, _ = loader.raw(4)
    clean = loader.statistics.normalise(torch.from_numpy(video)[None], torch.from_numpy(audio)[None])
    assert clean[0].abs().max() > 1.5  # latents have no range: a sampler that clamps them would not come back
    monkeypatch.setattr(latent, "load", lambda found: Oracle(clean[0], clean[1].transpose(1, 2)))
    (clip,) = latent.sample(
        place / "run", recipe(steps=20, video_threshold=kind, audio_threshold=kind), [7], device=CPU, bar=Bar()
    )
    pictures, sound = folding.pair().decode(torch.from_numpy(video)[None], torch.from_numpy(audio)[None])
    assert np.abs(clip.video.astype(int) - _base.grey_levels(pictures)[0].astype(int)).max() <= 1
    assert np.abs(clip.audio - sound[0].numpy()).max() < 1e-3
    assert clip.audio.shape == (1, 14400)


@pytest.mark.parametrize("network", ["tiny", "tiny-transformer"])
def test_clips_have_the_frames_and_samples_of_the_window(place: Path, tmp_path: Path, network: str) -> None:
    run = place / "run"
    if network != "tiny":
        run = tmp_path / "run"
        latent.train(place / "data", recipe(network), run, device=CPU)
    (clip,) = latent.sample(run, recipe(network), [0], device=CPU, bar=Bar())
    assert clip.video.shape == (9, 16, 16, 3)
    assert clip.video.dtype == np.uint8
    assert (clip.audio.shape, clip.audio.dtype) == ((1, 14400), np.float32)
    assert (clip.fps, clip.sample_rate_hz) == (10.0, 16000)


def test_a_sample_does_not_depend_on_the_batch_it_is_made_in(place: Path) -> None:
    whole = list(latent.sample(place / "run", recipe(), [0, 1, 2], device=CPU, bar=Bar()))
    (alone,) = latent.sample(place / "run", recipe(batch_size=1), [2], device=CPU, bar=Bar())
    # float32 kernels of another batch size may move a grey level
    assert np.abs(whole[2].video.astype(int) - alone.video.astype(int)).max() <= 1
    assert np.abs(whole[2].audio - alone.audio).max() < 1e-3
    assert not np.array_equal(whole[0].video, whole[1].video)


def test_bfloat16_makes_nearly_the_same_clips(place: Path) -> None:
    exact, rough = (
        next(iter(latent.sample(place / "run", recipe(bf16=is_half), [0], device=CPU, bar=Bar())))
        for is_half in (False, True)
    )
    assert 0 < np.abs(exact.audio - rough.audio).mean() < 0.05 * np.abs(exact.audio).mean()


def test_a_run_is_sampled_without_its_dataset(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    found = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert found is not None
    assert found.config["latents"]["codecs"]["video"]["name"] == "folded"
    assert len(found.config["latents"]["statistics"]["audio_std"]) == 32
    assert found.config["timesteps"] == 1000
    assert _base.write_samples(tmp_path / "run", recipe(n=1), device=CPU) == (1, 0)


def test_training_goes_on_with_the_latents_that_are_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = checkpoint.latest(place / "run" / "checkpoints")
    assert before is not None
    monkeypatch.setattr(folding.FoldedPictures, "_encode", lambda self, clip: pytest.fail("was encoded again"))
    result = latent.train(place / "data", recipe(), place / "run", device=CPU)
    assert result.steps == before.step == 2


def test_another_codec_in_its_place_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folding.install(monkeypatch, scale=4.0)
    with pytest.raises(UserError, match=r"was trained on latents of the video codec folded .* but folded now holds"):
        list(latent.sample(place / "run", recipe(), [0], device=CPU, bar=Bar()))
    with pytest.raises(UserError, match=r"another configuration .*latents"):
        latent.train(place / "data", recipe(train={"steps": 3}), place / "run", device=CPU)


@pytest.mark.parametrize(("name", "value"), [("flip", 0.5), ("audio_gain", 4.0)])
def test_what_encoded_clips_cannot_give_is_refused(place: Path, tmp_path: Path, name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"train.{name} = {value:g}: .* leave it out"):
        latent.train(place / "data", recipe(train={name: value}), tmp_path / "run", device=CPU)


def test_an_estimate_is_kept_within_the_largest_latent_of_the_training_set(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statistics = latents(place).statistics
    far = Oracle(torch.full((1, 5, 24, 8, 8), 1e3), torch.full((1, 32, 45), -1e3))
    monkeypatch.setattr(latent, "load", lambda found: far)
    ends: list[torch.Tensor] = []
    decode = latent.decode_pair
    monkeypatch.setattr(latent, "decode_pair", lambda s, pair, *made: (ends.extend(made), decode(s, pair, *made))[1])
    for kind, ratio in (("clip", 1.0), ("none", None)):
        ends.clear()
        list(
            latent.sample(
                place / "run", recipe(steps=10, video_threshold=kind, audio_threshold=kind), [0], device=CPU, bar=Bar()
            )
        )
        for end, limit in zip(ends, (statistics.video_largest, -statistics.audio_largest), strict=True):
            assert float(end.mean()) == pytest.approx(limit if ratio else math.copysign(1e3, limit), rel=1e-3)


def test_a_checkpoint_that_knows_no_largest_latent_is_sampled_without_thresholds(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, statistics = _latent_run.from_checkpoint(_base.newest(place / "run", recipe()), recipe(), CPU)
    old = dataclasses.replace(statistics, video_largest=0.0, audio_largest=0.0)
    monkeypatch.setattr(latent, "from_checkpoint", lambda *_: (pair, old))
    assert len(list(latent.sample(place / "run", recipe(), [0], device=CPU, bar=Bar()))) == 1
    with pytest.raises(UserError, match="does not say how large the latents of its training were"):
        list(latent.sample(place / "run", recipe(video_threshold="clip"), [0], device=CPU, bar=Bar()))


def test_a_recipe_without_codecs_is_refused_with_the_name_of_the_section(place: Path, tmp_path: Path) -> None:
    bare = recipe().model_copy(update={"codec": None})
    with pytest.raises(UserError, match=r"needs the section \[codec\]"):
        latent.train(place / "data", bare, tmp_path / "run", device=CPU)


def test_no_recipe_can_train_on_a_noise_schedule_of_a_few_steps() -> None:
    # the public attempt trained with diffusion_steps 3, and sampled with another number than it trained with
    assert not {name for name in SampleRecipe.model_fields if "diffusion" in name or "timesteps" in name}
    with pytest.raises(ValueError, match="diffusion_steps"):
        recipe(train={"diffusion_steps": 3})
    with pytest.raises(UserError, match="has 1000 timesteps"):
        _ = latent.solver_options(recipe(steps=1001).sample).solver(linear_schedule())


def given(seed: int = 3) -> GivenClip:
    draw = np.random.default_rng(seed)
    tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(14400) / 16000)
    return GivenClip(draw.integers(0, 256, (9, 16, 16, 3), np.uint8), tone[None].astype(np.float32), {"clip": "a"})


@pytest.mark.parametrize(
    ("task", "keep", "frames", "samples"),
    [
        ("v2a", None, slice(0, 9), slice(0, 0)),
        ("a2v", None, slice(0, 0), slice(0, 14400)),
        ("continue", "0-0.5", slice(0, 5), slice(0, 8000)),
        ("inpaint", "0.7-0.9", slice(7, 9), slice(11200, 14400)),
    ],
)
def test_what_is_given_is_in_the_clip_unchanged_and_the_rest_is_made(
    place: Path, task: str, keep: str | None, frames: slice, samples: slice
) -> None:
    condition = {"task": task, "source": "x", **({"keep": keep} if keep else {})}
    (clip,) = latent.sample(
        place / "run", recipe(condition=condition), [0], device=CPU, bar=Bar(), given=lambda number: given()
    )
    (free,) = latent.sample(place / "run", recipe(), [0], device=CPU, bar=Bar())
    clip_in = given()
    assert clip_in.video is not None
    assert clip_in.audio is not None
    assert np.array_equal(clip.video[frames], clip_in.video[frames])
    assert np.array_equal(clip.audio[:, samples], clip_in.audio[:, samples])
    if task != "v2a":
        assert not np.array_equal(clip.video, clip_in.video)
    if task != "a2v":
        assert not np.array_equal(clip.audio, clip_in.audio)
    assert not np.array_equal(clip.audio, free.audio)
    assert clip.source == {"clip": "a"}


def test_the_latents_of_a_given_beginning_know_nothing_of_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    # a codec whose every latent depends on the whole clip, as published ones do to some degree
    plain = folding.FoldedPictures._encode
    monkeypatch.setattr(
        folding.FoldedPictures, "_encode", lambda self, clip: plain(self, clip) + clip.square().sum(dtype=torch.float64)
    )
    clip, pair = given(), folding.pair()
    assert clip.video is not None
    assert clip.audio is not None
    black = np.concatenate([clip.video[:5], np.zeros((4, 16, 16, 3), np.uint8)])
    quiet = np.where(np.arange(14400) < 8000, clip.audio, 0).astype(np.float32)
    condition = ConditionRecipe.model_validate({"task": "continue", "keep": "0-0.5", "source": "x"})
    part, as_is = latent._given_part(condition, pair), LatentStatistics((0,) * 24, (1,) * 24, (0,) * 32, (1,) * 32)
    known = [
        latent._conditioning(condition, part, [one], pair, as_is).known for one in (clip, GivenClip(black, quiet, {}))
    ]
    assert torch.equal(known[0].video, known[1].video)
    assert torch.equal(known[0].audio, known[1].audio)
    assert known[0].has_video.flatten().tolist() == [True] * 3 + [False] * 2
    assert known[0].has_audio.tolist() == [True] * 25 + [False] * 20


def test_a_time_inside_a_latent_frame_is_refused_with_the_nearest_ones(place: Path) -> None:
    condition = {"task": "continue", "keep": "0-0.4", "source": "x"}
    with pytest.raises(UserError, match=r"nearest times are 0\.3 s and 0\.5 s"):
        list(
            latent.sample(
                place / "run", recipe(condition=condition), [0], device=CPU, bar=Bar(), given=lambda _: given()
            )
        )


def test_reference_clips_go_through_the_codecs_and_back_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = {"split": "train", "n": 5, "device": CPU}
    folder = latent.reconstructions(place / "run", recipe(), place / "data", **how)  # type: ignore[arg-type]
    clips = sorted(folder.glob("*.npz"))
    assert len(clips) == 5  # of six windows: two to a clip of 20 frames
    with np.load(clips[0]) as clip:
        loader = latents(place)
        video, audio, name = loader.raw(0)
        assert clips[0].stem == name.replace("@0", "-000000")
        pictures, sound = folding.pair().decode(torch.from_numpy(video)[None], torch.from_numpy(audio)[None])
        assert np.array_equal(clip["video"], _base.grey_levels(pictures)[0])
        assert np.array_equal(clip["audio"], sound[0].numpy())
        assert (float(clip["fps"]), int(clip["sample_rate_hz"])) == (10.0, 16000)
    monkeypatch.setattr(folding.FoldedPictures, "_encode", lambda self, clip: pytest.fail("was encoded again"))
    assert latent.reconstructions(place / "run", recipe(), place / "data", **how) == folder  # type: ignore[arg-type]


@pytest.mark.slow
def test_training_takes_noise_off_the_latents_of_simple_clips(tmp_path: Path) -> None:
    grey = np.linspace(40, 200, 20)[:, None, None, None].astype(np.uint8)
    tone = 0.5 * np.sin(2 * np.pi * 250 * np.arange(32000) / 16000).astype(np.float32)
    data = write_clips(tmp_path / "data", [(np.broadcast_to(grey, (20, 16, 16, 3)).copy(), tone)] * 2)
    how = {"steps": 40, "batch_size": 2, "learning_rate": 5e-3, "warmup_steps": 3, "checkpoint_every": 40}
    result = latent.train(data, recipe(train=how), tmp_path / "run", device=CPU)
    # a network that learns nothing stays at 2: noise of variance 1 in both modalities
    assert result.first_loss > 1.9
    assert result.final_loss < 0.8 * result.first_loss


@pytest.mark.slow
def test_the_score_of_a_run_carries_the_floor_of_its_codecs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from avbench import workspace
    from avbench.runs import Run
    from avbench.scored import score_folder

    data = folding.write_set(tmp_path / "data", clips=5, frames=40, size=32)
    made = recipe(steps=2, n=8, batch_size=8).model_dump(mode="json", exclude_defaults=True)
    made["codec"] = {"video": "folded", "audio": "low-tones", "frames": 17, "size": 32}
    workspace.write_json(tmp_path / "run" / "recipe.json", made)
    run = Run.open("latent", dataset=str(data), out=tmp_path / "run", device="cpu")
    run.train()
    folder = run.sample()
    record = run.score(1)
    assert record.training is not None
    assert record.training.model_dump()["codecs"]["audio"]["weights_sha256"] == "b" * 64
    scores = {score.metric: score for score in record.scores}
    for name in ("mel_fd", "flow_fd"):
        # the codecs give back nearly what they were given; the model has everything still to learn
        assert 0 <= scores[name].details["codec_floor"] < 0.5 * scores[name].value
    # the same stands there when the clips are scored by themselves, from clips that are there
    monkeypatch.setattr(folding.FoldedPictures, "_encode", lambda self, clip: pytest.fail("was encoded again"))
    again = {score.metric: score for score in score_folder(folder, str(data), device="cpu", workers=1).scores}
    assert again["mel_fd"].details == scores["mel_fd"].details


def test_consent_to_the_licences_of_codecs_reaches_the_recipe(place: Path) -> None:
    from avbench import workspace
    from avbench.runs import Run

    workspace.write_json(place / "run" / "recipe.json", recipe().model_dump(mode="json"))
    for given_consent in (False, True):
        run = Run.open("latent", dataset=None, out=place / "run", device="cpu", accept_licence=given_consent)
        assert run.recipe.codec is not None
        assert run.recipe.codec.accept_licence is given_consent
