"""Objects in a store are scanned as files are: read once, hashed twice, never written. The stores are fsspec's own."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]  # it has no types

from nclforensics.errors import MissingInputError, UsageError
from nclforensics.networks.weights import LoadedModel, load_model
from nclforensics.pipelines import scan_engine
from nclforensics.pipelines.examination import Examiner
from nclforensics.pipelines.outputs import encode_png
from nclforensics.pipelines.remote_inputs import RemotePath, input_path
from nclforensics.pipelines.scan import scan_images
from nclforensics.pipelines.scan_plan import PlannedImage, ScanPlan, plan_scan
from nclforensics.results import ScanFinding, SkippedImage
from tests.factories import make_image
from tests.scan_folders import CONFIG, contents, scan_folder, write_photos
from tests.tiny_model import write_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nclforensics.results import Outcome


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Return a tiny model."""
    return load_model(write_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def store() -> Iterator[MemoryFileSystem]:
    """Yield an object store with two photos below memory://case and two objects that are none."""
    store = MemoryFileSystem()
    for seed, name in enumerate(("b.png", "a/c.PNG", "notes.txt", "torn.jpg")):
        store.pipe(f"/case/{name}", encode_png(make_image(72, 80, seed=seed)) if name != "torn.jpg" else b"torn")
    yield store
    store.rm("/case", recursive=True)


def _scan(model: LoadedModel, out: Path, *uris: str, **options: Any) -> dict[str, Outcome]:  # noqa: ANN401 - passed on
    plan = plan_scan([input_path(uri) for uri in uris], out=out, **options)
    return {outcome.path: outcome for outcome in scan_images(plan, model, CONFIG)}


@pytest.mark.parametrize("decoders", [0, 1], ids=["in this process", "in another process"])
@pytest.mark.usefixtures("store")
def test_a_folder_of_objects_is_scanned_as_one_of_files(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoders: int
) -> None:
    """Masks mirror the tree, digests are those of the objects, and a reason names the object, not a temporary file."""
    monkeypatch.setattr(scan_engine, "DECODERS", decoders)
    outcomes = _scan(model, tmp_path / "out", "memory://case/")
    assert list(outcomes) == ["memory://case/a/c.PNG", "memory://case/b.png", "memory://case/torn.jpg"]
    for index, name in ((1, "a/c.PNG"), (0, "b.png")):
        content = encode_png(make_image(72, 80, seed=index))
        (tmp_path / "photo.png").write_bytes(content)
        finding = outcomes[f"memory://case/{name}"]
        (local,) = _scan(model, tmp_path / f"local{index}", str(tmp_path / "photo.png")).values()
        assert isinstance(finding, ScanFinding)
        assert isinstance(local, ScanFinding)
        assert finding.mask == f"{name}.mask.png"
        assert (finding.sha256, finding.sha256_after, finding.mask_sha256) == (
            local.sha256,
            local.sha256,
            local.mask_sha256,
        )
        assert (finding.size_bytes, finding.notes, finding.regions) == (len(content), local.notes, local.regions)
    torn = outcomes["memory://case/torn.jpg"]
    assert isinstance(torn, SkippedImage)
    assert torn.reason.startswith("Cannot decode memory://case/torn.jpg: ")
    assert torn.size_bytes == 4


def test_an_object_that_changes_meanwhile_is_skipped(
    model: LoadedModel, store: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second hash is that of the object as it is after the analysis."""
    localize = Examiner.localize

    def change_and_localize(self: Examiner, loaded: Any) -> Any:  # noqa: ANN401 - passed on
        store.pipe("/case/b.png", encode_png(make_image(72, 80, seed=9)))
        return localize(self, loaded)

    monkeypatch.setattr(Examiner, "localize", change_and_localize)
    outcome = _scan(model, tmp_path / "out", "memory://case/b.png")["memory://case/b.png"]
    assert isinstance(outcome, SkippedImage)
    assert "changed while it was scanned" in outcome.reason
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_resumed_scan_keeps_objects_that_are_unchanged(
    model: LoadedModel, store: MemoryFileSystem, tmp_path: Path
) -> None:
    """The one that was replaced, and the one that could not be scanned, are scanned again."""
    _scan(model, tmp_path / "out", "memory://case")
    store.pipe("/case/b.png", encode_png(make_image(72, 80, seed=9)))
    _scan(model, tmp_path / "out", "memory://case", resume=True)
    _scan(model, tmp_path / "fresh", "memory://case")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    assert json.loads((tmp_path / "out" / "run.json").read_text())["resumed"][0]["records_kept"] == 1


@pytest.mark.usefixtures("store")
def test_an_object_that_vanished_from_a_list_is_skipped(model: LoadedModel, tmp_path: Path) -> None:
    """One that was named by hand ends the run instead."""
    gone = input_path("memory://case/gone.png")
    plan = plan_scan([input_path("memory://case/b.png"), gone], out=tmp_path / "out", listed=[gone])
    _, outcome = scan_images(plan, model, CONFIG)
    assert isinstance(outcome, SkippedImage)
    assert "memory://case/gone.png" in outcome.reason
    with pytest.raises(MissingInputError, match="memory://case/gone"):
        plan_scan([gone], out=tmp_path / "out2")


def test_photos_in_an_archive_are_scanned(model: LoadedModel, tmp_path: Path) -> None:
    """With fsspec's chains; the records are those of the files but for the paths."""
    photos = write_photos(tmp_path / "photos", count=2)
    archive = tmp_path / "case.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(photos.iterdir()):
            file.write(path, f"scene/{path.name}")
    outcomes = _scan(model, tmp_path / "out", f"zip://scene::{archive}")
    assert list(outcomes) == [f"zip://scene/{index}.png::{archive}" for index in range(2)]
    scan_folder(model, photos, tmp_path / "local")
    masks = [
        {name: content for name, content in contents(tmp_path / folder).items() if name.endswith(".png")}
        for folder in ("out", "local")
    ]
    assert masks[0] == masks[1]


def test_files_are_local_however_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the checks on output folders hold; and what exists under an odd name is that."""
    assert input_path(f"file://{tmp_path}/a.png") == tmp_path / "a.png"
    assert input_path(f"file://localhost{tmp_path}/a%20b.png") == tmp_path / "a b.png"
    (tmp_path / "a%20b.png").touch()
    assert input_path(f"file://{tmp_path}/a%20b.png") == tmp_path / "a%20b.png"
    assert input_path("photos/a.png") == Path("photos/a.png")
    assert input_path("s3://bucket/a.png") == RemotePath("s3://bucket/a.png")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:" / "bucket").mkdir(parents=True)
    assert input_path("s3://bucket") == Path("s3:/bucket")


def test_a_store_that_is_not_known_is_refused(tmp_path: Path) -> None:
    """In fsspec's words, which say what to install where a package is missing."""
    with pytest.raises(UsageError, match="nothing-like-it"):
        plan_scan([input_path("nothing-like-it://bucket/a.png")], out=tmp_path / "out")


@pytest.mark.parametrize("listed", [False, True])
def test_a_password_in_a_uri_is_refused(tmp_path: Path, *, listed: bool) -> None:
    """It would stand in every record and in reports that are handed on; the message does not tell it either."""
    uri = input_path("zip://photos::ftp://examiner:secret@host/case.zip")
    with pytest.raises(UsageError, match=r"ftp://host holds a password.*FSSPEC_FTP_PASSWORD") as caught:
        plan_scan([uri], out=tmp_path / "out", listed=[uri] if listed else [])
    assert "secret" not in str(caught.value)


def test_a_store_that_is_not_known_is_refused_in_a_list_too(tmp_path: Path) -> None:
    """Before the first image: what a list may be too old for is objects, not stores."""
    uri = input_path("nothing-like-it://bucket/a.png")
    with pytest.raises(UsageError, match="nothing-like-it"):
        plan_scan([uri], out=tmp_path / "out", listed=[uri])


def test_names_that_only_an_archive_can_have_do_no_harm(model: LoadedModel, tmp_path: Path) -> None:
    """None is written outside of the output folder or ends the scan, and none is left out of the records."""
    archive = tmp_path / "case.zip"
    names = ("../../a.png", "x/" + "y" * 300 + "/b.png", "c::d.png")
    with zipfile.ZipFile(archive, "w") as file:
        for name in names:
            file.writestr(name, encode_png(make_image(72, 80, seed=1)))
    outcomes = _scan(model, tmp_path / "deep" / "er" / "out", f"zip://::{archive}")
    assert list(outcomes) == [f"zip://{name}::{archive}" for name in (names[0], names[2], names[1])]
    kinds = [type(outcome) for outcome in outcomes.values()]
    assert kinds == [ScanFinding, SkippedImage, ScanFinding]
    assert len(list((tmp_path / "deep" / "er" / "out").rglob("*.mask.png"))) == 2
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and "out" not in path.parts) == [
        archive.name
    ]


@pytest.mark.parametrize(
    ("uri", "is_absolute"),
    [
        ("s3://bucket/a.png", True),
        ("zip://a.png::s3://bucket/case.zip", True),
        ("zip://a.png::/cases/case.zip", True),
        ("zip://a.png::file:///cases/case.zip", True),
        ("zip://a.png::case.zip", False),
        ("zip://a.png::file://case.zip", False),
    ],
)
def test_workers_are_told_the_folder_that_an_archive_is_named_relative_to(
    uri: str, tmp_path: Path, *, is_absolute: bool
) -> None:
    """Theirs is another one; where nothing is relative, they need not have it."""
    path = input_path(uri)
    plan = ScanPlan((PlannedImage(path, "a.png"),), ((uri, 1),), tmp_path, replace=False)
    assert plan.folder() == (None if is_absolute else str(Path.cwd()))
