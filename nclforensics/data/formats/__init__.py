"""General layouts of data sets: whatever is not one of the published benchmarks in its own folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nclforensics.data.formats.json_dataset import read_json_file
from nclforensics.data.formats.mani_dataset import is_mani_dataset, read_mani_dataset
from nclforensics.data.formats.mvss_list import read_mvss_list
from nclforensics.data.manifest import MANIFEST_NAME, load_manifest
from nclforensics.errors import DatasetError, MissingInputError

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.data.loaded_set import LoadedSet


def read_generic(path: Path) -> LoadedSet:
    """Read a data set of any general layout, recognized from what lies at a path.

    Args:
        path: A folder with a manifest.csv, or with the folders Tp and Gt (IMDLBenCo's ManiDataset); or a file: .json
            (IMDLBenCo's JsonDataset or BalancedDataset), .txt (MVSS-Net's list), any other is read as a manifest.

    Returns:
        The usable pairs; what does not pair up, is missing or appears twice is an anomaly of severity "error".

    Raises:
        MissingInputError: If there is no such path.
        DatasetError: If no layout fits, or an index file is damaged or empty.
    """
    if not path.exists():
        raise MissingInputError(f"Expected a data set at {path}, found no such file or folder.")
    if path.is_file() and path.suffix.lower() == ".json":
        return read_json_file(path)
    if path.is_file() and path.suffix.lower() == ".txt":
        return read_mvss_list(path)
    if path.is_file() or (path / MANIFEST_NAME).is_file():
        return load_manifest(path)
    if is_mani_dataset(path):
        return read_mani_dataset(path)
    raise DatasetError(f"Expected {MANIFEST_NAME}, or the folders Tp and Gt, in {path}; found neither.")
