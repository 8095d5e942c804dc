"""Sources that need no network: bouncing balls, each contact seen and heard at a time that is known exactly.

A ball flies on parabolas between contacts. Contact times are drawn first, on the frame grid, and the flight is laid
between them (height ``g T^2 / 8`` for a flight of T seconds), so the ball touches the ground in the very frame of its
time, and its sound begins at the very sample. Everything follows from the seed: the same query gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import get_type_hints

import cv2
import numpy as np
from numpy.typing import NDArray

from avbench import media
from avbench.errors import UserError
from avbench.registry import unknown

SAMPLE_RATE_HZ = 48_000
KINDS = ("impacts", "cuts", "silent", "mute", "frozen", "short")

_SUPERSAMPLING = 2  # drawn larger and averaged down: soft edges, and motion finer than a pixel
_SCENE_S = (2.5, 4.5)
_FLIGHT_S = (0.70, 1.05)
_SHORTEST_FLIGHT_S = 0.35
_SHORT_S = 3.0
_GROUND = 0.82  # height of the ground line, share of the picture from its top
_PEAK = 0.7
_ROOM_RMS = 0.002  # -54 dB: quiet, but no digital silence between the impacts
_SCALE_HZ = (196.0, 261.6, 329.6, 440.0, 587.3, 784.0)
_PARTIALS = ((1.0, 1.0, 0.16), (2.32, 0.5, 0.09), (3.93, 0.28, 0.05))  # ratio, gain, decay in seconds


@dataclass(frozen=True)
class Query:
    """What to render.

    Attributes:
        kind: ``impacts``: one scene. ``cuts``: hard cuts between scenes. ``silent``: its soundtrack is digital silence.
            ``mute``: no soundtrack. ``frozen``: a still picture under the sounds. ``short``: too short to be of use.
        seed: Everything random follows from it.
        seconds: Length.
        width: Pixels, even.
        height: Pixels, even.
        fps: Frames per second.
        bodies: Balls in a scene; 0 draws 1 or 2.
        radius: Radius of each ball, share of the picture height; 0 draws it.
        look: Sources of one look share backdrop, colours and pitches: only the contacts and the sideways motion differ.
            0 draws all from ``seed``.
    """

    kind: str = "impacts"
    seed: int = 0
    seconds: float = 20.0
    width: int = 160
    height: int = 120
    fps: float = 30.0
    bodies: int = 0
    radius: float = 0.0
    look: int = 0

    @property
    def n_frames(self) -> int:
        """Frames of the whole source."""
        return round(self.seconds * self.rate)

    @property
    def rate(self) -> Fraction:
        """Exact frame rate."""
        return media.frame_rate(self.fps)


@dataclass(frozen=True)
class _Body:
    """One ball.

    Attributes:
        contacts: Frames of its contacts, rising, from before its scene begins until after it ends.
        radius: Share of the picture height.
        lane: Middle of its lane, share of the width.
        sway: Amplitude of its sideways motion, share of the width.
        sway_s: Period of it, seconds.
        colour: RGB.
        pitch_hz: Its sound.
        longest: Longest flight, frames: it reaches the top of the picture.
    """

    contacts: tuple[int, ...]
    radius: float
    lane: float
    sway: float
    sway_s: float
    colour: tuple[int, int, int]
    pitch_hz: float
    longest: int


@dataclass(frozen=True)
class _Scene:
    """Frames ``[first, end)`` with their balls, before a backdrop drawn from ``hue`` (0 to 179) and ``seed``."""

    first: int
    end: int
    bodies: tuple[_Body, ...]
    hue: int
    seed: int


def parse(query: dict[str, str]) -> Query:
    """Read a query such as ``{"kind": "cuts", "seed": "7", "seconds": "30"}``.

    Raises:
        UserError: An unknown key or kind, or a value out of range.
    """
    types = get_type_hints(Query)
    values = {}
    for key, text in query.items():
        if key not in types:
            raise unknown("key of a synthetic source", key, [field.name for field in fields(Query)])
        try:
            values[key] = types[key](text)
        except ValueError as error:
            raise UserError(f"synthetic source: {key} = {text!r} is not a number") from error
    parsed = Query(**values)
    if parsed.kind not in KINDS:
        raise unknown("kind of synthetic source", parsed.kind, list(KINDS))
    if parsed.kind == "short" and "seconds" not in query:
        parsed = Query(**{**values, "seconds": _SHORT_S})
    if not (0 < parsed.seconds <= 3600 and 1 <= parsed.fps <= 240 and 0 <= parsed.bodies <= 6):
        raise UserError(f"synthetic source: {query} is out of range (seconds to 3600, fps 1 to 240, bodies to 6)")
    if not (0 <= parsed.radius <= 0.25 and parsed.seed >= 0 and parsed.look >= 0):
        raise UserError(f"synthetic source: {query} is out of range (radius to 0.25, seed and look from 0)")
    if not (16 <= parsed.width <= 1920 and 16 <= parsed.height <= 1920) or parsed.width % 2 or parsed.height % 2:
        raise UserError(f"synthetic source: {parsed.width} x {parsed.height} must be even and 16 to 1920")
    return parsed


def event_times_s(query: dict[str, str]) -> list[float]:
    """Times at which a contact is both seen and heard, rising, seconds; none for silent, mute and frozen sources.

    Raises:
        UserError: See `parse`.
    """
    asked = parse(query)
    if asked.kind in ("silent", "mute", "frozen"):
        return []
    return sorted({float(frame / asked.rate) for scene in _scenes(asked) for _, frame in _events(scene)})


def render(query: dict[str, str], dest: Path) -> None:
    """Write a source as mp4 (H.264 with FLAC, so its sounds begin at the exact sample).

    Args:
        query: See `Query`; values as text.
        dest: Where to; the file appears when it is complete.

    Raises:
        UserError: See `parse`.
        EnvironmentFault: The disk is full, or there is no ffmpeg.
    """
    asked = parse(query)
    scenes = _scenes(asked)
    video = np.empty((asked.n_frames, asked.height, asked.width, 3), np.uint8)
    pictures = (picture for scene in scenes for picture in _draw_scene(asked, scene))
    for frame, picture in enumerate(pictures):
        video[frame] = picture
        if asked.kind == "frozen":
            video[:] = picture
            break
    audio = None if asked.kind == "mute" else _sound(asked, scenes)
    if asked.kind == "silent" and audio is not None:
        audio[:] = 0
    media.encode(dest, video, float(asked.rate), audio, SAMPLE_RATE_HZ, audio_codec="flac")


def _scenes(query: Query) -> list[_Scene]:
    """Everything random about the picture and the contacts."""
    rng = np.random.default_rng([query.seed, 1])
    looks = np.random.default_rng([query.look, 4]) if query.look else rng
    scenes: list[_Scene] = []
    first = 0
    while first < query.n_frames:
        length = round(rng.uniform(*_SCENE_S) * query.rate) if query.kind == "cuts" else query.n_frames
        end = query.n_frames if first + 1.5 * length > query.n_frames else first + length
        hue = int(looks.integers(180))
        count = query.bodies or int(rng.integers(1, 3))
        pitches = looks.permutation(_SCALE_HZ)
        bodies = tuple(_body(query, rng, first, end, place, count, hue, pitches[place]) for place in range(count))
        scenes.append(_Scene(first, end, bodies, hue, int(looks.integers(2**31))))
        first = end
    return scenes


def _body(
    query: Query, rng: np.random.Generator, first: int, end: int, place: int, count: int, hue: int, pitch_hz: float
) -> _Body:
    fps = float(query.rate)
    longest = max(6, round(rng.uniform(*_FLIGHT_S) * fps))
    restitution = rng.uniform(0.80, 0.90)
    # the scene neither begins nor, where avoidable, ends on a contact: it could not be seen coming
    contacts = [first + int(rng.integers(min(3, longest - 1), longest)) - longest]
    flight = float(longest)
    while contacts[-1] < end:
        contacts.append(contacts[-1] + round(flight))
        flight = flight * restitution if flight * restitution > _SHORTEST_FLIGHT_S * fps else float(longest)
    lane_width = 1 / count
    radius = min(query.radius or float(rng.uniform(0.07, 0.11)), 0.3 * lane_width * query.width / query.height)
    free = max(0.0, lane_width / 2 - 1.3 * radius * query.height / query.width)
    return _Body(
        contacts=tuple(contacts),
        radius=radius,
        lane=(place + 0.5) * lane_width,
        sway=float(rng.uniform(0.4, 0.9)) * free,
        sway_s=float(rng.uniform(3.0, 6.0)),
        colour=_rgb(hue + 60 + 120 * (place + 0.5) / count, 200, 255),
        pitch_hz=float(pitch_hz),
        longest=longest,
    )


def _events(scene: _Scene) -> Iterator[tuple[_Body, int]]:
    """Each contact inside a scene: the ball and the frame."""
    for body in scene.bodies:
        yield from ((body, frame) for frame in body.contacts if scene.first <= frame < scene.end)


def _rgb(hue: float, saturation: int, value: int) -> tuple[int, int, int]:
    """Colour from OpenCV's HSV (hue 0 to 179)."""
    pixel = cv2.cvtColor(np.array([[[int(hue) % 180, saturation, value]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(pixel[0]), int(pixel[1]), int(pixel[2])


def _draw_scene(query: Query, scene: _Scene) -> Iterator[NDArray[np.uint8]]:
    backdrop = _backdrop(query, scene)
    for frame in range(scene.first, scene.end):
        picture = backdrop.copy()
        for body in scene.bodies:
            _draw_shadow_and_ring(query, picture, body, frame, scene.first)
        for body in scene.bodies:
            _draw_ball(query, picture, body, frame)
        yield np.asarray(cv2.resize(picture, (query.width, query.height), interpolation=cv2.INTER_AREA), np.uint8)


def _backdrop(query: Query, scene: _Scene) -> NDArray[np.uint8]:
    """A sky from light to dark, soft hills, and the ground."""
    rng = np.random.default_rng([scene.seed, 2])
    width, height = query.width * _SUPERSAMPLING, query.height * _SUPERSAMPLING
    ground = round(_GROUND * height)
    low, high = (np.array(_rgb(scene.hue, s, v), np.float32) for s, v in ((60, 215), (120, 120)))
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    picture = np.broadcast_to(high * (1 - ramp) + low * ramp, (height, width, 3)).astype(np.uint8).copy()
    for layer, value in enumerate((165, 130)):
        x = np.arange(width)
        waves = sum(np.sin(x / width * rng.uniform(4, 14) + rng.uniform(0, 6.3)) for _ in range(3))
        y = ground - height * (0.16 - 0.06 * layer) - waves * height * 0.03
        outline = np.stack([x, y], axis=1).round().astype(np.int32)
        corners = np.array([[width - 1, height - 1], [0, height - 1]], np.int32)
        cv2.fillPoly(picture, [np.concatenate([outline, corners])], _rgb(scene.hue + 8, 90, value))
    cv2.rectangle(picture, (0, ground), (width, height), _rgb(scene.hue + 12, 80, 80), -1)
    cv2.line(picture, (0, ground), (width, ground), _rgb(scene.hue + 12, 40, 220), _SUPERSAMPLING)
    return picture


def _flight(body: _Body, frame: int) -> tuple[float, int]:
    """Height above the ground as a share of the highest point, and frames since the last contact."""
    index = int(np.searchsorted(body.contacts, frame, side="right")) - 1
    since = frame - body.contacts[index]
    if index + 1 == len(body.contacts):
        return 0.0, since
    flight = body.contacts[index + 1] - body.contacts[index]
    u = since / flight
    return 4 * u * (1 - u) * min(1.0, flight / body.longest) ** 2, since


def _place(query: Query, body: _Body, frame: int) -> tuple[float, float, float]:
    """Centre x, ground y and radius in supersampled pixels."""
    width, height = query.width * _SUPERSAMPLING, query.height * _SUPERSAMPLING
    angle = 2 * np.pi * frame / float(query.rate) / body.sway_s
    return (body.lane + body.sway * np.sin(angle + body.pitch_hz)) * width, _GROUND * height, body.radius * height


def _ellipse(
    picture: NDArray[np.uint8],
    centre: tuple[float, float],
    axes: tuple[float, float],
    colour: tuple,
    thickness: int = -1,
) -> None:
    """An ellipse with edges finer than a pixel (OpenCV takes fixed-point numbers)."""
    fixed = 16.0
    middle = (round(centre[0] * fixed), round(centre[1] * fixed))
    half = (round(axes[0] * fixed), round(axes[1] * fixed))
    cv2.ellipse(picture, middle, half, 0, 0, 360, colour, thickness, cv2.LINE_AA, 4)


def _draw_shadow_and_ring(query: Query, picture: NDArray[np.uint8], body: _Body, frame: int, first: int) -> None:
    x, ground, radius = _place(query, body, frame)
    high, since = _flight(body, frame)
    shade = 1 - 0.6 * high
    _ellipse(picture, (x, ground + 0.35 * radius), (radius * shade, 0.3 * radius * shade), (12, 12, 16))
    life = since * 30 / float(query.rate) / 6  # the ring spreads for six frames at 30 fps
    if life < 1 and frame - since >= first:
        at_x, _, _ = _place(query, body, frame - since)
        colour = (round(255 - 175 * life),) * 3  # fades from white to the brightness of the ground
        axes = (radius * (1.3 + 2.2 * life), radius * (0.35 + 0.5 * life))
        _ellipse(picture, (at_x, ground + 0.35 * radius), axes, colour, max(1, round(1.5 * _SUPERSAMPLING)))


def _draw_ball(query: Query, picture: NDArray[np.uint8], body: _Body, frame: int) -> None:
    x, ground, radius = _place(query, body, frame)
    high, since = _flight(body, frame)
    squash = 0.72 if since == 0 else 1.0  # flattened in the frame of the contact
    room = ground - 2.2 * radius - 0.04 * query.height * _SUPERSAMPLING
    y = ground - radius * squash - high * room
    _ellipse(picture, (x, y), (radius / squash**0.5, radius * squash), body.colour)
    light = tuple(min(255, channel + 90) for channel in body.colour)
    _ellipse(picture, (x - 0.3 * radius, y - 0.35 * radius * squash), (0.28 * radius, 0.22 * radius), light)


def _sound(query: Query, scenes: list[_Scene]) -> NDArray[np.float32]:
    """Stereo soundtrack (2, L): one struck resonance per contact, from where the ball is, over a faint room tone."""
    n_samples = round(Fraction(query.n_frames) / query.rate * SAMPLE_RATE_HZ)
    rng = np.random.default_rng([query.seed, 3])
    track = np.zeros((2, n_samples))
    for scene in scenes:
        for body, frame in _events(scene):
            at = round(Fraction(frame) / query.rate * SAMPLE_RATE_HZ)
            index = body.contacts.index(frame)
            speed = (frame - body.contacts[index - 1]) / body.longest
            pan = _place(query, body, frame)[0] / (query.width * _SUPERSAMPLING)
            gains = np.array([[np.cos(pan * np.pi / 2)], [np.sin(pan * np.pi / 2)]])
            hit = _impact(body.pitch_hz, rng)[: n_samples - at]
            track[:, at : at + len(hit)] += (0.35 + 0.65 * speed) * gains * hit
    peak = np.abs(track).max()
    if peak > 0:
        track *= _PEAK / peak
    return (track + _ROOM_RMS * rng.standard_normal(track.shape)).astype(np.float32)


def _impact(pitch_hz: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A short noise burst and three decaying partials, loudest at its first samples."""
    t = np.arange(int(0.8 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    hit = 0.8 * rng.standard_normal(len(t)) * np.exp(-t / 0.004)
    for ratio, gain, decay_s in _PARTIALS:
        hit += gain * np.sin(2 * np.pi * pitch_hz * ratio * t) * np.exp(-t / decay_s)
    return hit * np.minimum(1, (0.8 - t) / 0.05)
