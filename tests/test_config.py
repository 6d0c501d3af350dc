"""Settings survive the way through TOML, and whatever a file says wrongly is named."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import tomllib
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nclforensics import config as config_module
from nclforensics.config import (
    EvalConfig,
    ForgeConfig,
    LossConfig,
    ModelConfig,
    PatchConfig,
    RunConfig,
    ScanConfig,
    TrainConfig,
    dump_config,
    load_config,
)
from nclforensics.config_tables import from_tables
from nclforensics.errors import ConfigError, MissingInputError

if TYPE_CHECKING:
    from pathlib import Path

STAGES: list[type[Any]] = [ModelConfig, PatchConfig, LossConfig, ForgeConfig, TrainConfig, ScanConfig, EvalConfig]
ALL = [*STAGES, RunConfig]
every_stage = pytest.mark.parametrize("kind", STAGES, ids=lambda kind: kind.__name__)
KEYS = [(section, key.name) for section, kind in get_type_hints(RunConfig).items() for key in dataclasses.fields(kind)]


def _values(hint: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - type hints are of any type
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _configs(hint)
    if get_args(hint):
        return st.one_of([_values(part) for part in get_args(hint)])
    plain: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(1, 4096),  # in the range of every setting
        float: st.floats(1e-3, 1.0),
        str: st.text(),
        type(None): st.none(),
    }
    return plain[hint]


def _configs(kind: type[Any]) -> st.SearchStrategy[Any]:
    values = {name: _values(hint) for name, hint in get_type_hints(kind).items()}
    if kind is ForgeConfig:  # whose values depend on each other
        values |= {"size": st.integers(8, 1024).map(lambda blocks: 8 * blocks)}
        values |= {"min_area": st.floats(1e-3, 0.4), "max_area": st.floats(0.5, 1.0)}
    qualities = {"low_quality": st.integers(0, 100), "whole_saving": st.integers(0, 100)}
    values |= {name: quality for name, quality in qualities.items() if name in values}
    return st.builds(kind, **values)


@settings(max_examples=60)
@given(st.one_of([_configs(kind) for kind in ALL]))
def test_a_configuration_survives_toml(config: Any) -> None:  # noqa: ANN401 - any of the dataclasses
    """What is written beside a result reads back equal, whatever the values in range are."""
    assert from_tables(type(config), tomllib.loads(dump_config(config)), where="test") == config


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    """So it does through a file, with characters outside ASCII."""
    config = RunConfig(train=TrainConfig(photos="Bilder/\u00dcbung \u6f22", steps=7))
    path = tmp_path / "config.toml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    """What a file leaves out keeps its default."""
    path = tmp_path / "empty.toml"
    path.write_text("")
    assert load_config(path) == RunConfig()


def test_one_key_changes_one_value(tmp_path: Path) -> None:
    """The rest of its section keeps the defaults."""
    path = tmp_path / "train.toml"
    path.write_text("[losses]\ntau = 0.5\n")
    assert load_config(path) == RunConfig(losses=LossConfig(tau=0.5))


@pytest.mark.parametrize(("section", "key"), KEYS, ids=[".".join(pair) for pair in KEYS])
def test_a_misspelled_key_names_the_nearest(section: str, key: str) -> None:
    """The message gives the wrong key, the file, the section and the key that was probably meant."""
    wrong = key.replace("_", "") + "s"
    with pytest.raises(ConfigError) as caught:
        from_tables(RunConfig, {section: {wrong: 1}}, where="my.toml")
    expected = f'Unknown key "{wrong}" in my.toml, section [{section}]. Did you mean "{key}"?'
    assert str(caught.value) == expected


def test_a_key_like_no_other_lists_the_known_ones() -> None:
    """Where no name is near, all names are given."""
    with pytest.raises(ConfigError, match=r'"qqq" in my\.toml\. Known keys: forge, losses, model, patches, train\.'):
        from_tables(RunConfig, {"qqq": 1}, where="my.toml")


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("train", "steps", 1.5, "Expected int"),
        ("train", "steps", True, "Expected int"),
        ("train", "steps", "10", "Expected int"),
        ("train", "minutes", "10", "Expected float"),
        ("train", "minutes", False, "Expected float"),
        ("train", "photos", 3, "Expected str"),
        ("train", "photos", ["a"], "Expected str"),
        ("model", "error_levels", 1, "Expected bool"),
        ("model", "encoder", "vgg", "Expected 'lite' or 'base' or 'resnet50' or 'resnet101'"),
        ("model", "encoder", ["lite"], "Expected 'lite' or 'base' or 'resnet50' or 'resnet101'"),
        ("model", "embedding_dim", {"a": 1}, "Expected int"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(section: str, key: str, value: object, expected: str) -> None:
    """The message gives what was expected, the key, the place and what was found."""
    with pytest.raises(ConfigError) as caught:
        from_tables(RunConfig, {section: {key: value}}, where="my.toml")
    assert str(caught.value) == f'{expected} for "{key}" in my.toml, section [{section}], got {value!r}.'


def test_an_optional_value_names_its_type() -> None:
    """The type of a threshold that may be left out is spelled out."""
    with pytest.raises(ConfigError, match=r'Expected float \| None for "threshold"'):
        from_tables(ScanConfig, {"threshold": "high"}, where="my.toml")


def test_a_whole_number_is_a_float_where_one_is_expected() -> None:
    """`minutes = 3` means 3.0, with that type."""
    minutes = from_tables(TrainConfig, {"minutes": 3}, where="test").minutes
    assert (minutes, type(minutes)) == (3.0, float)


def test_a_section_must_be_a_table() -> None:
    """A value in the place of a section is an error that shows how to write one."""
    with pytest.raises(ConfigError, match=r'Expected a table "\[model\]" in my\.toml, got 3'):
        from_tables(RunConfig, {"model": 3}, where="my.toml")


@pytest.mark.parametrize("content", [b"[train", b"steps = ", b"\xff\xfe", b"a = 1\na = 2"], ids=str)
def test_no_toml_is_a_config_error(tmp_path: Path, content: bytes) -> None:
    """A file that is no TOML, or no text, is named."""
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.toml is not valid TOML"):
        load_config(path)


def test_the_forges_old_record_is_read(tmp_path: Path) -> None:
    """forge.toml had no table once: it says what that set was made with, and can be given back."""
    path = tmp_path / "forge.toml"
    path.write_text("size = 128\nsplice = 0.7\n")
    assert load_config(path) == RunConfig(forge=ForgeConfig(size=128, splice=0.7))


def test_a_missing_file_is_missing_input(tmp_path: Path) -> None:
    """The message names the path."""
    with pytest.raises(MissingInputError, match=r"absent\.toml, found no such file"):
        load_config(tmp_path / "absent.toml")


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    """A path that cannot be read as a file ends in a message, not in a traceback."""
    with pytest.raises(MissingInputError, match=r"Expected a TOML configuration at .*, cannot read it"):
        load_config(tmp_path)


def test_unset_values_are_left_out() -> None:
    """TOML has no null: a threshold of None is not written."""
    assert "threshold" not in tomllib.loads(dump_config(ScanConfig()))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_settings_are_frozen_and_named(kind: type[Any]) -> None:
    """No value changes after the start of a run, and none is given by position."""
    with pytest.raises(TypeError):
        kind(1)
    name = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(kind(), name, 1)


@every_stage
def test_every_setting_is_documented(kind: type[Any]) -> None:
    """The docstring lists exactly the fields, in their order."""
    text = inspect.cleandoc(kind.__doc__ or "").split("Attributes:\n")[1]
    documented = [
        line.split(":")[0].strip() for line in text.splitlines() if line.startswith("    ") and line[4] != " "
    ]
    assert documented == [field.name for field in dataclasses.fields(kind)]


def test_no_configuration_is_forgotten_here() -> None:
    """The lists above hold every dataclass of the module."""
    tree = ast.parse(inspect.getsource(config_module))
    assert {node.name for node in tree.body if isinstance(node, ast.ClassDef)} == {kind.__name__ for kind in ALL}


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (ModelConfig, "branch_channels", 0),
        (PatchConfig, "contour_cap", -1),
        (PatchConfig, "near_share", 1.5),
        (LossConfig, "tau", 0.0),
        (LossConfig, "dice", -0.1),
        (TrainConfig, "batch_size", 0),
        (TrainConfig, "ema_decay", 1.5),
        (TrainConfig, "seed", 2**63),
        (ForgeConfig, "size", 0),
        (ForgeConfig, "size", -8),
        (ForgeConfig, "size", 100),
        (ForgeConfig, "splice", math.nan),
        (ForgeConfig, "authentic", math.inf),
        (ForgeConfig, "web", math.nan),
        (ForgeConfig, "max_area", math.nan),
    ],
)
def test_values_out_of_range_are_refused(kind: type, key: str, value: float) -> None:
    """A value that would end in a traceback much later is a configuration error that names it."""
    with pytest.raises(ConfigError, match=f'"{key}"'):
        kind(**{key: value})


@pytest.mark.parametrize(
    "change",
    [
        {"size": 100},
        {"size": 8},
        {"min_area": 0.0},
        {"max_area": 0.001},
        {"splice": -0.1},
        {"camera": 1.5},
        {"recompressed": -0.1},
        {"web": 1.1},
        {"hard_light": 1.1},
        {"adjusted": 1.1},
        {"avif": 1.1},
        {"whole_saving": 101},
        {"resized": -0.1},
        {"restored": 1.1},
        {"authentic": 0.0, "splice": 0.0, "copy_move": 0.0, "removal": 0.0},
    ],
    ids=[
        "size not a multiple of 8",
        "size too small",
        "no least area",
        "areas swapped",
        "negative share",
        "camera share above 1",
        "recompressed share below 0",
        "web share above 1",
        "hard light share above 1",
        "adjusted share above 1",
        "AVIF share above 1",
        "no JPEG quality",
        "resized share below 0",
        "restored share above 1",
        "nothing to make",
    ],
)
def test_senseless_forge_is_refused(change: dict[str, float]) -> None:
    """Wrong sizes, areas and shares are errors when the configuration is made, not later."""
    with pytest.raises(ConfigError, match="Expected"):
        ForgeConfig(**change)  # type: ignore[arg-type]
