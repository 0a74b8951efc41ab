"""What the README and docs/results.md say about the demo, against its tables and figures.

`PQM_WRITE_DOCS=1 pytest tests/unit/test_findings.py` writes the tables and the numbers into the pages. A sentence that is no longer
true fails then, too: it must be written anew.
"""

import os
import re
from pathlib import Path

import pytest
from findings import ablations, methods, steps
from findings.demo import Demo
from findings.tables import TABLES

ROOT = Path(__file__).parents[2]
README, RESULTS = ROOT / "README.md", ROOT / "docs/results.md"
CLAIMS = [
    *((README, *claim) for claim in methods.IN_README),
    *((RESULTS, *claim) for part in (methods, ablations, steps) for claim in part.IN_RESULTS),
]
WRITE = "PQM_WRITE_DOCS" in os.environ
LINK = re.compile(r"\]\([^)]*\)")
MEASURED = re.compile(r"\d\.\d|\d %")
# Numbers with a decimal or a percent sign that are settings, or of other studies.
SETTINGS = [
    "SmolLM2-135M",
    "Qwen2.5",
    "95 %",
    "80 %",
    "temperature 0.7",
    "0.2 GB",
    "2.7 GB",
    "Python 3.11",
    "Eq. 9",
    "Assumption 3.1",
    "Theorem 3.5",
]


@pytest.fixture(scope="session")
def demo():
    return Demo(ROOT / "results/demo")


def pattern(sentence: str) -> re.Pattern[str]:
    """A sentence with any numbers, however its lines are broken."""
    parts = [r"\s+".join(map(re.escape, part.split(" "))) for part in sentence.split("{}")]
    return re.compile("(.{1,60}?)".join(parts), flags=re.DOTALL)


def shown(found: re.Match[str]) -> tuple[str, ...]:
    """The numbers of a sentence on a page."""
    return tuple(" ".join(number.split()) for number in found.groups())


def filled(found: re.Match[str], values: tuple[str, ...]) -> str:
    """The page in which a sentence was found, with other numbers in the sentence."""
    text = found.string
    for group in range(len(values), 0, -1):
        if shown(found)[group - 1] != values[group - 1]:
            text = text[: found.start(group)] + values[group - 1] + text[found.end(group) :]
    return text


def block(name: str) -> re.Pattern[str]:
    """A table of the page and the marks around it."""
    return re.compile(rf"<!-- {name} -->\n(.*?)<!-- end -->", flags=re.DOTALL)


@pytest.mark.parametrize(("page", "sentence", "numbers"), CLAIMS, ids=[f"{page.stem}: {text}" for page, text, _ in CLAIMS])
def test_a_sentence_is_true(demo, page, sentence, numbers):
    found, values = pattern(sentence).search(page.read_text()), numbers(demo)
    assert values is not None, f"{page.name}: no longer true: {sentence}"
    assert found, f"{page.name} has no sentence {sentence!r}"
    if WRITE:
        page.write_text(filled(found, values))
    else:
        assert shown(found) == values, f"{page.name}: other numbers: {sentence.format(*values)}"


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_the_numbers_of_the_demo(demo, name):
    page, table = RESULTS.read_text(), TABLES[name](demo)
    (found,) = block(name).finditer(page)
    if WRITE:
        RESULTS.write_text(f"{page[: found.start(1)]}{table}\n{page[found.end(1) :]}")
    else:
        assert found[1].splitlines() == table.splitlines()


def test_every_table_of_the_page_is_compared():
    assert re.findall(r"<!-- (.*) -->\n(?:\||<!-- end)", RESULTS.read_text()) == list(TABLES)


@pytest.mark.parametrize("page", [README, RESULTS], ids=lambda page: page.stem)
def test_every_measured_number_is_in_a_sentence_or_table_that_is_compared(page):
    text = page.read_text().split("## Results outside the demo")[0].split("## Install")[0]
    for _, sentence, _ in [claim for claim in CLAIMS if claim[0] == page]:
        text = pattern(sentence).sub("", text)
    for name in TABLES:
        text = block(name).sub("", text)
    for setting in SETTINGS:
        text = text.replace(setting, "")
    assert [line for line in LINK.sub("", text).splitlines() if MEASURED.search(line)] == []


def test_every_sentence_ends_with_words():
    assert [sentence for _, sentence, _ in CLAIMS if sentence.endswith("{}")] == []  # else the end of the number is unknown


def test_numbers_are_found_and_replaced_across_lines():
    found = pattern("from {} to {} % at most.").search("It rises from 1.0 to\n  2.0 % at most. It falls.")
    assert found and shown(found) == ("1.0", "2.0")
    assert filled(found, ("1.0", "22")) == "It rises from 1.0 to\n  22 % at most. It falls."
    assert not pattern("from {} to {} % at least.").search(found.string)
