"""Fixed and constrained filters that show the network what the eye does not see: noise and compression residuals.

`SRM_FILTERS`: three high-pass kernels of the steganalysis rich model (Fridrich & Kodovsky, IEEE TIFS 2012), the subset
that Zhou et al. (CVPR 2018) brought to manipulation localization. `BayarConv2d`: learned prediction-error filters
(Bayar & Stamm, IEEE TIFS 2018). `ErrorLevels`: how much each 8 x 8 block would change if it were saved as a JPEG again,
at several qualities (after JPEG ghosts, Farid, IEEE TIFS 2009), computed from the block's DCT without coding anything.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nclforensics.errors import ShapeError

SRM_FILTERS: tuple[tuple[float, tuple[tuple[int, ...], ...]], ...] = (
    # divisor, 5 x 5 kernel: second order 2-D ("edge 3x3"), "square 5x5", and second order horizontal.
    (4.0, ((0, 0, 0, 0, 0), (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0, 0, 0, 0, 0))),
    (12.0, ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1))),
    (2.0, ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0))),
)

# The luminance table of JPEG (ITU-T T.81, Annex K.1) at quality 50, row by row, and the chrominance table.
JPEG_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
JPEG_CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99,
    99, 99, 99, *(99,) * 32,
)  # fmt: skip

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601, as JFIF has it)
BLOCK = 8  # side of a JPEG block in pixels
LOW_ORDERS = 4  # coefficients of order u + v up to this one are the low band
SMALLEST_SUM = 1e-3  # of the taps of a Bayar filter, before they are divided by it


class SRMResidual(nn.Module):
    """Noise residuals of the three SRM filters on each colour channel.

    The residuals are clipped at +-0.15 (about 38 grey levels) and scaled by 6, so that edges do not drown the noise.
    """

    out_channels = 9
    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        kernels = torch.stack([torch.tensor(rows, dtype=torch.float32) / divisor for divisor, rows in SRM_FILTERS])
        self.register_buffer("kernel", kernels.repeat(3, 1, 1).unsqueeze(1), persistent=False)  # (9, 1, 5, 5)

    def forward(self, images: Tensor) -> Tensor:
        """Return residuals, shape (B, 9, H, W), of images (B, 3, H, W) in [0, 1]."""
        padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
        residual: Tensor = F.conv2d(padded, self.kernel.to(images.dtype), groups=3)
        return residual.clamp_(-0.15, 0.15).mul_(6.0)


class BayarConv2d(nn.Module):
    """Learned 5 x 5 filters constrained to predict the centre from its neighbours: centre -1, the others sum to 1."""

    def __init__(self, out_channels: int = 9) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.weight = nn.Parameter(torch.rand(out_channels, 3, 24) + 0.1)  # the 24 taps around the centre

    def constrained_kernel(self) -> Tensor:
        """Return the kernels, shape (out_channels, 3, 5, 5), that satisfy the constraint."""
        total = self.weight.sum(dim=2, keepdim=True)
        # A sum near zero would blow the filter up; its sign is kept.
        smallest = torch.where(total < 0, -SMALLEST_SUM, SMALLEST_SUM).to(total.dtype)
        taps = self.weight / torch.where(total.abs() < SMALLEST_SUM, smallest, total)
        centre = -torch.ones_like(taps[..., :1])
        return torch.cat([taps[..., :12], centre, taps[..., 12:]], dim=2).view(self.out_channels, 3, 5, 5)

    def forward(self, images: Tensor) -> Tensor:
        """Return residuals, shape (B, out_channels, H, W), of images (B, 3, H, W) in [0, 1]."""
        padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
        return F.conv2d(padded, self.constrained_kernel().to(images.dtype)) * 6.0


class ErrorLevels(nn.Module):
    """Log energy of the change that JPEG compression at several qualities would make to each 8 x 8 block.

    Blocks start at the image's top left corner, as a JPEG's do. Because the DCT is orthonormal, the error of a block in
    the pixel domain equals that of its coefficients, so no inverse transform is needed. A block that has been through
    quality q already changes little at q: an island that differs from the rest of the photo has another history.
    """

    qualities = (50, 60, 65, 70, 75, 80, 85, 90, 93, 96, 98)
    chroma_qualities = (60, 75, 85, 92)
    # 32 in all: with a count that is no multiple of 32 (it was 24) the bf16 weight gradient of the next convolution
    # came out as NaN once in a few dozen steps on AVX512-BF16 processors (torch 2.13.0, oneDNN).
    out_channels = 2 * len(qualities) + 2 * len(chroma_qualities) + 2
    dct: Tensor
    to_ycbcr: Tensor
    luminance: Tensor
    chrominance: Tensor
    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("dct", block_dct(), persistent=False)
        weights = [[*LUMA], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
        self.register_buffer("to_ycbcr", torch.tensor(weights) * 255.0, persistent=False)
        luminance = torch.stack([_quantization(JPEG_LUMINANCE, q) for q in self.qualities])
        chrominance = torch.stack([_quantization(JPEG_CHROMINANCE, q) for q in self.chroma_qualities])
        self.register_buffer("luminance", luminance, persistent=False)
        self.register_buffer("chrominance", chrominance, persistent=False)
        order = torch.arange(BLOCK).view(-1, 1) + torch.arange(BLOCK).view(1, -1)
        low = ((order > 0) & (order <= LOW_ORDERS)).flatten().float()  # DC carries brightness, not history
        high = (order > LOW_ORDERS).flatten().float()
        self.register_buffer("bands", torch.stack([low, high], dim=1), persistent=False)  # (64, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Return features, shape (B, 32, H / 8, W / 8), float32, of images (B, 3, H, W) in [0, 1]; H, W multiples of 8.

        Raises:
            ShapeError: If H or W is no multiple of 8.
        """
        height, width = require_whole_blocks(images)
        batch = len(images)
        planes = (self.to_ycbcr @ images.float().flatten(2)).view(batch, 3, height, width)
        coefficients = F.conv2d(planes.flatten(0, 1).unsqueeze(1), self.dct, stride=BLOCK)
        blocks = coefficients.permute(0, 2, 3, 1).reshape(batch, 3, height // BLOCK, width // BLOCK, BLOCK * BLOCK)
        features = [(blocks[:, 0].square() @ self.bands)]
        features += [self._error(blocks[:, 0], table) @ self.bands for table in self.luminance]
        features += [self._error(blocks[:, 1:], table).mean(-1).permute(0, 2, 3, 1) for table in self.chrominance]
        return torch.log1p(torch.cat(features, dim=-1)).permute(0, 3, 1, 2)

    @staticmethod
    def _error(coefficients: Tensor, table: Tensor) -> Tensor:
        steps = coefficients / table
        return steps.sub_(torch.round(steps)).mul_(table).square_()


def require_whole_blocks(images: Tensor) -> tuple[int, int]:
    """Return height and width of images (B, C, H, W).

    Raises:
        ShapeError: If one is no multiple of a block's side.
    """
    height, width = images.shape[-2:]
    if height % BLOCK or width % BLOCK:
        raise ShapeError(f"Expected sides that are multiples of {BLOCK}, got {height} x {width}.")
    return height, width


def block_dct() -> Tensor:
    """Return the orthonormal DCT of an 8 x 8 block as kernels, shape (64, 1, 8, 8), row by row of the frequencies."""
    basis = _dct_matrix()
    return torch.einsum("ux,vy->uvxy", basis, basis).reshape(64, 1, BLOCK, BLOCK)


def _dct_matrix() -> Tensor:
    """Return the orthonormal 8-point DCT-II matrix, shape (8, 8), rows are frequencies."""
    n = torch.arange(BLOCK, dtype=torch.float64)
    matrix = torch.cos(math.pi * (2 * n + 1).view(1, -1) * n.view(-1, 1) / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


def _quantization(table: tuple[int, ...], quality: int) -> Tensor:
    """Return the 64 quantization steps at a quality from 1 to 100, scaled as the IJG library does."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality  # noqa: PLR2004 - the IJG rule
    return torch.tensor([min(max((step * scale + 50) // 100, 1), 255) for step in table], dtype=torch.float32)
