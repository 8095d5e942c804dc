"""A checkout that looks like MMAudio's from where avbench stands: modules, functions and arguments of the same names as
at the pinned commit, no network behind them, and a tone of the seed's pitch as sound.

What the prompt says, it does: ``CRASH``, ``KILLED``, ``NOTHING``, ``HANG``, ``SHORT``, ``LONG``, ``DAMAGED``. Loading
networks and making a sound each add a line to ``calls.jsonl``. Unless asked not to, it brings a torch of its own, which
imports in no time; torchaudio is always its own.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

EVAL_UTILS = """
import json, math, os, signal, subprocess, sys, time
from pathlib import Path

import av
import numpy as np
import torch
import torchaudio


def note(**call):
    with open("calls.jsonl", "a") as log:
        log.write(json.dumps({"pid": os.getpid(), **call}) + "\\n")


class SequenceConfig:
    duration, sampling_rate = 8.0, 44100

    @property
    def latent_seq_len(self):
        return math.ceil(self.duration * self.sampling_rate / 1024)

    @property
    def clip_seq_len(self):
        return int(self.duration * 8)

    @property
    def sync_seq_len(self):
        return int(((self.duration * 25 - 16) // 8 + 1) * 8)


class ModelConfig:
    seq_cfg = SequenceConfig()
    vae_path, synchformer_ckpt, bigvgan_16k_path, mode = Path("vae.pth"), Path("sync.pth"), None, "44k"

    def __init__(self, model_name):
        self.model_name, self.model_path = model_name, Path("weights") / f"{model_name}.pth"

    def download_if_needed(self):
        self.model_path.parent.mkdir(exist_ok=True)
        torch.save({"name": self.model_name}, self.model_path)


all_model_cfg = {name: ModelConfig(name) for name in ("small_16k", "large_44k_v2")}


class VideoInfo:
    def __init__(self, duration_sec, clip_frames, sync_frames):
        self.duration_sec, self.clip_frames, self.sync_frames = duration_sec, clip_frames, sync_frames


def load_video(video_path, duration_sec, load_all_frames=True):
    assert isinstance(video_path, Path)
    with av.open(str(video_path)) as film:
        times = [float(frame.time) for frame in film.decode(video=0)]
    # pictures are taken 25 times a second, and a sound is as long as they are
    seconds = min(duration_sec, (int(times[-1] * 25 + 1e-6) + 1) / 25)
    note(frames=len(times), duration=duration_sec, load_all_frames=load_all_frames)
    return VideoInfo(seconds, torch.ones(int(seconds * 8), 3), torch.ones(int(seconds * 25), 3))


def generate(
    clip_video, sync_video, text, *, negative_text=None, feature_utils, net, fm, rng, cfg_strength,
    clip_batch_size_multiplier=40, sync_batch_size_multiplier=40, image_input=False,
):
    (prompt,), (negative,) = text, negative_text
    assert clip_video.shape == (1, net.lengths[1], 3)
    assert net.weights == {"name": net.name}
    assert net.dtype == feature_utils.dtype
    seed = rng.initial_seed()
    note(prompt=prompt, negative_prompt=negative, seed=seed, cfg_strength=cfg_strength, num_steps=fm.num_steps)
    # in the middle of the work: what is printed must not be taken for an answer
    print("sampling", flush=True)
    if "CRASH" in prompt:
        raise RuntimeError("CUDA out of memory")
    if "KILLED" in prompt:
        os.kill(os.getpid(), signal.SIGKILL)
    if "HANG" in prompt:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path("child.new").write_text(str(child.pid))
        os.replace("child.new", "child.pid")
        time.sleep(600)
    torchaudio.prompt = prompt
    count = int(net.lengths[0] * 1024 * {"SHORT": 0.5, "LONG": 2.0}.get(prompt.split()[0], 1.0))
    tone = 0.5 * np.sin(2 * np.pi * (200 + seed % 1000) * np.arange(count) / 44100)
    return torch.tensor(tone[None, None])
"""

NETWORKS = """
from mmaudio.eval_utils import note
import os


class MMAudio:
    def __init__(self, name):
        self.name = name

    def to(self, device, dtype):
        self.device, self.dtype = device, dtype
        return self

    def eval(self):
        note(variant=self.name, device=self.device, dtype=str(self.dtype), environment=dict(os.environ))
        return self

    def load_weights(self, src_dict):
        self.weights = src_dict

    def update_seq_lengths(self, latent_seq_len, clip_seq_len, sync_seq_len):
        self.lengths = latent_seq_len, clip_seq_len, sync_seq_len


def get_my_mmaudio(name, **kwargs):
    return MMAudio(name)
"""

FLOW_MATCHING = """
class FlowMatching:
    def __init__(self, min_sigma=0.0, inference_mode="euler", num_steps=25):
        assert (min_sigma, inference_mode) == (0, "euler")
        self.num_steps = num_steps
"""

FEATURES_UTILS = """
class FeaturesUtils:
    def __init__(
        self, *, tod_vae_ckpt=None, bigvgan_vocoder_ckpt=None, synchformer_ckpt=None, enable_conditions=True,
        mode=None, need_vae_encoder=True,
    ):
        assert (str(tod_vae_ckpt), str(synchformer_ckpt), mode) == ("vae.pth", "sync.pth", "44k")
        assert enable_conditions and not need_vae_encoder

    def to(self, device, dtype):
        self.dtype = dtype
        return self

    def eval(self):
        return self
"""

TORCHAUDIO = """
import numpy as np
import soundfile
from pathlib import Path

prompt = ""


def save(uri, src, sample_rate):
    if "DAMAGED" in prompt:
        Path(uri).write_bytes(b"fLaC" + bytes(100))
    elif "NOTHING" not in prompt:
        soundfile.write(uri, np.asarray(src).T, sample_rate)
"""

TORCH = """
import contextlib, json, types
import numpy as np

float32, bfloat16 = "float32", "bfloat16"
inference_mode = contextlib.nullcontext
backends = types.SimpleNamespace(
    cuda=types.SimpleNamespace(matmul=types.SimpleNamespace(allow_tf32=False)),
    cudnn=types.SimpleNamespace(allow_tf32=False),
)


class Tensor(np.ndarray):
    def float(self):
        return self.astype(np.float32)

    def cpu(self):
        return self

    def unsqueeze(self, dim):
        return np.expand_dims(self, dim)


def tensor(data):
    return np.asarray(data).view(Tensor)


def ones(*shape):
    return tensor(np.ones(shape))


def save(obj, f):
    f.write_text(json.dumps(obj))


def load(f, map_location=None, weights_only=None):
    assert weights_only
    return json.loads(f.read_text())


class Generator:
    def __init__(self, device="cpu"):
        self._seed = 0

    def manual_seed(self, seed):
        self._seed = seed
        return self

    def initial_seed(self):
        return self._seed
"""


def checkout(folder: Path, *, own_torch: bool = True) -> str:
    """Make the checkout; its commit."""
    files = {
        "mmaudio/__init__.py": "",
        "mmaudio/eval_utils.py": EVAL_UTILS,
        "mmaudio/model/__init__.py": "",
        "mmaudio/model/networks.py": NETWORKS,
        "mmaudio/model/flow_matching.py": FLOW_MATCHING,
        "mmaudio/model/utils/__init__.py": "",
        "mmaudio/model/utils/features_utils.py": FEATURES_UTILS,
        "torchaudio.py": TORCHAUDIO,
        ".gitignore": "calls.jsonl\nchild.*\nweights/\n__pycache__/\n",
    } | ({"torch.py": TORCH} if own_torch else {})
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def git(*words: str) -> str:
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "fake")
    return git("rev-parse", "HEAD")
