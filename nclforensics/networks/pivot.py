"""The pivot network: encoder, context, two branches that give contour patches opposite roles, and a fused decoder.

The branches have the same shape and separate weights. During training contour patches count as tampered in branch plus
and as authentic in branch minus (Zhou et al., ICCV 2023); the roles live in the loss, the network itself treats both
branches alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nclforensics.errors import ShapeError
from nclforensics.networks.encoder import EncoderFeatures, conv_bn
from nclforensics.networks.strips import PIXEL_STRIP, Runner, at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from nclforensics.networks.encoder import BasicBlock, Bottleneck
    from nclforensics.networks.image_head import ImageHead
    from nclforensics.networks.mosaic import MosaicStream
    from nclforensics.networks.quantization import QuantizationStream

BLOCK = 8  # side in pixels of what error levels and mosaic traces give one value for
FINE = 4  # and of a cell of the skip map


class Encoder(Protocol):
    """What the pivot network needs of an encoder."""

    stride: int
    halo: int
    fine_reach: int

    def fine(self, images: Tensor) -> Tensor:
        """Return the skip map of full-resolution channels."""
        ...

    @property
    def halving(self) -> BasicBlock | Bottleneck:
        """The block that takes the skip map to one cell a block."""
        ...

    def deep(self, halved: Tensor, blocks: Tensor | None, run: Runner = at_once) -> Tensor:
        """Return the deep map of what `halving` gives and per-block channels."""
        ...


class Context(Protocol):
    """What the pivot network needs of a context module."""

    out_channels: int
    reach: int

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
        score_logits: The score map's logits, shape (B, 1, H, W): the pixels', held down by the image's if there is one.
        image_logit: Logit of the image holding any tampered pixel, shape (B,), float32; None without an image head,
            and from `decode`, which may see a part of the image only.
    """

    logits: Tensor
    features_plus: Tensor
    features_minus: Tensor
    embeddings_plus: Tensor
    embeddings_minus: Tensor
    cell_logits: Tensor
    score_logits: Tensor
    image_logit: Tensor | None = None


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
        decode_halo: The same for a part of the features that is decoded by itself.
        copy_matcher: Whether the network was calibrated together with the copy-move matcher, which is no part of it.
        block_grid: Whether it was calibrated on images analysed on their JPEG grid, wherever it lies.
        calibrated_pixels: Pixels of the largest image that it was calibrated on; 0 if that is not known.
        low_quality: A second network, which no method here calls: a scan reads with it those pictures whose every block
            shows a JPEG saving of at most `low_quality_limit`. Its weights are part of this one's.
        low_quality_limit: On the IJG scale, 1 to 100; 0 without a second network.
        score_shift: What the logits of the score map are lowered by; not 0 in a second network alone.
    """

    mean: Tensor
    copy_matcher: bool = False
    block_grid: bool = True
    calibrated_pixels: int = 0
    low_quality_limit: int = 0
    score_shift: float = 0.0

    def __init__(
        self,
        *,
        residual: nn.Module | None,
        error_levels: nn.Module | None,
        streams: tuple[nn.Module | None, nn.Module | None] = (None, None),
        encoder: nn.Module,
        context: nn.Module,
        branches: tuple[nn.Module, nn.Module],
        decoder: nn.Module,
        image_head: ImageHead | None = None,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.error_levels = error_levels
        self.mosaic, self.quantization = streams
        self.encoder = encoder
        self.context = context
        self.branch_plus, self.branch_minus = branches
        self.decoder = decoder
        self.image_head = image_head
        self.low_quality: PivotNetwork | None = None
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.45), persistent=False)
        self.stride = cast("Encoder", encoder).stride
        self.alignment = 64
        self.halo = cast("Encoder", encoder).halo
        reach = cast("Context", context).reach
        if self.quantization is not None:
            reach = max(reach, -(-cast("QuantizationStream", self.quantization).reach * BLOCK // self.stride))
        # Branch and upsampling read a cell each, what follows less than a third; one is to spare.
        self.decode_halo = self.stride * (reach + 4)

    def encode(self, images: Tensor, run: Runner = at_once) -> EncoderFeatures:
        """Encode images; sides are padded with edge pixels to multiples of the stride.

        Args:
            images: Shape (B, 3, H, W), H, W >= 1: float in [0, 1], or uint8.
            run: How layers are applied: `in_strips` takes less memory for a large image, and cannot be trained.

        Raises:
            ShapeError: If the shape is another one.
        """
        images = _padded(images, self.stride)
        encoder = cast("Encoder", self.encoder)
        blocks = self._blocks(images, run)
        skip = self._skip(images, run)
        # No large map but the skip map has a name here: each is let go of as soon as the next one is there.
        deep = encoder.deep(
            run(encoder.halving, skip, reach=encoder.halving.reach, stride=encoder.halving.stride), blocks, run
        )
        return EncoderFeatures(skip, _joined([deep, *self._streams(images, deep, run)]))

    def encode_deep(self, images: Tensor, run: Runner) -> list[Tensor]:
        """Return `encode(images, run).deep` without ever holding the skip map, which takes half of the memory.

        Returns:
            Maps that make it up when joined along the channels: joined here, all would be held twice.
        """
        images = _padded(images, self.stride)
        encoder = cast("Encoder", self.encoder)
        blocks = self._blocks(images, run)
        reach = encoder.fine_reach + FINE * encoder.halving.reach
        deep = encoder.deep(
            run(self._halved, images, reach=reach, stride=BLOCK, strip=PIXEL_STRIP // BLOCK), blocks, run
        )
        del blocks
        return [deep, *self._streams(images, deep, run)]

    def encode_fine(self, images: Tensor, run: Runner) -> Tensor:
        """Return `encode(images, run).skip`."""
        return self._skip(_padded(images, self.stride), run)

    def _skip(self, images: Tensor, run: Runner) -> Tensor:
        reach = cast("Encoder", self.encoder).fine_reach
        return run(self._fine, images, reach=reach, stride=FINE, strip=PIXEL_STRIP // FINE)

    def _fine(self, images: Tensor) -> Tensor:
        """Return the skip map of images; their full-resolution maps are the peak of memory and end with it."""
        images = _floats(images)
        # bf16 keeps 8 bits of a pixel: under autocast the residuals, differences of neighbours, would be its rounding.
        with torch.autocast(images.device.type, enabled=False):
            residual = [self.residual(images)] if self.residual is not None else []
        channels = [(images - self.mean).mul_(4.0), *residual]
        del images, residual
        return cast("Encoder", self.encoder).fine(_joined(channels))

    def _halved(self, images: Tensor) -> Tensor:
        halved: Tensor = cast("Encoder", self.encoder).halving(self._fine(images))
        return halved

    def _blocks(self, images: Tensor, run: Runner) -> Tensor | None:
        """Return the error levels of each 8 x 8 block, which the encoder reads."""
        if self.error_levels is None:
            return None
        with torch.autocast(images.device.type, enabled=False):  # as in `_fine`
            return run(_of_floats(self.error_levels), images, reach=0, stride=BLOCK, strip=PIXEL_STRIP // BLOCK)

    def _streams(self, images: Tensor, deep: Tensor, run: Runner) -> list[Tensor]:
        """Return what is joined to the encoder's deep map: the mosaic's stream, and the magnitudes of quantization.

        Where the encoder's cells are larger than a block, the mosaic's is averaged.
        """
        streams: list[Tensor] = []
        with torch.autocast(images.device.type, enabled=False):  # as in `_fine`
            if self.mosaic is not None:
                mosaic = cast("MosaicStream", self.mosaic)
                layer = _of_floats(mosaic.traces)
                gathered = mosaic.gather(run(layer, images, reach=BLOCK, stride=BLOCK, strip=PIXEL_STRIP // BLOCK))
                scale = gathered.shape[-1] // deep.shape[-1]
                streams.append(F.avg_pool2d(gathered, scale) if scale > 1 else gathered)
            if self.quantization is not None:
                quantization = cast("QuantizationStream", self.quantization)
                layer = _of_floats(quantization.traces)
                magnitudes = run(layer, images, reach=0, stride=BLOCK, strip=PIXEL_STRIP // BLOCK)
                streams.append(quantization.packed(magnitudes))
        return [stream.to(deep.dtype) for stream in streams]

    def _parts(self, deep: Tensor) -> tuple[Tensor, Tensor]:
        """Split a deep map into what the context reads and the magnitudes of the quantization stream."""
        last = 0 if self.quantization is None else cast("QuantizationStream", self.quantization).in_channels
        return deep[:, : deep.shape[1] - last], deep[:, deep.shape[1] - last :]

    def context_statistics(self, deep: Tensor) -> Tensor:
        """Return the image's statistics, shape (B, K), float32: plain means over the cells of deep (B, C, h, w)."""
        deep, magnitudes = self._parts(deep)
        statistics = cast("Context", self.context).statistics(deep)
        if self.quantization is None:
            return statistics
        return torch.cat([cast("QuantizationStream", self.quantization).statistics(magnitudes), statistics], dim=1)

    def decode(self, features: EncoderFeatures, statistics: Tensor, *, size: tuple[int, int]) -> PivotOutput:
        """Return the output for an image or tile of `size` (H, W) from its features and the image's statistics."""
        padded = (features.deep.shape[-2] * self.stride, features.deep.shape[-1] * self.stride)
        deep, magnitudes = self._parts(features.deep)
        if self.quantization is None:
            x = self.context(deep, statistics)
        else:
            shares = cast("QuantizationStream", self.quantization).shares
            x = self.context(deep, statistics[:, shares:]) + self.quantization(magnitudes, statistics[:, :shares])
        features_plus, embeddings_plus = self.branch_plus(x)
        features_minus, embeddings_minus = self.branch_minus(x)
        padded_logits = self.decoder(features_plus, features_minus, features.skip, padded)
        logits = padded_logits[..., : size[0], : size[1]]
        return PivotOutput(
            logits=logits,
            features_plus=features_plus,
            features_minus=features_minus,
            embeddings_plus=embeddings_plus,
            embeddings_minus=embeddings_minus,
            cell_logits=F.avg_pool2d(padded_logits, self.stride),
            score_logits=logits,
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

    def score_logits(self, logits: Tensor, image_logit: Tensor | None) -> Tensor:
        """Return the score map's logits from those of pixels (B, 1, H, W) and images (B,): see `ImageHead.combine`."""
        if self.image_head is not None and image_logit is not None:
            logits = self.image_head.combine(logits, image_logit)
        return logits - self.score_shift if self.score_shift else logits

    def forward(self, images: Tensor) -> PivotOutput:
        """Localize tampering in images (B, 3, H, W), float in [0, 1], any H and W."""
        features = self.encode(images)
        statistics = self.context_statistics(features.deep)
        output = self.decode(features, statistics, size=(images.shape[-2], images.shape[-1]))
        image_logit = self.image_logit(self.image_sums(output))
        return output._replace(image_logit=image_logit, score_logits=self.score_logits(output.logits, image_logit))


def _padded(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sides are multiples."""
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[-2:]) < 1:  # noqa: PLR2004 - (B, 3, H, W)
        raise ShapeError(f"Expected images (B, 3, H, W), got {tuple(images.shape)}.")
    # Not "-side % multiple": torch.compile has no remainder of a side of any length (2.13 and 2.14). Nor "-(-side //
    # multiple)": ONNX divides towards zero.
    below, right = ((side + multiple - 1) // multiple * multiple - side for side in images.shape[-2:])
    if images.dtype != torch.uint8:
        return F.pad(images, (0, right, 0, below), mode="replicate")
    for axis, missing in ((2, below), (3, right)):  # PyTorch's own padding takes floats only
        if missing:
            edge = images.narrow(axis, images.shape[axis] - 1, 1)
            images = torch.cat([images] + [edge] * missing, dim=axis)
    return images


def _floats(images: Tensor) -> Tensor:
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def _of_floats(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda images: layer(_floats(images))


def _joined(parts: list[Tensor]) -> Tensor:
    """Return maps joined along the channels; the list is emptied, so that they do not outlive it."""
    joined = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
    parts.clear()
    return joined
