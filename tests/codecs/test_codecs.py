"""Every shipped codec, loaded from a hub on loopback through the real path, with tiny random weights."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from avbench import codecs
from avbench.errors import EnvironmentFault, UserError
from tests.codecs import tiny
from tests.servers import HubServer

pytestmark = pytest.mark.slow  # loading diffusers and transformers alone takes seconds

FRAMES, SIZE = 9, 32


def load(name: str, **options: Any) -> Any:
    return (codecs.load_video if name in tiny.VIDEO else codecs.load_audio)(name, **options)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A hub with every shipped codec, and an empty cache."""
    root = tmp_path_factory.mktemp("hub")
    known = codecs.models("video") | codecs.models("audio")
    for name in known:
        tiny.save(name, root / name)
    repos, commits = ({m.repo: root / n for n, m in known.items()}, {m.repo: m.revision for m in known.values()})
    with pytest.MonkeyPatch.context() as patch, HubServer(repos, commits=commits) as server:
        patch.setattr(constants, "HF_HUB_CACHE", str(root / "cache"))
        patch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture(scope="module")
def loaded(hub: HubServer) -> dict[str, Any]:
    return {name: load(name) for name in (*tiny.VIDEO, *tiny.AUDIO)}


def clips(count: int = 2, frames: int = FRAMES, size: int = SIZE, seed: int = 0) -> torch.Tensor:
    """Smooth moving pictures in [-1, 1]."""
    rough = torch.randn(count, 3, frames, 4, 4, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(rough, (frames, size, size), mode="trilinear")
    return smooth.clamp(-1, 1).transpose(1, 2)


def sounds(count: int = 2, samples: int = 5000, seed: int = 0) -> torch.Tensor:
    return 0.3 * torch.randn(count, 1, samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", tiny.VIDEO)
def test_pictures_become_the_latents_that_the_codec_announces_and_come_back(name: str, loaded: dict[str, Any]) -> None:
    codec = loaded[name]
    latents = codec.encode(clips())
    count = codec.latent_frames(FRAMES)
    assert latents.shape == (2, count, codec.channels, SIZE // codec.spatial, SIZE // codec.spatial)
    assert codec.frames(count) == FRAMES
    made = codec.decode(30 * latents)
    assert made.shape == (2, FRAMES, 3, SIZE, SIZE)
    assert latents.dtype == made.dtype == torch.float32
    assert made.abs().max() <= 1


@pytest.mark.parametrize("name", tiny.AUDIO)
@pytest.mark.parametrize("samples", [5000, 6400])
def test_sound_becomes_the_latents_that_the_codec_announces_and_comes_back(
    name: str, samples: int, loaded: dict[str, Any]
) -> None:
    codec = loaded[name]
    latents = codec.encode(sounds(samples=samples))
    assert latents.shape == (2, codec.latents_of(samples), codec.channels)
    made = codec.decode(latents, samples)
    assert made.shape == (2, 1, samples)
    assert latents.dtype == made.dtype == torch.float32
    assert made.abs().max() <= 1
    with pytest.raises(ValueError, match="do not stand for"):
        codec.decode(latents, samples + codec.hop)


@pytest.mark.parametrize("name", [*tiny.VIDEO, *tiny.AUDIO])
def test_a_clip_has_the_same_latents_whatever_is_beside_it(name: str, loaded: dict[str, Any]) -> None:
    codec = loaded[name]
    batch = clips(3) if name in tiny.VIDEO else sounds(3)
    assert torch.equal(codec.encode(batch)[1:2], codec.encode(batch[1:2]))
    latents = codec.encode(batch)
    length = () if name in tiny.VIDEO else (batch.shape[2],)
    assert torch.equal(codec.decode(latents, *length)[2:], codec.decode(latents[2:], *length))


@pytest.mark.parametrize("name", [*tiny.VIDEO, *tiny.AUDIO])
def test_a_record_can_say_which_weights_it_was(name: str, loaded: dict[str, Any]) -> None:
    model = (codecs.models("video") | codecs.models("audio"))[name]
    said = codecs.identity(loaded[name])
    assert len(said.pop("weights_sha256")) == 64
    assert said == {"name": name, "source": model.repo, "revision": model.revision, "licence": model.licence}
    assert loaded[name].revision == model.revision
    assert re.fullmatch("[0-9a-f]{40}", model.revision)  # a branch moves, a commit does not


def test_other_weights_are_another_identity(hub: HubServer, loaded: dict[str, Any], tmp_path: Path) -> None:
    folder = tiny.save("wan2.1", tmp_path)
    same = codecs.identity(load("wan2.1", weights=tmp_path))
    assert same["weights_sha256"] == codecs.identity(loaded["wan2.1"])["weights_sha256"]
    assert (same["source"], same["revision"]) == ("folder", "")
    (file,) = folder.glob("*.safetensors")
    tensors = load_file(file)
    save_file({key: value + 1e-3 for key, value in tensors.items()}, file, {"format": "pt"})
    assert codecs.identity(load("wan2.1", weights=folder)) != same


def test_latents_are_the_networks_own_without_any_factor(loaded: dict[str, Any]) -> None:
    video, audio = clips(1), sounds(1, 6400)
    with torch.no_grad():
        for name in ("cogvideox", "wan2.1"):
            mean = loaded[name].network.encode(video.transpose(1, 2)).latent_dist.mode()
            assert torch.equal(loaded[name].encode(video), mean.transpose(1, 2)), name
        for name in ("encodec", "dac"):
            assert torch.equal(loaded[name].encode(audio), loaded[name].network.encoder(audio).transpose(1, 2)), name


def test_single_frames_do_not_see_each_other(loaded: dict[str, Any]) -> None:
    codec, video = loaded["sd-vae-ft-mse"], clips(1, 12)
    latents = codec.encode(video)
    torch.testing.assert_close(codec.encode(video[:, 3:4])[0, 0], latents[0, 3], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(codec.decode(latents[:, 9:10])[0, 0], codec.decode(latents)[0, 9], rtol=1e-4, atol=1e-5)


def test_latents_of_wan_depend_on_no_later_frame(loaded: dict[str, Any]) -> None:
    codec = loaded["wan2.1"]
    first, other = clips(1, 13), clips(1, 13, seed=1)
    mixed = torch.cat([first[:, :5], other[:, 5:]], 1)
    whole, changed = codec.encode(first), codec.encode(mixed)
    assert torch.equal(whole[:, :2], changed[:, :2])
    assert not torch.equal(whole[:, 2], changed[:, 2])


@pytest.mark.parametrize(
    ("name", "fits", "fails"),
    [
        ("sd-vae-ft-mse", {1: 1, 16: 16, 17: 17}, {0: "take 1"}),
        ("wan2.1", {1: 1, 17: 5, 33: 9}, {16: "take 13 or 17", 0: "take 1"}),
        ("cogvideox", {1: 1, 17: 5, 49: 13}, {13: "take 9 or 17"}),
    ],
)
def test_the_frames_that_fit_are_told(name: str, fits: dict, fails: dict, loaded: dict[str, Any]) -> None:
    codec = loaded[name]
    for frames, latents in fits.items():
        assert codec.latent_frames(frames) == latents
        assert codec.frames(latents) == frames
    for frames, sentence in fails.items():
        with pytest.raises(UserError, match=sentence):
            codec.latent_frames(frames)


@pytest.mark.parametrize("frames", [9, 17, 25])
@pytest.mark.parametrize("name", ["cogvideox", "wan2.1"])
def test_as_many_frames_come_back_as_went_in(name: str, frames: int, loaded: dict[str, Any]) -> None:
    assert loaded[name].decode(loaded[name].encode(clips(1, frames))).shape[1] == frames


@pytest.mark.parametrize(
    ("name", "frames", "times", "tolerance"),
    [("sd-vae-ft-mse", 1, 12, 0.35), ("cogvideox", 9, 3, 0.25), ("wan2.1", 9, 3, 0.25)],
)
def test_tiles_give_nearly_the_picture_of_a_single_pass(
    name: str, frames: int, times: int, tolerance: float, loaded: dict[str, Any]
) -> None:
    codec = loaded[name]
    if name == "wan2.1":  # the others' tiles are as large as the pictures of their configuration
        codec.network.enable_tiling(32, 32, 24, 24)
    latents = codec.encode(clips(1, frames)).repeat(1, 1, 1, times, times)
    tiled = codec.decode(latents)
    codec.network.disable_tiling()
    whole = codec.decode(latents)
    codec.network.enable_tiling()
    assert not torch.equal(tiled, whole), "the picture was large enough to be tiled"
    # norms see another neighbourhood in a tile; a tile in a wrong place would be off by more than a deviation
    assert (tiled - whole).abs().mean() < tolerance * whole.std()


def test_mono_goes_in_on_both_ears_and_their_mean_comes_out(loaded: dict[str, Any]) -> None:
    codec, sound = loaded["oobleck"], sounds(1, 8192)
    with torch.no_grad():
        latents = codec.network.encode(torch.cat([sound, sound], 1)).latent_dist.mode()
        both = codec.network.decode(latents).sample
    assert torch.equal(codec.encode(sound), latents.transpose(1, 2))
    assert both.shape[1] == 2
    torch.testing.assert_close(codec.decode(latents.transpose(1, 2), 8192), both.mean(1, keepdim=True).clamp(-1, 1))


def test_an_odd_stride_costs_no_samples_at_the_end(loaded: dict[str, Any]) -> None:
    codec = loaded["dac"]
    latents = codec.encode(sounds(1, 6400))
    with torch.no_grad():
        short = codec.network.decoder(latents.transpose(1, 2))
    assert short.shape[2] < 6400
    made = codec.decode(latents, 6400)
    settled = short.shape[2] - codec.hop
    torch.testing.assert_close(made[..., :settled], short[..., :settled].clamp(-1, 1), rtol=1e-3, atol=1e-4)


def test_weights_in_half_precision_are_computed_in_float32(tmp_path: Path, loaded: dict[str, Any]) -> None:
    folder = tmp_path / "half"
    tiny.network("cogvideox").half().save_pretrained(folder)
    codec = load("cogvideox", weights=folder)
    with torch.autocast("cpu", torch.bfloat16):
        latents = codec.encode(clips(1))
        assert latents.dtype == codec.decode(latents).dtype == torch.float32
    torch.testing.assert_close(latents, loaded["cogvideox"].encode(clips(1)), rtol=1e-2, atol=1e-2)


def test_pictures_of_a_wrong_size_are_refused(loaded: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="multiples of 8 pixels, not 36 x 36"):
        loaded["wan2.1"].encode(torch.zeros(1, 5, 3, 36, 36))


def test_unknown_names_are_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no video codec called 'wan2\.2'; did you mean wan2\.1"):
        codecs.load_video("wan2.2")
    with pytest.raises(UserError, match="no audio codec called 'sd-vae-ft-mse'"):
        codecs.load_audio("sd-vae-ft-mse")
    with pytest.raises(UserError, match="there is no such folder; train one with `avbench train autoencoder`"):
        codecs.load_video(str(tmp_path / "none"))
    with pytest.raises(UserError, match="holds no checkpoint of a codec"):
        codecs.load_audio(str(tmp_path))


def test_folders_that_hold_no_such_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no config\.json with \.safetensors beside it"):
        load("wan2.1", weights=tmp_path)
    folder = tiny.save("wan2.1", tmp_path / "wan")
    with pytest.raises(UserError, match=r"cannot be loaded as|is not a whole"):
        load("cogvideox", weights=folder)
    pickled = tmp_path / "pickled"
    shutil.copytree(folder, pickled)
    (pickled / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({}, pickled / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match=r"\.safetensors beside it"):
        load("wan2.1", weights=pickled)


@pytest.mark.parametrize("name", ["wan2.1", "encodec"])
def test_weights_that_lack_a_tensor_are_never_filled_with_noise(name: str, tmp_path: Path) -> None:
    folder = tiny.save(name, tmp_path)
    (file,) = folder.glob("*.safetensors")
    tensors = load_file(file)
    gone = sorted(key for key in tensors if key.startswith("decoder."))[0]
    del tensors[gone]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"cannot be loaded as|1 tensors are missing"):
        load(name, weights=folder)


def test_an_encodec_that_works_in_pieces_is_refused(tmp_path: Path) -> None:
    import transformers

    sizes = {"num_filters": 4, "hidden_size": 16, "num_lstm_layers": 1, "codebook_size": 16}
    stereo = transformers.EncodecConfig(audio_channels=2, normalize=True, chunk_length_s=1.0, overlap=0.01, **sizes)
    transformers.EncodecModel(stereo).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="EnCodec of 2 channels that works in normalised pieces"):
        load("encodec", weights=tmp_path)


def test_without_transformers_the_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.save("encodec", tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'avbench\[codecs\]'"):
        load("encodec", weights=folder)
