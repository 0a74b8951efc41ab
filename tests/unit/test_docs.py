import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pqm.io import formats

ROOT = Path(__file__).parents[2]
FORMATS = [formats.QUESTIONS, formats.ROLLOUTS, formats.LABELS, formats.GRADES, formats.SCORES, formats.METRICS]


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_formats_page_names_every_column(form):
    section = (ROOT / "docs/formats.md").read_text().split(f"## {form.name}\n", 1)[1].split("\n## ", 1)[0]
    columns = re.findall(r"^\| (\w+) \|", section, flags=re.M)[1:]
    assert columns == form.schema.names


def test_every_dependency_is_pinned_and_explained():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.match(r"[\w.-]+", one)[0] for one in named if not one.startswith("types-")}
    lines = [line for path in ROOT.glob("requirements*.lock") for line in path.read_text().splitlines()]
    lock = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert {name.lower() for name in names} <= lock
    table = (ROOT / "docs/decisions.md").read_text().split("| package | why |", 1)[1]
    assert names <= set(re.findall(r"[\w.-]+", table))


def lines(path):
    """The lines of a file, without comments."""
    return [line for line in (ROOT / path).read_text().splitlines() if line and not line.startswith("#")]


def test_the_lock_pins_all_but_what_torch_brings():
    lock = lines("requirements.lock")
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lock)
    assert not [line for line in lock if line.startswith(("nvidia", "triton", "cuda"))]
    assert len([line for line in lock if line.startswith("torch==")]) == 1


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """A folder with the files that the installation reads."""
    folder = tmp_path_factory.mktemp("installation")
    for name in ("Makefile", "pyproject.toml", "README.md", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    (folder / "src").mkdir()
    return folder


def install_commands(folder, uv="", **variables):
    """The commands of the Makefile that install packages, in order.

    Args:
        uv: what `uv --version` prints; nothing stands for no uv.
    """
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/uv").write_text(f"#!/bin/sh\necho {uv}\n")
    (folder / "bin/uv").chmod(0o755)
    command = ["make", "-nB", "--no-print-directory", ".venv/ready", *(f"{name}={value}" for name, value in variables.items())]
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "TORCH_INDEX")}
    env["PATH"] = f"{folder}/bin:{env['PATH']}"
    told = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in told if " pip install " in line]


def test_make_installs_torch_with_its_dependencies_and_the_lock_without(installation):
    torch, *rest = install_commands(installation)
    assert torch.endswith(" -c requirements.lock $(grep '^torch==' requirements.lock)") and "--no-deps" not in torch
    assert "index" not in torch
    assert [line.split(" --no-deps ")[1] for line in rest] == ["-r requirements.lock -e ."]
    chosen = install_commands(installation, TORCH_INDEX="https://one.example/whl")
    assert " --extra-index-url https://one.example/whl " in chosen[0] and chosen[1:] == rest


def test_uv_installs_the_same_lock(installation):
    torch, lock = install_commands(installation)
    command = lock.replace(".venv/bin/python -m pip install --no-compile", "uv pip install --python .venv/bin/python")
    assert command != lock and install_commands(installation, uv="uv 0.13.9") == [torch, command]


@pytest.fixture(scope="module")
def dry_run(installation, tmp_path_factory):
    """Dry-run an install command with an unconfigured pip, and return the packages that it would install."""
    folder = tmp_path_factory.mktemp("pip")
    kept = ("PIP_CERT", "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_") or name in kept}
    env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"}
    # Older versions of pip download packages even in a dry run.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--timeout", "5", "--retries", "0"]
    try:
        newer = [*pip, "--target", folder / "newer", "pip==26.3"]
        subprocess.run(newer, env=env, check=True, capture_output=True, text=True, timeout=30)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"no package index can be reached: {error.stderr or error}")
    env["PYTHONPATH"] = str(folder / "newer")

    def run(command):
        report = folder / "report.json"
        dry = f"{sys.executable} -m pip install --dry-run --ignore-installed --use-feature=fast-deps --report {report} "
        command = command.replace(".venv/bin/python -m pip install ", dry)
        done = subprocess.run(command, shell=True, cwd=installation, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [one["metadata"] for one in json.loads(report.read_text())["install"]]

    return run


def complaints(packages):
    """The messages of `pip check` about packages and their extras."""
    held = {canonicalize_name(one["name"]): one for one in packages}
    said, seen, todo = set(), set(), [(name, "") for name in held]
    while todo:
        name, extra = todo.pop()
        if name not in held or (name, extra) in seen:
            continue
        seen.add((name, extra))
        version = held[name]["version"]
        for need in map(Requirement, held[name].get("requires_dist", [])):
            if need.marker and not need.marker.evaluate({"extra": extra}):
                continue
            needed = canonicalize_name(need.name)
            todo += [(needed, one) for one in need.extras]
            if needed not in held:
                said.add(f"{name} {version} requires {needed}, which is not installed.")
            elif not need.specifier.contains(held[needed]["version"], prereleases=True):
                said.add(f"{name} {version} has requirement {need}, but you have {needed} {held[needed]['version']}.")
    return sorted(said)


def test_messages_of_pip_check_are_reproduced():
    one = {"name": "One", "version": "1", "requires_dist": ["two[more]>=2", "four; extra == 'never'"]}
    two = {"name": "two", "version": "1", "requires_dist": ["three; extra == 'more'", "one==1"]}
    assert complaints([one, two]) == [
        "one 1 has requirement two[more]>=2, but you have two 1.",
        "two 1 requires three, which is not installed.",
    ]


@pytest.mark.skipif("PQM_SLOW" not in os.environ, reason="asks an index for 220 packages, three minutes: set PQM_SLOW=1")
def test_an_ordinary_index_has_every_package(installation, dry_run):
    packages = [one for command in install_commands(installation) for one in dry_run(command)]
    versions = {(canonicalize_name(one["name"]), one["version"]) for one in packages}
    names = [name for name, _ in versions]
    assert "pqm" in names and len(names) == len(set(names))
    assert complaints(packages) == sorted(lines("envs/unmet.txt"))


def test_the_build_of_torch_index_wins(installation, dry_run, tmp_path):
    version = next(line for line in lines("requirements.lock") if line.startswith("torch=="))[7:] + "+cpu"
    (tmp_path / "torch").mkdir()
    wheel = f"torch-{version}-py3-none-any.whl"
    (tmp_path / "torch/index.html").write_text(f'<!DOCTYPE html><a href="{wheel}">{wheel}</a>')
    with zipfile.ZipFile(tmp_path / "torch" / wheel, "w") as file:
        folder = f"torch-{version}.dist-info"
        file.writestr(f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\nRequires-Dist: filelock\n")
        file.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{folder}/RECORD", "")
    found = dry_run(install_commands(installation, TORCH_INDEX=tmp_path.as_uri())[0])
    pinned = [f"{one['name']}=={one['version']}" for one in found if one["name"] != "torch"]
    assert [one["version"] for one in found if one["name"] == "torch"] == [version]
    assert len(pinned) == 1 and pinned[0] in lines("requirements.lock")


def test_conda_environments_are_those_of_the_lock():
    made = runpy.run_path(str(ROOT / "envs/generate.py"))["files"]()
    assert {path: (ROOT / path).read_text() for path in made} == made, "run `make envs`"
    alone = {line.split()[0] for line in lines("envs/unmet.txt")}
    script = (ROOT / "envs/pqm.post-deploy.sh").read_text()
    for path, more in (("environment.yml", ["-e ."]), ("envs/pqm.yaml", [])):
        *conda, pip = yaml.safe_load((ROOT / path).read_text())["dependencies"]
        assert conda == ["python=3.11", "pip"]
        assert pip["pip"] == [line for line in lines("requirements.lock") if line.split("==")[0] not in alone] + more
    pins = re.findall(r"\S+==\S+", script)
    assert {pin.split("==")[0] for pin in pins} == alone and set(pins) <= set(lines("requirements.lock"))


# ---------------------------------------------------------------- the pages

README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
GENERATED = [ROOT / "docs/settings.md"]
LINKED = [*PAGES, *(ROOT / "data").glob("*.md"), *(ROOT / "results").rglob("*.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name(page: Path) -> str:
    """A page's name in the report of the tests."""
    return str(page.relative_to(ROOT))


def without_code(page: Path) -> list[tuple[int, str]]:
    """The lines of a page, numbered from 1, without code blocks."""
    kept, fenced = [], False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            kept.append((number, line))
    return kept


def is_prose(line: str) -> bool:
    """Whether a line should be wrapped: not a table row, a heading with a link, or a single link."""
    heading_with_link = line.startswith("#") and LINK.search(line)
    return not (line.startswith("|") or heading_with_link or re.fullmatch(r"[-*\s]*!?\[[^]]*\]\(\S+\)[.:]?", line))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = [line.lstrip("#").strip().lower() for _, line in without_code(page) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", [page for page in PAGES if page not in GENERATED], ids=name)
def test_no_line_of_prose_is_long(page):
    long = [f"line {number}: {len(line)} characters" for number, line in without_code(page) if is_prose(line) and len(line) > 120]
    assert long == []


def test_the_index_lists_every_page_once():
    index = ROOT / "docs/README.md"
    linked = [index.parent / link for link in LINK.findall(index.read_text())]
    listed = [page.resolve() for page in linked if page.resolve().is_relative_to(index.parent)]
    assert sorted(listed) == [page for page in DOCS if page != index]


@pytest.mark.parametrize("page", LINKED, ids=name)
def test_links_lead_to_files_and_headings(page):
    text = "\n".join(line for _, line in without_code(page))
    broken = []
    for link in LINK.findall(text):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if re.match(r"[a-z]+:", link) or (target.exists() and (not anchor or anchor in anchors(target))):
            continue
        broken.append(link)
    assert broken == []


@pytest.mark.parametrize("kind", ["tables", "figures"])
def test_the_results_page_has_every_result(kind):
    from pqm.paper.declared import names

    page = (ROOT / "docs/results.md").read_text()
    assert [result for result in names(kind) if f"`{result}`" not in page] == []


def test_the_version_is_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## \[(\S+)\] - (?:unreleased|\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert newest and newest[1] == version == yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
