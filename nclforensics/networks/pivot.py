"""The pivot network: encoder, context, two branches that give contour patches opposite roles, and a fused decoder.

The branches have the same shape and separate weights. During training contour patches count as tampered in branch plus
and as authentic in branch minus (Zhou et al., ICCV 2023); the roles live in the loss, the network itself treats both
branches alike.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nclforensics.errors import ShapeError
from nclforensics.networks.encoder import EncoderFeatures, conv_bn
from nclforensics.networks.image_head import ImageHead, combine_logits


class Encoder(Protocol):
    """What the pivot network needs of an encoder."""

    stride: int
    halo: int

    def __call__(self, images: Tensor, blocks: Tensor | None) -> EncoderFeatures:
        """Encode full-resolution channels and per-block channels."""
        ...


class Context(Protocol):
    """What the pivot network needs of a context module."""

    out_channels: int

    def statistics(self, deep: Tensor) -> Tensor:
        """Return plain means over the cells."""
        ...

    def __call__(self, deep: Tensor, statistics: Tensor) -> Tensor:
        """Use them for every cell."""
        ...


class PivotOutput(NamedTuple):
    """All outputs of one forward pass; (h, w) = (ceil(H / stride), ceil(W / stride)).

    Attributes:
        logits: Tampering logit per pixel, shape (B, 1, H, W), float32.
        features_plus: Spatial features u+ of branch plus, shape (B, F, h, w).
        features_minus: Spatial features u- of branch minus, same shape.
        embeddings_plus: Unit embeddings z+, shape (B, D, h, w), float32.
        embeddings_minus: Unit embeddings z-, same shape.
        cell_logits: Mean of the logits over each cell, padding included, shape (B, 1, h, w), float32.
        image_logit: Logit of the image holding any tampered pixel, shape (B,), float32; None without an image head,
            and from `decode`, which may see a part of the image only.
    """

    logits: Tensor
    features_plus: Tensor
    features_minus: Tensor
    embeddings_plus: Tensor
    embeddings_minus: Tensor
    cell_logits: Tensor
    image_logit: Tensor | None = None

    @property
    def score_logits(self) -> Tensor:
        """Return the score map's logits, shape (B, 1, H, W): the pixels', held down by the image's if there is one."""
        return self.logits if self.image_logit is None else combine_logits(self.logits, self.image_logit)


class Branch(nn.Module):
    """One branch: spatial features u and, through a projection head, unit embeddings z."""

    def __init__(self, channels: int, branch_channels: int, embedding_dim: int) -> None:
        super().__init__()
        self.features = nn.Sequential(conv_bn(channels, branch_channels, 3), nn.ReLU(inplace=True))
        self.project = nn.Sequential(
            nn.Conv2d(branch_channels, branch_channels, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(branch_channels, embedding_dim, 1),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return u (B, F, h, w) and z (B, D, h, w) of x (B, C, h, w); z has unit length along D, in float32."""
        features = self.features(x)
        return features, F.normalize(self.project(features).float(), dim=1)


class PivotNetwork(nn.Module):
    """The whole network. Input: RGB images in [0, 1] of any size; output: see `PivotOutput`.

    Built by `nclforensics.networks.build.build_network`. `forward` is `decode(encode(x), context_statistics(...))`; the
    parts are public so that a large image can be processed in tiles that share one set of statistics.

    Attributes:
        stride: Side of a patch in pixels.
        alignment: Tile origins must be multiples of it, so that patches and 8 x 8 blocks keep their places.
        halo: Overlap in pixels that a tile needs on each side for its interior to equal the untiled result.
        copy_matcher: Whether the network was calibrated together with the copy-move matcher, which is no part of it.
    """

    mean: Tensor
    copy_matcher: bool = False

    def __init__(
        self,
        *,
        residual: nn.Module | None,
        error_levels: nn.Module | None,
        mosaic: nn.Module | None = None,
        encoder: nn.Module,
        context: nn.Module,
        branches: tuple[nn.Module, nn.Module],
        decoder: nn.Module,
        image_head: ImageHead | None = None,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.error_levels = error_levels
        self.mosaic = mosaic
        self.encoder = encoder
        self.context = context
        self.branch_plus, self.branch_minus = branches
        self.decoder = decoder
        self.image_head = image_head
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.45), persistent=False)
        self.stride = cast("Encoder", encoder).stride
        self.alignment = 64
        self.halo = cast("Encoder", encoder).halo

    def encode(self, images: Tensor) -> EncoderFeatures:
        """Encode images (B, 3, H, W), float in [0, 1]; sides are padded with edge pixels to multiples of the stride.

        Raises:
            ShapeError: If the shape is not (B, 3, H, W) with H, W >= 1.
        """
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[-2:]) < 1:  # noqa: PLR2004 - (B, 3, H, W)
            raise ShapeError(f"Expected images (B, 3, H, W), got {tuple(images.shape)}.")
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        # bf16 keeps 8 bits of a pixel: under autocast the residuals, differences of neighbours, would be its rounding.
        with torch.autocast(images.device.type, enabled=False):
            blocks = self.error_levels(images) if self.error_levels is not None else None
            mosaic = self.mosaic(images) if self.mosaic is not None else None
            residual = [self.residual(images)] if self.residual is not None else []
        # Full-resolution maps are the peak of memory: each lives as short as it can.
        channels = torch.cat([(images - self.mean).mul_(4.0), *residual], dim=1)
        del images, residual
        features: EncoderFeatures = self.encoder(channels, blocks)
        return features if mosaic is None else _with_stream(features, mosaic)

    def context_statistics(self, deep: Tensor) -> Tensor:
        """Return the image's statistics, shape (B, K), float32: plain means over the cells of deep (B, C, h, w)."""
        return cast("Context", self.context).statistics(deep)

    def decode(self, features: EncoderFeatures, statistics: Tensor, *, size: tuple[int, int]) -> PivotOutput:
        """Return the output for an image or tile of `size` (H, W) from its features and the image's statistics."""
        padded = (features.deep.shape[-2] * self.stride, features.deep.shape[-1] * self.stride)
        x = self.context(features.deep, statistics)
        features_plus, embeddings_plus = self.branch_plus(x)
        features_minus, embeddings_minus = self.branch_minus(x)
        logits = self.decoder(features_plus, features_minus, features.skip, padded)
        return PivotOutput(
            logits=logits[..., : size[0], : size[1]],
            features_plus=features_plus,
            features_minus=features_minus,
            embeddings_plus=embeddings_plus,
            embeddings_minus=embeddings_minus,
            cell_logits=F.avg_pool2d(logits, self.stride),
        )

    def image_sums(self, output: PivotOutput, rows: slice = slice(None), columns: slice = slice(None)) -> Tensor | None:
        """Return what the image head reads of some of the cells, shape (B, K); sums of tiles add up to the image's."""
        if self.image_head is None:
            return None
        features = torch.cat([output.features_plus, output.features_minus], dim=1)
        return self.image_head.sums(features[..., rows, columns], output.cell_logits[..., rows, columns])

    def image_logit(self, sums: Tensor | None) -> Tensor | None:
        """Return the image's logit, shape (B,), from the sums over all its cells; None without an image head."""
        return None if self.image_head is None or sums is None else self.image_head(sums)

    def forward(self, images: Tensor) -> PivotOutput:
        """Localize tampering in images (B, 3, H, W), float in [0, 1], any H and W."""
        features = self.encode(images)
        statistics = self.context_statistics(features.deep)
        output = self.decode(features, statistics, size=(images.shape[-2], images.shape[-1]))
        return output._replace(image_logit=self.image_logit(self.image_sums(output)))


def _with_stream(features: EncoderFeatures, stream: Tensor) -> EncoderFeatures:
    """Append a stream of one value per 8 x 8 block to the deep map, averaged where the encoder's cells are larger."""
    scale = stream.shape[-1] // features.deep.shape[-1]
    cells = F.avg_pool2d(stream, scale) if scale > 1 else stream
    return features._replace(deep=torch.cat([features.deep, cells.to(features.deep.dtype)], dim=1))
