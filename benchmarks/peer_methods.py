"""The alternatives that benchmarks/peers.py runs: how each is called, and how its output becomes a score map.

No result of a method is changed beyond that: no map is smoothed or fitted to a data set, and none inverted but the one
that is called so. Where a method has a
scale of its own the rule is the same for every image; where it has none (a noise level, a block difference), the map is
stretched image by image, from its 1st to its 99th percentile, which is what pyIFD's own `postprocessing` does.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Raw = NDArray[Any]

Scores = NDArray[np.float32]

PACKAGES: Final = ("pyIFD", "deeptrace-ela", "authentica")
INSTALL: Final = 'pip install "numpy<2" pyIFD deeptrace-ela authentica  # jpegio, which pyIFD needs, is compiled'
UNKNOWN: Final = 0.5  # the score of a pixel about which a method says nothing


@dataclass(frozen=True)
class Picture:
    """One image as the methods get it, in the orientation in which it is stored.

    Attributes:
        pixels: RGB, uint8 (H, W, 3).
        png: A lossless file with these pixels.
        jpeg: The file itself, with the suffix .jpg that pyIFD wants; None if it is no JPEG.
    """

    pixels: NDArray[np.uint8]
    png: Path
    jpeg: Path | None


@dataclass(frozen=True)
class Scale:
    """How a method's output becomes scores in [0, 1]."""

    words: str
    apply: Callable[[Raw], Raw]


@dataclass(frozen=True)
class Peer:
    """One method.

    Attributes:
        name: How the table calls it.
        package: What to install.
        module: What to import.
        call: Takes the module and a path, returns the map on the method's own grid, (h, w).
        traces: What it looks for, and who published it.
        scale: How its values become scores.
        reads: The file it gets: "jpeg" it cannot do without, "either" is the JPEG where there is one.
        cell: Side in pixels of one cell of its grid.
        start: Pixel at which the first cell begins.
    """

    name: str
    package: str
    module: str
    call: Callable[[Any, str], Raw]
    traces: str
    scale: Scale
    reads: Literal["pixels", "jpeg", "either"] = "pixels"
    cell: int = 1
    start: int = 0

    def open(self) -> Callable[[Picture], Scores]:
        """Import the method and return what gives an image's score map; that raises whatever the method raises."""
        module = importlib.import_module(self.module)

        def localize(picture: Picture) -> Scores:
            if self.reads == "jpeg" and picture.jpeg is None:
                raise ValueError("it needs a JPEG file")
            path = picture.png if self.reads == "pixels" or picture.jpeg is None else picture.jpeg
            raw = np.asarray(self.call(module, str(path)))
            if raw.ndim != 2 or not raw.size:  # noqa: PLR2004 - rows and columns
                raise ValueError("it returned no map")
            scores = self.scale.apply(raw.astype(np.float64))
            return on_pixels(np.nan_to_num(scores, nan=UNKNOWN).clip(0, 1), picture.pixels.shape, self)

        return localize


def on_pixels(scores: Raw, size: tuple[int, ...], peer: Peer) -> Scores:
    """Return a map of cells as one of pixels, each with the score of its cell or, at the margin, of the nearest one."""
    rows, columns = (
        ((np.arange(length) - peer.start) // peer.cell).clip(0, cells - 1)
        for length, cells in zip(size, scores.shape, strict=False)
    )
    return np.asarray(scores[rows[:, None], columns], dtype=np.float32)


def not_usable(package: str) -> str | None:
    """Return why a package cannot be used here, None if it can."""
    try:
        version(package)
    except PackageNotFoundError:
        return "not installed"
    if package == "pyIFD" and int(np.__version__.split(".")[0]) > 1:
        return f"needs numpy<2 (np.NaN, arrays as indices), found {np.__version__}"
    return None


def _stretched(values: Raw) -> Raw:
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (1, 99)) if finite.size else (0.0, 0.0)
    return (values - low) / (high - low) if high > low else np.full(values.shape, UNKNOWN)


def _logistic(values: Raw) -> Raw:
    return np.asarray(1 / (1 + np.exp(-values.clip(-500, 500))))


def _ghost(outputs: Any) -> Raw:  # noqa: ANN401 - pyIFD returns a list of six things
    """Return the picture of the clearest ghost beside the last saving.

    pyIFD gives one picture for each JPEG quality and leaves the choice to the eye. Here it is the local minimum of the
    overall difference with the lowest value after the global one, which is the last saving.
    """
    difference, pictures, minima = np.asarray(outputs[1]), outputs[2], np.asarray(outputs[3], int) - 1
    ordered = minima[np.argsort(difference[minima], kind="stable")]
    return np.asarray(pictures[int(ordered[1] if ordered.size > 1 else np.argmin(difference))])


def _first(outputs: Any) -> Any:  # noqa: ANN401 - what the method returns: its map, or a list that begins with it
    return outputs[0] if isinstance(outputs, list) else outputs


AS_IT_IS: Final = Scale("as it is, in [0, 1] by construction", lambda values: values)
PICTURE: Final = Scale("its grey levels / 255, clipped at 1", lambda values: values / 255)
LOGISTIC: Final = Scale("logistic function of its decision value, so that 0 becomes 0.5", _logistic)
STRETCHED: Final = Scale("per image: 1st to 99th percentile", _stretched)
ITS_OWN: Final = Scale("as it is: the package stretches it per image", lambda values: values)

_JPEG2: Final = "aligned double JPEG"
PEERS: Final = (
    Peer(
        "ADQ1", "pyIFD", "pyIFD.ADQ1", lambda m, p: _first(m.detectDQ(p)), f"{_JPEG2} (Lin 2009)", AS_IT_IS, "either", 8
    ),
    Peer(
        "ADQ2",
        "pyIFD",
        "pyIFD.ADQ2",
        lambda m, p: _first(m.getJmap(p)),
        f"{_JPEG2} (Bianchi 2011)",
        AS_IT_IS,
        "jpeg",
        8,
    ),
    Peer("ADQ3", "pyIFD", "pyIFD.ADQ3", lambda m, p: m.BenfordDQ(p), f"{_JPEG2} (Amerini 2014)", LOGISTIC, "jpeg", 8),
    # It adds the log-likelihood ratios of 3 x 3 blocks; their mean is that of one block.
    Peer(
        "NADQ",
        "pyIFD",
        "pyIFD.NADQ",
        lambda m, p: m.NADQ(p) / 9,
        "shifted double JPEG (Bianchi 2012)",
        LOGISTIC,
        "jpeg",
        8,
    ),
    Peer(
        "BLK", "pyIFD", "pyIFD.BLK", lambda m, p: m.GetBlockGrid(p)[0], "JPEG block grid (Li 2009)", STRETCHED, cell=8
    ),
    Peer("CAGI", "pyIFD", "pyIFD.CAGI", lambda m, p: m.CAGI(p)[0], "JPEG block grid (Iakovidou 2018)", ITS_OWN),
    Peer("DCT", "pyIFD", "pyIFD.DCT", lambda m, p: m.DCT(p), "JPEG quantization (Ye 2007)", PICTURE, "either", 8),
    Peer(
        "GHOST",
        "pyIFD",
        "pyIFD.GHOST",
        lambda m, p: _ghost(m.GHOST(p)),
        "JPEG ghosts (Farid 2009)",
        ITS_OWN,
        cell=4,
        start=8,
    ),
    # A ghost is dark in that picture, and so is whatever is smooth: both readings are measured.
    Peer(
        "GHOST (dark)",
        "pyIFD",
        "pyIFD.GHOST",
        lambda m, p: 1 - _ghost(m.GHOST(p)),
        "the same, inverted",
        ITS_OWN,
        cell=4,
        start=8,
    ),
    Peer("ELA", "pyIFD", "pyIFD.ELA", lambda m, p: m.ELA(p), "error levels at quality 90 (Krawetz 2007)", PICTURE),
    Peer("CFA1", "pyIFD", "pyIFD.CFA1", lambda m, p: m.CFA1(p), "colour filter array (Ferrara 2012)", AS_IT_IS, cell=8),
    Peer("CFA2", "pyIFD", "pyIFD.CFA2", lambda m, p: m.CFA2(p), "colour filter array (Dirik 2009)", AS_IT_IS, cell=16),
    # One cell is 8 wavelet coefficients; the filter, 16 long, begins before the image does.
    Peer(
        "NOI1",
        "pyIFD",
        "pyIFD.NOI1",
        lambda m, p: m.GetNoiseMap(p),
        "noise level (Mahdian 2009)",
        STRETCHED,
        cell=16,
        start=-7,
    ),
    Peer("NOI2", "pyIFD", "pyIFD.NOI2", lambda m, p: m.GetNoiseMaps(p), "noise level (Lyu 2014)", STRETCHED, cell=4),
    Peer(
        "NOI4",
        "pyIFD",
        "pyIFD.NOI4",
        lambda m, p: m.MedFiltForensics(p),
        "median filter residual (Wagner 2015)",
        PICTURE,
    ),
    Peer("NOI5", "pyIFD", "pyIFD.NOI5", lambda m, p: m.PCANoise(p)[0], "noise level (Zeng 2017)", STRETCHED, cell=32),
    Peer(
        "ELA (deeptrace)",
        "deeptrace-ela",
        "deeptrace_ela",
        # Its default amplification depends on the image; 15 is the most that it ever uses.
        lambda m, p: np.asarray(m.analyze_ela(p, scale=15.0).heatmap).mean(axis=2),
        "error levels at quality 95",
        PICTURE,
    ),
    Peer(
        "ELA (authentica)",
        "authentica",
        "authentica.forensics.analyzer",
        lambda m, p: m.ForensicsAnalyzer().analyze(p).ela_heatmap,
        "error levels at quality 90",
        AS_IT_IS,
    ),
    Peer(
        "noise (authentica)",
        "authentica",
        "authentica.forensics.analyzer",
        lambda m, p: m.ForensicsAnalyzer().analyze(p).noise_heatmap,
        "3 x 3 mean filter residual",
        ITS_OWN,
    ),
)
