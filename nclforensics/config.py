"""All settings: one frozen dataclass a stage, read from TOML, written back beside every result.

A TOML file has one table a stage (`[model]`, `[patches]`, `[losses]`, `[forge]`, `[train]`); what it leaves out keeps
the default below. An unknown key is an error that names the nearest known one. Values marked "ours" are choices of
this project: the NCL paper's public sources do not state them.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import tomli_w

from nclforensics.config_tables import from_tables
from nclforensics.errors import ConfigError, MissingInputError

if TYPE_CHECKING:
    from pathlib import Path

EncoderName = Literal["lite", "base", "resnet50", "resnet101"]
ResidualName = Literal["none", "srm", "bayar"]
ContourRole = Literal["pivot", "drop", "tampered", "authentic"]
ContrastiveForm = Literal["infonce", "supcon", "pixel"]
DeviceName = str  # "auto", "cpu", "cuda", "cuda:1"


def _check_ranges(config: object, ranges: dict[str, tuple[float, float]]) -> None:
    """Refuse values outside their closed range: found here, they are a message; found later, a traceback."""
    for key, (lowest, highest) in ranges.items():
        value = getattr(config, key)
        if not lowest <= value <= highest:
            above = f"at least {lowest}" if highest == math.inf else f"from {lowest} to {highest}"
            raise ConfigError(f'Expected "{key}" {above}, got {value!r}.')


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of the network; stored beside the weights, which fit no other shape.

    Attributes:
        encoder: Key of `nclforensics.networks.build.ENCODERS`.
        residual: Noise-residual filters beside the RGB channels.
        error_levels: Whether the JPEG error-level channels (what a recompression would change) are added.
        mosaic: Whether the traces of the camera's colour filter array are added.
        quantization: Whether it is added how common each block's DCT coefficients are in the image.
        branch_channels: Channels of each branch's spatial features u.
        embedding_dim: Length D of the unit embeddings z.
        decoder_channels: Channels inside the fused decoder.
        image_head: Whether a second output judges the whole image and holds the score map down where it sees nothing.
        pixel_bias: What the image head adds to a pixel's logit before it holds it against the image's.
        image_leak: How much of what lies above the image's logit it keeps, in (0, 1].
        copy_matcher: Whether the score map also gets what `nclforensics.matching` finds, which takes about as long as
            the network; the model is then calibrated with it.
        block_grid: Whether images are analysed on their JPEG grid, wherever it lies; the model is calibrated with it.
        low_quality: JPEG quality up to which pictures whose every block shows one saving are read by a second network
            of the same shape, trained on such; 0: there is none.
        low_quality_shift: What the second network's score logits are lowered by, so that one threshold stands for both.
    """

    encoder: EncoderName = "lite"
    residual: ResidualName = "srm"
    error_levels: bool = True
    mosaic: bool = False
    quantization: bool = False
    branch_channels: int = 64
    embedding_dim: int = 64
    decoder_channels: int = 64
    image_head: bool = True
    pixel_bias: float = 2.0
    image_leak: float = 0.02
    copy_matcher: bool = False
    block_grid: bool = True
    low_quality: int = 0
    low_quality_shift: float = 0.0

    def __post_init__(self) -> None:
        """Raise ConfigError if a width is below 1, the leak is no share, or the quality is none."""
        _check_ranges(self, dict.fromkeys(("branch_channels", "embedding_dim", "decoder_channels"), (1, 4096)))
        _check_ranges(self, {"image_leak": (1e-6, 1), "low_quality": (0, 100)})


@dataclass(frozen=True, kw_only=True)
class PatchConfig:
    """Which patches enter the contrastive loss (caps are per image when `scope` is "image"; ours).

    Attributes:
        scope: "image": a patch is compared within its own image; "batch": with all images of the batch.
        contour_cap: At most so many contour patches.
        tampered_cap: At most so many tampered patches.
        authentic_cap: At most so many authentic patches.
        band: Width, in patches, of the zone around the contour whose patches are preferred.
        near_share: Share of the tampered and authentic caps that the band may fill first, in [0, 1].
    """

    scope: Literal["image", "batch"] = "image"
    contour_cap: int = 256
    tampered_cap: int = 256
    authentic_cap: int = 256
    band: int = 3
    near_share: float = 0.5

    def __post_init__(self) -> None:
        """Raise ConfigError if a cap or the band is negative, or the share is none."""
        _check_ranges(self, dict.fromkeys(("contour_cap", "tampered_cap", "authentic_cap", "band"), (0, math.inf)))
        _check_ranges(self, {"near_share": (0, 1)})


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights and forms of the loss terms (all ours).

    Attributes:
        form: Contrastive form, see `nclforensics.losses.contrastive`.
        tau: Temperature, > 0, no unit.
        contour: The role of contour patches: "pivot" (tampered in branch plus, authentic in branch minus), or an
            ablation: "drop" (ignored), "tampered" or "authentic" (that role in both branches).
        contrastive: Weight of the mean of the two branches' contrastive losses; 0 switches it off.
        pivot_consistency: Weight of the pivot-consistent loss; 0 switches it off.
        bce: Weight of the binary cross-entropy.
        dice: Weight of the Dice loss.
        edge: Weight of the edge term; 0 switches it off.
        image: Weight of the image head's cross-entropy; 0 switches it off.
    """

    form: ContrastiveForm = "infonce"
    tau: float = 0.1
    contour: ContourRole = "pivot"
    contrastive: float = 0.1
    pivot_consistency: float = 0.1
    bce: float = 1.0
    dice: float = 0.5
    edge: float = 0.0
    image: float = 0.2

    def __post_init__(self) -> None:
        """Raise ConfigError if a weight is negative or the temperature too small for float32."""
        weights = ("contrastive", "pivot_consistency", "bce", "dice", "edge", "image")
        _check_ranges(self, {**dict.fromkeys(weights, (0, math.inf)), "tau": (1e-3, math.inf)})


@dataclass(frozen=True, kw_only=True)
class ForgeConfig:
    """What the forge makes (shares are probabilities and need not sum to 1: they are normalized).

    Attributes:
        size: Side of the square sample, or of a data set's crop, in pixels: a multiple of 8 from 64 to 8192.
        authentic: Share of samples with no tampered pixel.
        splice: Share of splices from another photo; 12 % of them are retouches, the same place after another history.
        copy_move: Share of copy-moves.
        removal: Share of removals by inpainting.
        min_area: Smallest tampered share of the sample.
        max_area: Largest tampered share of the sample.
        camera: Share of samples whose host, and most donors, get the traces of a simulated camera.
        recompressed: Share of samples saved once more at the end, as JPEG of quality 50 to 90.
        web: Share of samples without a simulated camera whose host and most donors are small JPEGs of the web.
        resized: Share of these that were resized once saved: before the edit, after it, or both; so were most donors.
        restored: Share of these brought back to their JPEG grid, as a scan does it, unless saved below quality 88.
        hard_light: Share of hosts, and of donors, taken in a light that blows out highlights or blackens shadows.
        adjusted: Share of samples whose light, noise or sharpness is changed as a whole after the edit, often strongly.
        avif: Share of samples that were stored as AVIF as a whole, half of them before the edit, half of them after it.
        whole_saving: JPEG quality; only samples whose every block shows a saving of at most that are made, as a second
            network reads them (`low_quality` in `[model]`); 0: samples of any kind.
    """

    size: int = 256
    authentic: float = 0.3
    splice: float = 0.4
    copy_move: float = 0.18
    removal: float = 0.12
    min_area: float = 0.005
    max_area: float = 0.5
    camera: float = 0.3
    recompressed: float = 0.0
    web: float = 0.0
    resized: float = 0.0
    restored: float = 0.0
    hard_light: float = 0.0
    adjusted: float = 0.0
    avif: float = 0.0
    whole_saving: int = 0

    def __post_init__(self) -> None:
        """Raise ConfigError if size, shares or areas make no sense."""
        kinds = ("authentic", "splice", "copy_move", "removal")
        ranges: dict[str, tuple[float, float]] = {"size": (64, 8192), "whole_saving": (0, 100)}
        shares = (item.name for item in dataclasses.fields(self) if item.name not in (*ranges, *kinds))
        _check_ranges(self, {**ranges, **dict.fromkeys(kinds, (0, 10**9)), **dict.fromkeys(shares, (0, 1))})
        if self.size % 8:
            raise ConfigError(f'Expected forge "size" to be a multiple of 8, got {self.size}.')
        if not 0 < self.min_area < self.max_area:
            raise ConfigError(f"Expected 0 < min_area < max_area <= 1, got {self.min_area} and {self.max_area}.")
        if not any(getattr(self, kind) for kind in kinds):
            raise ConfigError(f"Expected a forge share above 0 among {', '.join(kinds)}, got 0 for all of them.")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how the training runs.

    Attributes:
        dataset: "forge", or what `nclforensics.data.sets.load_set` takes: a path, a benchmark's name, or NAME:PATH.
        allow_missing: Whether to go on where images of the data set lack their mask, or masks their image.
        tampered_only: Whether a data set's authentic images are left out of training; held-out ones still calibrate.
        photos: Folder of pristine photos, needed by the forge.
        initial: Model whose weights the run starts from (as `nclf scan --weights`); empty starts from random ones. An
            image head, mosaic or quantization stream that it lacks starts from random ones.
        out: Run folder: checkpoints, curves, resolved config, the finished model.
        seed: Seeds weights, samples, mining and validation samples; which images are held out does not depend on it.
        steps: Number of optimizer steps; 0 means: until `minutes` are over.
        minutes: Wall-clock budget; 0 means: until `steps` are done. Only a run limited by steps is reproducible.
        batch_size: Samples a step, those of all processes together.
        learning_rate: Peak of the cosine schedule (AdamW).
        warmup_steps: Linear warm-up.
        weight_decay: AdamW weight decay.
        clip_norm: Gradient norm limit.
        ema_decay: Decay of the averaged weights, which are the ones validated and shipped.
        precision: "fp32" or "bf16" (autocast).
        compile: Whether torch.compile fuses the network's operations; needs a C++ compiler, and about a minute at the
            start. Weights differ in the last digits.
        device: "auto", "cpu", "cuda" or "cuda:N".
        workers: Processes that prepare samples, for each training process; 0 prepares them in the training process.
        rank_timeout: Minutes after which, in a training of several processes, one that does not answer is given up.
        checkpoint_minutes: Time between checkpoints.
        validate_every: Steps between validations; 0 validates only at the end.
        validation_share: Share of the photos (or pairs) held out for validation, by photo, in (0, 0.5].
        validation_samples: Size of the fixed validation set.
    """

    dataset: str = "forge"
    allow_missing: bool = False
    tampered_only: bool = False
    photos: str = ""
    initial: str = ""
    out: str = "runs/ncl"
    seed: int = 0
    steps: int = 0
    minutes: float = 0.0
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup_steps: int = 200
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    ema_decay: float = 0.998
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    device: DeviceName = "auto"
    workers: int = 1
    rank_timeout: float = 10.0
    checkpoint_minutes: float = 5.0
    validate_every: int = 500
    validation_share: float = 0.1
    validation_samples: int = 256

    def __post_init__(self) -> None:
        """Raise ConfigError if a value is out of range."""
        names = ("steps", "minutes", "workers", "checkpoint_minutes", "validate_every", "warmup_steps")
        _check_ranges(self, dict.fromkeys((*names, "learning_rate", "weight_decay", "clip_norm"), (0, math.inf)))
        _check_ranges(self, {"batch_size": (1, math.inf), "validation_samples": (1, math.inf), "ema_decay": (0, 1)})
        _check_ranges(self, {"rank_timeout": (1e-3, 10_000), "seed": (0, 2**63 - 1)})  # PyTorch takes no larger seed


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a training run depends on; `config.toml` of a run holds it resolved."""

    model: ModelConfig = field(default_factory=ModelConfig)
    patches: PatchConfig = field(default_factory=PatchConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    forge: ForgeConfig = field(default_factory=ForgeConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True, kw_only=True)
class ScanConfig:
    """How `nclf scan` treats each image.

    Attributes:
        threshold: Score above which a pixel counts as tampered; None takes the model's calibrated one.
        min_region: Smallest region that is reported, as a share of the image's area.
        tile: Side in pixels of the tiles into which an image of more than `tile` squared pixels is cut.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "fp32" or "bf16" (autocast; faster where the processor has it, masks differ slightly).
        max_pixels: Images with more pixels are skipped with that reason.
        overlay: Write an overlay PNG for reading beside each mask.
        score_map: Write the score map as a 16-bit PNG beside each mask.
    """

    threshold: float | None = None
    min_region: float = 0.005
    tile: int = 6400
    device: DeviceName = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    max_pixels: int = 1_000_000_000
    overlay: bool = False
    score_map: bool = False


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """How `nclf eval` measures.

    Attributes:
        protocol: Name of the evaluation protocol: "native", "mvss", "catnet" or "trufor".
        min_region: Region size, as a share of the area, above which an authentic image counts as flagged.
        false_positive_rate: The rate at which the headline threshold is set (0.05 gives f1@fpr5).
        tile: As in `ScanConfig`.
        device: As in `ScanConfig`.
        precision: As in `ScanConfig`.
        both_places: Mark the original of a copy too, for ground truth that does; most masks mark the copy only.
        bootstrap: Number of resamples behind the intervals of means.
        seed: Seeds the bootstrap and the choice of the images that `robustness` measures.
        robustness: Measure degraded copies of the images too.
        robustness_limit: Most tampered, and most authentic, images measured at every level of degradation; 0: all.
    """

    protocol: Literal["native", "mvss", "catnet", "trufor"] = "native"
    min_region: float = 0.005
    false_positive_rate: float = 0.05
    tile: int = 6400
    device: DeviceName = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    both_places: bool = False
    bootstrap: int = 1000
    seed: int = 0
    robustness: bool = False
    robustness_limit: int = 100


def load_config(path: Path) -> RunConfig:
    """Read a run configuration from a TOML file.

    Raises:
        MissingInputError: If there is no such file, or it cannot be read.
        ConfigError: If it is no TOML, or has an unknown key, or a value of the wrong type.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingInputError(f"Expected a TOML configuration at {path}, found no such file.") from error
    except OSError as error:
        raise MissingInputError(f"Expected a TOML configuration at {path}, cannot read it: {error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    if "size" in tables:  # forge.toml, as older versions of `nclf forge` wrote it
        tables = {"forge": tables}
    return from_tables(RunConfig, tables, where=str(path))


def dump_config(config: Any) -> str:  # noqa: ANN401 - any of the dataclasses above
    """Return the configuration as TOML; `from_tables(type(config), tomllib.loads(text))` gives it back."""
    return tomli_w.dumps(_without_none(dataclasses.asdict(config)))


def _without_none(value: Any) -> Any:  # noqa: ANN401 - TOML has no null: a key left out keeps its default
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value
