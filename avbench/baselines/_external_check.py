"""Whether a file that somebody else's program wrote is the clip that was asked for."""

from __future__ import annotations

from pathlib import Path

from avbench import media
from avbench.errors import MediaError
from avbench.recipe_external import Expected

_RATE = 0.005
"""Relative difference of frame rates that containers round away."""
_NAMED = 3


def the_file(out: Path, pattern: str) -> Path:
    """The one file below ``out`` that a pattern names.

    Raises:
        MediaError: None, several, or one that lies elsewhere.
    """
    found = sorted(path for path in out.glob(pattern) if not path.is_dir())
    if not found:
        held = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir())
        said = f"; it wrote {', '.join(held[:_NAMED])}" if held else ""
        raise MediaError(f"wrote no {pattern}{said}")
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:_NAMED])
        raise MediaError(f"wrote {len(found)} files of the pattern {pattern} where one belongs: {names}")
    # a link may lead anywhere on this machine, and what it leads to would be published
    try:
        real = found[0].resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise MediaError(f"wrote {found[0].name} as a link that leads nowhere") from error
    if not real.is_relative_to(out.resolve()):
        raise MediaError(f"wrote {found[0].name} as a link that leaves its folder")
    if not real.is_file():
        raise MediaError(f"wrote {found[0].name}, which is no file")
    return real


def check(path: Path, expected: Expected) -> media.MediaInfo:
    """Read a clip's packets and compare it with what it must be.

    Raises:
        MediaError: It is broken or another one; the reason names no folder of this machine.
    """
    try:
        info = media.probe(path)
    except MediaError as error:
        reason = str(error).removeprefix(f"{path}: ").replace(str(path), path.name)
        raise MediaError(f"wrote {path.name}, which is broken: {reason}") from error
    if fault := _fault(info, expected):
        raise MediaError(f"wrote {path.name}, {fault}")
    return info


def _fault(info: media.MediaInfo, expected: Expected) -> str:
    """What is not as expected, or an empty string."""
    if not info.has_video:
        return "which has no picture"
    if expected.sound and not info.has_audio:
        return "which has no sound"
    if expected.frames is not None and info.n_frames != expected.frames:
        return f"which has {info.n_frames} frames where {expected.frames} belong"
    if expected.fps is not None and abs(info.fps - expected.fps) > _RATE * expected.fps:
        return f"which has {info.fps:g} fps where {expected.fps:g} belong"
    size = (expected.width or info.width, expected.height or info.height)
    if (info.width, info.height) != size:
        return f"whose picture is {info.width} x {info.height} where {size[0]} x {size[1]} belongs"
    shown_s, heard_s = info.video_end_s - info.video_start_s, info.audio_end_s - info.audio_start_s
    if expected.seconds is not None and abs(shown_s - expected.seconds) > expected.tolerance_s:
        return f"whose picture lasts {shown_s:.2f} s where {expected.seconds:g} s belong"
    if expected.sound and abs(heard_s - shown_s) > expected.tolerance_s:
        return f"whose sound lasts {heard_s:.2f} s and its picture {shown_s:.2f} s"
    return ""
