"""Generate the conda environments from requirements.lock (`make envs`). A test compares them with the lock file."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
MADE = "# Generated from requirements.lock by `make envs`."
CPU = "For torch's CPU build, set PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu first."
ENVIRONMENT = f"""{MADE} The same environment as the Makefile's, with conda:
#     conda env create -f environment.yml
#     conda run -n pqm sh envs/pqm.post-deploy.sh
# {CPU}
name: pqm
"""
# Snakemake copies this file, so it must not refer to another file.
SNAKEMAKE = f"""{MADE} For `snakemake --sdm conda`, which then runs pqm.post-deploy.sh.
# {CPU}
"""
CHANNELS = """channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
"""
SCRIPT = f"""{MADE} Run it in the new environment, in the project's folder.
# It installs the packages that pip must install without dependencies (envs/unmet.txt), and the project.
set -e
python -m pip install --no-deps %s
python -m pip install --no-deps -e .
"""


def _lines(path: str) -> list[str]:
    return [line for line in (ROOT / path).read_text().splitlines() if line and not line.startswith("#")]


def files() -> dict[str, str]:
    """The text of each file, by path."""
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
