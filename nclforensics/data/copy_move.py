"""Copy-moves: part of the image pasted elsewhere on it."""

from __future__ import annotations

from typing import Final

import numpy as np

from nclforensics.data.canvas import Canvas, apart, draw_window, padded, paste
from nclforensics.data.histories import Step, apply_step, chance, draw_noise, draw_tone
from nclforensics.data.shapes import draw_stencil
from nclforensics.data.views import cut_view, draw_view

TRIES: Final = 20
LARGEST_BOX: Final = 0.5  # longest side of the copy as a share of the canvas


def copy_move(canvas: Canvas, rng: np.random.Generator, *, area: float) -> Step:
    """Paste part of the canvas elsewhere on it; only the copy is marked. Source and copy overlap little."""
    shape, stencil = draw_stencil(rng, area=area, limit=int(canvas.side * LARGEST_BOX))
    stencil = padded(stencil)
    height, width = stencil.shape
    altered = chance(rng, 0.45)
    scale = float(np.exp(rng.uniform(-0.35, 0.35))) if altered else 1.0
    view = None
    for _ in range(TRIES):
        view = draw_view(
            rng,
            photo=canvas.image.shape,
            size=(height, width),
            scales=(scale, scale),
            turn=altered and chance(rng, 0.5),
        )
        window = draw_window(rng, stencil.shape, canvas.side)
        if view is not None and apart(view["corner"], window):
            break
    assert view is not None  # a window on the canvas always fits the canvas
    patch = cut_view(canvas.image, view, (height, width))
    if mirrored := chance(rng, 0.2):
        patch, stencil = np.ascontiguousarray(patch[:, ::-1]), np.ascontiguousarray(stencil[:, ::-1])
    steps = [draw_tone(rng)] if chance(rng, 0.15) else []
    steps += [draw_noise(rng)] if chance(rng, 0.08) else []
    for step in steps:
        patch = apply_step(patch, step)
    edge = paste(canvas, rng, patch=patch, stencil=stencil, window=window)
    place = {"shape": shape, "at": [window.top, window.left], "view": view, "mirrored": mirrored}
    return {"op": "copy_move", "steps": steps, **place, **edge}
