"""Tests of `nclf forge`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from nclforensics.cli.forge import forge
from nclforensics.config import ForgeConfig, RunConfig, TrainConfig, dump_config
from nclforensics.data.forge import Forge
from nclforensics.data.manifest import read_manifest
from nclforensics.data.photos import PhotoPool
from nclforensics.errors import ConfigError, MissingInputError, OutputError
from nclforensics.pipelines.training_data import open_sources
from tests.photo_folders import make_photo_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of photos, one of them broken."""
    folder = make_photo_folder(tmp_path / "photos", count=4)
    (folder / "broken.jpg").write_bytes(b"no photo")
    return folder


def forge_small(photos: Path, out: Path, **more: Any) -> list[dict[str, str]]:  # noqa: ANN401 - options of any type
    """Write twelve samples of 64 pixels and return the manifest's rows."""
    forge(photos=photos, out=out, count=12, size=64, **more)
    with (out / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Return an image's pixels."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1], np.uint8)  # type: ignore[index]


def test_set_on_disk_is_what_the_forge_makes(photos: Path, tmp_path: Path) -> None:
    """Images and masks, read back, equal the samples rebuilt from photos, configuration, seed and index."""
    rows = forge_small(photos, tmp_path / "out", seed=3)
    rebuilt = Forge(PhotoPool.from_folder(photos), ForgeConfig(size=64), 3)
    assert len(rows) == 12
    for row in rows:
        sample = rebuilt.sample(int(row["index"]))
        mask = cv2.imread(str(tmp_path / "out" / row["mask"]), cv2.IMREAD_UNCHANGED)
        assert mask is not None
        assert np.array_equal(read_rgb(tmp_path / "out" / row["image"]), sample.image)
        assert np.array_equal(mask, sample.mask.astype(np.uint8) * 255)
        assert (row["kind"], row["seed"]) == (sample.kind, "3")
        assert row["photos"].split() == sample.recipe["photos"]
        assert set(row["group"].split("+")) == set(sample.recipe["photos"])
        assert row["authentic"] == str(int(sample.kind == "authentic"))


def test_jpeg_histories_are_written_with_their_own_bytes(photos: Path, tmp_path: Path) -> None:
    """A JPEG-ending sample is a .jpg with the forge's bytes; the others are .png."""
    rows = forge_small(photos, tmp_path / "out")
    rebuilt = Forge(PhotoPool.from_folder(photos), ForgeConfig(size=64), 0)
    assert {Path(row["image"]).suffix for row in rows} == {".jpg", ".png"}
    for row in rows:
        encoded = rebuilt.sample(int(row["index"])).encoded
        assert (encoded is not None) == row["image"].endswith(".jpg")
        if encoded is not None:
            assert (tmp_path / "out" / row["image"]).read_bytes() == encoded


def test_manifest_is_read_as_a_data_set(photos: Path, tmp_path: Path) -> None:
    """`nclf eval` and `nclf train` take the folder as it is."""
    rows = forge_small(photos, tmp_path / "out")
    pairs = read_manifest(tmp_path / "out")
    assert [pair.authentic for pair in pairs] == [row["authentic"] == "1" for row in rows]
    assert all(pair.mask is not None and pair.mask.is_file() for pair in pairs)


@pytest.mark.parametrize("grouped", [True, False], ids=["as it is", "as written by older versions"])
def test_no_photo_is_trained_on_and_held_out(tmp_path: Path, *, grouped: bool) -> None:
    """A training on the set divides it by photo, donors included, also where the manifest has no groups."""
    out = tmp_path / "out"
    forge(photos=make_photo_folder(tmp_path / "photos", count=12), out=out, count=80, size=64)
    table = [line.split(",") for line in (out / "manifest.csv").read_text(encoding="utf-8").splitlines()]
    if not grouped:
        column = table[0].index("group")
        lines = [",".join(cell for at, cell in enumerate(row) if at != column) for row in table]
        (out / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    photos_of = {row[0].rpartition("/")[2]: set(row[table[0].index("photos")].split()) for row in table[1:]}

    train = TrainConfig(dataset=str(out), validation_share=0.4)
    sources = open_sources(RunConfig(forge=ForgeConfig(size=64), train=train))

    parts = [sources.train.pairs, sources.validation.pairs]  # type: ignore[attr-defined]
    seen, held_out = (set().union(*(photos_of[pair.image.name] for pair in part)) for part in parts)
    assert seen
    assert held_out
    assert not seen & held_out
    assert any("are in neither part" in line for line in sources.warnings)


def test_recipes_and_configuration_lie_beside_the_set(photos: Path, tmp_path: Path) -> None:
    """One recipe a sample, in order, and the configuration with the size asked for."""
    forge_small(photos, tmp_path / "out")
    lines = (tmp_path / "out" / "recipes.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(12))
    assert "size = 64" in (tmp_path / "out" / "forge.toml").read_text(encoding="utf-8")


def test_recorded_configuration_can_be_given_back(photos: Path, tmp_path: Path) -> None:
    """forge.toml of a set, as --config, makes the same set."""
    config = tmp_path / "run.toml"
    config.write_text("[forge]\nsize = 64\nauthentic = 0.6\n", encoding="utf-8")
    forge(photos=photos, out=tmp_path / "first", count=4, config=config)
    forge(photos=photos, out=tmp_path / "second", count=4, config=tmp_path / "first" / "forge.toml")
    first, second = ((tmp_path / name / "recipes.jsonl").read_bytes() for name in ("first", "second"))
    assert first == second


def test_non_empty_folder_is_refused_and_left_alone(photos: Path, tmp_path: Path) -> None:
    """Nothing is written beside what is there already."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="out"):
        forge_small(photos, out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_a_set_among_the_photos_is_refused(photos: Path) -> None:
    """Its images and masks would be photos of the next set."""
    with pytest.raises(OutputError, match="inside the photos"):
        forge_small(photos, photos / "forged")
    assert not (photos / "forged").exists()


def test_missing_photos_leave_no_folder_behind(tmp_path: Path) -> None:
    """A wrong --photos ends with exit code 11 before anything is made; so do photos that are too small."""
    with pytest.raises(MissingInputError):
        forge_small(tmp_path / "nowhere", tmp_path / "out")
    make_photo_folder(tmp_path / "photos", count=2)
    with pytest.raises(MissingInputError, match="512 pixels"):
        forge(photos=tmp_path / "photos", out=tmp_path / "out", count=2, size=512)
    assert not (tmp_path / "out").exists()


def test_configuration_file_sets_the_shares(photos: Path, tmp_path: Path) -> None:
    """[forge] of a TOML file is used; --size wins over its size."""
    config = tmp_path / "run.toml"
    only_authentic = ForgeConfig(authentic=1, splice=0, copy_move=0, removal=0, size=128)
    config.write_text(dump_config(RunConfig(forge=only_authentic)), encoding="utf-8")
    rows = forge_small(photos, tmp_path / "out", config=config)
    assert {row["kind"] for row in rows} == {"authentic"}
    assert read_rgb(tmp_path / "out" / rows[0]["image"]).shape == (64, 64, 3)


def test_senseless_size_is_a_usage_error(photos: Path, tmp_path: Path) -> None:
    """A size that is no multiple of 8 is refused by name."""
    with pytest.raises(ConfigError, match="size"):
        forge(photos=photos, out=tmp_path / "out", count=1, size=70)


def test_output_names_the_manifest_and_notes_broken_photos(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stdout: the manifest's path alone. Stderr: what was made, and which photos were skipped."""
    forge_small(photos, tmp_path / "out")
    captured = capsys.readouterr()
    assert captured.out.strip() == str(tmp_path / "out" / "manifest.csv")
    assert "12 samples" in captured.err
    assert "broken.jpg" in captured.err


def test_quiet_says_nothing_on_stderr(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --quiet only the result remains."""
    forge_small(photos, tmp_path / "out", quiet=True)
    assert capsys.readouterr().err == ""
