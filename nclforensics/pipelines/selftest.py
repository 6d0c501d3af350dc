"""The self-test: a bundled photo is scanned on the CPU and compared with what the model's maker got.

A model's folder holds `selftest.jpg`, the expected `selftest.mask.png` and `selftest.json` (`scripts/make_selftest.py`
writes them). Processors of another kind add up in another order, so the last bits of the scores, and with bad luck a
pixel of the mask, may differ without anything being wrong; the outcome says which of the two held, equality or the
tolerance. With torch 2.13.0 the instruction sets of x86-64, from SSE4.1 to AVX-512, gave equal masks and scores that
differed by at most 0.00003.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nclforensics.config import ScanConfig
from nclforensics.data.images import read_samples, sha256_of
from nclforensics.errors import VerificationError
from nclforensics.networks.weights import find_model, load_model
from nclforensics.pipelines.outputs import MASK_SUFFIX, SCORE_SUFFIX, digest_of
from nclforensics.pipelines.run_document import versions
from nclforensics.pipelines.scan import scan_images
from nclforensics.pipelines.scan_plan import plan_scan
from nclforensics.reports.overlay import UINT16_MAX
from nclforensics.results import ScanFinding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.networks.weights import LoadedModel

PHOTO: Final = "selftest.jpg"
MASK: Final = "selftest.mask.png"
DOCUMENT: Final = "selftest.json"
SCHEMA_VERSION: Final = 1
STEP: Final = 16  # scores are stored at every 16th pixel of each axis
SCORE_TOLERANCE: Final = 0.001
MASK_TOLERANCE: Final = 0.001  # share of the pixels
REQUIRED: Final = ("photo_sha256", "weights_sha256", "mask_sha256", "scores_sha256", "versions", "scores")


@dataclass(frozen=True)
class ScannedPhoto:
    """What a scan of the self-test's photo left.

    Attributes:
        finding: The record.
        mask_file: The bytes of the mask's PNG.
        mask: Its pixels, (H, W), uint8.
        score_map: The 16-bit scores, (H, W), uint16.
    """

    finding: ScanFinding
    mask_file: bytes
    mask: NDArray[np.uint8]
    score_map: NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """The outcome of the self-test.

    Attributes:
        model: The model's name.
        weights_sha256: Digest of its weights.
        mask_sha256: Digest of the mask file that was computed.
        expected_sha256: Digest of the mask file that was expected.
        mask_differing: Number of pixels at which the mask differs.
        pixels: Number of pixels of the photo.
        score_map_equal: Whether all 16-bit scores are the expected ones.
        score_difference: Largest difference of a score, in [0, 1], among those stored.
        expected_with: Library versions that the expected result was computed with.
        here: Those of this installation.
    """

    model: str
    weights_sha256: str
    mask_sha256: str
    expected_sha256: str
    mask_differing: int
    pixels: int
    score_map_equal: bool
    score_difference: float
    expected_with: dict[str, str | None]
    here: dict[str, str | None]

    @property
    def identical(self) -> bool:
        """Return whether the mask file and all scores are the expected ones."""
        return self.mask_sha256 == self.expected_sha256 and self.score_map_equal

    @property
    def passed(self) -> bool:
        """Return whether they are at least within the tolerances."""
        within = self.score_difference <= SCORE_TOLERANCE and self.mask_differing <= MASK_TOLERANCE * self.pixels
        return self.identical or within


def run_selftest(spec: str | Path | None = None) -> SelfTest:
    """Scan the photo in a model's folder and compare.

    Args:
        spec: The model, as for `load_model`.

    Raises:
        VerificationError: If the folder holds no self-test, one of other weights, or a photo or mask that was changed.
        WeightsMissingError: If there is no such model.
        WeightsMismatchError: If its weights are not those of its manifest.
    """
    folder = find_model(spec)
    model = load_model(spec)
    expected = _read_document(folder)
    _check_files(folder, model, expected)
    scanned = scan_photo(folder, model)
    mask = read_samples(folder / MASK)
    scores = _stored_scores(scanned.score_map)
    return SelfTest(
        model=model.name,
        weights_sha256=model.sha256,
        mask_sha256=digest_of(scanned.mask_file),
        expected_sha256=expected["mask_sha256"],
        mask_differing=int((mask != scanned.mask).sum()),
        pixels=mask.size,
        score_map_equal=_digest_of_scores(scanned.score_map) == expected["scores_sha256"],
        score_difference=float(np.abs(scores - np.asarray(expected["scores"])).max()),
        expected_with=expected["versions"],
        here=versions(),
    )


def scan_photo(folder: Path, model: LoadedModel) -> ScannedPhoto:
    """Scan the self-test's photo on the CPU in float32, as `nclf scan` does.

    Raises:
        VerificationError: If it cannot be scanned.
    """
    config = ScanConfig(device="cpu", min_region=model.min_region, score_map=True)
    with tempfile.TemporaryDirectory(prefix="nclf-selftest-") as temporary:
        out = Path(temporary)
        (outcome,) = scan_images(plan_scan([folder / PHOTO], out=out), model, config)
        if not isinstance(outcome, ScanFinding):
            raise VerificationError(f"The photo of the self-test was skipped: {outcome.reason}")
        mask = out / (PHOTO + MASK_SUFFIX)
        return ScannedPhoto(outcome, mask.read_bytes(), read_samples(mask), read_samples(out / (PHOTO + SCORE_SUFFIX)))


def make_selftest(folder: Path, photo: Path, *, source: str) -> None:
    """Write the self-test of a model into its folder: the photo, the mask, and what else is expected.

    Args:
        folder: The model's folder.
        photo: A JPEG file in which the model finds something; it is copied.
        source: Where the photo comes from, and its licence.
    """
    (folder / PHOTO).write_bytes(photo.read_bytes())
    model = load_model(folder)
    scanned = scan_photo(folder, model)
    (folder / MASK).write_bytes(scanned.mask_file)
    document = {
        "schema_version": SCHEMA_VERSION,
        "source": source,
        "photo_sha256": scanned.finding.sha256,
        "weights_sha256": model.sha256,
        "mask_sha256": scanned.finding.mask_sha256,
        "scores_sha256": _digest_of_scores(scanned.score_map),
        "versions": versions(),
        "scores": _stored_scores(scanned.score_map).tolist(),
    }
    (folder / DOCUMENT).write_text(json.dumps(document) + "\n", encoding="utf-8")


def _read_document(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / DOCUMENT).read_bytes())
    except (OSError, ValueError) as error:
        raise VerificationError(f"Expected a self-test at {folder / DOCUMENT}, cannot read it: {error}.") from error
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        raise VerificationError(f"{folder / DOCUMENT} is no self-test of schema version {SCHEMA_VERSION}.")
    missing = [name for name in REQUIRED if name not in document]
    if missing:
        raise VerificationError(f'{folder / DOCUMENT} has no "{missing[0]}". Install the model again.')
    return document


def _check_files(folder: Path, model: LoadedModel, expected: dict[str, Any]) -> None:
    try:
        found = {"weights": model.sha256, "photo": sha256_of(folder / PHOTO), "mask": sha256_of(folder / MASK)}
    except OSError as error:
        raise VerificationError(f"A file of the self-test in {folder} cannot be read: {error}.") from error
    for name, digest in found.items():
        if digest != expected[f"{name}_sha256"]:
            raise VerificationError(f"The self-test in {folder} was made with another {name}. Install the model again.")


def _stored_scores(score_map: NDArray[np.uint16]) -> NDArray[np.float64]:
    return np.round(score_map[::STEP, ::STEP] / UINT16_MAX, 5)


def _digest_of_scores(score_map: NDArray[np.uint16]) -> str:
    return digest_of(score_map.astype("<u2").tobytes())
