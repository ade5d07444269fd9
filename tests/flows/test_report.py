"""`creditflow report MONTH` builds a pack from what is stored."""

import pytest

from creditflow.month import Month
from flows.settings import load_settings
from tasks.reports.pack import PRINTED
from tasks.reports.pdf import BROWSERS

pytestmark = pytest.mark.flow

MONTH = "2026-04"


@pytest.fixture
def rebuild(home):
    from flows.report import rebuild

    def run(month=MONTH, pdf=False, **settings):
        return rebuild(home, Month.parse(month), load_settings(home=home.root, **settings), pdf).pages

    return run


def test_pack_is_built_anew_and_nothing_else_changes(home, rebuild, contents):
    before, folder = contents(home), home.reports / MONTH
    (folder / "scores.html").write_text("spoilt")
    (folder / "metrics.json").unlink()
    other = {p: p.read_bytes() for p in (home.reports / "2026-03").iterdir()}
    page, overview = rebuild()
    assert (page, overview) == (folder / "index.html", home.reports / "index.html")
    assert "spoilt" not in (folder / "scores.html").read_text()
    assert (folder / "metrics.json").is_file()
    assert {p: p.read_bytes() for p in other} == other
    after = contents(home)
    assert all(after[table].equals(before[table]) for table in before)


def test_pack_holds_every_page_and_the_vae_s_is_told(home, rebuild):
    rebuild()
    assert all((home.reports / MONTH / name).is_file() for name in PRINTED)
    assert "Not available" not in (home.reports / MONTH / "vae.html").read_text()


def test_pages_are_the_same_again(home, rebuild):
    rebuild()
    names = [*PRINTED, "metrics.json"]
    first = {name: (home.reports / MONTH / name).read_bytes() for name in names}
    rebuild()
    assert {name: (home.reports / MONTH / name).read_bytes() for name in names} == first


@pytest.mark.browser
def test_pdf_lies_beside_the_pages(home, rebuild):
    import shutil

    if not any(map(shutil.which, BROWSERS)):
        pytest.skip("no Chromium found: install chromium to print")
    *_, pdf = rebuild(pdf=True)
    assert pdf == home.reports / MONTH / f"creditflow-{MONTH}.pdf"
    assert pdf.read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("2031-01",), 2, "a month with a file or a run in the warehouse"),
        (("soon",), 1, "YYYY-MM"),
    ],
)
def test_refusals_are_one_line(home, creditflow, arguments, code, words):
    found, said = creditflow(home, "report", *arguments)
    assert (found, len(said.strip().splitlines())) == (code, 1), said
    assert words in said


def test_absent_browser_is_said_before_the_work(home, creditflow):
    code, said = creditflow(home, "report", MONTH, "--pdf", CREDITFLOW_CHROMIUM="/nowhere/chromium")
    assert code == 2, said
    assert "/nowhere/chromium" in said


def test_empty_home_is_one_line(tmp_path, creditflow):
    from tasks.home import Home

    code, said = creditflow(Home(tmp_path / "nothing"), "report", MONTH)
    assert (code, len(said.strip().splitlines())) == (1, 1), said
    assert "Run the month first" in said
    assert not (tmp_path / "nothing").exists()
