"""How often changed levels are told, and how often authentic photos show a region after such a change.

    python -m benchmarks.changed_levels PHOTOS [--model NAME] [--changes "gamma 0.5" ...]

The photos that every training holds back are changed in 8 bits, as an editor's brightness, contrast and white balance
do, and perhaps saved as JPEG after it. Printed is how many have the fact `levels_changed` then, and how many show a
region at the model's default threshold. None is forged, so each region is a false alarm. docs/decision.md has the
table; how many photos have the fact as they are is told by `benchmarks/quality_facts.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.false_alarms import held_out_photos, shows_region
from benchmarks.quality_facts import saved
from nclforensics.data.histories import Step, apply_step
from nclforensics.data.quality.levels import UNEVENNESS_LIMIT, level_unevenness
from nclforensics.data.quality.sampling import windows
from nclforensics.networks.weights import DEFAULT_MODEL, load_model
from nclforensics.pipelines.inference import Localizer

Image = NDArray[np.uint8]


def tone(*, gamma: float = 1.0, contrast: float = 1.0, gains: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Step:
    """Return a forge's step: gamma, contrast about the middle of the scale, and gains of red, green and blue."""
    return {"op": "tone", "gamma": gamma, "gain": [contrast * g for g in gains], "lift": [128 * (1 - contrast)] * 3}


# A step, and the JPEG quality that the picture is saved with after it.
CHANGES: Final[dict[str, tuple[Step, int | None]]] = {
    "as they are": (tone(), None),
    **{f"gamma {gamma:g}": (tone(gamma=gamma), None) for gamma in (0.5, 0.7, 0.85, 1.2, 1.4, 2)},
    **{f"contrast {factor:g}": (tone(contrast=factor), None) for factor in (0.85, 1.2)},
    "warmer": (tone(gains=(1.1, 1.0, 0.9)), None),
    **{f"gamma {gamma:g}, JPEG {q}": (tone(gamma=gamma), q) for gamma in (0.5, 2) for q in (98, 95, 85)},
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of photos that were not edited")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--changes", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    model = load_model(arguments.model)
    localizer = Localizer(model.network, device=torch.device("cpu"))
    photos = held_out_photos(arguments.photos)
    print(f"| change | levels changed | {model.name} shows a region |\n|---|---|---|")
    for name in arguments.changes:
        changed = [change(pixels, name) for pixels in photos]
        facts = sum(map(has_fact, changed))
        regions = sum(shows_region(model, localizer, pixels) for pixels in changed)
        print(f"| {name} | {facts} of {len(photos)} | {regions} |", flush=True)


def has_fact(pixels: Image) -> bool:
    """Tell whether a picture has the fact."""
    return level_unevenness(windows(pixels)) >= UNEVENNESS_LIMIT


def change(pixels: Image, name: str) -> Image:
    """Return the pixels after one of `CHANGES`."""
    step, quality = CHANGES[name]
    changed = apply_step(pixels, step)
    return changed if quality is None else saved(changed, quality)[1]


if __name__ == "__main__":
    main()
