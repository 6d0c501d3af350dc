"""Plans: every input once, each with a name of its own, whatever lies in the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nclforensics.errors import MissingInputError, OutputError
from nclforensics.pipelines.scan_plan import digest_of_paths, plan_scan


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with two photos and one below it; nothing is opened, so they are empty."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "sub/a.png"):
        (folder / name).touch()
    return folder


def _names(*inputs: Path, out: Path, force: bool = False) -> list[str]:
    return [image.name for image in plan_scan(inputs, out=out, force=force).images]


def test_nothing_is_written_beside_a_photo_that_is_named_by_itself(photos: Path) -> None:
    """Unless it is forced: its folder is no place for results, though it was not named."""
    with pytest.raises(OutputError, match="--force"):
        plan_scan([photos / "a.png"], out=photos / "sub" / "..")
    assert _names(photos / "a.png", out=photos, force=True) == ["a.png"]


def test_an_image_named_twice_is_scanned_once(photos: Path, tmp_path: Path) -> None:
    """The same file through its folder, its path and a link is one image."""
    (tmp_path / "link.png").symlink_to(photos / "a.png")
    plan = plan_scan([photos / "a.png", tmp_path / "link.png", photos], out=tmp_path / "out")
    assert [image.name for image in plan.images] == ["a.png", "b.jpg", "sub/a.png"]
    assert [count for _, count in plan.inputs] == [1, 0, 2]


def test_inputs_that_would_collide_get_names_of_their_own(photos: Path, tmp_path: Path) -> None:
    """Two folders with the same tree: the later one's names are numbered."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.png").write_bytes(b"")
    plan = plan_scan([photos, other], out=tmp_path / "out")
    assert [image.name for image in plan.images] == ["a.png", "b.jpg", "sub/a.png", "a.png~2"]


def test_a_missing_path_stops_everything(photos: Path, tmp_path: Path) -> None:
    """It is named, and nothing was scanned or written."""
    with pytest.raises(MissingInputError, match=r"gone\.jpg"):
        plan_scan([photos, tmp_path / "gone.jpg"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_images_is_a_missing_input(tmp_path: Path) -> None:
    """Silence about an empty folder would read as "all authentic"."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInputError, match="empty"):
        plan_scan([tmp_path / "empty"], out=tmp_path / "out")


@pytest.mark.parametrize(("force", "resume"), [(True, False), (False, True)], ids=["force", "resume"])
def test_a_result_that_is_replaced_is_no_input(photos: Path, tmp_path: Path, *, force: bool, resume: bool) -> None:
    """The scan would remove it before it is read; elsewhere it may be scanned like any image."""
    old = tmp_path / "out" / "old.png.overlay.png"
    old.parent.mkdir()
    old.touch()
    (tmp_path / "link.png").symlink_to(old)
    for path in (old, tmp_path / "link.png"):
        with pytest.raises(OutputError, match="is a result of a scan in"):
            plan_scan([photos, path], out=tmp_path / "out", force=force, resume=resume)
        assert len(plan_scan([path], out=tmp_path / "elsewhere", force=force, resume=resume).images) == 1


def test_an_output_never_replaces_an_input(photos: Path) -> None:
    """Not even by force: a photo named like another one's mask stays."""
    (photos / "a.png.mask.png").write_bytes(b"evidence")
    with pytest.raises(OutputError, match="overwrite an input"):
        plan_scan([photos / "a.png", photos / "a.png.mask.png"], out=photos, force=True)


def test_a_loop_of_links_ends(photos: Path, tmp_path: Path) -> None:
    """A folder that contains itself through a link is searched once; so is one that two links lead to."""
    (photos / "loop").symlink_to(photos)
    (photos / "sub" / "up").symlink_to("..")
    (photos / "again").symlink_to("sub")
    assert sorted(Path(name).name for name in _names(photos, out=tmp_path / "out")) == ["a.png", "a.png", "b.jpg"]


@pytest.mark.parametrize("link", ["0.jpg", "z.jpg"])
def test_a_file_is_preferred_to_a_link_to_it(photos: Path, tmp_path: Path, link: str) -> None:
    """Whichever comes first in the folder, or is named first, the record has the file's own name."""
    (photos / link).symlink_to("b.jpg")
    assert _names(photos, out=tmp_path / "out") == ["a.png", "b.jpg", "sub/a.png"]
    assert _names(photos / link, photos / "b.jpg", out=tmp_path / "out") == ["b.jpg"]
    assert _names(photos / link, out=tmp_path / "out") == [link]


def test_the_output_is_no_input_behind_a_link(photos: Path, tmp_path: Path) -> None:
    """A link among the photos leads to the folder that the masks are in."""
    data = tmp_path / "data"
    (data / "masks").mkdir(parents=True)
    (data / "masks" / "a.png.mask.png").touch()
    (photos / "all").symlink_to(data)
    assert _names(photos, out=data / "masks") == ["a.png", "b.jpg", "sub/a.png"]


def test_a_folder_is_preferred_to_a_link_to_it(photos: Path, tmp_path: Path) -> None:
    """Wherever the link lies."""
    (photos / "0").mkdir()
    (photos / "0" / "link").symlink_to(photos / "sub")
    (photos / "again").symlink_to("sub")
    assert _names(photos, out=tmp_path / "out") == ["a.png", "b.jpg", "sub/a.png"]


def test_files_without_an_images_suffix_are_counted(photos: Path, tmp_path: Path) -> None:
    """Each once, also in a folder that is named twice; outputs do not count."""
    for name in ("IMG_0001", "b.jpg.bak", "sub/notes.txt"):
        (photos / name).touch()
    (photos / "masks").mkdir()
    (photos / "masks" / "run.json").touch()
    plan = plan_scan([photos, photos / "sub"], out=photos / "masks", force=True)
    assert (len(plan.images), plan.passed_over) == (3, 3)
    assert plan_scan([photos / "b.jpg.bak"], out=tmp_path / "out").passed_over == 0


def test_a_folder_of_other_files_alone_says_how_many(tmp_path: Path) -> None:
    """Who exports photos without a suffix learns why none was found."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "IMG_0001").touch()
    with pytest.raises(MissingInputError, match="without an image's suffix: 1;"):
        plan_scan([tmp_path / "photos"], out=tmp_path / "out")


def test_an_input_that_is_the_output_folder_says_so(photos: Path) -> None:
    """There are photos, but all of them lie where outputs do."""
    with pytest.raises(MissingInputError, match=r"below --out .*photos is no input"):
        plan_scan([photos], out=photos, force=True)


@pytest.mark.parametrize("force", [False, True])
def test_an_output_among_the_inputs_is_refused(photos: Path, tmp_path: Path, *, force: bool) -> None:
    """Also where the output folder itself lies outside: the next scan would take the masks for photos."""
    (photos / "photos").mkdir()
    (photos / "photos" / "c.jpg").touch()
    with pytest.raises(OutputError, match="in a folder that is scanned"):
        plan_scan([photos], out=tmp_path, force=force)


def test_a_link_below_the_output_folder_is_followed(photos: Path, tmp_path: Path) -> None:
    """It may lead among the inputs."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(photos)
    with pytest.raises(OutputError, match="in a folder that is scanned"):
        plan_scan([photos], out=tmp_path / "out")


def test_a_path_that_cannot_be_looked_for_says_why(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in a folder that may not be entered is not simply absent."""

    def refusing(path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", refusing)
    with pytest.raises(MissingInputError, match=r"Cannot look for .*a\.png: Permission denied"):
        plan_scan([photos / "a.png"], out=tmp_path / "out")


def test_a_linked_folder_is_searched(photos: Path, tmp_path: Path) -> None:
    """Evidence is often laid out with links."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.jpg").touch()
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    assert "linked/c.jpg" in _names(photos, out=tmp_path / "out")


def test_what_only_looks_like_a_photo_is_planned(photos: Path, tmp_path: Path) -> None:
    """A dangling link, a link to itself and a pipe get a record like any other; silence would read as authentic."""
    (photos / "gone.jpg").symlink_to("nothing")
    (photos / "self.jpg").symlink_to("self.jpg")
    os.mkfifo(photos / "pipe.jpg")
    assert {"gone.jpg", "self.jpg", "pipe.jpg"} <= set(_names(photos, out=tmp_path / "out"))


def test_a_folder_that_cannot_be_listed_is_planned_with_its_reason(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its photos are unknown, and the record says so."""
    scandir = os.scandir

    def refusing(path: str) -> object:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    plan = plan_scan([photos], out=tmp_path / "out")
    problems = {image.path.name: image.problem for image in plan.images}
    assert problems == {"a.png": None, "b.jpg": None, "sub": "The folder cannot be listed: Permission denied."}


def test_a_listed_path_may_have_vanished(photos: Path, tmp_path: Path) -> None:
    """A list may be older than the files: what is gone is planned, to be skipped."""
    gone = photos / "gone.jpg"
    plan = plan_scan([photos / "a.png", gone], out=tmp_path / "out", listed=[gone])
    assert [image.path for image in plan.images] == [photos / "a.png", gone]


def test_the_digest_of_paths_tells_lists_apart() -> None:
    """Order, number and where one path ends count; any bytes can be a path."""
    lists = [["a", "b"], ["b", "a"], ["ab"], ["a", "b", "b"], [], ["\udc80"]]
    assert len({digest_of_paths(paths) for paths in lists}) == len(lists)
