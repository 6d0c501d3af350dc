from __future__ import annotations

import re
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from nclforensics.config import EvalConfig
from nclforensics.errors import UsageError
from nclforensics.pipelines.protocols import (
    CATNET,
    MVSS,
    NATIVE,
    PROTOCOLS,
    TRUFOR,
    EvaluationProtocol,
    prepare,
    protocol_named,
    training_match,
)
from nclforensics.reports.published import published_rows
from tests.factories import make_image, make_mask

CASIA = {"kind": "data set CASIA v2", "set": "casiav2", "authentic": 0}
FORGE = {"kind": "forge: forgeries made from pristine photos"}


def test_configuration_and_protocols_have_the_same_names() -> None:
    """What a configuration accepts can be run."""
    assert set(PROTOCOLS) == set(get_args(get_type_hints(EvalConfig)["protocol"]))
    assert EvalConfig().protocol == NATIVE.name


def test_unknown_protocol_is_named_with_the_known_ones() -> None:
    """The message lists what there is."""
    with pytest.raises(UsageError, match=r"native, mvss, catnet, trufor.*psccnet"):
        protocol_named("psccnet")


@pytest.mark.parametrize("protocol", [NATIVE, TRUFOR], ids=lambda protocol: protocol.name)
def test_native_protocols_leave_image_and_mask_alone(protocol: EvaluationProtocol) -> None:
    """No pixel is resampled."""
    image, mask = make_image(), make_mask()
    prepared = prepare(protocol, image, mask)
    assert prepared[0] is image
    assert prepared[1] is mask


@pytest.mark.parametrize("protocol", [MVSS, CATNET], ids=lambda protocol: protocol.name)
def test_512_protocols_scale_image_and_mask_without_keeping_the_aspect(protocol: EvaluationProtocol) -> None:
    """Both become 512 x 512; the box stays where it is, in shares of the sides, and the mask stays binary."""
    image, mask = prepare(protocol, make_image(100, 300), make_mask(100, 300, box=(25, 75, 50, 225)))
    assert (image.shape, mask.shape) == ((512, 512, 3), (512, 512))
    assert image.dtype == np.uint8
    assert mask.dtype == np.bool_
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (128, 255, 128, 383)


def test_mask_is_sampled_where_opencv_s_plain_nearest_neighbour_samples() -> None:
    """As peers' masks are: of each three columns the first two, while the centres lie in the first and third."""
    mask = np.zeros((512, 768), dtype=np.bool_)
    mask[:, 1::3] = True
    _, small = prepare(MVSS, make_image(512, 768), mask)
    assert np.flatnonzero(small[0])[:3].tolist() == [1, 3, 5]


def test_image_is_interpolated() -> None:
    """Two columns, black and white, become a ramp, not two halves."""
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[:, 1] = 255
    wide, _ = prepare(MVSS, image, np.ones((2, 2), dtype=np.bool_))
    assert wide[0, 256, 0] == pytest.approx(127.5, abs=1)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_protocols_with_a_table_have_rows_for_their_headline(protocol: EvaluationProtocol) -> None:
    """What is printed beside a model's headline is that same figure."""
    if protocol.comparable is None:
        assert protocol is NATIVE
    else:
        rows = published_rows(protocol.comparable, "coverage")
        assert protocol.headline in {row.figure for row in rows}
        assert {row.protocol for row in rows} == {protocol.name}


@pytest.mark.parametrize(
    ("protocol", "training", "expected"),
    [
        (NATIVE, FORGE, "prescribes none"),
        (MVSS, CASIA, "^trained on the tampered images of casiav2, by the model's manifest"),
        (MVSS, CASIA | {"authentic": 9}, "other data .data set CASIA v2 and 9 authentic images.*orientation only"),
        (MVSS, CASIA | {"initial": "m", "initial_training": "forge"}, "other data .*data of m, its start .forge"),
        (MVSS, CASIA | {"averaged_sha256": ["a", "b"]}, "other data .*other models.*orientation only"),
        (MVSS, CASIA | {"set": "casiav1"}, "trained on other data .*orientation only"),
        (MVSS, FORGE, "trained on other data .forge.*orientation only"),
        (CATNET, CASIA, "trained on other data .data set CASIA v2"),
        (MVSS, {}, "not stated in the model's manifest.*orientation only"),
    ],
)
def test_training_half_is_told_in_one_line(
    protocol: EvaluationProtocol, training: dict[str, Any], expected: str
) -> None:
    """A model trained on other data, or on more, is measured, and said to be."""
    line = training_match(protocol, training)
    assert "\n" not in line
    assert re.search(expected, line)
