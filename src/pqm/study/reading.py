"""Reading settings files: a study is `config/<study>/study.yaml`."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML, YAMLError

from pqm.errors import PqmError, shortened
from pqm.study.faults import Fault, doubled_keys, instead, is_refused, nodes, refusal, scalars, validation_faults
from pqm.study.settings import Precision, Settings
from pqm.study.study import StudyConfig

FOLDER = Path("config")
FILE = "study.yaml"
Item = TypeVar("Item", bound=Settings)


def study_file(name: str) -> Path:
    """The file of a study.

    Raises:
        PqmError: there is no such study; the message lists all studies.
    """
    path = FOLDER / name / FILE
    if not path.exists():
        found = ", ".join(sorted(file.parent.name for file in FOLDER.glob(f"*/{FILE}")))
        raise PqmError(f"{path}: no such study; known studies: {found or 'none'}")
    return path


def study_name(path: Path) -> str:
    """The name of a study, which is that of its file's folder."""
    return path.resolve().parent.name


def other_study(arguments: Iterable[str], name: str) -> str | None:
    """The first path among a command's arguments that belongs to a study other than `name`."""
    for argument in arguments:
        parts = Path(argument).parts
        if len(parts) > 2 and parts[0] in ("data", "results") and parts[1] != name and (FOLDER / parts[1] / FILE).exists():
            return argument
    return None


def load_study(path: Path) -> StudyConfig:
    """Read a study from `study.yaml`, or from the frozen `study.json` of a build.

    Raises:
        PqmError: as `load`.
    """
    return load(StudyConfig, path)


def load(model: type[Item], path: Path) -> Item:
    """Read a settings file, YAML or JSON.

    Raises:
        PqmError: the file is missing or not YAML, keys are unknown, missing or duplicate, or values are invalid. The message
            lists every fault with its line and what was expected, and for an unknown key the closest valid one.
    """
    content, doubled = read(path)
    try:
        settings = model.model_validate(_tuples(content))
    except ValidationError as error:
        raise refusal(path, [*doubled, *validation_faults(model, error)]) from None
    if doubled:
        raise refusal(path, doubled)
    return settings


def read(path: Path) -> tuple[dict[str, Any], list[Fault]]:
    """The content of a settings file, and a fault for each duplicate key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PqmError(f"{path}: no such settings file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PqmError(f"{path}: cannot be read as a settings file ({error})") from None
    content = _json(path, text) if path.suffix == ".json" else _yaml(path, text)
    if not isinstance(content, dict):
        raise PqmError(f"{path}: expected `key: value` lines, found {type(content).__name__}")
    return content, [] if path.suffix == ".json" else list(doubled_keys(nodes(text)))


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise PqmError(f"{path}: not JSON ({error})") from None


def _yaml(path: Path, text: str) -> Any:
    """Parse YAML 1.2, as DVC writes it: 5e-05 is a number, and `yes` is a text."""
    parser = YAML(typ="safe", pure=True)
    parser.allow_duplicate_keys = True  # reported together with the other faults
    try:
        content = parser.load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise PqmError(f"{path}: {where}not YAML ({getattr(error, 'problem', None) or str(error).splitlines()[0]})") from None
    except ValueError as error:
        line = next((node.start_mark.line + 1 for node in scalars(nodes(text)) if is_refused(node)), 0)
        raise PqmError(f"{path}: line {line}: a value looks like another type ({error}); expected quotes around a text") from None
    except RecursionError:
        raise PqmError(f"{path}: an alias contains itself") from None
    for node in scalars(nodes(text)) if "\\" in text else ():
        if re.search("[\ud800-\udfff]", node.value):
            line = node.start_mark.line + 1
            raise PqmError(f"{path}: line {line}: half of a surrogate pair (\\ud800 to \\udfff) is no character")
    return content


def load_precision(path: Path) -> Precision:
    """The precision of a study's models.

    Raises:
        PqmError: as `load_study`.
    """
    return load_study(path).precision


def load_item(path: Path, section: str, name: str, kind: type[Item]) -> Item:
    """One item of a section of a study.

    Raises:
        PqmError: as `load_study`, or the section has no such item; the message suggests the closest name, or lists all.
    """
    items = getattr(load_study(path), section)
    if name not in items:
        raise PqmError(f"{path}: {section} has no {shortened(name)}; {instead(name, items)}")
    item = items[name]
    assert isinstance(item, kind)
    return item


def load_section(path: Path, section: str, kind: type[Item]) -> Item:
    """A section of a study without items, such as `training`.

    Raises:
        PqmError: as `load_study`, or the study has no such section.
    """
    found = getattr(load_study(path), section)
    if found is None:
        raise PqmError(f"{path}: section {section!r} is missing; this command needs it")
    assert isinstance(found, kind)
    return found


def _tuples(value: Any) -> Any:
    """Convert YAML lists to tuples, because frozen models contain tuples."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return {key: _tuples(item) for key, item in value.items()} if isinstance(value, dict) else value
