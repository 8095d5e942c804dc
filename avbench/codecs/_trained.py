"""Codecs trained here: the run of the baseline ``autoencoder``, whose one network holds both of them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from avbench import checkpoint
from avbench.checkpoint import Checkpoint
from avbench.codecs._base import AudioCodec, Origin, VideoCodec
from avbench.errors import UserError
from avbench.models.autoencoders import Autoencoder, AutoencoderConfig
from avbench.recipe import parse
from avbench.workspace import file_sha256

BASELINE = "autoencoder"
LICENCE = "trained with avbench; see the licences of the dataset"


class TrainedVideoCodec(VideoCodec):
    """The picture's half of a run."""

    causal = True

    def __init__(self, network: nn.Module, config: AutoencoderConfig, origin: Origin) -> None:
        super().__init__(network, origin)
        self.channels, self.spatial, self.temporal = config.video.channels, config.video.spatial, config.video.temporal

    def _encode(self, clip: Tensor) -> Tensor:
        mean: Tensor = self.network.encode(clip.transpose(1, 2))[0]
        return mean.transpose(1, 2)

    def _decode(self, latents: Tensor) -> Tensor:
        pictures: Tensor = self.network.decode(latents.transpose(1, 2))
        return pictures.transpose(1, 2)


class TrainedAudioCodec(AudioCodec):
    """The sound's half of a run."""

    def __init__(self, network: nn.Module, config: AutoencoderConfig, origin: Origin) -> None:
        super().__init__(network, origin)
        self.channels, self.hop = config.audio.channels, config.audio.hop
        self.sample_rate_hz = config.audio.sample_rate_hz

    def _encode(self, clip: Tensor) -> Tensor:
        mean: Tensor = self.network.encode(clip)[0]
        return mean.transpose(1, 2)

    def _decode(self, latents: Tensor) -> Tensor:
        sound: Tensor = self.network.decode(latents.transpose(1, 2))
        return sound


def load(run: Path, modality: str) -> VideoCodec | AudioCodec:
    """One half of the newest checkpoint of a run, with its averaged weights.

    Args:
        run: Folder of the run.
        modality: ``video`` or ``audio``.

    Raises:
        UserError: The folder holds no run, or one of another baseline.
    """
    found = newest(run)
    config = network_of(found)
    network = Autoencoder(config)
    network.load_state_dict(found.weights("ema"))
    origin = Origin(
        name=f"{BASELINE}-{found.config['preset']}",
        source="run",
        revision=f"step {found.step}",
        licence=LICENCE,
        weights_sha256=file_sha256(found.path / "ema.safetensors"),
    )
    if modality == "video":
        return TrainedVideoCodec(network.video, config, origin)
    return TrainedAudioCodec(network.audio, config, origin)


def newest(run: Path) -> Checkpoint:
    """The newest checkpoint of a run.

    Raises:
        UserError: There is none.
    """
    found = checkpoint.latest(run / "checkpoints")
    if found is None:
        raise UserError(f"{run}: holds no checkpoint of a codec; train one with `avbench train {BASELINE}`")
    return found


def network_of(found: Checkpoint) -> AutoencoderConfig:
    """Sizes of the network in a checkpoint.

    Raises:
        UserError: It holds another baseline, or its sizes contradict each other.
    """
    held = found.config.get("baseline")
    if held != BASELINE:
        raise UserError(f"{found.path}: holds {held}, not {BASELINE}; give the folder of a run of {BASELINE}")
    return parse(found.config["network"], AutoencoderConfig, str(found.path))
