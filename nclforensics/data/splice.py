"""Splices: part of another photo, a cut-out object, or the place itself after another history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from nclforensics.data.canvas import Canvas, Window, blend, draw_window, padded, paste
from nclforensics.data.histories import (
    ORIGIN_SCALES,
    Image,
    Origin,
    Step,
    apply_step,
    chance,
    draw_filter,
    draw_jpeg,
    draw_origin_steps,
    draw_resize,
    draw_source_steps,
)
from nclforensics.data.shapes import INSIDE, Stencil, draw_stencil, object_stencil
from nclforensics.data.views import cut_view, draw_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nclforensics.data.photos import Photo, PhotoPool

CANDIDATES: Final = 3  # donors compared


def splice(canvas: Canvas, rng: np.random.Generator, *, area: float, pool: PhotoPool, host: str) -> Step:
    """Paste part of another photo, or a cut-out object, with a history of its own."""
    if pool.has_objects and chance(rng, 0.05):
        record = _paste_object(canvas, rng, area=area, pool=pool)
        if record is not None:
            return record
    if chance(rng, 0.12):
        return _retouch(canvas, rng, area=area)
    as_object = chance(rng, 0.4)
    if as_object:
        shape, side = "object", min(canvas.side, int(np.sqrt(area / rng.uniform(0.3, 0.6))))
        stencil = np.full((side, side), INSIDE, np.uint8)
    else:
        shape, stencil = draw_stencil(rng, area=area, limit=canvas.side)
        stencil = padded(stencil)
    window = draw_window(rng, stencil.shape, canvas.side)
    origin: Origin = canvas.origin if canvas.origin != "photo" and chance(rng, 0.85) else "photo"
    patch, record = _donor_patch(
        rng,
        pool=pool,
        host=host,
        surroundings=canvas.image[window.canvas],
        size=stencil.shape,
        origin=origin,
        hard_light=canvas.hard_light,
        resized=canvas.resized,
    )
    if as_object:
        found = object_stencil(rng, patch)
        shape, stencil = ("object", found) if found is not None else _centred_stencil(rng, area, stencil.shape)
    patch, matched = _matched(rng, canvas, patch, stencil, window)
    edge = paste(canvas, rng, patch=patch, stencil=stencil, window=window)
    return {**record, "shape": shape, "at": [window.top, window.left], "match": matched, **edge}


def _centred_stencil(rng: np.random.Generator, area: float, size: tuple[int, ...]) -> tuple[str, Stencil]:
    """Draw a shape in the middle of a box that is already placed."""
    shape, drawn = draw_stencil(rng, area=area, limit=min(size[:2]))
    stencil = np.zeros(size[:2], np.uint8)
    top, left = (size[0] - drawn.shape[0]) // 2, (size[1] - drawn.shape[1]) // 2
    stencil[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    return shape, stencil


def _retouch(canvas: Canvas, rng: np.random.Generator, *, area: float) -> Step:
    """Replace a region by itself after another history: same content, so that only the traces tell."""
    shape, stencil = draw_stencil(rng, area=area, limit=canvas.side)
    stencil = padded(stencil)
    window = draw_window(rng, stencil.shape, canvas.side, inside=True)
    rows, columns = window.stencil
    patch = np.zeros((*stencil.shape, 3), np.uint8)
    patch[rows, columns] = canvas.image[window.canvas]
    steps = [draw_filter(rng)] if chance(rng, 0.75) else []
    steps += [draw_jpeg(rng, low=50, high=90)] if not steps or chance(rng, 0.5) else []
    for step in steps:
        patch = apply_step(patch, step)
    edge = paste(canvas, rng, patch=patch, stencil=stencil, window=window)
    return {"op": "retouch", "steps": steps, "shape": shape, "at": [window.top, window.left], **edge}


def _paste_object(canvas: Canvas, rng: np.random.Generator, *, area: float, pool: PhotoPool) -> Step | None:
    photo = pool.draw_object(rng)
    if photo is None or photo.opacity is None:
        return None
    inside = max(1, int(np.count_nonzero(photo.opacity > INSIDE // 2)))
    scale = min(np.sqrt(area / inside), canvas.side / max(photo.pixels.shape))
    size = tuple(max(2, round(n * scale)) for n in photo.pixels.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    patch = np.asarray(cv2.resize(photo.pixels, size[::-1], interpolation=method), np.uint8)
    opacity = np.asarray(cv2.resize(photo.opacity, size[::-1], interpolation=method), np.uint8)
    if mirrored := chance(rng, 0.5):
        patch, opacity = np.ascontiguousarray(patch[:, ::-1]), np.ascontiguousarray(opacity[:, ::-1])
    steps = draw_source_steps(rng)
    for step in steps:
        patch = apply_step(patch, step)
    window = draw_window(rng, opacity.shape, canvas.side)
    blend(canvas, patch=patch, weight=opacity, window=window)
    place = {"shape": "alpha", "at": [window.top, window.left], "scale": round(float(scale), 4), "mirrored": mirrored}
    return {"op": "splice", "donor": photo.sha256, "steps": steps, **place}


def _donor_patch(
    rng: np.random.Generator,
    *,
    pool: PhotoPool,
    host: str,
    surroundings: Image,
    size: tuple[int, ...],
    origin: Origin,
    hard_light: float,
    resized: float,
) -> tuple[Image, Step]:
    """Return a patch of a donor after its own history, and the record of that history.

    A forger picks what fits: half of the time the best of a few candidates by colour and contrast.
    """
    # A share of 0 draws nothing: the samples stay those of older models.
    before, after = draw_resize(rng, size) if resized and chance(rng, resized) else (size, None)
    height, width = before[:2]
    scaled = chance(rng, 0.5)
    turn = scaled and chance(rng, 0.35)
    candidates: list[tuple[float, int, Photo, Step | None]] = []
    for _ in range(CANDIDATES if chance(rng, 0.5) else 1):
        donor = pool.draw_scene(rng, min_side=1, other_than=host)
        scales = ORIGIN_SCALES.get(origin, (0.4, 2.0) if scaled else (1.0, 1.0))
        view = draw_view(rng, photo=donor.pixels.shape, size=(height, width), scales=scales, turn=turn)
        candidates.append((_misfit(donor, view, surroundings, before), len(candidates), donor, view))
    _, _, donor, view = min(candidates, key=lambda candidate: candidate[:2])
    if view is None:  # a donor smaller than a third of the patch: all of it, enlarged
        view = {"op": "fit"}
        patch = np.asarray(cv2.resize(donor.pixels, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    else:
        patch = cut_view(donor.pixels, view, (height, width))
    if mirrored := chance(rng, 0.3):
        patch = np.ascontiguousarray(patch[:, ::-1])
    steps = draw_origin_steps(rng, origin, hard_light=hard_light)
    if after is not None:
        steps.append(after)
    for step in steps:
        patch = apply_step(patch, step)
    return patch, {"op": "splice", "donor": donor.sha256, "view": view, "mirrored": mirrored, "steps": steps}


def _misfit(donor: Photo, view: Step | None, surroundings: Image, size: Sequence[int]) -> float:
    """Return how far colour and contrast of a view lie from its surroundings, in grey levels, on every eighth pixel."""
    if view is None:
        return np.inf
    (top, left), scale = view["corner"], view["scale"]
    seen = donor.pixels[top : top + int(size[0] / scale) : 8, left : left + int(size[1] / scale) : 8].reshape(-1, 3)
    around = surroundings[::8, ::8].reshape(-1, 3)
    if not len(seen) or not len(around):
        return np.inf
    return float(np.abs(seen.mean(0) - around.mean(0)).sum() + np.abs(seen.std(0) - around.std(0)).sum())


def _matched(
    rng: np.random.Generator, canvas: Canvas, patch: Image, stencil: Stencil, window: Window
) -> tuple[Image, float]:
    """Bring the patch's colours towards its surroundings, half of the time; return how far, in [0, 1]."""
    if chance(rng, 0.5):
        return patch, 0.0
    strength = round(float(rng.uniform(0.3, 0.9)), 3)
    around, around_spread = cv2.meanStdDev(canvas.image[window.canvas])
    inner, inner_spread = cv2.meanStdDev(patch, mask=stencil)
    gain = 1 + strength * (np.clip(around_spread / np.maximum(inner_spread, 4), 0.6, 1.5) - 1)
    target = inner + strength * (around - inner)
    levels = np.arange(256)[:, None]
    table = np.clip(np.rint((levels - inner.T) * gain.T + target.T), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(patch, table[:, None, :]), np.uint8), strength
