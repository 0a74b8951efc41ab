"""The files around a study: a new one, its DVC stages, and the reference and JSON schema of all settings."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from pqm.config import StudyConfig
from pqm.dvc_stages import dvc_file, dvc_text
from pqm.errors import PqmError
from pqm.study import FILE, FOLDER, Fault, load_study, refusal, study_file
from pqm.study_check import faults, missing_files, unfit_snapshots

SCHEMA = FOLDER / "study.schema.json"
REFERENCE = Path("docs", "settings.md")
TAKEN = {"tables", "figures", "accelerate"}  # results/tables is a target, and config/accelerate no study


def new_study(name: str, start: str) -> Path:
    """Copy a study under another name, with DVC stages of its own.

    Raises:
        PqmError: the name is no plain name or taken, or there is no study to start from.
    """
    if not re.fullmatch(r"\w[\w-]*", name) or name in TAKEN:
        raise PqmError(f"{name!r} cannot name a study; expected letters, digits, - and _, and none of {', '.join(sorted(TAKEN))}")
    source, target = study_file(start), FOLDER / name / FILE
    if target.exists():
        raise PqmError(f"{target}: exists already")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    write_dvc(name)
    return target


def write_dvc(name: str) -> Path:
    """Write `config/<study>/dvc.yaml`."""
    path = dvc_file(name)
    path.write_text(dvc_text(load_study(study_file(name)), name))
    return path


def check_study(name: str) -> None:
    """Everything that is wrong with a study and with the files that it needs.

    Raises:
        PqmError: there is something; the message has a line for each fault.
    """
    path = study_file(name)
    study = load_study(path)
    found = [*faults(study), *missing_files(study), *unfit_snapshots(study, Path("data", name))]
    if not dvc_file(name).exists() or dvc_file(name).read_text() != dvc_text(study, name):
        found.append(Fault((), f"{dvc_file(name)} is not up to date; run `pqm study dvc {name}`"))
    if found:
        raise refusal(path, found)


# ---------------------------------------------------------------- the reference


def schema_text() -> str:
    """The JSON schema of `study.yaml`."""
    schema = StudyConfig.model_json_schema()
    schema["title"] = "A study of pqm"
    return json.dumps(schema, indent=1) + "\n"


def write_reference() -> list[Path]:
    """Write the JSON schema and `docs/settings.md`."""
    SCHEMA.write_text(schema_text())
    REFERENCE.write_text(reference_text())
    return [SCHEMA, REFERENCE]


def reference_text() -> str:
    """`docs/settings.md`: every section and model with its keys, types and defaults."""
    schema = StudyConfig.model_json_schema()
    models: dict[str, Any] = schema["$defs"]
    lines = [
        "# Settings",
        "",
        "Everything that `config/<study>/study.yaml` may say. Generated from `src/pqm/config.py` by `pqm study schema`.",
        "",
        "Unknown, missing and doubled keys are refused, all at once, each with its line. Files are YAML 1.2: `5e-5` is a number.",
        "",
        "## study.yaml",
        "",
        *_paragraphs(StudyConfig.__doc__),
        *_table(schema),
    ]
    for name, model in models.items():
        if "properties" in model:
            lines += [f"## {_readable(name)}", "", *_paragraphs(model.get("description")), *_table(model)]
    return "\n".join(lines).rstrip() + "\n"


def _paragraphs(text: str | None) -> list[str]:
    if not text:
        return []
    return ["\n\n".join(" ".join(part.split()) for part in text.split("\n\n")), ""]


def _table(model: dict[str, Any]) -> list[str]:
    required = set(model.get("required", []))
    rows = ["| key | value | default | |", "|---|---|---|---|"]
    for key, value in model["properties"].items():
        default = "required" if key in required else _default(value.get("default"))
        told = "" if "$ref" in value else " ".join(value.get("description", "").split())
        rows.append(f"| `{key}` | {_type(value)} | {default} | {told} |")
    return [*rows, ""]


def _default(value: Any) -> str:
    if value in ({}, [], None):
        return "none"
    return "its own defaults" if isinstance(value, dict) else f"`{json.dumps(value)}`"


def _readable(name: str) -> str:
    """A model's name; one that is for some formats only is named with them, which pydantic writes into the name."""
    model, _, formats = name.partition("_Literal")
    return f"{model} of {', '.join(formats.strip('_').split('____'))}" if formats else model


def _type(value: dict[str, Any]) -> str:
    """A type in words, with links to other models."""
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[1]
        readable = _readable(name)
        return f"[{readable}](#{re.sub('[^a-z0-9-]', '', readable.lower().replace(' ', '-'))})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    for choice in ("anyOf", "oneOf"):
        if choice in value:
            return " or ".join(dict.fromkeys(_type(one) for one in value[choice] if one.get("type") != "null"))
    if value.get("type") == "array":
        if "prefixItems" in value:
            return "[" + ", ".join(_type(one) for one in value["prefixItems"]) + "]"
        return f"list of {_type(value['items'])}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties", True)
        return f"name: {_type(inner)}" if isinstance(inner, dict) else "any keys"
    limits = [
        f"{sign} {value[key]:g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in value and abs(value[key]) < 1e15
    ]
    return " ".join(
        [{"string": "text", "boolean": "true or false"}.get(value.get("type", ""), value.get("type", "anything")), *limits]
    )
