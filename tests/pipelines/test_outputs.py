"""Output names never collide, and files are whole or absent."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nclforensics.errors import OutputError
from nclforensics.pipelines.outputs import (
    RESULTS_FILE,
    RUN_FILE,
    SUFFIXES,
    TIMINGS_FILE,
    OutputNames,
    check_output_folder,
    encode_mask,
    encode_png,
    remove_temporaries,
    write_atomic,
)
from nclforensics.pipelines.report import REPORT_FORMATS


def _claimed(*paths: str) -> list[str]:
    names = OutputNames()
    return [names.claim(Path(path)) for path in paths]


def test_names_keep_tree_and_suffix() -> None:
    """Images that differ only in their suffix or folder have different names."""
    assert _claimed("a.jpg", "a.png", "sub/a.jpg") == ["a.jpg", "a.png", "sub/a.jpg"]


def test_a_shared_name_is_numbered() -> None:
    """The later one, in the order given, gets the number; a name that looks numbered is not given twice."""
    assert _claimed("a.jpg~2", "a.jpg", "a.jpg", "a.jpg") == ["a.jpg~2", "a.jpg", "a.jpg~3", "a.jpg~4"]


def test_names_that_differ_in_case_only_are_kept_apart() -> None:
    """A case-insensitive file system would merge them."""
    assert _claimed("A.jpg", "a.JPG") == ["A.jpg", "a.JPG~2"]


def test_names_that_differ_in_how_accents_are_stored_are_kept_apart() -> None:
    """A file system of macOS would merge them."""
    assert _claimed("caf\u00e9.jpg", "cafe\u0301.jpg") == ["caf\u00e9.jpg", "cafe\u0301.jpg~2"]


def test_no_name_leads_out_of_the_output_folder() -> None:
    """An archive made to do harm may hold such names; they are kept apart from those that look like ours."""
    assert _claimed("../../a.jpg", "b/../a.jpg", "~../~../a.jpg") == ["~../~../a.jpg", "b/~../a.jpg", "~../~../a.jpg~2"]


def test_a_folder_named_like_a_mask_is_no_conflict() -> None:
    """A path cannot be file and folder at once, so the later one moves."""
    assert _claimed("a.jpg", "a.jpg.mask.png/b.jpg") == ["a.jpg", "a.jpg.mask.png~2/b.jpg"]


def test_a_folder_is_not_named_like_a_file_of_ours() -> None:
    """Records and reports lie at the top of the output folder, half-written files anywhere in it."""
    ours = [RESULTS_FILE, RUN_FILE, TIMINGS_FILE, "results.previous-3.jsonl", *(f"report.{k}" for k in REPORT_FORMATS)]
    for name in ours:
        assert _claimed(f"{name}/a.jpg", f"b/{name}/a.jpg") == [f"{name}~2/a.jpg", f"b/{name}/a.jpg"]
    assert _claimed("RUN.json/a.jpg") == ["RUN.json~2/a.jpg"]
    assert _claimed("b/.nclf-a.tmp/a.jpg") == ["b/.nclf-a.tmp~2/a.jpg"]
    assert _claimed("run.json") == ["run.json"]  # its mask is called otherwise


def test_only_files_are_taken_for_half_written(tmp_path: Path) -> None:
    """A folder of masks that an older version called so stays; links go, and not what they lead to."""
    (tmp_path / "a" / ".nclf-a.tmp").mkdir(parents=True)
    (tmp_path / "a" / ".nclf-b.tmp").write_bytes(b"half")
    (tmp_path / "a" / "kept").write_bytes(b"whole")
    (tmp_path / ".nclf-c.tmp").symlink_to(tmp_path / "a" / "kept")
    remove_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".nclf-a.tmp", "a", "kept"]


@given(st.lists(st.lists(st.sampled_from(["a", "A", "a~2", "a.mask.png", "b"]), min_size=1, max_size=3), max_size=12))
def test_no_two_outputs_share_a_path(parts: list[list[str]]) -> None:
    """Whatever the inputs are called, no output is another one or lies below another one."""
    files = [name.casefold() + suffix for name in _claimed(*("/".join(p) for p in parts)) for suffix in SUFFIXES]
    folders = {str(parent) for file in files for parent in Path(file).parents}
    assert len(set(files)) == len(files)
    assert not folders & set(files)


def test_a_very_long_name_still_fits() -> None:
    """Names near the file system's limit are cut, and two that begin alike stay different."""
    names = _claimed("x" * 240 + "1.jpg", "x" * 240 + "2.jpg")
    assert len(set(names)) == 2
    assert max(len(name) for name in names) + len(max(SUFFIXES, key=len)) < 255
    folders = [name.removesuffix("/a.jpg") for name in _claimed("y" * 300 + "1/a.jpg", "y" * 300 + "2/a.jpg")]
    assert len(set(folders)) == 2
    assert max(map(len, folders)) < 255


def test_a_written_file_has_its_digest(tmp_path: Path) -> None:
    """The digest is that of the bytes on disk, and missing folders are made."""
    digest = write_atomic(tmp_path / "new" / "file", b"abc")
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (tmp_path / "new" / "file").read_bytes() == b"abc"


@pytest.mark.parametrize("step", ["write", "sync", "rename"])
def test_a_failing_write_leaves_nothing(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, at whichever step, leaves the old file and no partial one."""
    target = tmp_path / "mask.png"
    target.write_bytes(b"old")

    def fail(*_: Any, **__: Any) -> None:  # noqa: ANN401 - stands for any function
        raise OSError(28, "No space left on device")

    class FullFile(io.FileIO):
        write = fail  # type: ignore[assignment]

    if step == "write":
        monkeypatch.setattr(Path, "open", lambda path, _: FullFile(path, "xb"))
    elif step == "sync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="No space left"):
        write_atomic(target, b"new")
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"mask.png": b"old"}


def test_a_folder_in_the_place_of_a_file_is_an_output_error(tmp_path: Path) -> None:
    """The message names the path; nothing is left behind."""
    (tmp_path / "mask.png" / "x").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"mask\.png"):
        write_atomic(tmp_path / "mask.png", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    """Nor a device: whoever names one wants to write into it, and a rename would put a file in its place."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="pipe: expected a file or a new name"):
        write_atomic(tmp_path / "pipe", b"new")
    assert (tmp_path / "pipe").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize("out", [".", "masks", "../photos/masks"])
def test_an_output_folder_inside_the_input_is_refused(tmp_path: Path, out: str) -> None:
    """Evidence stays as it is, however the path is written."""
    photos = tmp_path / "photos"
    photos.mkdir()
    with pytest.raises(OutputError, match="--force"):
        check_output_folder(photos / out, [photos], force=False)


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_cannot_be_looked_for_is_refused(tmp_path: Path, *, force: bool) -> None:
    """Its name is too long for the file system; a folder that may not be entered ends alike."""
    with pytest.raises(OutputError, match="File name too long"):
        check_output_folder(tmp_path / ("x" * 300), [], force=force)


def test_a_link_into_the_input_is_refused(tmp_path: Path) -> None:
    """A symbolic link is followed before it is judged."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    with pytest.raises(OutputError, match="evidence"):
        check_output_folder(tmp_path / "link" / "masks", [tmp_path / "photos"], force=False)


def test_force_allows_the_input_folder(tmp_path: Path) -> None:
    """Who insists may."""
    check_output_folder(tmp_path, [tmp_path], force=True)
    assert not os.listdir(tmp_path)  # noqa: PTH208 - nothing is made either


def test_a_sibling_with_a_common_prefix_is_allowed(tmp_path: Path) -> None:
    """photos-masks does not lie inside photos."""
    (tmp_path / "photos").mkdir()
    check_output_folder(tmp_path / "photos-masks", [tmp_path / "photos"], force=False)


def test_a_mask_is_stored_exactly() -> None:
    """A decoded mask PNG is 0 and 255 at the same pixels."""
    prediction = np.random.default_rng(0).random((33, 57)) > 0.5
    decoded = cv2.imdecode(np.frombuffer(encode_mask(prediction), np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    assert np.array_equal(decoded, np.where(prediction, 255, 0))


def test_a_colour_png_keeps_its_channels() -> None:
    """Red stays red: RGB goes in, and RGB is in the file."""
    red = np.zeros((2, 2, 3), dtype=np.uint8)
    red[:, :, 0] = 255
    decoded = cv2.imdecode(np.frombuffer(encode_png(red), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert decoded is not None
    assert np.array_equal(decoded, red)
