"""What a scan reads and writes, fixed before the first image is opened.

Folders are searched for image suffixes; links are followed, and each real folder is searched once, so that a loop of
links ends. A file that is also reached by a link is planned once, by its own name. Whatever has an image's name is
planned, also if it turns out to be no file: it becomes a skipped record.
Objects in a store (`RemotePath`) are found likewise below the URI that the user names.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

from nclforensics.data.images import IMAGE_SUFFIXES
from nclforensics.errors import MissingInputError, OutputError
from nclforensics.pipelines.outputs import SUFFIXES, OutputNames, check_output_folder, is_inside, resolved
from nclforensics.pipelines.remote_inputs import RemotePath, check_uri, unnameable

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
        passed_over: Number of files in the searched folders that have no image's suffix, and so are no inputs.
    """

    images: tuple[PlannedImage, ...]
    inputs: tuple[tuple[str, int], ...]
    out: Path
    replace: bool
    resume: bool = False
    passed_over: int = 0

    def folder(self) -> str | None:
        """Return the folder that paths of images are relative to, the present one; None if all are absolute."""
        relative = any(not image.path.is_absolute() for image in self.images if image.problem is None)
        return str(Path.cwd()) if relative else None


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
        MissingInputError: If a path that is not listed does not exist or cannot be looked for, or there is no image at
            all.
        OutputError: If the output folder is refused, or an output would lie among the inputs.
        UsageError: If an input lies in a store that is not known or for which a package is missing, or its URI holds a
            password.
    """
    lenient = set(listed)
    for path in inputs:
        if isinstance(path, RemotePath):
            check_uri(path)
        if path not in lenient and not _exists(path):
            raise MissingInputError(f"Expected a file or a folder at {path}, found nothing. No image was scanned.")
    folders = [path for path in inputs if _is_local_folder(path)]
    check_output_folder(out, folders, force=force, resume=resume)
    search = _Search(out)
    found = [list(search.images_of(path)) for path in inputs]
    files = {candidate.target for candidates in found for candidate in candidates if not candidate.is_link}
    names = OutputNames()
    seen: set[Path] = set()
    images: list[PlannedImage] = []
    counts: list[tuple[str, int]] = []
    for path, candidates in zip(inputs, found, strict=True):
        before = len(images)
        for image, below, problem, target, is_link in candidates:
            if target not in seen and not (is_link and target in files):
                seen.add(target)
                images.append(PlannedImage(image, names.claim(Path(below)), problem))
        counts.append((str(path), len(images) - before))
    if not images:
        raise _nothing_found(inputs, folders, search.passed_over, out=out)
    if not (force or resume):
        _refuse_their_own_folder(images, out=out)
    _refuse_to_overwrite(images, seen, out=out)
    if force or resume:
        _refuse_old_outputs(seen, out=out)
    _refuse_to_write_inside(images, folders, out=out)
    return ScanPlan(tuple(images), tuple(counts), out, force, resume, search.passed_over)


def _refuse_their_own_folder(images: Iterable[PlannedImage], *, out: Path) -> None:
    """Refuse to write beside a photo that was named by itself; a folder's are refused with the folder."""
    wanted = resolved(out)
    for parent in {image.path.parent for image in images if not isinstance(image.path, RemotePath)}:
        if resolved(parent) == wanted:
            raise OutputError(
                f"The output folder {out} is the folder of a photo that is to be scanned: evidence must stay as it is. "
                "Choose a folder elsewhere, or allow it with --force."
            )


def digest_of_paths(paths: Iterable[str]) -> str:
    """Return the SHA-256 over paths in their order: two lists have the same one only if they are the same list."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(os.fsencode(path) + b"\0")
    return digest.hexdigest()


def _exists(path: Path) -> bool:
    """Return whether there is something, be it a link to nothing.

    Raises:
        MissingInputError: If the system or an object store does not tell.
    """
    try:
        if isinstance(path, RemotePath):
            return path.exists()
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no path can hold a zero byte
        return False
    except OSError as error:
        reason = error.strerror or error
        raise MissingInputError(f"Cannot look for {path}: {reason}. No image was scanned.") from error
    return True


def _is_local_folder(path: Path) -> bool:
    return not isinstance(path, RemotePath) and os.path.isdir(path)  # noqa: PTH112 - unlike Path.is_dir it never raises


class _Found(NamedTuple):
    """A candidate for the plan: the image, its path below its input, what is known to be wrong, and the file it is."""

    image: Path
    below: str
    problem: str | None
    target: Path
    is_link: bool


class _Search:
    """Finds the images that inputs stand for; each real folder is searched once, by its own path if it has one.

    Args:
        out: The output folder; what lies below it is not found.

    Attributes:
        passed_over: Number of files in the searched folders that have no image's suffix.
    """

    def __init__(self, out: Path) -> None:
        self._out = resolved(out)
        self._seen: set[tuple[int, int]] = set()
        self.passed_over = 0

    def images_of(self, path: Path) -> Iterator[_Found]:
        """Yield the images that an input stands for, a folder's sorted by path.

        Raises:
            MissingInputError: If a store cannot list its objects.
        """
        if isinstance(path, RemotePath):
            yield from self._objects_of(path)
            return
        if not _is_local_folder(path):
            yield _found(path, path.name)
            return
        problems: dict[Path, str] = {}
        for image in sorted([*self._images_below(path, problems), *problems]):
            below = path.name if image == path else str(image.relative_to(path))
            yield _found(image, below, problems.get(image))

    def _objects_of(self, path: RemotePath) -> Iterator[_Found]:
        """Yield the objects of a URI; one that is named like an image is one, so that a list of them costs nothing."""
        try:
            is_folder = not _is_image_name(path.name) and path.is_dir()
            objects = path.objects_below() if is_folder else []
        except OSError as error:
            raise MissingInputError(f"Cannot list {path}: {error}. No image was scanned.") from error
        images = [(image, below) for image, below in objects if _is_image_name(below)]
        self.passed_over += len(objects) - len(images)
        for image, below in images if is_folder else [(path, path.name)]:
            yield _Found(image, below, unnameable(image, below), image, is_link=False)

    def _images_below(self, folder: Path, problems: dict[Path, str]) -> Iterator[Path]:
        """Yield what has an image's suffix; a folder that cannot be listed is put among the problems."""

        def on_error(error: OSError) -> None:
            problems[Path(error.filename)] = f"The folder cannot be listed: {error.strerror}."

        starts = [str(folder)]
        for start in starts:  # grows by the links, which come after the folders that they may lead to
            for root, folders, files in os.walk(start, onerror=on_error):
                if self._seen_before(root) or resolved(Path(root)) == self._out:
                    folders.clear()
                    continue
                folders.sort()  # a folder reached by two links is found by the same one in each run
                below = [os.path.join(root, name) for name in folders]  # noqa: PTH118 - as os.walk names them
                starts += [link for link in below if os.path.islink(link)]  # noqa: PTH114
                images = [Path(root, name) for name in files if _is_image_name(name)]
                self.passed_over += len(files) - len(images)
                yield from images

    def _seen_before(self, folder: str) -> bool:
        try:
            status = os.stat(folder)  # noqa: PTH116 - as os.walk names it
        except OSError:
            return True  # vanished since it was listed
        key = (status.st_dev, status.st_ino)
        if key in self._seen:
            return True
        self._seen.add(key)
        return False


def _found(image: Path, below: str, problem: str | None = None) -> _Found:
    return _Found(image, below, problem, resolved(image), os.path.islink(image))  # noqa: PTH114 - it never raises


def _is_image_name(name: str) -> bool:
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


def _nothing_found(
    inputs: Sequence[Path], folders: Sequence[Path], passed_over: int, *, out: Path
) -> MissingInputError:
    looked_in = ", ".join(map(str, inputs)) or "an empty list of paths"
    message = f"Expected at least one image, found none in {looked_in}."
    if passed_over:
        message += f" Files there without an image's suffix: {passed_over}; each is scanned if it is named itself."
    if any(is_inside(out, folder) for folder in folders):
        message += f" What lies below --out {out} is no input: choose another --out."
    return MissingInputError(message)


def _refuse_to_overwrite(images: list[PlannedImage], inputs: set[Path], *, out: Path) -> None:
    folder = resolved(out)
    for image in images:
        for suffix in SUFFIXES:
            if folder / (image.name + suffix) in inputs:
                target = out / (image.name + suffix)
                raise OutputError(
                    f"The output {target} of {image.path} would overwrite an input. Choose another --out."
                )


def _refuse_old_outputs(inputs: set[Path], *, out: Path) -> None:
    """Refuse outputs of a scan in the output folder as inputs: they are removed there before the first one is read."""
    named = {path for path in inputs if path.name.endswith(SUFFIXES) and not isinstance(path, RemotePath)}
    folder = resolved(out)
    for path in sorted(named):
        if path.is_relative_to(folder):
            raise OutputError(
                f"{path} is a result of a scan in {out}, whose results are replaced there. Choose another --out."
            )


def _refuse_to_write_inside(images: list[PlannedImage], folders: Sequence[Path], *, out: Path) -> None:
    """Refuse outputs in an input folder that `out` itself does not lie in: the next scan would take them for inputs."""
    searched = {place for place in map(resolved, folders) if not is_inside(out, place)}
    for below in sorted({image.name.rpartition("/")[0] for image in images}):
        place = resolved(out / below)
        if not searched.isdisjoint((place, *place.parents)):
            raise OutputError(
                f"Masks would be written to {out / below}, in a folder that is scanned: evidence must stay as it is. "
                "Choose another --out."
            )
