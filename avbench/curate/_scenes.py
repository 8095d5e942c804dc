"""Where a film is cut from one shot to the next, found in one pass that holds a single small picture at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scenedetect import FrameTimecode, SceneDetector
from scenedetect.detectors import AdaptiveDetector, ContentDetector, HashDetector, HistogramDetector

from avbench import media
from avbench.recipe import SegmentRecipe

_WIDTH_PX = 256
"""PySceneDetect's own working width for large pictures."""

_MIN_SCENE_S = 0.6
"""PySceneDetect's shortest scene."""


def cuts(source: Path, fps: float, recipe: SegmentRecipe) -> NDArray[np.float64]:
    """Times of the first picture of every scene but the first, seconds, rising.

    Args:
        source: The film.
        fps: Its average rate; only the shortest scene is counted with it.
        recipe: Detector and threshold.

    Raises:
        MediaError: No picture, or damaged.
    """
    detector = _detector(recipe, max(1, round(_MIN_SCENE_S * fps)))
    starts_s: list[float] = []
    found: set[int] = set()
    for number, (at_s, picture) in enumerate(media.small_pictures(source, _WIDTH_PX)):
        starts_s.append(at_s)
        bgr = np.ascontiguousarray(picture[..., ::-1])
        found.update(cut.frame_num for cut in detector.process_frame(FrameTimecode(number, fps), bgr))
    found.update(cut.frame_num for cut in detector.post_process(FrameTimecode(len(starts_s) - 1, fps)))
    return np.array([starts_s[number] for number in sorted(found) if 0 < number < len(starts_s)])


def _detector(recipe: SegmentRecipe, min_frames: int) -> SceneDetector:
    kind, threshold = recipe.scene_detector or "content", recipe.scene_threshold
    if kind == "adaptive":
        options = {} if threshold is None else {"adaptive_threshold": threshold}
        return AdaptiveDetector(min_scene_len=min_frames, **options)
    options = {} if threshold is None else {"threshold": threshold}
    if kind == "hash":
        return HashDetector(min_scene_len=min_frames, **options)
    if kind == "histogram":
        return HistogramDetector(min_scene_len=min_frames, **options)
    return ContentDetector(min_scene_len=min_frames, **options)
