"""Record what IMDL-BenCo's evaluators say about the score maps of tests/reference/score_maps.py.

    python -m venv scratch && scratch/bin/pip install torch scikit-learn opencv-python
    scratch/bin/pip install --no-deps imdlbenco==0.1.45
    PYTHONPATH=. scratch/bin/python scripts/record_imdlbenco.py tests/assets/imdlbenco_evaluators.json

The tests compare this project's figures with the record, so they need neither the package nor its dependencies. Only
its evaluators are imported: the package itself imports every model of its zoo.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sys
import types
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.reference.score_maps import MapCase, image_scores, map_cases

IMAGE_SEEDS = (0, 1, 2)


def main() -> None:
    """Write the record to the file named on the command line."""
    found = importlib.util.find_spec("IMDLBenCo")
    assert found is not None
    assert found.submodule_search_locations is not None
    root = Path(next(iter(found.submodule_search_locations)))
    for name in ("IMDLBenCo", "IMDLBenCo.evaluation"):
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    record = {
        "made_by": "scripts/record_imdlbenco.py",
        "imdlbenco": version("imdlbenco"),
        "torch": torch.__version__,
        "maps": {case.name: pixel_record(case) for case in map_cases()},
        "images": {str(seed): image_record(seed) for seed in IMAGE_SEEDS},
    }
    Path(sys.argv[1]).write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def pixel_record(case: MapCase) -> dict[str, float | None]:
    """Return the pixel evaluators' values, null where they return nan."""
    predicted = torch.from_numpy(case.score_map)[None, None]
    mask = torch.from_numpy(case.mask.astype(np.float32))[None, None]
    evaluators = {
        "PixelF1 origin": evaluator("F1", "PixelF1", mode="origin"),
        "PixelF1 double": evaluator("F1", "PixelF1", mode="double"),
        "PixelIOU origin": evaluator("IOU", "PixelIOU", mode="origin"),
        "PixelAUC origin": evaluator("AUC", "PixelAUC", mode="origin"),
        "PixelAccuracy origin": evaluator("Accuracy", "PixelAccuracy", mode="origin"),
    }
    values = {name: float(item.batch_update(predicted, mask)[0]) for name, item in evaluators.items()}
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def image_record(seed: int) -> dict[str, float]:
    """Return the image evaluators' values for one set of images."""
    scores, labels = (torch.tensor(values, dtype=torch.float32) for values in image_scores(seed))
    values = {}
    for module, name in (("F1", "ImageF1"), ("AUC", "ImageAUC"), ("Accuracy", "ImageAccuracy")):
        item = evaluator(module, name)
        item.remain_update(scores, labels)  # the path that needs no process group
        values[name] = float(item.epoch_update())
    return values


def evaluator(module: str, name: str, **settings: str) -> Any:  # noqa: ANN401 - classes without types
    """Return an evaluator at its default threshold, 0.5."""
    return getattr(importlib.import_module(f"IMDLBenCo.evaluation.{module}"), name)(**settings)


if __name__ == "__main__":
    main()
