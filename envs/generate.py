"""Writes the conda environments from requirements.lock: `make envs`. A test compares."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
MADE = "# Made from requirements.lock by `make envs`."
CPU = "For torch's CPU build set PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu for it."
ENVIRONMENT = f"""{MADE} The environment of the Makefile by conda:
#     conda env create -f environment.yml
#     conda run -n pqm sh envs/pqm.post-deploy.sh
# {CPU}
name: pqm
"""
# Snakemake copies this file, so it must point to no other one.
SNAKEMAKE = f"""{MADE} For `snakemake --sdm conda`, which runs pqm.post-deploy.sh afterwards.
# {CPU}
"""
CHANNELS = """channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
"""
SCRIPT = f"""{MADE} What pip must install without dependencies (envs/unmet.txt), as conda does not, and the project,
# from the folder that the workflow runs in: to be run in the new environment.
set -e
python -m pip install --no-deps %s
python -m pip install --no-deps -e .
"""


def _lines(path: str) -> list[str]:
    return [line for line in (ROOT / path).read_text().splitlines() if line and not line.startswith("#")]


def files() -> dict[str, str]:
    """The text of each file."""
    alone = {line.split()[0] for line in _lines("envs/unmet.txt")}
    pins = _lines("requirements.lock")
    whole = [pin for pin in pins if pin.split("==")[0] not in alone]

    def environment(head: str, *pip: str) -> str:
        return head + CHANNELS + "".join(f"      - {one}\n" for one in pip)

    return {
        "environment.yml": environment(ENVIRONMENT, *whole, "-e ."),
        "envs/pqm.yaml": environment(SNAKEMAKE, *whole),
        "envs/pqm.post-deploy.sh": SCRIPT % " ".join(pin for pin in pins if pin not in whole),
    }


if __name__ == "__main__":
    for path, text in files().items():
        (ROOT / path).write_text(text)
