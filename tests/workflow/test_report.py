"""The report in a browser."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from .conftest import Project

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Runs in the page and collects hidden elements and broken links.
PROBE = """
<script>
window.addEventListener('load', () => {
  const box = node => { const r = node.getBoundingClientRect(); return [r.width, r.height]; };
  const report = {
    figures: [...document.querySelectorAll('figure')].map(node => [node.getAttribute('aria-label'), ...box(node.querySelector('svg'))]),
    tables: [...document.querySelectorAll('h3[id^=table-]')].map(node => [node.id, ...box(node.nextElementSibling.querySelector('table'))]),
    broken: [...document.querySelectorAll('nav a')].map(node => node.getAttribute('href'))
      .filter(link => !document.querySelector(link) || box(document.querySelector(link))[1] === 0),
    requests: performance.getEntriesByType('resource').map(entry => entry.name),
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth + 1,
  };
  const out = document.createElement('pre'); out.id = 'probe'; out.textContent = JSON.stringify(report); document.body.append(out);
});
</script>
"""


@pytest.fixture(scope="module")
def seen(snakemake_project: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The report in the browser, and its errors."""
    if BROWSER is None:
        assert "CI" not in os.environ, "no Chromium found; .ci/run installs it"
        pytest.skip("no Chromium found")
    folder = tmp_path_factory.mktemp("browser")
    page = folder / "report.html"
    page.write_text((snakemake_project.folder / "results/tiny/report.html").read_text().replace("</body>", f"{PROBE}</body>"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000", "--enable-logging=stderr"]
    quiet = ["--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND"]
    done = subprocess.run(
        [BROWSER, *options, *quiet, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, flags=re.S)
    assert found, done.stderr[-2000:]
    return json.loads(found[1]) | {"console": re.findall(r":CONSOLE[:(].*", done.stderr)}


def test_the_browser_reports_no_error_and_loads_nothing(seen: dict[str, object]) -> None:
    assert seen["console"] == []
    assert seen["requests"] == []


def test_every_figure_is_visible(seen: dict[str, list], snakemake_project: Project) -> None:
    drawn = sorted(path.stem for path in (snakemake_project.folder / "results/tiny/figures").glob("*.svg"))
    assert len(seen["figures"]) == len(drawn)
    assert all(width > 300 and height > 150 for _, width, height in seen["figures"]), seen["figures"]


def test_every_table_is_visible(seen: dict[str, list], snakemake_project: Project) -> None:
    with_rows = [path.stem for path in (snakemake_project.folder / "results/tiny/tables").glob("*.csv") if len(pd.read_csv(path))]
    assert sorted(name for name, *_ in seen["tables"]) == sorted(f"table-{name}" for name in with_rows)
    assert all(width > 100 and height > 40 for _, width, height in seen["tables"]), seen["tables"]


def test_links_work_and_the_page_fits(seen: dict[str, object]) -> None:
    assert seen["broken"] == []
    assert not seen["wide"]


def test_the_page_is_one_file(snakemake_project: Project) -> None:
    page = Path(snakemake_project.folder / "results/tiny/report.html").read_text()
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
