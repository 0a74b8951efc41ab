"""The captions in Snakemake's own report, written from the declaration of each result."""

from pathlib import Path

from pqm.paper.declared import declared
from pqm.study.results import ResultsConfig


def write_captions(results: ResultsConfig, folder: Path) -> None:
    """Write `{name}.rst` for every table and figure; a file with the same text is not touched."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("tables", "figures"):
        for name in getattr(results, kind):
            path, text = folder / f"{name}.rst", declared(kind, name).caption.strip() + "\n"
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
