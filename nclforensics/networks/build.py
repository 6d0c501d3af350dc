"""From a `ModelConfig` to a network: an explicit builder for each encoder, no registration, no pre-trained weights."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from nclforensics.networks.context import ASPP, ImageDeviation
from nclforensics.networks.decoder import FusedDecoder
from nclforensics.networks.encoder import BASE_WIDTHS, LITE_WIDTHS, LiteEncoder, ResNetEncoder
from nclforensics.networks.image_head import ImageHead
from nclforensics.networks.mosaic import MosaicStream
from nclforensics.networks.pivot import BLOCK, Branch, PivotNetwork
from nclforensics.networks.quantization import QuantizationStream
from nclforensics.networks.residual import BayarConv2d, ErrorLevels, SRMResidual

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from nclforensics.config import ModelConfig


def build_network(config: ModelConfig) -> PivotNetwork:
    """Return a freshly initialized network; weights depend on torch's global random state."""
    network = ENCODERS[config.encoder](config)
    network.copy_matcher, network.block_grid = config.copy_matcher, config.block_grid
    if config.low_quality:
        network.low_quality = build_network(dataclasses.replace(config, low_quality=0))
        network.low_quality.score_shift = config.low_quality_shift
        network.low_quality_limit = config.low_quality
    return network


def _lite(config: ModelConfig, widths: tuple[int, int, int, int] = LITE_WIDTHS) -> PivotNetwork:
    residual, image_channels, error_levels, block_channels = _inputs(config)
    encoder = LiteEncoder(image_channels, block_channels, widths)
    context = ImageDeviation(encoder.deep_channels, stream=MosaicStream.out_channels if config.mosaic else 0)
    decoder = FusedDecoder(config.branch_channels, encoder.skip_channels, channels=config.decoder_channels)
    return _assemble(config, residual, error_levels, encoder, context, decoder)


def _base(config: ModelConfig) -> PivotNetwork:
    return _lite(config, BASE_WIDTHS)


def _resnet(config: ModelConfig, depths: tuple[int, int, int, int]) -> PivotNetwork:
    residual, image_channels, error_levels, block_channels = _inputs(config)
    encoder = ResNetEncoder(depths, image_channels, block_channels)
    context = ASPP(encoder.deep_channels + (MosaicStream.out_channels if config.mosaic else 0))
    decoder = FusedDecoder(
        config.branch_channels, encoder.skip_channels, channels=config.decoder_channels, reduced_skip=48, depth=2
    )
    return _assemble(config, residual, error_levels, encoder, context, decoder)


def _resnet50(config: ModelConfig) -> PivotNetwork:
    return _resnet(config, (3, 4, 6, 3))


def _resnet101(config: ModelConfig) -> PivotNetwork:
    return _resnet(config, (3, 4, 23, 3))


ENCODERS: Final[dict[str, Callable[[ModelConfig], PivotNetwork]]] = {
    "lite": _lite,
    "base": _base,
    "resnet50": _resnet50,
    "resnet101": _resnet101,
}


def _inputs(config: ModelConfig) -> tuple[nn.Module | None, int, nn.Module | None, int]:
    residual: nn.Module | None = None
    image_channels = 3
    if config.residual == "srm":
        residual = SRMResidual()
        image_channels += SRMResidual.out_channels
    elif config.residual == "bayar":
        bayar = BayarConv2d()
        residual = bayar
        image_channels += bayar.out_channels
    error_levels = ErrorLevels() if config.error_levels else None
    return residual, image_channels, error_levels, ErrorLevels.out_channels if config.error_levels else 0


def _assemble(
    config: ModelConfig,
    residual: nn.Module | None,
    error_levels: nn.Module | None,
    encoder: LiteEncoder | ResNetEncoder,
    context: ImageDeviation | ASPP,
    decoder: FusedDecoder,
) -> PivotNetwork:
    plus, minus = (Branch(context.out_channels, config.branch_channels, config.embedding_dim) for _ in range(2))
    return PivotNetwork(
        residual=residual,
        error_levels=error_levels,
        streams=(
            MosaicStream() if config.mosaic else None,
            QuantizationStream(context.out_channels, encoder.stride // BLOCK) if config.quantization else None,
        ),
        encoder=encoder,
        context=context,
        branches=(plus, minus),
        decoder=decoder,
        image_head=_image_head(config) if config.image_head else None,
    )


def _image_head(config: ModelConfig) -> ImageHead:
    return ImageHead(2 * config.branch_channels, bias=config.pixel_bias, leak=config.image_leak)
