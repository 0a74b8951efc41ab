"""Rebuilds of a study with other seeds of its pretrainings: `python -m pqm.workflow.rebuilds STUDY COUNT`.

The intervals of one build hold its policies and backbones fixed. Rebuilds show how much these matter. Each is built in a folder
of its own, `.work/rebuilds/STUDY-SEED`, up to the tables that decide whether builds are different (`pqm.paper.compare`). When it
ends, these are copied to `results/STUDY/rebuilds/SEED`. Seed 0 is the study as it is. Seeds that are there are not built again,
so the same command goes on after an interruption.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from pqm.paper.compare import DECIDING
from pqm.study.layout import WORK, Layout
from pqm.study.reading import study_file

APART = 100  # of the pretraining seeds of two rebuilds
LINKED = ("Snakefile", "envs", "params.yaml", "profiles", "src", "workflow")


def tables_of(study: str, seed: int) -> list[Path]:
    """The tables that are kept of a rebuild."""
    return [Path(Layout.of(study).rebuilds, str(seed), f"{name}.csv") for name in DECIDING]


def prepare(study: str, seed: int) -> Path:
    """The folder of a rebuild: the project's code, and the study with other pretraining seeds."""
    folder = WORK / "rebuilds" / f"{study}-{seed}"
    file = folder / study_file(study)
    file.parent.mkdir(parents=True, exist_ok=True)
    yaml = YAML()
    settings = yaml.load(study_file(study).read_text(encoding="utf-8"))
    for pretraining in settings["pretraining"].values():
        pretraining["seed"] += APART * seed
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(settings, stream)
    for name in LINKED:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path(name).resolve())
    return folder


def build(study: str, seed: int) -> None:
    """Build a rebuild, and keep its tables."""
    folder = prepare(study, seed) if seed else Path()
    made = [Path(Layout.of(study).table(name, "csv")) for name in DECIDING]
    command = ["snakemake", "--cores", "all", "--config", f"study={study}", "--", *map(str, made)]
    subprocess.run(command, cwd=folder, check=True)
    for table, kept in zip(made, tables_of(study, seed)):
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part")
        shutil.copyfile(folder / table, part)
        part.replace(kept)


def main() -> None:
    """Build the rebuilds that are missing, one after the other."""
    study, count = sys.argv[1], int(sys.argv[2])
    for seed in range(count):
        if all(table.exists() for table in tables_of(study, seed)):
            continue
        print(f"rebuild {seed} of {study}", flush=True)
        try:
            build(study, seed)
        except subprocess.CalledProcessError as error:
            sys.exit(f"pqm: rebuild {seed} of {study} failed; the same command goes on from there ({error})")


if __name__ == "__main__":
    main()
