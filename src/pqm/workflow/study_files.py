"""Creating and checking a study, and writing its DVC stages, the JSON schema and the reference of all settings."""

import inspect
import json
import re
import shutil
from pathlib import Path
from typing import Any

from pqm.errors import PqmError
from pqm.losses.common.loss import find, names
from pqm.study.faults import Fault, refusal
from pqm.study.reading import FILE, FOLDER, load_study, study_file
from pqm.study.study import StudyConfig
from pqm.workflow.checks import faults, missing_files
from pqm.workflow.dvc_stages import dvc_file, dvc_text

SCHEMA = FOLDER / "study.schema.json"
REFERENCE = Path("docs", "settings.md")
TAKEN = {"tables", "figures", "accelerate"}  # results/tables is a target, and config/accelerate is not a study


def new_study(name: str, start: str) -> Path:
    """Copy a study to a new name, and write its DVC stages.

    Raises:
        PqmError: the name is invalid or already used, or there is no study `start`.
    """
    if not re.fullmatch(r"\w[\w-]*", name) or name in TAKEN:
        raise PqmError(
            f"{name!r} is not a valid study name; expected letters, digits, - and _, and none of {', '.join(sorted(TAKEN))}"
        )
    source, target = study_file(start), FOLDER / name / FILE
    if target.exists():
        raise PqmError(f"{target}: the study already exists; expected another name")
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
    """Check a study and the files that it needs.

    Raises:
        PqmError: the study has faults; the message has one line per fault.
    """
    path = study_file(name)
    study = load_study(path)
    found = [*faults(study), *missing_files(study)]
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
        "All settings of `config/<study>/study.yaml`. `pqm study schema` generates this page from `src/pqm/study/` and"
        " `src/pqm/losses/`.",
        "",
        "Unknown, missing and duplicate keys are refused; the message lists all of them with their lines. Files are YAML 1.2, so"
        " `5e-5` is a number.",
        "",
        "## study.yaml",
        "",
        *_paragraphs(StudyConfig.__doc__),
        *_table(schema),
    ]
    for name, model in models.items():
        if "properties" in model:
            lines += [f"## {_readable(name)}", "", *_paragraphs(model.get("description")), *_table(model)]
    return "\n".join([*lines, *_losses()]).rstrip() + "\n"


def _losses() -> list[str]:
    """The settings of each loss."""
    lines = ["## Settings of the losses", "", "The keys of a run's `loss_settings`, for each `loss`.", ""]
    for name in names():
        loss = find(name)
        targets = "hard and soft targets" if loss.soft_targets else "hard targets only"
        lines += [f"### {name}", "", f"{inspect.getdoc(inspect.getmodule(loss.function)) or ''} Accepts {targets}.", ""]
        schema = loss.schema.model_json_schema()
        lines += _table(schema) if schema.get("properties") else ["No settings.", ""]
    return lines


def _paragraphs(text: str | None) -> list[str]:
    if not text:
        return []
    return ["\n\n".join(" ".join(part.split()) for part in text.split("\n\n")), ""]


def _table(model: dict[str, Any]) -> list[str]:
    required = set(model.get("required", []))
    rows = ["| key | value | default | |", "|---|---|---|---|"]
    for key, value in model["properties"].items():
        default = "required" if key in required else _default(value.get("default"))
        rows.append(f"| `{key}` | {_type(value)} | {default} | {' '.join(value.get('description', '').split())} |")
    return [*rows, ""]


def _default(value: Any) -> str:
    if value in ({}, [], None):
        return "none"
    return "its own defaults" if isinstance(value, dict) else f"`{json.dumps(value)}`"


def _readable(name: str) -> str:
    """A model's name for readers; pydantic appends the formats of a generic model to its name."""
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
