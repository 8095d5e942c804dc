"""Drops clips cut so fast that hardly any shot is left (cuts per minute, PySceneDetect)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat
from scenedetect import FrameTimecode
from scenedetect.detectors import ContentDetector

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals


class Filter(ClipFilter):
    """Hard cuts per minute, found by PySceneDetect's ContentDetector on the small frames.

    Several cameras are normal in a concert film, so only extremes are dropped. (AdaptiveDetector finds more true cuts
    in films but fires on dark scrolling games: 16 where ContentDetector finds 3.)

    Attributes:
        threshold: Mean change of hue, saturation and brightness that is a cut, 0 to 255. Default 27: PySceneDetect.
        min_scene_s: A shot is at least this long, seconds. Default 0.6: PySceneDetect.
        max_per_minute: Most cuts kept, per minute. Default 60: our choice; a fast trailer measured about 30.
    """

    threshold: PositiveFloat = 27.0
    min_scene_s: PositiveFloat = 0.6
    max_per_minute: NonNegativeFloat = 60.0

    unit: ClassVar[str] = "cuts per minute"
    highest: ClassVar[str] = "max_per_minute"

    def measure(self, clip: ClipSignals) -> float:
        """Cuts per minute."""
        detector = ContentDetector(threshold=self.threshold, min_scene_len=self.min_scene_s)
        cuts: set[int] = set()
        for number, frame in enumerate(clip.frames):
            bgr = np.ascontiguousarray(frame[..., ::-1])
            cuts.update(cut.frame_num for cut in detector.process_frame(FrameTimecode(number, clip.fps), bgr))
        last = FrameTimecode(len(clip.frames) - 1, clip.fps)
        cuts.update(cut.frame_num for cut in detector.post_process(last))
        return len(cuts) * 60 * clip.fps / len(clip.frames)

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"{value:.1f} cuts per minute"
