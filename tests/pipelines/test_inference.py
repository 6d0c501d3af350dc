"""Score maps of images of any size, whole and in tiles."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch

from nclforensics.data.quality.block_grid import AxisGrid, BlockGrid
from nclforensics.errors import DeviceUnavailableError, ShapeError, UsageError
from nclforensics.matching.copies import find_copies
from nclforensics.pipelines import device, inference, left_out, tiled_pass
from nclforensics.pipelines.device import select_device
from nclforensics.pipelines.inference import COPY_SCORE, Localizer, with_copies
from tests.factories import make_image
from tests.textures import make_texture, saved
from tests.tiny_model import make_network

if TYPE_CHECKING:
    from nclforensics.networks.encoder import EncoderFeatures
    from nclforensics.networks.pivot import PivotNetwork, PivotOutput
    from nclforensics.networks.strips import Runner

CPU = torch.device("cpu")
# Largest difference between a tiled and an untiled score map of the lite network in fp32; measured: 1e-6.
TILE_TOLERANCE = 1e-4


def _tiling_localizer(network: PivotNetwork) -> Localizer:
    """Return a localizer that cuts even a small image, into cores of 128 pixels."""
    localizer = Localizer(network, device=CPU, tile=512)
    localizer._first.largest_whole = 0
    return localizer


def _textured(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return an image whose noise differs between its halves, so that the global statistics matter."""
    noise = np.random.default_rng(3).normal(0, 1, (height, width, 3)) * np.linspace(1, 25, width)[None, :, None]
    return np.asarray((make_image(height, width, seed=4) + noise).clip(0, 255), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (65, 64), (129, 200)], ids=str)
def test_a_score_map_has_the_size_of_its_image(shape: tuple[int, int]) -> None:
    """Any size from one pixel up gives one float32 score in [0, 1] a pixel."""
    score_map = Localizer(make_network(), device=CPU).localize(make_image(*shape))
    assert score_map.shape == shape
    assert score_map.dtype == np.float32
    assert score_map.min() >= 0
    assert score_map.max() <= 1


@pytest.mark.parametrize("shape", [(150, 300), (70, 530), (530, 70)], ids=str)
def test_tiles_agree_with_one_pass(shape: tuple[int, int]) -> None:
    """Cutting an image into tiles changes no score by more than the stated tolerance, ragged edges included."""
    image = _textured(*shape)
    whole = Localizer(make_network(), device=CPU).localize(image)
    tiled = _tiling_localizer(make_network()).localize(image)
    assert whole.std() > 50 * TILE_TOLERANCE
    assert np.abs(whole - tiled).max() < TILE_TOLERANCE


@pytest.mark.parametrize("shape", [(150, 1301), (1301, 150)], ids=str)
def test_strips_and_squares_agree_with_the_network_at_once(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a scan computes in parts is what the network computes in training, with and without tiles."""
    image = _textured(*shape)
    network = make_network()
    network.block_grid = False
    with torch.inference_mode():
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        expected = network(pixels).score_logits[0, 0].sigmoid().numpy()
    monkeypatch.setattr(tiled_pass, "SQUARE", 128)
    for localizer, held in (
        (Localizer(network, device=CPU), 10**9),
        (Localizer(network, device=CPU), 0),
        (_tiling_localizer(network), 0),
    ):
        monkeypatch.setattr(tiled_pass, "SKIP_HELD", held)
        assert np.abs(localizer.localize(image) - expected).max() < TILE_TOLERANCE


def test_whole_blocks_are_analysed_from_where_the_grid_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network sees nothing else; the rest, less than a block wide, gets the score of the nearest pixel."""
    image = _textured(130, 200)
    network = make_network()
    monkeypatch.setattr(inference, "find_grid", lambda _: (5, 3))
    found = Localizer(network, device=CPU).localize_with_copies(image)
    assert found.grid == BlockGrid.starting_at(5, 3)
    network.block_grid = False
    blocks = Localizer(network, device=CPU).localize_with_copies(image[5:125, 3:195])
    assert blocks.grid == BlockGrid.starting_at(0, 0)
    expected = np.pad(blocks.score_map, ((5, 5), (3, 5)), mode="edge")
    assert np.array_equal(found.score_map, expected)
    assert found.score_map.std() > 0


@pytest.mark.parametrize("tiled", [False, True], ids=["whole", "tiled"])
def test_the_sums_are_those_that_the_image_head_reads(tiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """Of the whole blocks on the grid, in one piece or in tiles."""
    image, network = _textured(150, 530), make_network()
    monkeypatch.setattr(inference, "find_grid", lambda _: (5, 3))
    localizer = _tiling_localizer(network) if tiled else Localizer(network, device=CPU)
    sums = localizer.image_sums(image)
    with torch.inference_mode():
        blocks = torch.from_numpy(np.ascontiguousarray(image[5:149, 3:523])).permute(2, 0, 1)[None].float() / 255
        expected = network.image_sums(network(blocks))
    assert expected is not None
    assert sums.dtype == torch.float32
    torch.testing.assert_close(sums, expected, rtol=1e-3, atol=1e-3)
    assert expected[0, 0] == 18 * 65


def test_the_sums_of_a_resized_picture_are_those_at_its_former_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a scan sees it."""
    grid = BlockGrid(AxisGrid(10.0, 0.0), AxisGrid(10.0, 0.0))
    monkeypatch.setattr(inference, "find_resized_grid", lambda _: grid)
    assert Localizer(make_network(), device=CPU).image_sums(_textured(200, 300))[0, 0] == 20 * 30


def test_a_network_without_an_image_head_has_no_sums() -> None:
    """The error names what is missing."""
    network = make_network()
    network.image_head = None
    with pytest.raises(UsageError, match="image head"):
        Localizer(network, device=CPU).image_sums(make_image(64, 64))


def test_a_cropped_jpeg_scores_as_before_the_crop() -> None:
    """Where the crop lies inside of the photo, all traces stand where they stood."""
    photo = saved(make_texture(), 75, subsampling="4:4:4")
    localizer = Localizer(make_network(), device=CPU)
    cropped = localizer.localize_with_copies(np.ascontiguousarray(photo[3:, 5:]))
    assert cropped.grid == BlockGrid.starting_at(5, 3)
    expected = localizer.localize(np.ascontiguousarray(photo[8:, 8:]))
    assert np.abs(cropped.score_map[5:, 3:] - expected).max() < TILE_TOLERANCE


def test_a_resized_jpeg_scores_as_before_the_resizing() -> None:
    """Blocks of 10 pixels are brought back to 8, and the scores to the picture's own pixels."""
    photo = saved(make_texture(), 75, subsampling="4:4:4")
    network = make_network()
    localizer = Localizer(network, device=CPU)
    larger = np.asarray(cv2.resize(photo, (480, 480), interpolation=cv2.INTER_CUBIC), np.uint8)
    resized = localizer.localize_with_copies(larger)
    assert resized.grid == BlockGrid(AxisGrid(10, 0), AxisGrid(10, 0))
    assert resized.score_map.shape == (480, 480)
    before = localizer.localize(photo)
    expected = cv2.resize(before, (480, 480), interpolation=cv2.INTER_LINEAR)
    network.block_grid = False
    as_it_is = Localizer(network, device=CPU).localize(larger)
    assert np.abs(resized.score_map - expected).mean() < 0.5 * np.abs(as_it_is - expected).mean()


def test_a_model_without_the_grid_sees_the_picture_as_it_is() -> None:
    """Neither cut nor resized: so it was calibrated."""
    photo = saved(make_texture(), 75)
    network = make_network()
    network.block_grid = False
    larger = np.asarray(cv2.resize(photo, (480, 480), interpolation=cv2.INTER_CUBIC), np.uint8)
    assert Localizer(network, device=CPU).localize_with_copies(larger).grid == BlockGrid.starting_at(0, 0)


def _overexposed() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return an image with a blown-out corner, and highlights of one cell elsewhere."""
    image = np.minimum(_textured(150, 530), 200).astype(np.uint8)
    image[:60, :200] = 255
    image[104:112, 400:408] = 250
    image[148:, 528:] = 255
    return image


@pytest.mark.parametrize("tiled", [False, True], ids=["whole", "tiled"])
def test_highlights_of_a_much_larger_image_are_left_out(tiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """They have no score and are not in the statistics, by which all the rest is judged; computed here from parts."""
    image, network = _overexposed(), make_network()
    network.block_grid = False
    network.calibrated_pixels = image[..., 0].size // 4 - 1
    monkeypatch.setattr(tiled_pass, "SQUARE", 128)
    localizer = _tiling_localizer(network) if tiled else Localizer(network, device=CPU)
    found = localizer.localize(image)
    blown = torch.zeros(19, 67, dtype=torch.bool)
    blown[:8, :25] = True  # of the eighth row of cells the upper half
    blown[13, 50] = True
    blown[18, 66] = True  # reaches over the border
    with torch.inference_mode():
        features = network.encode(torch.from_numpy(image).permute(2, 0, 1)[None])
        statistics = network.context_statistics(features.deep[:, :, ~blown][:, :, None])
        output = network.decode(features, statistics, size=(image.shape[0], image.shape[1]))
        pixels = blown.repeat_interleave(8, 0).repeat_interleave(8, 1)[: image.shape[0], : image.shape[1]]
        logits = output.logits.masked_fill(pixels, left_out.NO_EVIDENCE)
        sums = network.image_sums(output._replace(cell_logits=output.cell_logits.masked_fill(blown, -8.0)))
        expected = network.score_logits(logits, network.image_logit(sums)).sigmoid()[0, 0].numpy()
    assert np.abs(found - expected).max() < TILE_TOLERANCE
    assert found[pixels.numpy()].max() < 0.01


@pytest.mark.parametrize(("calibrated", "share"), [(40_000, 0), (30_000, 1 / 48**2)])
def test_the_share_left_out_is_that_of_what_was_analysed(calibrated: int, share: float) -> None:
    """An enlarged picture may be much larger than those of the calibration, and what is analysed of it not."""
    photo = np.minimum(make_texture(384, 384), 200)
    photo[160:168, 80:88] = 255
    larger = np.asarray(cv2.resize(saved(photo, 75), (480, 480), interpolation=cv2.INTER_CUBIC), np.uint8)
    network = make_network()
    network.calibrated_pixels = calibrated
    found = Localizer(network, device=CPU).localize_with_copies(larger)
    assert found.grid.resized
    assert found.left_out == pytest.approx(share)


def test_highlights_of_other_images_count() -> None:
    """As they did in the calibration: where it is not known on what, or the image is not much larger, or all of it."""
    image = _overexposed()
    usual = Localizer(make_network(), device=CPU).localize(image)
    network = make_network()
    network.calibrated_pixels = -(-image[..., 0].size // 4)
    assert np.array_equal(Localizer(network, device=CPU).localize(image), usual)
    network.calibrated_pixels = 1
    assert np.abs(Localizer(network, device=CPU).localize(image) - usual).max() > 10 * TILE_TOLERANCE
    white = np.full((64, 80, 3), 255, np.uint8)
    assert np.array_equal(
        Localizer(network, device=CPU).localize(white), Localizer(make_network(), device=CPU).localize(white)
    )


def test_the_halo_of_decoded_squares_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: squares without a halo show their borders."""
    image = _textured(300, 300)
    network = make_network()
    monkeypatch.setattr(tiled_pass, "SQUARE", 128)
    right = Localizer(network, device=CPU).localize(image)
    network.decode_halo = 0
    assert np.abs(Localizer(network, device=CPU).localize(image) - right).max() > 10 * TILE_TOLERANCE


def test_tiles_need_the_statistics_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: with each tile's own statistics the maps differ by far more than the tolerance."""
    image = _textured(70, 900)
    whole = Localizer(make_network(), device=CPU).localize(image)
    network = make_network()
    decode = network.decode

    def decode_alone(features: EncoderFeatures, _: torch.Tensor, *, size: tuple[int, int]) -> PivotOutput:
        return decode(features, network.context_statistics(features.deep), size=size)

    monkeypatch.setattr(network, "decode", decode_alone)
    tiled = _tiling_localizer(network).localize(image)
    assert np.abs(whole - tiled).max() > 10 * TILE_TOLERANCE


def test_no_tile_is_larger_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by the tile: the network never sees a larger piece of a large image."""
    network = make_network()
    encode = network.encode
    sides: list[int] = []

    def watched(images: torch.Tensor, run: Runner) -> EncoderFeatures:
        sides.extend(images.shape[-2:])
        return encode(images, run)

    monkeypatch.setattr(network, "encode", watched)
    _tiling_localizer(network).localize(make_image(70, 900))
    assert max(sides) <= 512


def test_the_same_image_gives_the_same_bytes() -> None:
    """Two runs differ in no bit."""
    image = _textured(150, 210)
    first, second = (Localizer(make_network(), device=CPU).localize(image).tobytes() for _ in range(2))
    assert first == second


def test_a_gpu_convolves_with_cudnn_exactly() -> None:
    """In the scan's context cuDNN is used, without TF32; afterwards all is as before."""
    cudnn = torch.backends.cudnn
    before = cudnn.enabled, cudnn.deterministic, cudnn.allow_tf32
    with device.exact_convolutions():
        assert (cudnn.enabled, cudnn.deterministic, cudnn.allow_tf32) == (True, True, False)
    assert (cudnn.enabled, cudnn.deterministic, cudnn.allow_tf32) == before


def test_the_network_is_left_as_it_is() -> None:
    """Validation during a training must not fold the batch norms of the network that is trained."""
    network = make_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Localizer(network, device=CPU).localize(make_image(64, 64))
    assert network.training
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_no_batch_norm_is_left_behind_a_convolution() -> None:
    """Scanning computes with folded norms; what is left are the norms of inputs, behind no convolution."""
    network = make_network()
    counts = [
        sum(isinstance(module, torch.nn.BatchNorm2d) for module in each.modules())
        for each in (network, Localizer(network, device=CPU).network)
    ]
    assert counts[0] > 20
    assert counts[1] <= 4


def test_bf16_stays_close_to_fp32() -> None:
    """The quick precision gives nearly the same scores, not other ones."""
    image = _textured(96, 128)
    exact, quick = (Localizer(make_network(), device=CPU, precision=p).localize(image) for p in ("fp32", "bf16"))
    assert np.abs(exact - quick).max() < 0.02


def test_a_tile_smaller_than_the_halo_is_refused() -> None:
    """The message names the smallest tile that works."""
    with pytest.raises(UsageError, match="at least 448"):
        Localizer(make_network(), device=CPU, tile=384)


def test_an_unknown_precision_is_refused() -> None:
    """Nothing falls back to another precision silently."""
    with pytest.raises(UsageError, match="fp16"):
        Localizer(make_network(), device=CPU, precision="fp16")


def test_a_grey_array_is_refused() -> None:
    """Callers of the library learn which shape is expected."""
    with pytest.raises(ShapeError, match="uint8"):
        Localizer(make_network(), device=CPU).localize(np.zeros((8, 8), dtype=np.uint8))


def test_auto_takes_what_there_is() -> None:
    """Without a GPU the CPU computes, with one the GPU."""
    assert select_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_missing_gpu_is_an_error() -> None:
    """A device asked for by name is never replaced by another one."""
    with pytest.raises(DeviceUnavailableError, match="--device cpu"):
        select_device("cuda:97")


@pytest.mark.parametrize("number", [1, 128, 200, 255, 256, 999, 2**70])
def test_the_number_of_a_gpu_is_taken_as_it_stands(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """torch.device keeps one byte of it: "cuda:256" would be the first GPU, and "cuda:200" number -56."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert select_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(DeviceUnavailableError, match=f'"cuda:{number}" was asked for'):
        select_device(f"cuda:{number}")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:00", "cuda:01", "cuda:-1", "cpu:0", "cuda:\u0661"])
def test_an_unknown_device_is_a_usage_error(name: str) -> None:
    """The message lists the names that work."""
    with pytest.raises(UsageError, match="cuda:N"):
        select_device(name)


def test_copies_are_marked_where_the_model_asks_for_the_matcher() -> None:
    """Both places of a copied patch score at least COPY_SCORE, the rest keeps the network's score."""
    rng = np.random.default_rng(4)
    noise = rng.integers(0, 256, (240, 320, 3)).astype(np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.2), np.uint8)
    image[20:100, 30:120] = image[130:210, 190:280]
    network = make_network()
    plain = Localizer(network, device=CPU).localize(image)
    network.copy_matcher = True
    marked = Localizer(network, device=CPU).localize(image)
    assert plain.max() < COPY_SCORE
    for place in (np.s_[35:85, 45:105], np.s_[145:195, 205:265]):
        assert np.mean(marked[place] >= COPY_SCORE) > 0.8
    untouched = marked < COPY_SCORE
    assert np.array_equal(marked[untouched], plain[untouched])
    assert 0.6 < untouched.mean() < 0.95
    told = plain.copy()  # a network that is surer of one place
    told[20:100, 30:120] = 0.9
    told = with_copies(told, find_copies(image, scores=told))
    assert np.mean(told[35:85, 45:105] >= COPY_SCORE) > 0.8
    assert np.array_equal(told[145:195, 205:265], plain[145:195, 205:265])


@pytest.mark.parametrize(("evidence", "count"), [(3.0, 1), (-1.0, 0)])
def test_only_copies_that_are_likelier_than_repetitions_are_reported(
    evidence: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weak match that nothing confirms is neither marked nor in the record."""
    monkeypatch.setattr("nclforensics.matching.verification.evidence", lambda *_, **__: evidence)
    noise = np.random.default_rng(4).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.2), np.uint8)
    image[20:100, 30:120] = image[130:210, 190:280]
    network = make_network()
    network.copy_matcher = True
    found = Localizer(network, device=CPU).localize_with_copies(image)
    assert len(found.copies) == count
    assert bool((found.score_map >= COPY_SCORE).any()) == bool(count)


def test_joining_the_copies_takes_little_memory_beside_the_map() -> None:
    """At a gigapixel every further array of the map's size takes 4 GB: a scan of one was killed by five of them."""
    copies = np.zeros((4096, 1024), np.float32)
    copies[1000:1100, 10:200] = 0.8
    found: Any = SimpleNamespace(score_map=copies, regions=(object(),))
    score_map = np.full(copies.shape, 0.25, np.float32)
    tracemalloc.start()
    joined = with_copies(score_map, found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert joined is score_map
    assert np.count_nonzero(joined != np.float32(0.25)) == 100 * 190
    assert joined[1000:1100, 10:200] == pytest.approx(COPY_SCORE + (1 - COPY_SCORE) * 0.6)
    assert peak < copies.nbytes / 2
