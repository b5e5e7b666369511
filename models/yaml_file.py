"""YAML as the research code reads it: literals, tuples, `_BASE_` files and overrides; within bounds
of size and nesting.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

import yaml

from trireid.samples import ConfigError
from trireid.samples.files import MAX_TEXT_BYTES, read_regular

Settings = Mapping[str, Any]

BASE: Final = "_BASE_"
_MERGED: Final = "tag:yaml.org,2002:merge"  # of `<<`
_MAX_NODES: Final = 100_000  # of a file with its aliases written out
_MAX_BASES: Final = 8
_MAX_LITERAL: Final = 1000


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, and the tuples that yacs writes."""

    def construct_any_tuple(self, node: yaml.SequenceNode) -> tuple[Any, ...]:
        """Return a sequence as a tuple."""
        return tuple(self.construct_sequence(node, deep=True))

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping.

        Raises ConstructorError for a key that is there twice, of which one would be lost.
        """
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGED:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"{key.value} is there twice; delete or join one",
                        problem_mark=key.start_mark,
                    )
                seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


#: `5e-6` is a number in YAML 1.2; PyYAML, which reads 1.1, wants a point in it.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _Loader.construct_any_tuple)


def read_yaml(config: str | PathLike[str] | Settings) -> Settings:
    """Return the settings of a YAML file together with those it is based on, or of a mapping.

    Args:
        config: A file, whose `_BASE_` names one or several others relative to it, or a mapping.

    Raises:
        ConfigError: the file cannot be read, or is too large or too nested.
    """
    if not isinstance(config, Mapping):
        return _read_file(Path(config), ())
    if BASE in config:
        raise ConfigError(
            f"{BASE}: a mapping has no folder to look for it in; give the YAML file itself", BASE
        )
    return config


class OverriddenSettings(dict[str, Any]):
    """Settings of which some are not the YAML's own.

    `overridden`: their keys, as in `MODEL.SIE_COE`.
    """

    def __init__(self, settings: Settings, overridden: frozenset[str]) -> None:
        """Hold these settings."""
        super().__init__(settings)
        self.overridden = overridden


def override(settings: Settings, pairs: Sequence[str]) -> Settings:
    """Return the settings with the values of `KEY VALUE` pairs. Raises ConfigError."""
    if len(pairs) % 2:
        raise ConfigError(
            f"--opts: takes pairs of KEY VALUE, and {len(pairs)} words were given", "--opts"
        )
    for key, text in zip(pairs[::2], pairs[1::2], strict=True):
        section, point, name = key.partition(".")
        if not section or not point or not name:
            raise ConfigError(
                f"--opts: {key!r} is not a key; write SECTION.NAME, as in MODEL.SIE_COE", "--opts"
            )
        value: Any = decode_literal(text)
        for part in reversed(key.split(".")):
            value = {part: value}
        settings = _merge(settings, value)
    return OverriddenSettings(settings, frozenset(pairs[::2]))


def decode_literal(value: Any) -> Any:
    """Return what yacs makes of a value: a text that is a Python literal, `(256, 128)` or `1e-3`,
    is that literal.
    """
    if not isinstance(value, str) or len(value) > _MAX_LITERAL:
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return value


def _read_file(path: Path, above: tuple[Path, ...]) -> Settings:
    own = path.resolve()
    if own in above:
        raise ConfigError(f"{path}: {BASE} leads in a circle, back to this file", BASE)
    if len(above) == _MAX_BASES:
        raise ConfigError(f"{path}: {BASE} leads over more than {_MAX_BASES} files", BASE)
    settings = _load(path, _read_text(path))
    merged: Settings = {}
    for base in _bases(settings, path):
        merged = _merge(merged, _read_file(base, (*above, own)))
    return _merge(merged, {key: value for key, value in settings.items() if key != BASE})


def _bases(settings: Settings, path: Path) -> list[Path]:
    given = settings.get(BASE, [])
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path}: {BASE}: expected a file's name, not {str(given)[:60]!r}", BASE)
    remote = next((name for name in names if "://" in name), None)
    if remote:
        raise ConfigError(
            f"{path}: {BASE}: {remote} is not a file; fetch it, and name the copy", BASE
        )
    return [path.parent / Path(name).expanduser() for name in names]


def _read_text(path: Path) -> str:
    try:
        return read_regular(path, MAX_TEXT_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a YAML file: {error.reason}", str(path)) from error


def _load(path: Path, text: str) -> Settings:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is not None and _count(node, {}) > _MAX_NODES:
            raise ConfigError(f"{path}: its aliases stand for over {_MAX_NODES} values", str(path))
        loaded = {} if node is None else loader.construct_document(node)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ConfigError is a ValueError
        if isinstance(error, ConfigError):
            raise
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"{path}: not a YAML file: {_explain(error) or why}", str(path)
        ) from error
    finally:
        loader.dispose()
    if not isinstance(loaded, Mapping) or not all(isinstance(key, str) for key in loaded):
        raise ConfigError(
            f"{path}: holds no keys; expected the training configuration (MODEL, INPUT, ...)",
            str(path),
        )
    return loaded


def _explain(error: Exception) -> str:
    """Explain an error in one line: position and reason."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    return f"line {mark.line + 1}: {problem}" if mark is not None and problem else ""


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, its aliases written out."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = _MAX_NODES  # an alias of a node within itself
    total = 1
    for part in node.value if isinstance(node, yaml.CollectionNode) else ():
        total += sum(_count(each, known) for each in (part if isinstance(part, tuple) else (part,)))
    known[id(node)] = total
    return total


def _merge(under: Settings, over: Settings) -> dict[str, Any]:
    """Both, the second before the first, also within sections."""
    merged = dict(under)
    for key, value in over.items():
        held = merged.get(key)
        merged[key] = (
            _merge(held, value)
            if isinstance(held, Mapping) and isinstance(value, Mapping)
            else value
        )
    return merged
