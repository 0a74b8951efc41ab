"""Settings of sampling engines in the folders of policies.

A section of a policy's settings that is no origin of weights belongs to an engine. It is written to the policy's folder as
`<section>.json`, and `pqm.models.sampling.<section>_engine` samples from a folder with this file. The engine of a folder without
such a file is `transformers_engine`.
"""

from pathlib import Path

from pqm.study.models import ModelConfig, PolicyConfig

SECTIONS = tuple(name for name in PolicyConfig.model_fields if name not in ModelConfig.model_fields)


def write_engine_settings(config: PolicyConfig, folder: Path) -> None:
    """Write the section of the policy's engine, if it has one, to `folder`."""
    for section in SECTIONS:
        if (settings := getattr(config, section)) is not None:
            (folder / f"{section}.json").write_text(settings.model_dump_json(indent=2) + "\n")


def engine_of(folder: Path) -> str:
    """The name of the engine that samples from a policy's folder."""
    return next((section for section in SECTIONS if (folder / f"{section}.json").exists()), "transformers")
