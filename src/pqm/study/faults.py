"""Faults of a settings file, each with its line."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, Tag, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pqm.errors import SHOWN, PqmError, shortened
from pqm.study.settings import Settings

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """Something wrong with a study.

    Attributes:
        place: the keys from the top of the file.
        what: the fault, in words.
        key: the place of the line to report, if it is not `place`.
    """

    place: Place
    what: str
    key: Place = ()


def refusal(path: Path, faults: Iterable[Fault]) -> PqmError:
    """An error with one line per fault, in the order of the file."""
    lines = _lines(path)
    found = sorted({(_line(lines, fault.key or fault.place), _dotted(fault.place), fault.what) for fault in faults})
    return PqmError("\n".join(f"{path}: " + (f"line {line}: " if line else "") + f"{place}{what}" for line, place, what in found))


def _dotted(place: Place) -> str:
    names = [str(part) if len(repr(part)) <= SHOWN else shortened(part) for part in place]
    return ".".join(names) + ": " if names else ""


def _line(lines: dict[Place, int], place: Place) -> int:
    """The line of a key, or of the innermost key around it that the file contains; 0 if there is none."""
    return next((lines[place[:depth]] for depth in range(len(place), 0, -1) if place[:depth] in lines), 0)


def nodes(text: str) -> Node | None:
    """Parse a text into YAML nodes, which contain their lines; None if the text is empty."""
    node: Node | None = YAML(pure=True).compose(text)
    return node


def _lines(path: Path) -> dict[Place, int]:
    """The line of every place; of duplicate keys the first, because its value is read."""
    lines: dict[Place, int] = {}
    if path.suffix != ".json" and path.exists():
        for place, line, _ in _walk(nodes(path.read_text(encoding="utf-8"))):
            lines.setdefault(place, line)
    return lines


def _walk(node: Node | None, place: Place = ()) -> Iterator[tuple[Place, int, int | None]]:
    """Every key and list entry: its place, its line, and for a duplicate key the line of the first one."""
    if isinstance(node, MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = key.value if isinstance(key, ScalarNode) else str(key), key.start_mark.line + 1
            yield (*place, name), line, seen.get(name)
            seen.setdefault(name, line)
            yield from _walk(value, (*place, name))
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            yield (*place, index), value.start_mark.line + 1, None
            yield from _walk(value, (*place, index))


def scalars(node: Node | None) -> Iterator[ScalarNode]:
    """Every scalar value inside a node."""
    if isinstance(node, ScalarNode):
        yield node
    elif isinstance(node, MappingNode | SequenceNode):
        for part in node.value:
            for inner in part if isinstance(part, tuple) else (part,):
                yield from scalars(inner)


def is_refused(node: ScalarNode) -> bool:
    """Whether YAML cannot convert a scalar, such as a date with a thirteenth month."""
    try:
        YAML(typ="safe", pure=True).constructor.construct_object(node)
    except ValueError:
        return True
    return False


def doubled_keys(node: Node | None) -> Iterator[Fault]:
    """A fault for each duplicate key of a mapping."""
    for place, line, before in _walk(node):
        if before is not None:
            yield Fault(place[:-1], f"duplicate key {shortened(place[-1])} on lines {before} and {line}; expected it once", place)


# Keys and values renamed in version 0.5.0.
RENAMED = {
    "zeta": "loss_settings.zeta",
    "normalizer": "loss_settings.normalizer, in each run",
    "slipped_share": "injected_error_share",
    "slip_chance": "injected_error_chance",
    "token_mark_weight": "token_head_weight",
    "token_mark_layer": "token_head_layer",
    "step_mark_weight": "step_head_weight",
    "lessons": "curriculum",
}
REMOVED = dict.fromkeys(("metric", "at_least"), "use share, the share of the pretraining's steps") | {
    "precision": "use precision at the top of the study, for all models"
}
RENAMED_VALUES = {
    "stories": "word-problems",
    "perturbed-stories": "perturbed-word-problems",
    "proofreader": "step-classifier",
}


def validation_faults(model: type[Settings], error: ValidationError, within: Place = ()) -> Iterator[Fault]:
    """The faults that pydantic found in a model.

    Args:
        within: the place of the model in the file.
    """
    for complaint in error.errors():
        place = tuple(part for part in complaint["loc"] if part != "[key]")
        kept = (*within, *_place_in_file(place))
        if complaint["type"] == "extra_forbidden":
            key = str(kept[-1])
            renamed = f"; it is now {RENAMED[key]}" if key in RENAMED and "loss_settings" not in kept else ""
            removed = f"; it was removed; {REMOVED[key]}" if key in REMOVED and "loss_settings" not in kept else ""
            instead_of_it = renamed or removed or _did_you_mean(key, _keys_at(model, place[:-1]))
            yield Fault(kept[:-1], f"unknown key {shortened(key)}{instead_of_it}", kept)
        elif complaint["type"] == "missing":
            yield Fault(kept[:-1], f"key {shortened(kept[-1])} is missing")
        elif complaint["type"] == "union_tag_not_found":
            key = complaint["ctx"]["discriminator"].strip("'")
            yield Fault(kept, f"key {key!r} is missing")
        elif complaint["type"] == "union_tag_invalid":
            context = complaint["ctx"]
            key, tags, tag = context["discriminator"].strip("'"), context["expected_tags"], context["tag"]
            near = _now(tag, tags.replace("'", "").split(", "))
            yield Fault((*kept, key), f"expected one of {tags}, found {shortened(tag)}{near}")
        else:
            message = complaint["msg"].removeprefix("Value error, ")
            value = complaint["input"]
            found = "" if isinstance(value, dict | BaseModel) else f", found {shortened(value)}"
            yield Fault(kept, message + found + (_now(value) if isinstance(value, str) else ""))


def _now(value: str, valid: Iterable[str] = ()) -> str:
    """A hint for an invalid value: its new name if it was renamed, or the closest valid one."""
    return f"; it is now {RENAMED_VALUES[value]!r}" if value in RENAMED_VALUES else _did_you_mean(value, valid)


# Pydantic adds the tag of the chosen model to the place of a fault inside a union.
TAGS = {
    "monte-carlo", "published", "word-problems", "perturbed-word-problems", "gsm-symbolic", "file", "hub", "package",
}  # fmt: skip


def _place_in_file(place: Place) -> Place:
    """The place without tags, which come right after `source`, `text`, or the name of a label set."""
    kept: list[str | int] = []
    for index, part in enumerate(place):
        before = place[index - 1] if index else ""
        in_labels = index == 2 and place[0] == "labels"
        if part in TAGS and (before in ("source", "text") or in_labels):
            continue
        kept.append(part)
    return tuple(kept)


def _keys_at(model: type[Settings], place: Place) -> list[str]:
    """The valid keys at a place of a model."""
    kind: Any = model
    for part in place:
        kind = _below(kind, part)
        if kind is None:
            return []
    return [name for model in _models(kind) for name in model.model_fields]


def _below(kind: Any, part: str | int) -> Any:
    if part in TAGS and getattr(kind, "__origin__", None) is not dict and (tagged := _tagged(kind, part)):
        return tagged
    for model in _models(kind):
        if part in model.model_fields:
            return model.model_fields[str(part)].annotation
    inner = [arg for arg in get_args(kind) if arg is not None]
    return inner[-1] if inner else None


def _tagged(kind: Any, tag: str | int) -> Any:
    """The model with this tag in a union: the tag is declared, or is the value of the key `kind`; None if there is none."""
    if any(isinstance(mark, Tag) and mark.tag == tag for mark in getattr(kind, "__metadata__", ())):
        return kind
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind if "kind" in kind.model_fields and tag in get_args(kind.model_fields["kind"].annotation) else None
    return next(filter(None, (_tagged(arg, tag) for arg in get_args(kind))), None)


def _models(kind: Any) -> list[type[BaseModel]]:
    """The model that a type is, or the models of a union."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    if getattr(kind, "__origin__", None) in (dict, tuple):
        return []
    return [model for arg in get_args(kind) for model in _models(arg)]


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def instead(name: str, names: Iterable[str]) -> str:
    """A hint for an unknown name: the closest valid one, or all of them."""
    names = list(names)
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names) or 'none'}"
