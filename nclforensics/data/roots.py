"""Where benchmarks lie on this machine. Only folders that the user named are looked at, and nothing is downloaded.

They are named in three places, searched in this order: the option `--data-root`, the environment variable `NCLF_DATA`,
and the file `nclforensics/data.toml` in the user's configuration folder ($XDG_CONFIG_HOME, or ~/.config). The first two
name a folder whose sub-folders are called like the benchmarks, or a TOML file like the third, one line a benchmark:

    casiav2 = "/data/CASIA2.0_revised"
    columbia = "~/sets/Columbia"          # relative paths start at the TOML file
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Final

from nclforensics.data.loaders import LOADERS, loader_named
from nclforensics.errors import ConfigError, DatasetError

DATA_VARIABLE: Final = "NCLF_DATA"
USER_FILE: Final = Path("nclforensics") / "data.toml"


def find_root(name: str, *, data_root: Path | None = None) -> Path | None:
    """Return the folder that holds a benchmark, or None if it is in none of the places.

    Args:
        name: A benchmark's name or alias, one that `loader_named` knows.
        data_root: The value of `--data-root`.

    Raises:
        DatasetError: If a place that the user named does not exist, or two of its sub-folders fit the name.
        ConfigError: If a TOML file is damaged, or names something that is no benchmark.
    """
    for place in data_places(data_root):
        found = _in_file(name, place) if place.is_file() else _in_folder(name, place)
        if found is not None:
            return found
    return None


def data_places(data_root: Path | None = None) -> tuple[Path, ...]:
    """Return the folders and TOML files that are searched, in this order.

    Raises:
        DatasetError: If `--data-root` or `NCLF_DATA` names something that does not exist.
    """
    variable = os.environ.get(DATA_VARIABLE)
    named = {"--data-root": data_root, DATA_VARIABLE: expanded(variable) if variable else None}
    places = []
    for source, place in named.items():
        if place is None:
            continue
        if not place.exists():
            raise DatasetError(f"Expected a folder of data sets, or a TOML file, at {place} ({source}), found nothing.")
        places.append(place)
    configuration = user_file()
    return (*places, configuration) if configuration.is_file() else tuple(places)


def expanded(path: str) -> Path:
    """Return a path in which "~" is the user's home; the home of somebody unknown is left as it is written."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises RuntimeError for it


def user_file() -> Path:
    """Return where the user's own list of data sets lies, whether it exists or not."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / USER_FILE


def _in_folder(name: str, folder: Path) -> Path | None:
    """Look for a sub-folder that is called like the benchmark, its title or an alias, however spelled."""
    loader = loader_named(name)
    fitting = sorted(path for path in folder.iterdir() if path.is_dir() and loader_named(path.name) is loader)
    if len(fitting) > 1:
        raise DatasetError(
            f"Both {fitting[0]} and {fitting[1]} could be the data set {name}. Give one of them as {name}:PATH."
        )
    return fitting[0] if fitting else None


def _in_file(name: str, path: Path) -> Path | None:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"Cannot read the list of data sets {path}: {error}.") from error
    wanted, found = loader_named(name), None
    for key, value in table.items():
        loader = loader_named(key)
        if loader is None or not isinstance(value, str):
            raise ConfigError(
                f'Expected lines like casiav2 = "/data/CASIA2" in {path}, found {key} = {value!r:.60}. '
                f"Known names: {', '.join(LOADERS)}."
            )
        if loader is wanted:
            found = path.parent / expanded(value)
            if not found.is_dir():
                raise DatasetError(f"Expected the data set {key} at {found}, as {path} says, found no such folder.")
    return found
