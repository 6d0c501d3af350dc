"""What a scan reads and writes, fixed before the first image is opened.

Folders are searched for image suffixes; links are followed, and each real folder is searched once, so that a loop of
links ends. Whatever has an image's name is planned, also if it turns out to be no file: it becomes a skipped record.
Objects in a store (`RemotePath`) are found likewise below the URI that the user names.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nclforensics.data.images import IMAGE_SUFFIXES
from nclforensics.errors import MissingInputError, OutputError
from nclforensics.pipelines.outputs import SUFFIXES, OutputNames, check_output_folder, is_inside, resolved
from nclforensics.pipelines.remote_inputs import RemotePath

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(frozen=True)
class PlannedImage:
    """One image to scan: where it is, and the name of its outputs below the output folder, without their suffix.

    Attributes:
        path: As the user named it, or as found in the folder that the user named.
        name: With "/" between its parts.
        problem: Why it cannot be read, if that is known already.
    """

    path: Path
    name: str
    problem: str | None = None


@dataclass(frozen=True)
class ScanPlan:
    """What a scan will read and write.

    Attributes:
        images: In the order given; a folder's images sorted by path.
        inputs: The paths as given, each with the number of images it stands for.
        out: The output folder.
        replace: Whether outputs of an earlier run may be replaced.
        resume: Whether to go on with an earlier run in the output folder.
    """

    images: tuple[PlannedImage, ...]
    inputs: tuple[tuple[str, int], ...]
    out: Path
    replace: bool
    resume: bool = False


def plan_scan(
    inputs: Sequence[Path], *, out: Path, force: bool = False, resume: bool = False, listed: Iterable[Path] = ()
) -> ScanPlan:
    """Expand folders, drop duplicates, name the outputs, and check everything that can be checked before reading.

    Args:
        inputs: Folders, searched recursively for image suffixes, and files, tried whatever their suffix; either may lie
            in an object store (`remote_inputs.input_path`).
        out: The output folder; images below it are never inputs of a folder that contains it.
        force: Allow an output folder inside an input folder, and replace an earlier run's results.
        resume: Go on with the run that `out` holds, if it holds one.
        listed: Those of the inputs that come from a list. A list may be older than the files: what is gone by now is
            planned and becomes a skipped record.

    Raises:
        MissingInputError: If a path that is not listed does not exist, or there is no image at all.
        OutputError: If the output folder is refused.
        UsageError: If an input lies in a store for which a package is missing.
    """
    lenient = set(listed)
    for path in inputs:
        if path not in lenient and not _exists(path):
            raise MissingInputError(f"Expected a file or a folder at {path}, found nothing. No image was scanned.")
    check_output_folder(out, [path for path in inputs if _is_local_folder(path)], force=force, resume=resume)
    names = OutputNames()
    seen: set[Path] = set()
    images: list[PlannedImage] = []
    counts: list[tuple[str, int]] = []
    for path in inputs:
        before = len(images)
        for image, relative, problem in _expand(path, out=out):
            target = resolved(image)
            if target not in seen:
                seen.add(target)
                images.append(PlannedImage(image, names.claim(relative), problem))
        counts.append((str(path), len(images) - before))
    if not images:
        looked_in = ", ".join(map(str, inputs)) or "an empty list of paths"
        raise MissingInputError(f"Expected at least one image, found none in {looked_in}.")
    _refuse_to_overwrite(images, seen, out=out)
    return ScanPlan(tuple(images), tuple(counts), out, force, resume)


def digest_of_paths(paths: Iterable[str]) -> str:
    """Return the SHA-256 over paths in their order: two lists have the same one only if they are the same list."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(os.fsencode(path) + b"\0")
    return digest.hexdigest()


def _exists(path: Path) -> bool:
    """Return whether there is something, be it a link to nothing.

    Raises:
        MissingInputError: If an object store does not tell.
    """
    if not isinstance(path, RemotePath):
        return os.path.lexists(path)
    try:
        return path.exists()
    except OSError as error:
        raise MissingInputError(f"Cannot look for {path}: {error}. No image was scanned.") from error


def _is_local_folder(path: Path) -> bool:
    return not isinstance(path, RemotePath) and os.path.isdir(path)  # noqa: PTH112 - unlike Path.is_dir it never raises


def _expand(path: Path, *, out: Path) -> Iterator[tuple[Path, Path, str | None]]:
    """Yield the images that an input stands for: path, path below that input, and what is known to be wrong."""
    if isinstance(path, RemotePath):
        yield from _expand_remote(path)
        return
    if not _is_local_folder(path):
        yield path, Path(path.name), None
        return
    excluded = resolved(out) if is_inside(out, path) else None
    problems: dict[Path, str] = {}
    for image in sorted([*_images_below(path, problems, excluded), *problems]):
        yield image, Path(path.name) if image == path else image.relative_to(path), problems.get(image)


def _expand_remote(path: RemotePath) -> Iterator[tuple[Path, Path, None]]:
    """Yield the objects that a URI stands for; one named like an image is one, so that a list of them costs nothing."""
    is_image = path.suffix.lower() in IMAGE_SUFFIXES
    try:
        images = path.images_below() if not is_image and path.is_dir() else [(path, Path(path.name))]
    except OSError as error:
        raise MissingInputError(f"Cannot list {path}: {error}. No image was scanned.") from error
    yield from ((image, relative, None) for image, relative in images)


def _images_below(folder: Path, problems: dict[Path, str], excluded: Path | None) -> Iterator[Path]:
    """Yield what has an image's suffix; a folder that cannot be listed is put among the problems."""

    def on_error(error: OSError) -> None:
        problems[Path(error.filename)] = f"The folder cannot be listed: {error.strerror}."

    seen: set[tuple[int, int]] = set()
    for root, folders, files in os.walk(folder, onerror=on_error, followlinks=True):
        if _seen_before(root, seen) or resolved(Path(root)) == excluded:
            folders.clear()
            continue
        folders.sort()  # a folder reached by two ways is found by the same one in each run
        yield from (path for path in (Path(root, name) for name in files) if path.suffix.lower() in IMAGE_SUFFIXES)


def _seen_before(folder: str, seen: set[tuple[int, int]]) -> bool:
    try:
        status = os.stat(folder)  # noqa: PTH116 - as os.walk names it
    except OSError:
        return True  # vanished since it was listed
    key = (status.st_dev, status.st_ino)
    if key in seen:
        return True
    seen.add(key)
    return False


def _refuse_to_overwrite(images: list[PlannedImage], inputs: set[Path], *, out: Path) -> None:
    folder = resolved(out)
    for image in images:
        for suffix in SUFFIXES:
            if folder / (image.name + suffix) in inputs:
                target = out / (image.name + suffix)
                raise OutputError(
                    f"The output {target} of {image.path} would overwrite an input. Choose another --out."
                )
