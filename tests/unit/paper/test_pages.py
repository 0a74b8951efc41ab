"""The report and the overview of a small study (`made_study.py`)."""

import html
import re
from pathlib import Path

import pandas as pd
import pytest
from made_study import LISTED, rows_of
from markdown_it import MarkdownIt
from small import read_yaml, write_yaml

from pqm.errors import PqmError
from pqm.paper import report
from pqm.paper.declared import declared, names
from pqm.paper.overview import write_overview
from pqm.paper.report import write_report
from pqm.paper.results import Results
from pqm.paper.table import Table, make_table
from pqm.paper.tables import case_study

PUBLISHED = {"published_solutions", "published_disagreements"}  # of published solutions; see test_grading.py


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("report") / "report.html"
    write_report(made, output)
    return output.read_text()


def test_report_shows_everything(page):
    assert {*LISTED["tables"], *LISTED["figures"]} == {*names("tables"), *names("figures")} - PUBLISHED - {"rebuilds"}
    for kind in ("figures", "tables"):
        assert re.findall(rf'<h3 id="{kind.removesuffix("s")}-(\w+)"', page) == list(LISTED[kind])
        assert all(declared(kind, name).title in html.unescape(page) for name in LISTED[kind])
    assert page.count("<svg") == len(LISTED["figures"])


def test_report_asks_nothing_of_the_network(page):
    loaded = re.findall(r'(?:src|href|xlink:href)="(?!#|data:)([^"]+)"', page) + re.findall(r"url\((?!#)([^)]+)\)", page)
    assert loaded == []
    assert "<script" not in page


def test_links_of_the_report_lead_somewhere(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    links = set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert links <= set(ids)


def test_report_highlights_first_errors(page, made):
    samples = page.split('<h2 id="questions">', 1)[1].split('<h2 id="provenance">', 1)[0]
    assert samples.count('class="first"') == samples.count("wrong, the first") > 0


def test_report_shows_cells_and_captions_as_they_are(page, made):
    tables = dict(re.findall(r'<h3 id="table-(\w+)">.*?</h3>\n<div class="scroll[ \w]*">(<table>.*?</table>)', page, flags=re.S))
    shown = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", tables["differences"])
    assert shown[:8] == ["benchmark", "policy", "method", "against", "difference", "p", "p, Holm", "significant"]
    assert len(shown) == 8 * (1 + len(rows_of(made, "differences")))
    assert "PQM, ζ = 4" in shown
    caption = page.split('<h3 id="table-paper_comparison">')[1].split('<p class="caption">')[1].split("</p>")[0]
    assert "<code>config/reported.csv</code>" in caption and caption.endswith("paper_comparison.csv</code>")
    long = {name for name, table in tables.items() if table.count("<tr>") + 1 > 30}
    assert long == set(re.findall(r'<h3 id="table-(\w+)">[^<]*</h3>\n<div class="scroll tall">', page))


def test_markdown_and_html_characters_survive_in_cells(made, tmp_path, monkeypatch):
    texts = ["a | b", "5*3 + 2*4", r"\frac{1}{2} \| `x`", "x <b>y</b>", "1 < 2 & 3"]
    table = Table(pd.DataFrame({"n": range(5)}), pd.DataFrame({"text": texts}), note="A * B * C | D")
    monkeypatch.setattr(case_study, "table", lambda results, runs: table)
    copy = Results(made.file, Path(made.layout.data), tmp_path)
    make_table("case_study", copy, tmp_path / "tables")
    shown = report._table(copy, "case_study")
    assert [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", shown.body)] == texts
    assert shown.caption.endswith("A * B * C | D")
    assert "A * B * C | D" in (tmp_path / "tables/case_study.tex").read_text()


def test_report_without_a_table_is_refused(made, tmp_path):
    lost = Path(made.layout.table("cost", "md"))
    text = lost.read_text()
    lost.unlink()
    try:
        for write in (write_report, write_overview):
            with pytest.raises(PqmError, match=r"cost\.md: missing; make table cost first"):
                write(made, tmp_path / "page")
    finally:
        lost.write_text(text)
    assert not (tmp_path / "page").exists()


def test_overview_shows_everything_and_its_links_lead_somewhere(made):
    output = Path(made.layout.overview)
    write_overview(made, output)
    text = output.read_text()
    headings = re.findall(r"^## (.*)$", text, flags=re.M)
    assert headings == [declared(kind, name).title for kind in ("figures", "tables") for name in LISTED[kind]]
    page = MarkdownIt("commonmark").enable("table").render(text)
    anchors = ["#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert re.findall(r'<a href="(.*?)"', page) == anchors and len(set(anchors)) == len(anchors)
    images = re.findall(r'<img src="(.*?)"', page)
    assert images == [f"figures/{name}.png" for name in LISTED["figures"]]
    assert all((output.parent / image).exists() for image in images)
    assert page.count("<table>") == len(LISTED["tables"])
    assert all(Path(made.layout.table(name, "md")).read_text().strip() in text for name in LISTED["tables"])
    assert "`report.html`" in text
    output.unlink()


def test_overview_mentions_the_report_only_if_there_is_one(made, tmp_path):
    content = read_yaml(made.file)
    content["results"]["report"] = []
    write_yaml(tmp_path / "study.yaml", content)
    write_overview(Results(tmp_path / "study.yaml", results=Path(made.layout.results)), tmp_path / "deep/README.md")
    text = (tmp_path / "deep/README.md").read_text()
    assert "report.html" not in text
    images = re.findall(r"!\[.*\]\((.*)\)", text)
    assert len(images) == len(LISTED["figures"]) and all((tmp_path / "deep" / image).exists() for image in images)
