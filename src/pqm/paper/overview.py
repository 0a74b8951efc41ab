"""The overview of a study's results for people who browse the repository: a README.md with every figure and table."""

import os
import re
from pathlib import Path

from pqm.io import formats
from pqm.paper.declared import Declared, declared
from pqm.paper.results import Results


def write_overview(results: Results, output: Path) -> None:
    """Write the overview to `output`, with figures linked relative to it.

    Raises:
        PqmError: a table or figure that the study lists is missing.
    """
    shown = [declared(kind, name) for kind in ("figures", "tables") for name in results.shown(kind)]
    parts = [
        f"# Results of the study {results.name}",
        _introduction(results),
        "\n".join(f"- [{result.title}](#{_anchor(result.title)})" for result in shown),
        *(f"## {result.title}\n\n{_body(results, result, output)}" for result in shown),
    ]
    with formats.whole_file(output) as part:
        part.write_text("\n\n".join(parts) + "\n")


def _introduction(results: Results) -> str:
    sentence = f"Every figure and table of the study, made by the workflow from `config/{results.name}/study.yaml`."
    if not results.config.report:
        return sentence
    report = Path(results.layout.report).name
    return f"{sentence} A build also writes `{report}`, a page with sample solutions and where each number comes from."


def _body(results: Results, result: Declared, output: Path) -> str:
    """A figure with its caption, or a table, whose file contains its caption."""
    if result.kind == "tables":
        return results.made("tables", result.name, "md").read_text().strip()
    image = os.path.relpath(results.made("figures", result.name, "png"), output.parent)
    return f"![{result.title}]({Path(image).as_posix()})\n\n{result.caption}"


def _anchor(title: str) -> str:
    """The anchor that GitHub and GitLab give to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
