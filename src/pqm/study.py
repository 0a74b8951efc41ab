"""Study files: reading them, saying all that is wrong with them, and freezing them for the jobs of a build.

A study is `config/<study>/study.yaml`. A build writes what it says, with every default, to `.work/<study>/study.json`, and all
of its jobs read that: an edit of the study during a build reaches no job of it.
"""

import difflib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pqm.config import Settings, StudyConfig
from pqm.errors import PqmError

FOLDER = Path("config")
FILE = "study.yaml"
Place = tuple[str | int, ...]
Item = TypeVar("Item", bound=Settings)


@dataclass(frozen=True)
class Fault:
    """Something wrong with a study: where (keys from the top), what, and the key whose line is told if it is another one."""

    place: Place
    what: str
    key: Place = ()


# ---------------------------------------------------------------- reading


def study_file(name: str) -> Path:
    """The file of a study.

    Raises:
        PqmError: there is no such study; the message names those that there are.
    """
    path = FOLDER / name / FILE
    if not path.exists():
        found = ", ".join(sorted(file.parent.name for file in FOLDER.glob(f"*/{FILE}")))
        raise PqmError(f"{path}: no such study; there are {found or 'none'}")
    return path


def study_name(path: Path) -> str:
    """What a study is called: the folder of its file."""
    return path.resolve().parent.name


def other_study(arguments: Iterable[str], name: str) -> str | None:
    """The first path among a command's arguments that belongs to another study than `name`."""
    for argument in arguments:
        parts = Path(argument).parts
        if len(parts) > 2 and parts[0] in ("data", "results") and parts[1] != name and (FOLDER / parts[1] / FILE).exists():
            return argument
    return None


def load_study(path: Path) -> StudyConfig:
    """Read a study: `study.yaml`, or the frozen `study.json` of a build.

    Raises:
        PqmError: see `load`.
    """
    return load(StudyConfig, path)


def load(model: type[Item], path: Path) -> Item:
    """Read a settings file, YAML or JSON.

    Raises:
        PqmError: the file is missing or not YAML, or keys are unknown, missing or doubled, or values refused. The message names
            every fault, each with its line, what was expected and, for an unknown key, the nearest valid one.
    """
    content, doubled = read(path)
    try:
        settings = model.model_validate(_tuples(content))
    except ValidationError as error:
        raise refusal(path, [*doubled, *_faults(model, error)]) from None
    if doubled:
        raise refusal(path, doubled)
    return settings


def read(path: Path) -> tuple[dict[str, Any], list[Fault]]:
    """The keys and values of a file, and the keys that it has twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PqmError(f"{path}: no such settings file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PqmError(f"{path}: cannot be read as a settings file ({error})") from None
    content = _json(path, text) if path.suffix == ".json" else _yaml(path, text)
    if not isinstance(content, dict):
        raise PqmError(f"{path}: expected `key: value` lines, found {type(content).__name__}")
    return content, [] if path.suffix == ".json" else list(_doubled(_nodes(text)))


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise PqmError(f"{path}: not JSON ({error})") from None


def _yaml(path: Path, text: str) -> Any:
    """YAML 1.2, as DVC writes it: 5e-05 is a number, and `yes` is a text."""
    parser = YAML(typ="safe", pure=True)
    parser.allow_duplicate_keys = True  # reported with the other faults
    try:
        return parser.load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise PqmError(f"{path}: {where}not YAML ({getattr(error, 'problem', None) or str(error).splitlines()[0]})") from None
    except ValueError as error:
        line = next((node.start_mark.line + 1 for node in _scalars(_nodes(text)) if _is_refused(node)), 0)
        raise PqmError(f"{path}: line {line}: a value is not what its form says ({error})") from None
    except RecursionError:
        raise PqmError(f"{path}: an alias contains itself") from None


def load_item(path: Path, section: str, name: str, kind: type[Item]) -> Item:
    """One item of a section of a study.

    Raises:
        PqmError: as `load_study`, or the section has no such item; the message names those that it has.
    """
    items = getattr(load_study(path), section)
    if name not in items:
        raise PqmError(f"{path}: {section} has no {name!r}; {instead(name, items)}")
    item = items[name]
    assert isinstance(item, kind)
    return item


def load_section(path: Path, section: str, kind: type[Item]) -> Item:
    """A section of a study that has no items, such as `training`.

    Raises:
        PqmError: as `load_study`, or the study has no such section.
    """
    found = getattr(load_study(path), section)
    if found is None:
        raise PqmError(f"{path}: section {section!r} is missing, which this needs")
    assert isinstance(found, kind)
    return found


def _tuples(value: Any) -> Any:
    """YAML lists as tuples, which is what frozen models hold."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return {key: _tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


# ---------------------------------------------------------------- what is wrong


def refusal(path: Path, faults: Iterable[Fault]) -> PqmError:
    """Every fault with its line, in the order of the file."""
    lines = _lines(path)
    told = sorted({(_line(lines, fault.key or fault.place), _dotted(fault.place), fault.what) for fault in faults})
    return PqmError("\n".join(f"{path}: " + (f"line {line}: " if line else "") + f"{place}{what}" for line, place, what in told))


def _dotted(place: Place) -> str:
    return ".".join(map(str, place)) + ": " if place else ""


def _line(lines: dict[Place, int], place: Place) -> int:
    """The line of a key, or of the innermost key around it that the file has; 0 where there is none."""
    return next((lines[place[:depth]] for depth in range(len(place), 0, -1) if place[:depth] in lines), 0)


def _nodes(text: str) -> Node | None:
    node: Node | None = YAML(pure=True).compose(text)
    return node


def _lines(path: Path) -> dict[Place, int]:
    """The line of every place; of a key that stands twice the first, whose value is read."""
    lines: dict[Place, int] = {}
    if path.suffix != ".json" and path.exists():
        for place, line, _ in _walk(_nodes(path.read_text(encoding="utf-8"))):
            lines.setdefault(place, line)
    return lines


def _walk(node: Node | None, place: Place = ()) -> Iterator[tuple[Place, int, int | None]]:
    """Every key and list entry: its place, its line, and the line of the same key before it."""
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


def _scalars(node: Node | None) -> Iterator[ScalarNode]:
    if isinstance(node, ScalarNode):
        yield node
    elif isinstance(node, MappingNode | SequenceNode):
        for part in node.value:
            for inner in part if isinstance(part, tuple) else (part,):
                yield from _scalars(inner)


def _is_refused(node: ScalarNode) -> bool:
    """Whether YAML cannot make a value of a text, such as a date with a thirteenth month."""
    try:
        YAML(typ="safe", pure=True).constructor.construct_object(node)
    except ValueError:
        return True
    return False


def _doubled(node: Node | None) -> Iterator[Fault]:
    for place, line, before in _walk(node):
        if before is not None:
            yield Fault(place[:-1], f"key {place[-1]!r} stands on line {before} and on line {line}; expected it once", place)


def _faults(model: type[Settings], error: ValidationError) -> Iterator[Fault]:
    for complaint in error.errors():
        place = tuple(part for part in complaint["loc"] if part != "[key]")
        kept = _place_in_file(place)
        if complaint["type"] == "extra_forbidden":
            near = _did_you_mean(str(kept[-1]), _keys_at(model, place[:-1]))
            yield Fault(kept[:-1], f"unknown key {kept[-1]!r}{near}", kept)
        elif complaint["type"] == "missing":
            yield Fault(kept[:-1], f"key {kept[-1]!r} is missing")
        elif complaint["type"] == "union_tag_not_found":
            key = complaint["ctx"]["discriminator"].strip("'")
            yield Fault(kept, f"key {key!r} is missing")
        elif complaint["type"] == "union_tag_invalid":
            told = complaint["ctx"]
            key, tags = told["discriminator"].strip("'"), told["expected_tags"]
            near = _did_you_mean(told["tag"], tags.replace("'", "").split(", "))
            yield Fault((*kept, key), f"expected one of {tags}, found {told['tag']!r}{near}")
        else:
            said = complaint["msg"].removeprefix("Value error, ")
            found = "" if isinstance(complaint["input"], dict | StudyConfig) else f", found {complaint['input']!r}"
            yield Fault(kept, said + found)


# What pydantic adds to the place of a fault inside a choice of models: the chosen one's tag.
TAGS = {
    "monte-carlo", "published", "stories", "perturbed-stories", "gsm-symbolic", "file", "hub", "package",
}  # fmt: skip


def _place_in_file(place: Place) -> Place:
    """The place without tags, which stand right behind `source`, `text`, or the name of a label set."""
    kept: list[str | int] = []
    for index, part in enumerate(place):
        before = place[index - 1] if index else ""
        in_labels = index == 2 and place[0] == "labels"
        if part in TAGS and (before in ("source", "text") or in_labels):
            continue
        kept.append(part)
    return tuple(kept)


def _keys_at(model: type[Settings], place: Place) -> list[str]:
    """The keys that may stand at a place of a model."""
    kind: Any = model
    for part in place:
        kind = _below(kind, part)
        if kind is None:
            return []
    return [name for model in _models(kind) for name in model.model_fields]


def _below(kind: Any, part: str | int) -> Any:
    if part in TAGS and getattr(kind, "__origin__", None) is not dict:
        return kind
    for model in _models(kind):
        if part in model.model_fields:
            return model.model_fields[str(part)].annotation
    inner = [arg for arg in get_args(kind) if arg is not None]
    return inner[-1] if inner else None


def _models(kind: Any) -> list[type[BaseModel]]:
    """The models that a type is, or chooses from."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    if getattr(kind, "__origin__", None) in (dict, tuple):
        return []
    return [model for arg in get_args(kind) for model in _models(arg)]


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def instead(name: str, names: Iterable[str]) -> str:
    """What to write for a name that is unknown: the nearest valid one, or all there are."""
    names = list(names)
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names) or 'none'}"


# ---------------------------------------------------------------- freezing


def frozen_text(study: StudyConfig) -> str:
    """The whole study as JSON, every default written out."""
    return study.model_dump_json(indent=1) + "\n"


def frozen_file(name: str) -> Path:
    """Where the jobs of a build read their study."""
    return Path(".work", name, "study.json")


def freeze(study: StudyConfig, name: str) -> None:
    """Write the frozen study for a build that begins; a file that says the same is left alone.

    The build holds a lock as long as this process lives, because another build of the study would freeze it anew.

    Raises:
        PqmError: another build of the study is running.
    """
    path, text = frozen_file(name), frozen_text(study)
    path.parent.mkdir(parents=True, exist_ok=True)
    if _hold(path.with_name("lock")) is None:
        raise PqmError(f"a build of study {name} is running; wait for it, or stop it")
    if not path.exists() or path.read_text() != text:
        part = path.with_suffix(".part")
        part.write_text(text)
        part.replace(path)


def _hold(path: Path) -> int | None:
    """An open file that this process alone holds until it ends; None where another one holds it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def killed_build() -> bool:
    """Whether Snakemake's folder is locked although no build of any study is running: the last one was killed."""
    if not any(Path(".snakemake/locks").glob("*.lock")):
        return False
    for path in Path(".work").glob("*/lock"):
        if (lock := _hold(path)) is None:
            return False
        os.close(lock)
    return True
