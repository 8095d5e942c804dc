"""Print the golden rows of the vggish variants, by running the published code on recomputable weights.

    python -m tests.features.make_golden_vggish --torchvggish CLONE --google CLONE --fadtk CLONE --av-benchmark CLONE

CLONE is a checkout of harritaylor/torchvggish, of DCASE2023-Task7-Foley-Sound-Synthesis/dcase2023_task7_eval_fad (a
copy of google-research's frechet_audio_distance with its front end; TensorFlow is not needed), of microsoft/fadtk and
of hkchengrex/av-benchmark. Nothing of them is copied here: their files are loaded from where they lie. fadtk's wav
file is written by hand, rounded to the nearest step: what torchaudio writes depends on its backend.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile
import torch
import torch._dynamo  # av-benchmark loads it by way of torchvision, and it must see which libraries are really there

from tests.features.conftest import _state
from tests.features.test_feature_vggish import fingerprint, golden_sound, golden_whitening

ABSENT = [
    "resampy",
    "tensorflow",
    "tensorflow.compat",
    "tensorflow.compat.v1",
    "tf_slim",
    "hypy_utils",
    "hypy_utils.downloader",
    "hypy_utils.logging_utils",
    "hypy_utils.tqdm_utils",
    "hypy_utils.nlp_utils",
    "pytorchvideo",
    "pytorchvideo.data",
    "pytorchvideo.data.clip_sampling",
]
"""Libraries the clones import and none of these numbers needs."""


def show(name: str, rows: np.ndarray) -> None:
    """One line of the table in the test."""
    sys.stdout.write(f'    ("{name}", {fingerprint(rows)}),\n')


def main(torchvggish: Path, google: Path, fadtk: Path, av_benchmark: Path) -> None:
    """Print a fingerprint for each variant."""
    sys.path[:0] = [str(torchvggish), str(google), str(fadtk), str(av_benchmark)]
    sound = golden_sound()
    state = _state("vggish")
    vgg = importlib.import_module("torchvggish.vggish")
    network = vgg._vgg()
    network.load_state_dict(state)
    network.eval()

    def rows_of(examples: torch.Tensor, relu: bool) -> np.ndarray:
        layers = network.embeddings if relu else network.embeddings[:-1]
        flat = network.features(examples).transpose(1, 3).transpose(1, 2).flatten(1)
        return layers(flat).detach().numpy()

    examples = importlib.import_module("torchvggish.vggish_input").waveform_to_examples(sound, 16_000).detach()
    show("torchvggish", rows_of(examples, relu=False))
    show("gudgud96 relu", rows_of(examples, relu=True))
    post = vgg.Postprocessor()
    matrix, means = golden_whitening()
    post.pca_eigen_vectors.data, post.pca_means.data = torch.from_numpy(matrix), torch.from_numpy(means)[:, None]
    show("torchvggish pca", post.postprocess(torch.from_numpy(rows_of(examples, relu=False))).numpy())

    audioset = importlib.import_module("audioset_model")
    model = object.__new__(audioset.AudioSetModel)
    model._step_size, model._normalize = 8000, True
    model._example_window_length = model._example_hop_length = 96
    raw = np.rint(sound * 32768).astype(np.float64)
    found = torch.from_numpy(np.concatenate(model.extract_features(raw))).float()[:, None]
    show("google", rows_of(found, relu=True))

    loaders = importlib.import_module("fadtk.model_loader")
    with tempfile.TemporaryDirectory() as folder:
        for name, length in (("fadtk", len(sound)), ("fadtk short", 9000)):
            path = Path(folder) / f"{name}.wav"
            soundfile.write(path, np.rint(sound[:length] * 32768).astype(np.int16), 16_000, subtype="PCM_16")
            loader = loaders.VGGishModel()
            loader.device = torch.device("cpu")

            def forward(wav: np.ndarray, _rate: int) -> torch.Tensor:
                patches = importlib.import_module("torchvggish.vggish_input").waveform_to_examples(wav, 16_000)
                return torch.from_numpy(rows_of(patches.detach(), relu=False))

            loader.model = mock.Mock(forward=forward)
            show(name, loader.get_embedding(loader.load_wav(path)).astype(np.float32))

    dataset = importlib.import_module("av_bench.data.audio_dataset")
    reader = dataset.AudioDataset([Path("sound.wav")])
    with mock.patch.object(dataset.torchaudio, "load", return_value=(torch.from_numpy(sound)[None], 16_000)):
        waveform = reader.read_from_file("sound.wav")
    av_vggish = importlib.import_module("av_bench.vggish.vggish").VGGish("cpu", pretrained=False, postprocess=False)
    av_vggish.load_state_dict(state, strict=False)
    show("av-benchmark", av_vggish.eval()(waveform).detach().numpy()[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--torchvggish", "--google", "--fadtk", "--av-benchmark"):
        parser.add_argument(option, type=Path, required=True)
    with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in ABSENT}):
        main(**vars(parser.parse_args()))
