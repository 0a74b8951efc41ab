"""The report: one self-contained page with every table and figure, sample solutions, and where each number comes from."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from jinja2 import Environment, PackageLoader
from markdown_it import MarkdownIt

from pqm import __version__
from pqm.hashes import checkpoint_hash
from pqm.io import formats
from pqm.io.shard_cache import content_hash
from pqm.paper.declared import declared
from pqm.paper.report_samples import ShownQuestion, shown_questions
from pqm.paper.results import Results
from pqm.paper.style import printed
from pqm.study.layout import scorer

LONG_TABLE = 30  # lines; a longer table scrolls in a frame
LONG_CELL = 60  # characters; a longer cell is wrapped
PACKAGES = ("torch", "transformers", "accelerate", "numpy", "scipy", "pandas", "snakemake", "dvc")
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass(frozen=True)
class ShownResult:
    """A table or figure as HTML: `body` is a drawing or a table, `source` the path of its numbers."""

    name: str
    title: str
    body: str
    caption: str
    source: str
    is_long: bool = False


@dataclass(frozen=True)
class SourceOfResult:
    """What a result is made from, and the digest of its numbers."""

    name: str
    needs: str
    runs: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """A reward model: digests of its weights, labels and backbone, and what training recorded."""

    run: str
    seed: int
    weights: str
    labels: str
    backbone: str
    solutions: int
    updates: int
    auc: str


@dataclass(frozen=True)
class Report:
    """Everything that the page shows, in the order of the page."""

    study: str
    figures: list[ShownResult]
    tables: list[ShownResult]
    methods: list[str]
    questions: list[ShownQuestion]
    results: list[SourceOfResult]
    checkpoints: list[Checkpoint]
    versions: dict[str, str]


def write_report(results: Results, output: Path) -> None:
    """Write the page to `output`.

    Raises:
        PqmError: a table or figure that the study lists is missing.
    """
    template = Environment(loader=PackageLoader("pqm.paper", "."), autoescape=True).get_template("report.html.jinja")
    page = template.render(report=read_report(results))
    with formats.whole_file(output) as part:
        part.write_text(page)


def read_report(results: Results) -> Report:
    """Everything that the page shows."""
    return Report(
        study=results.name,
        figures=[_figure(results, name) for name in results.shown("figures")],
        tables=[_table(results, name) for name in results.shown("tables")],
        methods=[printed(results.method(run)) for run in results.config.report],
        questions=shown_questions(results),
        results=[_source(results, kind, name) for kind in ("tables", "figures") for name in results.shown(kind)],
        checkpoints=[_checkpoint(results, run, seed) for run in results.runs for seed in results.seeds(run)],
        versions={"pqm": __version__, "Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    )


def _figure(results: Results, name: str) -> ShownResult:
    result, drawing = declared("figures", name), results.made("figures", name, "svg").read_text()
    svg = drawing[drawing.index("<svg") :]
    # Ids are unique within a drawing only: those of glyphs and clips would collide on the page.
    for reference in ('id="', 'href="#', "url(#"):
        svg = svg.replace(reference, f"{reference}{name}-")
    caption = MARKDOWN.renderInline(result.caption)
    return ShownResult(name, result.title, svg, caption, results.layout.figure(name, "csv"))


def _table(results: Results, name: str) -> ShownResult:
    """A table from its Markdown: lines of cells, an empty line, and the caption."""
    lines, _, caption = results.made("tables", name, "md").read_text().partition("\n\n")
    tokens = MARKDOWN.parse(lines)
    for cell, content in pairwise(tokens):
        if cell.type == "td_open" and len(content.content) > LONG_CELL:
            cell.attrSet("class", "long")
    body, is_long = MARKDOWN.renderer.render(tokens, MARKDOWN.options, {}), lines.count("\n") >= LONG_TABLE
    source = results.layout.table(name, "csv")
    return ShownResult(name, declared("tables", name).title, body, MARKDOWN.renderInline(caption.strip()), source, is_long)


def _source(results: Results, kind: str, name: str) -> SourceOfResult:
    path = results.made(kind, name, "csv")
    needs, runs = declared(kind, name).needs, results.listed(kind)[name]
    return SourceOfResult(
        name=name,
        needs=", ".join(needs) or "nothing",
        runs=", ".join(runs) or "-",
        path=path.as_posix(),
        sha256=content_hash(path)[:12],
    )


def _checkpoint(results: Results, run: str, seed: int) -> Checkpoint:
    facts = results.facts(run, seed)
    auc = facts["validation"]["solution_auc"]
    return Checkpoint(
        run=run,
        seed=seed,
        weights=checkpoint_hash(Path(results.layout.checkpoint(scorer(run, seed)))),
        labels=f"{facts['run']['labels']} {facts['labels_sha256'][:12]}",
        backbone=f"{facts['run']['backbone']} {facts['backbone_sha256'][:12]}",
        solutions=facts["solutions"],
        updates=facts["optimizer_steps"],
        auc="" if auc is None else f"{auc:.3f}",
    )
