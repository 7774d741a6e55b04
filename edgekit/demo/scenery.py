"""What surrounds a printed pictogram: backgrounds, light, hands, and what a camera does to the picture.

Pictures are float32 BGR ``[H, W, 3]`` in 0–255, changed in place or returned anew; every choice is drawn from a
``numpy.random.Generator``. None of this comes from photographs.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Picture = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Colour = tuple[float, float, float]


def colour(rng: Generator, low: int = 0, high: int = 256) -> Colour:
    blue, green, red = (float(c) for c in rng.integers(low, high, 3))
    return blue, green, red


def background(rng: Generator, height: int, width: int) -> Picture:
    """A cluttered room, out of focus or not: a two-colour gradient, a texture, shapes, and blur."""
    ramp = _ramp(rng, height, width)[..., None]
    wall = np.array(colour(rng), np.float32) * ramp + np.array(colour(rng), np.float32) * (1 - ramp)
    if rng.random() < 0.4:
        _stripes(rng, wall)
    things = np.clip(wall, 0, 255).astype(np.uint8)  # cv2 draws smooth edges on 8 bits only
    for _ in range(int(rng.integers(0, 16))):
        _shape(rng, things)
    picture: Any = things.astype(np.float32)
    if rng.random() < 0.6:
        picture += texture(rng, height, width)[..., None] * rng.uniform(5, 45)
    if rng.random() < 0.7:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 5))
    return np.asarray(np.clip(picture, 0, 255), np.float32)


def _ramp(rng: Generator, height: int, width: int) -> Picture:
    """A plane tilted at random, from 0 to 1, ``[H, W]``."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return np.asarray(0.5 + (np.cos(angle) * x + np.sin(angle) * y) / 2.83, np.float32)


def texture(rng: Generator, height: int, width: int) -> Picture:
    """Noise of a random grain, stretched like wood or cloth, mean 0 and deviation about 1, ``[H, W]``."""
    grain_x, grain_y = np.exp(rng.uniform(0, 4, 2))
    rows, columns = max(2, int(height / grain_y)), max(2, int(width / grain_x))
    noise = rng.standard_normal((rows, columns), np.float32)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _stripes(rng: Generator, picture: Picture) -> None:
    height, width = picture.shape[:2]
    wave = _ramp(rng, height, width) * rng.uniform(20, 200)
    if rng.random() < 0.4:  # a checked cloth or tiles
        on = (np.sin(wave) > 0) ^ (np.sin(_ramp(rng, height, width) * rng.uniform(20, 200)) > 0)
    else:
        on = np.sin(wave) > rng.uniform(-0.8, 0.8)
    picture[on] = picture[on] * 0.4 + np.array(colour(rng), np.float32) * 0.6


def _shape(rng: Generator, picture: Pixels) -> None:
    """One ellipse, box, polygon, line or word."""
    height, width = picture.shape[:2]
    centre = int(rng.integers(0, width)), int(rng.integers(0, height))
    reach = int(np.exp(rng.uniform(np.log(4), np.log(height / 1.5))))
    paint = colour(rng)
    thickness = cv2.FILLED if rng.random() < 0.7 else int(rng.integers(1, 8))
    kind = rng.integers(0, 5)
    if kind == 0:
        axes = (reach, int(reach * rng.uniform(0.2, 1)) + 1)
        cv2.ellipse(picture, centre, axes, rng.uniform(0, 180), 0, 360, paint, thickness, cv2.LINE_AA)
    elif kind == 1:
        corner = centre[0] + int(rng.integers(2, reach + 3)), centre[1] + int(rng.integers(2, reach + 3))
        cv2.rectangle(picture, centre, corner, paint, thickness, cv2.LINE_AA)
    elif kind == 2:
        points = (np.array(centre) + rng.uniform(-reach, reach, (int(rng.integers(3, 7)), 2))).astype(np.int32)
        cv2.fillPoly(picture, [points], paint, cv2.LINE_AA)
    elif kind == 3:
        end = (centre + rng.uniform(-3 * reach, 3 * reach, 2)).astype(int)
        cv2.line(picture, centre, (int(end[0]), int(end[1])), paint, int(rng.integers(1, 12)), cv2.LINE_AA)
    else:
        write(rng, picture, centre, reach / 40 + 0.3, paint)


def write(rng: Generator, picture: Pixels, origin: tuple[int, int], scale: float, paint: Colour) -> None:
    """A random word, as posters, book spines and keyboards have them."""
    letters = "".join(chr(int(c)) for c in rng.integers(33, 127, int(rng.integers(1, 9))))
    face = int(rng.integers(0, 6))
    cv2.putText(picture, letters, origin, face, scale, paint, max(1, round(scale * 2)), cv2.LINE_AA)


def fingers(rng: Generator, picture: Picture, centre: tuple[float, float], half: float) -> None:
    """One or two fingers (or pens) reaching over the edge of a pictogram of half side ``half`` pixels.

    Their tips stay at least 0.6 half sides from the centre, so that about a fifth is hidden at most.
    """
    tone = rng.uniform(0.25, 1.0)
    paint = (tone * 165, tone * 190, tone * 240) if rng.random() < 0.7 else colour(rng)
    angle = rng.uniform(0, 2 * np.pi)
    thickness = max(2, int(half * rng.uniform(0.15, 0.5)))
    for _ in range(int(rng.integers(1, 3))):
        direction = np.array([np.cos(angle), np.sin(angle)])
        tip = np.array(centre) + direction * half * rng.uniform(0.6, 1.2) + direction * thickness / 2
        root = tip + (direction + rng.uniform(-0.3, 0.3, 2)) * half * 6
        ends = [(int(p[0]), int(p[1])) for p in (tip, root)]
        for extra, shade in ((3, 0.7), (0, 1.0)):  # a darker outline, as round things have
            cover = np.zeros(picture.shape[:2], np.uint8)
            cv2.line(cover, ends[0], ends[1], 255, thickness + extra, cv2.LINE_AA)
            picture += (cover[..., None] / np.float32(255)) * (
                np.array(paint, np.float32) * np.float32(shade) - picture
            )
        angle += rng.uniform(0.25, 0.6)


def light(rng: Generator, picture: Picture) -> Picture:
    """Uneven light, a shadow's edge, glare, exposure and the colour of the lamp."""
    height, width = picture.shape[:2]
    strength = rng.uniform(0, 0.6)
    field = 1 - strength * _ramp(rng, height, width)
    if rng.random() < 0.3:
        shadow = (_ramp(rng, height, width) > rng.uniform(0.3, 0.7)).astype(np.float32)
        field *= 1 - rng.uniform(0.15, 0.5) * cv2.GaussianBlur(shadow, (0, 0), rng.uniform(1, 12))
    lamp = np.exp(rng.normal(0, 0.13, 3)) * np.exp(rng.uniform(-0.8, 0.3))
    lit = picture * (field[..., None] * lamp.astype(np.float32))
    if rng.random() < 0.06:
        spot = np.zeros((height, width), np.float32)
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.circle(spot, centre, int(rng.integers(5, 40)), float(rng.uniform(60, 180)), cv2.FILLED)
        lit += cv2.GaussianBlur(spot, (0, 0), rng.uniform(4, 25))[..., None]
    # Cameras lift the blacks (veiling glare, fog) and bend the tones.
    lit = np.clip(lit + rng.uniform(0, 30) * (rng.random() < 0.5), 0, 255) / 255
    return np.asarray(np.power(lit, rng.uniform(0.75, 1.3)) * 255, np.float32)


def camera(rng: Generator, scene: Picture) -> Pixels:
    """Focus, motion, sharpening, sensor noise and JPEG; returns uint8 ``[H, W, 3]``."""
    height, width = scene.shape[:2]
    picture: Any = scene
    if rng.random() < 0.7:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.7))
    if rng.random() < 0.25:
        picture = cv2.filter2D(picture, -1, _motion(rng))
    if rng.random() < 0.25:
        soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
        picture = picture + (picture - soft) * rng.uniform(0.3, 1.5)
    if rng.random() < 0.8:
        noise = rng.standard_normal((height, width, 3), np.float32) * rng.uniform(0.5, 10)
        picture = picture + (noise if rng.random() < 0.6 else noise[..., :1])
    pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))])[1]
        pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(pixels, np.uint8)


def _motion(rng: Generator) -> Picture:
    """A line of 3 to 8 pixels as a normalized kernel."""
    length, angle = int(rng.integers(3, 9)), rng.uniform(0, np.pi)
    kernel = np.zeros((9, 9), np.float32)
    dx, dy = np.cos(angle) * length / 2, np.sin(angle) * length / 2
    ends = [(round(4 + s * dx), round(4 + s * dy)) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA)
    return np.asarray(kernel / kernel.sum(), np.float32)
