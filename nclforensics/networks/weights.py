"""Models on disk: a folder of weights.safetensors, manifest.toml, config.toml and card.md, verified at each load.

Weights are evidence: their SHA-256 stands in the manifest, is computed from the very bytes that are loaded, and
goes into every report. Nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import safetensors.torch
import tomli_w
import torch
from safetensors import SafetensorError

import nclforensics
from nclforensics.config import ModelConfig, RunConfig, dump_config, load_config
from nclforensics.errors import ConfigError, MissingInputError, OutputError, WeightsMismatchError, WeightsMissingError
from nclforensics.networks.build import build_network
from nclforensics.results import Calibration

if TYPE_CHECKING:
    from nclforensics.networks.pivot import PivotNetwork

DEFAULT_MODEL: Final = "ncl-lite-v10"
DEFAULT_RATE: Final = 0.05
WEIGHTS_FILE: Final = "weights.safetensors"
MANIFEST_FILE: Final = "manifest.toml"
CONFIG_FILE: Final = "config.toml"
MANIFEST_SCHEMA_VERSION: Final = 1
# Without a calibration nothing is known about any threshold; 0.5 is the seg loss's own decision boundary.
UNCALIBRATED_THRESHOLD: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A network whose weights are proven to be the ones of its manifest.

    Attributes:
        network: In eval mode, on the CPU.
        config: The shape of the network.
        name: The model's name, from the manifest.
        sha256: Digest of the weights file.
        threshold: Default score threshold, the one at the default false-positive rate, or at the lowest measured.
        thresholds: False-positive rate on authentic photos -> score threshold.
        min_region: Region size, as a share of the image's area, that the thresholds hold for.
        calibration: The same figures with the number and source of the authentic photos.
        manifest: The whole manifest.
    """

    network: PivotNetwork
    config: ModelConfig
    name: str
    sha256: str
    threshold: float
    thresholds: dict[float, float]
    min_region: float
    calibration: Calibration
    manifest: dict[str, Any]


def bundled_models_folder() -> Path:
    """Return the folder of the models that come with the package: inside a wheel, beside it in a checkout."""
    package = Path(nclforensics.__file__).resolve().parent
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


def bundled_models() -> list[str]:
    """Return the names of the models that come with the package, sorted."""
    folder = bundled_models_folder()
    return sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST_FILE}"))


def load_model(spec: str | Path | None = None) -> LoadedModel:
    """Load a model and check that its weights are the ones that its manifest describes.

    Args:
        spec: None for the default model, a bundled model's name, a model folder, or a run folder of `nclf train`.

    Raises:
        WeightsMissingError: If there is no such model, or a file of it is missing.
        WeightsMismatchError: If digest, names or shapes of the weights differ from manifest and configuration.
    """
    folder = find_model(spec)
    manifest = _read_manifest(folder)
    content = _read_bytes(folder / WEIGHTS_FILE)
    sha256 = hashlib.sha256(content).hexdigest()
    _check_digest(folder, sha256, expected=str(manifest["weights"]["sha256"]))
    config = _read_model_config(folder)
    network = build_network(config)
    _fill(network, content, folder=folder)
    calibration = _calibration_of(manifest, folder)
    for part in (network, network.low_quality):
        if part is not None:
            part.calibrated_pixels = calibration.largest_pixels
    return LoadedModel(
        network=network.eval(),
        config=config,
        name=str(manifest["model"]["name"]),
        sha256=sha256,
        threshold=_default_threshold(calibration),
        thresholds=dict(zip(calibration.false_positive_rates, calibration.thresholds, strict=True)),
        min_region=calibration.min_region,
        calibration=calibration,
        manifest=manifest,
    )


def save_model(
    folder: Path,
    network: torch.nn.Module,
    run_config: RunConfig,
    *,
    name: str,
    calibration: Calibration,
    training: dict[str, Any],
) -> str:
    """Write a model folder (its card is written by hand) and return the SHA-256 of the weights.

    Each file is replaced as a whole and the manifest comes last: a write cut short leaves either the old model or one
    that `load_model` refuses, never a wrong one.

    Args:
        folder: Created where missing; an older model in it is replaced.
        network: Its state dictionary is stored, on the CPU; a tensor of matrices or filters whose numbers half
            precision holds exactly, as `scripts/join_networks.py` rounds them, takes half the space.
        run_config: Its `[model]` table builds the network again.
        name: The model's name in reports.
        calibration: Thresholds measured on authentic photos.
        training: What the manifest says about the training: sources, command, steps (TOML values).

    Raises:
        OutputError: If a file cannot be written.
    """
    tensors = {key: _compact(value.detach().cpu().contiguous()) for key, value in network.state_dict().items()}
    # One metadata key only: safetensors stores several in random order, and the digest would change with it.
    content = safetensors.torch.save(tensors, metadata={"format": "pt"})
    sha256 = hashlib.sha256(content).hexdigest()
    manifest = {
        "schema_version": MANIFEST_SCHEMA_VERSION,
        "model": {
            "name": name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_version": nclforensics.__version__,
        },
        "weights": {
            "file": WEIGHTS_FILE,
            "sha256": sha256,
            "bytes": len(content),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
        },
        "calibration": {
            "threshold": _default_threshold(calibration),
            **{key: list(value) if isinstance(value, tuple) else value for key, value in _fields(calibration).items()},
        },
        "training": training,
    }
    _replace_file(folder / CONFIG_FILE, dump_config(run_config).encode())
    _replace_file(folder / WEIGHTS_FILE, content)
    _replace_file(folder / MANIFEST_FILE, tomli_w.dumps(manifest).encode())
    return sha256


def _compact(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy, in half precision where that loses nothing of a float32 tensor of two or more dimensions."""
    half = tensor.half()
    exact = tensor.dtype == torch.float32 and tensor.ndim > 1 and torch.equal(half.float(), tensor)
    return half if exact else tensor.clone()


def find_model(spec: str | Path | None = None) -> Path:
    """Return the folder of a model; a bundled name wins over a folder of that name in the working directory.

    Raises:
        WeightsMissingError: If there is none, or the system does not tell; the message names what is available.
    """
    wanted = DEFAULT_MODEL if spec is None else str(spec)
    if wanted in bundled_models():
        return bundled_models_folder() / wanted
    try:
        for candidate in (Path(wanted), Path(wanted) / "model"):
            if (candidate / MANIFEST_FILE).is_file():
                return candidate
    except OSError as error:  # a name that is too long, or a folder that may not be entered
        raise WeightsMissingError(
            f"Expected a model at {wanted}, cannot look there: {error.strerror}. Name it with --weights."
        ) from error
    available = ", ".join(bundled_models()) or "none (the models folder of this installation is empty)"
    raise WeightsMissingError(
        f'Expected a model named "{wanted}" or a folder {wanted} with {MANIFEST_FILE}, found neither. '
        f"Bundled models: {available}. Older ones are in the folder models of the source repository."
    )


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST_FILE
    try:
        manifest = tomllib.loads(_read_bytes(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WeightsMismatchError(f"{path} is not valid TOML: {error}. Fetch the model again.") from error
    for table, key in (("model", "name"), ("weights", "sha256"), ("calibration", "thresholds")):
        if not isinstance(manifest.get(table), dict) or key not in manifest[table]:
            raise WeightsMismatchError(f'{path} has no "{key}" in its table [{table}]. Fetch the model again.')
    return manifest


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsMissingError(f"Expected a model file at {path}, cannot read it: {error.strerror}.") from error


def _check_digest(folder: Path, found: str, *, expected: str) -> None:
    if found != expected:
        raise WeightsMismatchError(
            f"{folder / WEIGHTS_FILE} has sha256 {found[:12]}..., its manifest says {expected[:12]}.... "
            "The file was changed or damaged: install the model again, or take it from its original source."
        )


def _read_model_config(folder: Path) -> ModelConfig:
    try:
        return load_config(folder / CONFIG_FILE).model
    except MissingInputError as error:
        raise WeightsMissingError(str(error)) from error
    except ConfigError as error:
        raise WeightsMismatchError(f"The model's configuration cannot be used: {error}") from error


def _fill(network: torch.nn.Module, content: bytes, *, folder: Path) -> None:
    """Copy the tensors into the network: every name, shape and number must fit."""
    where = folder / WEIGHTS_FILE
    try:
        tensors = safetensors.torch.load(content)
    except SafetensorError as error:
        raise WeightsMismatchError(f"{where} is no safetensors file: {error}.") from error
    broken = [key for key, value in tensors.items() if not torch.isfinite(value).all()]
    if broken:
        raise WeightsMismatchError(f'{where} holds numbers that are not finite, first in "{broken[0]}".')
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:400]
        raise WeightsMismatchError(f"{where} does not fit the network of {CONFIG_FILE}: {reason}") from error


def _calibration_of(manifest: dict[str, Any], folder: Path) -> Calibration:
    table = manifest["calibration"]
    try:
        return Calibration(
            false_positive_rates=tuple(map(float, table["false_positive_rates"])),
            thresholds=tuple(map(float, table["thresholds"])),
            min_region=float(table["min_region"]),
            authentic=int(table["authentic"]),
            source=str(table["source"]),
            versions=int(table.get("versions", 1)),
            largest_pixels=int(table.get("largest_pixels", 0)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsMismatchError(
            f"The table [calibration] of {folder / MANIFEST_FILE} is incomplete or has a wrong value ({error!r})."
        ) from error


def _default_threshold(calibration: Calibration) -> float:
    if not calibration.false_positive_rates:
        return UNCALIBRATED_THRESHOLD
    # Few photos resolve no rate as low as the default one: then the lowest that they do.
    return calibration.threshold_at(max(DEFAULT_RATE, min(calibration.false_positive_rates)))


def _fields(calibration: Calibration) -> dict[str, Any]:
    return dataclasses.asdict(calibration)


def _replace_file(path: Path, content: bytes) -> None:
    """Write under a temporary name beside the target, then rename: a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"Cannot write {path}: {error.strerror}. Free space or choose another folder.") from error
