"""Which tensors of a checkpoint's content are a network's weights, under the names that the network
gave them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from trireid.models.unpickle import Array
from trireid.samples import CheckpointError

_DEPTH: Final = 6
_LISTED: Final = 6
#: State of training next to weights: its tensors are not the network's.
_TRAINING: Final = ("optim", "sched", "scaler", "amp", "rng", "metric", "history")
#: Counters and buffers, by the last part of their name.
_COUNTERS: Final = (
    "num_batches_tracked",
    "n_averaged",
    "position_ids",
    "total_ops",
    "total_params",
    "initted",
)
#: Wrappers that stand anywhere in a name.
_TRANSPARENT: Final = (
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
)
#: Wrappers that a name begins with.
_PREFIXES: Final = (
    *(
        "model",
        "net",
        "network",
        "student",
        "teacher",
        "ema",
        "ema_model",
        "model_ema",
        "online_model",
        "averaged_model",
    ),
    *("state_dict", "ema_state_dict", "state_dict_ema", "model_state_dict", "reid_model", "_model"),
)
_BACKBONE: Final = "backbone."
_OWN_BACKBONE: Final = "backbone.base."
State = dict[str, Tensor]


def choose_state(content: Any, path: Path, chosen: str | None = None) -> State:
    """Return the weights among what a checkpoint holds.

    Args:
        content: The content of the file.
        path: The file, for messages.
        chosen: The name of one set of weights where there are several: its key, or keys joined by
            points.

    Raises:
        CheckpointError: there are no weights; or several sets, of which `chosen` does not name one.
    """
    sets = _split(dict(_find_states(content)))
    if not sets:
        raise CheckpointError(
            f"{path}: holds no state_dict (a mapping of names to tensors)", os.fspath(path)
        )
    if chosen is not None:
        return sets[_match(sets, chosen, path)]
    if len(sets) > 1:
        names = ", ".join(name or "(the file itself)" for name in sets)
        raise CheckpointError(
            f"{path}: holds several sets of weights: {names}; say which one is meant: --weights "
            "NAME"
            " (in Python weights=NAME, in a training configuration pretrained_weights: NAME)",
            "weights",
        )
    return next(iter(sets.values()))


def is_counter(key: str) -> bool:
    """Whether a tensor of this name counts or numbers something: it changes no embedding."""
    return key.rpartition(".")[2] in _COUNTERS


def _match(sets: Mapping[str, State], chosen: str, path: Path) -> str:
    close = [name for name in sets if name == chosen]
    close = close or [name for name in sets if chosen in name.split(".")]
    if len(close) != 1:
        names = ", ".join(name or "(the file itself)" for name in sets)
        raise CheckpointError(f"{path}: has no weights {chosen!r}; it holds {names}", "weights")
    return close[0]


def _find_states(content: Any) -> Iterator[tuple[str, State]]:
    """Yield every mapping of tensors with the keys that lead to it; those whose names have parts,
    if there are any.
    """
    found = list(_walk(content, (), set()))
    named = [(key, state) for key, state in found if any("." in name for name in state)]
    yield from named or found


def _walk(content: Any, at: tuple[str, ...], seen: set[int]) -> Iterator[tuple[str, State]]:
    if not isinstance(content, Mapping) or len(at) > _DEPTH or id(content) in seen:
        return
    seen.add(id(content))
    tensors = {
        str(key): tensor
        for key, value in content.items()
        if (tensor := _as_tensor(value)) is not None
    }
    if not all(map(is_counter, tensors)):
        yield ".".join(at), tensors
    for key, value in content.items():
        if isinstance(key, str) and not any(word in key.lower() for word in _TRAINING):
            yield from _walk(value, (*at, key), seen)


def _as_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Array):
        return None if value.values is None else torch.from_numpy(value.values)
    return value if isinstance(value, Tensor) else None


def _split(states: Mapping[str, State]) -> dict[str, State]:
    """Take wrappers off the names; one mapping that holds two networks under prefixes becomes two
    sets.
    """
    sets: dict[str, State] = {}
    for name, state in states.items():
        by_prefix: dict[tuple[str, ...], State] = {}
        for key, value in state.items():
            prefix, rest = _strip(key)
            by_prefix.setdefault(prefix, {})[rest] = value
        parts = _join(by_prefix)
        for prefix, part in parts.items():
            last = ".".join((name, *prefix)).strip(".") if len(parts) > 1 else name
            sets[last] = _strip_backbone(part)
    return sets


def _join(by_prefix: Mapping[tuple[str, ...], State]) -> Mapping[tuple[str, ...], State]:
    """Join the parts if no name is in two of them: they are one network, wrapped in part."""
    names = [name for part in by_prefix.values() for name in part]
    if len(set(names)) < len(names):
        return by_prefix
    return {(): {name: value for part in by_prefix.values() for name, value in part.items()}}


def _strip(key: str) -> tuple[tuple[str, ...], str]:
    """Return the wrappers that a name begins with and its rest."""
    parts = [part for part in key.split(".") if part not in _TRANSPARENT] or [key]
    count = 0
    while count < len(parts) - 1 and parts[count] in _PREFIXES:
        count += 1
    return tuple(parts[:count]), ".".join(parts[count:])


def _strip_backbone(state: State) -> State:
    if all(key.startswith(_BACKBONE) and not key.startswith(_OWN_BACKBONE) for key in state):
        return {key.removeprefix(_BACKBONE): value for key, value in state.items()}
    return state
