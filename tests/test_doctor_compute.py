"""What the doctor says about torch and GPUs: stand-ins for torch are loaded in a real other Python."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

from avbench import processor
from avbench.doctor import Check, compute

TORCH = """
import warnings
__version__ = "2.11.0{local}"

class version:
    cuda = {cuda!r}

class _Gpu:
    name, total_memory = "NVIDIA Test 100", 80 * 2**30

class _Tensor:
    def __mul__(self, factor):
        return self
    def sum(self):
        return 2000.0

def ones(n, device):
    {kernel}
    return _Tensor()

def get_num_threads():
    return 2

class cuda:
    @staticmethod
    def is_available():
        {warning}
        return {gpus} > 0
    @staticmethod
    def device_count():
        return {gpus}
    @staticmethod
    def get_device_properties(index):
        return _Gpu()
"""


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose torch, torchvision and torchaudio are found before the real ones, on a machine without a card."""
    folder = tmp_path / "libraries"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(compute, "_card_seen", bool)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    write_torch(folder)
    for name in ("torchvision", "torchaudio"):
        (folder / f"{name}.py").write_text('__version__ = "1"\n')
    return folder


def write_torch(folder: Path, *, cuda: str | None = "13.0", gpus: int = 0, kernel: str = "", warning: str = "") -> None:
    text = TORCH.format(
        local="" if cuda else "+cpu",
        cuda=cuda,
        gpus=gpus,
        kernel=f"raise RuntimeError({kernel!r})" if kernel else "pass",
        warning=f"warnings.warn({warning!r})" if warning else "pass",
    )
    (folder / "torch.py").write_text(text)


def card(tmp_path: Path, driver: str) -> None:
    """The program of a driver that sees a card."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho {driver}\n")
    program.chmod(0o755)


def checks() -> dict[str, Check]:
    return {check.name: check for check in compute.stack(compute.probe())}


def test_a_machine_without_a_gpu_is_told_so_and_nothing_is_a_fault(libraries: Path) -> None:
    found = checks()
    assert found["torch"].state == "ok"
    assert "torch 2.11.0, torchvision 1, torchaudio 1" in found["torch"].found
    assert found["gpu"].state == "warn"
    assert "none seen" in found["gpu"].found
    assert "--gpus all" in found["gpu"].remedy


def test_a_torchaudio_of_another_torch_is_a_fault_with_the_three_that_fit(libraries: Path) -> None:
    (libraries / "torchaudio.py").write_text('raise OSError("libtorchaudio.so: undefined symbol: _ZNK3c105Error4what")')
    (check,) = compute.stack(compute.probe())
    assert check.state == "fault"
    assert "torchaudio: OSError: libtorchaudio.so: undefined symbol" in check.found
    torch = importlib.metadata.version("torch").partition("+")[0]
    assert f"torch {torch}" in check.found
    assert check.remedy == compute.reinstall()


def test_the_remedy_asks_for_one_release_line_of_the_three(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parent.parent
    asked = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    three = {name: next(line for line in asked if re.match(rf"{name}\b", line)) for name in compute.LIBRARIES}
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: [*asked, 'torchx; extra == "dev"'])
    command = compute.reinstall()
    assert all(f"'{line}'" in command for line in three.values())
    assert "torchx" not in command
    # torchvision 0.(m + 15) belongs to torch 2.m, and torchaudio has torch's number; each has an upper end
    newest = {name: int(re.search(r"<\d+\.(\d+)$", line)[1]) for name, line in three.items()}
    assert newest["torch"] == newest["torchaudio"] == newest["torchvision"] - 15


def test_a_library_that_kills_the_interpreter_is_a_line_of_the_report(libraries: Path) -> None:
    (libraries / "torchvision.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    (check,) = compute.stack(compute.probe())
    assert check.state == "fault"
    assert "torchvision: killed the interpreter (SIGILL)" in check.found


def test_torch_that_is_not_there_is_a_fault(libraries: Path) -> None:
    (libraries / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    (check,) = compute.stack(compute.probe())
    assert check.state == "fault"
    assert "No module named 'torch'" in check.found


def test_a_torch_for_cpus_beside_a_card_is_said(libraries: Path, tmp_path: Path) -> None:
    write_torch(libraries, cuda=None)
    card(tmp_path, "580.65.06")
    check = checks()["gpu"]
    assert check.state == "warn"
    assert "torch 2.11.0+cpu is built without CUDA" in check.found
    assert check.remedy == compute.reinstall()


def test_a_driver_that_is_too_old_is_said_with_its_version(libraries: Path, tmp_path: Path) -> None:
    write_torch(libraries, warning="The NVIDIA driver on your system is too old (found version 12040).")
    card(tmp_path, "550.54.15")
    check = checks()["gpu"]
    assert check.state == "warn"
    for words in ("driver 550.54.15", "built for CUDA 13.0", "too old (found version 12040)"):
        assert words in check.found
    assert "driver made for CUDA 13.0" in check.remedy


@pytest.mark.parametrize("hidden", ["", "-1", "none"])
def test_a_card_hidden_by_a_variable_is_said(
    libraries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    card(tmp_path, "580.65.06")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert checks()["gpu"].remedy == "unset CUDA_VISIBLE_DEVICES"


def test_a_card_that_torch_has_no_code_for_is_said(libraries: Path, tmp_path: Path) -> None:
    write_torch(libraries, gpus=1, kernel="CUDA error: no kernel image is available for execution on the device")
    card(tmp_path, "580.65.06")
    check = checks()["gpu"]
    assert check.state == "warn"
    assert "NVIDIA Test 100: CUDA error: no kernel image" in check.found


def test_a_card_that_computes_is_shown(libraries: Path, tmp_path: Path) -> None:
    write_torch(libraries, gpus=2)
    card(tmp_path, "580.65.06")
    check = checks()["gpu"]
    assert check.state == "ok"
    assert check.found.count("NVIDIA Test 100, 80 GiB") == 2
    assert check.found.endswith("CUDA 13.0, driver 580.65.06")


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize(("gpus", "where"), [((), "the processor"), (({"name": "x", "error": ""},), "the GPU")])
def test_imitated_bfloat16_is_said_with_the_option_for_float32(
    monkeypatch: pytest.MonkeyPatch, has: bool, gpus: tuple[dict[str, str], ...], where: str
) -> None:
    monkeypatch.setattr(processor, "has_bfloat16", lambda device: has)
    (check,) = compute.bfloat16(compute.Stack(gpus=gpus))
    assert check.state == ("ok" if has else "warn")
    assert where in check.found
    assert has or "--no-bf16" in check.remedy
