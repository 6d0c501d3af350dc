"""The end of a training run: calibrate, write the model folder, draw curves and sample predictions."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from nclforensics.networks.weights import LoadedModel, load_model, save_model
from nclforensics.pipelines.calibrate import calibrate
from nclforensics.pipelines.device import select_device
from nclforensics.pipelines.inference import Localizer
from nclforensics.reports.curves import SamplePanel, draw_curves, draw_samples

if TYPE_CHECKING:
    from nclforensics.config import RunConfig
    from nclforensics.networks.pivot import PivotNetwork
    from nclforensics.pipelines.checkpoint import RunState
    from nclforensics.pipelines.training_data import TrainingSources
    from nclforensics.pipelines.validation import Validation

SHOWN_SAMPLES = 12


def finish_model(
    config: RunConfig,
    network: PivotNetwork,
    sources: TrainingSources,
    validation: Validation,
    *,
    state: RunState,
    command: str,
) -> LoadedModel:
    """Calibrate the network on held-out authentic photos and write `model/`, `curves.png` and `samples.png`.

    Args:
        config: Of the run.
        network: The averaged network of the best validation.
        sources: Held-out photos and the description of the data.
        validation: Its samples are shown.
        state: The run's counters.
        command: The command line, for the manifest.

    Returns:
        The model as `load_model` reads it back.
    """
    folder = Path(config.train.out)
    localizer = Localizer(network, device=select_device(config.train.device))
    calibration = calibrate(localizer, sources.authentic(), seed=config.train.seed)
    training: dict[str, object] = {
        **sources.description,
        **state.initial,
        "command": command,
        "steps": state.step,
        "best_step": state.best_step,
        "samples": state.step * config.train.batch_size,
        "minutes": round(state.seconds / 60, 1),
        "sessions": state.sessions,
        "validation_score": round(state.best_score, 4),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    name = folder.resolve().name  # "." has none of its own
    save_model(folder / "model", network, config, name=name, calibration=calibration, training=training)
    model = load_model(folder / "model")
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    draw_curves(history, folder / "curves.png")
    draw_samples(_panels(validation, network), folder / "samples.png", threshold=model.threshold)
    return model


def described_initial(spec: str) -> dict[str, str]:
    """Return what the manifest of a run says about the model it starts from; nothing if it starts from random weights.

    Args:
        spec: `train.initial` of the run.
    """
    if not spec:
        return {}
    model = load_model(spec)
    training = model.manifest.get("training", {})
    seen = [str(training.get("kind", "not stated"))]
    seen += [f"before that: {training['initial_training']}"] if "initial_training" in training else []
    return {"initial": model.name, "initial_sha256": model.sha256, "initial_training": "; ".join(seen)}


def _panels(validation: Validation, network: PivotNetwork) -> list[SamplePanel]:
    maps = validation.score_maps(network)
    images = validation.images.permute(0, 2, 3, 1).numpy()
    chosen = np.linspace(0, len(maps) - 1, min(SHOWN_SAMPLES, len(maps))).astype(int)
    return [SamplePanel(images[index], validation.masks[index].numpy(), maps[index]) for index in chosen]
