"""One way to every data set: a path, a benchmark's name, or NAME:PATH for a benchmark in a folder of any name."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from nclforensics.data.formats import read_generic
from nclforensics.data.loaders import LOADERS, loader_named
from nclforensics.data.manifest import MANIFEST_NAME
from nclforensics.data.roots import DATA_VARIABLE, data_places, expanded, find_root, user_file
from nclforensics.errors import DatasetError, MissingInputError

if TYPE_CHECKING:
    from nclforensics.data.loaded_set import BenchmarkFacts, LoadedSet


def load_set(spec: str, *, data_root: Path | None = None) -> LoadedSet:
    """Read a data set: its pairs, and everything that is odd about its names and numbers. No pixel is decoded.

    Args:
        spec: One of: a path that exists (a folder with a manifest.csv, any other general layout that `read_generic`
            knows, or a folder that is called like a benchmark and laid out like it); the name of a benchmark, looked
            for by `find_root`; or NAME:PATH, a benchmark in a folder of another name.
        data_root: The value of `--data-root`.

    Raises:
        MissingInputError: If `spec` is neither a path nor a benchmark.
        DatasetError: If a benchmark is not on this machine, or its folder holds no known layout.
    """
    path = expanded(spec)
    if path.exists():
        return _at_path(path)
    name, _, place = located(spec, data_root=data_root).partition(":")
    loader = loader_named(name)
    assert loader is not None, "located knows the name"
    return loader.load(Path(place))


def located(spec: str, *, data_root: Path | None = None) -> str:
    """Return a spec that needs no search any more: a path that exists, or NAME:PATH with a folder that exists.

    Arguments and errors are those of `load_set`.
    """
    if expanded(spec).exists():
        return spec
    name, colon, place = spec.partition(":")
    loader = loader_named(name)
    if loader is None:
        raise MissingInputError(_unknown(spec))
    root = expanded(place) if colon else find_root(name, data_root=data_root)
    if root is None:
        raise DatasetError(_missing(loader.facts, data_places(data_root)))
    if not root.is_dir():
        raise DatasetError(f"Expected {loader.facts.title} at {root}, found no such folder.")
    return f"{loader.facts.name}:{root.absolute()}"


def _at_path(path: Path) -> LoadedSet:
    """Read what lies at a path; a folder with a benchmark's name is one unless it has a manifest of its own."""
    loader = loader_named(path.absolute().name)
    if loader is None or path.is_file() or (path / MANIFEST_NAME).is_file():
        return read_generic(path)
    try:
        return loader.load(path)
    except DatasetError as unknown_layout:
        try:  # a copy that somebody converted to a general layout keeps its name
            return read_generic(path)
        except DatasetError:
            raise unknown_layout from None


def _missing(facts: BenchmarkFacts, places: tuple[Path, ...]) -> str:
    searched = ", ".join(map(str, places)) or "nowhere, since no place was named"
    tree = "\n".join(f"    {line}" for line in facts.tree.splitlines())
    return (
        f"{facts.title} is not on this machine (searched: {searched}), and nothing is downloaded.\n"
        f"Expected {facts.tampered:,} tampered and {facts.authentic:,} authentic images, laid out like this:\n{tree}\n"
        f"Published at: {facts.publisher}\nTerms: {facts.terms}\n"
        f"Say where it lies with --data-root FOLDER (holding a folder {facts.name}), {DATA_VARIABLE}, "
        f'a line {facts.name} = "PATH" in {user_file()}, or as {facts.name}:PATH.'
    )


def _unknown(spec: str) -> str:
    names = [name for loader in LOADERS.values() for name in (loader.facts.name, *loader.facts.aliases)]
    near = get_close_matches(spec.lower(), names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    known = ", ".join(LOADERS)
    return f"Expected a data set at {spec}, found no such file or folder, nor a benchmark of that name ({known}).{hint}"
