"""A film that never repeats itself: moving blobs of light, shots, and a tune. Another seed is another film."""

from __future__ import annotations

from functools import cache

import numpy as np

FPS, RATE = 10, 16000
WIDTH, HEIGHT = 80, 60
_LENGTH_S = 60


def film(seed: int, start_s: float, length_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Picture and sound of ``[start_s, start_s + length_s)`` of the film of this seed.

    Returns:
        uint8 (T, HEIGHT, WIDTH, 3) and float32 (1, L); at most 60 s of film exist.
    """
    video = np.stack([_picture(seed, start_s + n / FPS) for n in range(round(length_s * FPS))])
    first = round(start_s * RATE)
    return video, _tune(seed)[:, first : first + round(length_s * RATE)]


def _picture(seed: int, at_s: float) -> np.ndarray:
    shot = int(at_s / 2.5)
    rng = np.random.default_rng((seed, shot))
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    light = np.full((HEIGHT, WIDTH), 60.0)
    for _ in range(6):
        cx, cy, vx, vy = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), *rng.uniform(-3, 3, 2)
        size, level = rng.uniform(6, 20), rng.uniform(-50, 90)
        light += level * np.exp(-((x - cx - vx * at_s % 9) ** 2 + (y - cy - vy * at_s % 9) ** 2) / size**2)
    return np.repeat(light.clip(30, 250).astype(np.uint8)[..., None], 3, axis=2)


@cache
def _tune(seed: int) -> np.ndarray:
    rng = np.random.default_rng((seed, 99))
    sound = np.zeros(_LENGTH_S * RATE + RATE)
    for start in np.cumsum(rng.uniform(0.06, 0.2, 400)):
        if start > _LENGTH_S - 1:
            break
        times = np.arange(round(0.4 * RATE)) / RATE
        note = np.sin(2 * np.pi * rng.uniform(250, 3000) * times) * np.exp(-9 * times)
        first = round(start * RATE)
        sound[first : first + len(note)] += 0.15 * note
    return sound[None, : _LENGTH_S * RATE].astype(np.float32)
