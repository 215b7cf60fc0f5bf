"""The report's files, and its page in a real browser: sorted, followed, narrow, dark, asking nobody for anything."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import failed, line, write, write_kept, write_scores
from playwright.sync_api import Browser, Page

from novanda.benchmark.page import pretty
from novanda.benchmark.report import make_report, write_report
from novanda.cli import main
from novanda.methods import NDA, PCA, NearestNeighbour

HOSTILE = '</script><img src=x onerror="document.title=1"><b>&'
MEAN = {"cat": 0.6, "dog": 0.7}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of NDA, PCA on two classes, nearest neighbour, a failure, kept arrays, and hostile words."""
    folder = tmp_path_factory.mktemp("results")
    random = np.random.default_rng(0)
    history = [{"seconds": 1.0, "laplacian": 1 / n} for n in range(1, 15)]
    lines = [line(NDA(), "frog", 0.6, seed=seed, history=history, keep=["examples"]) for seed in (0, 1)]
    lines += [line(PCA(), name) for name in ("cat", "dog")] + [line(NearestNeighbour(), "cat", note=HOSTILE)]
    for made in lines:
        write_scores(folder, made, random.normal(size=20), random.normal(0.5, 1, 30))
    write_kept(folder, lines[0])
    return write(folder, *lines, failed(NDA(), "truck", HOSTILE))


@pytest.fixture(scope="module")
def report(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    write_report(make_report([results]), out)
    return out


def test_files_of_a_report(report: Path) -> None:
    tables = {path.name for path in (report / "tables").iterdir()}
    for name in ("table1", "table2", "negatives_grid", "table3", "table4", "all_runs", "failures"):
        assert {f"{name}.csv", f"{name}.md"} <= tables
    drawn = {path.name for path in (report / "pictures").iterdir()}
    assert {"bars_cifar10_protocol_2.png", "roc_cifar10_protocol_2.png", "training_cifar10.png"} <= drawn
    assert any(name.startswith("examples_") for name in drawn)
    assert not [path for path in report.rglob("*") if path.name.endswith(".partial")]


def test_the_same_lines_give_the_same_bytes(results: Path, report: Path, tmp_path: Path) -> None:
    write_report(make_report([results]), tmp_path)
    for path in report.rglob("*.*"):
        assert (tmp_path / path.relative_to(report)).read_bytes() == path.read_bytes(), path.name


def test_every_figure_leads_to_a_place_in_the_page(report: Path) -> None:
    page = (report / "index.html").read_text()
    places = re.findall(r'id="([^"]+)"', page)
    assert len(places) == len(set(places))
    links = re.findall(r'href="#([^"]+)"', page)
    assert links
    assert set(links) <= set(places)
    figures = re.findall(r'<td class="measured number"[^>]*>\s*(.*?)\s*</td>', page, re.DOTALL)
    assert len(figures) >= 10
    assert all(figure.startswith("<a href=") for figure in figures)


def test_hostile_words_are_text(report: Path) -> None:
    page = (report / "index.html").read_text()
    assert HOSTILE not in page
    assert page.count("<script>") == 1
    assert "<img src=x" not in page
    assert "&lt;/script&gt;&lt;img src=x" in page


def test_a_line_is_shown_whole() -> None:
    made = line(NDA(), history=[{"seconds": 1.0, "laplacian": 0.5}] * 3, note="é\n\ud800")
    assert json.loads(pretty(made)) == made
    assert sum('"laplacian": 0.5' in row for row in pretty(made).splitlines()) == 3
    assert json.loads(pretty({})) == {}


def test_half_characters_and_other_oddities_end_in_files(tmp_path: Path) -> None:
    made = line(PCA(), "cat", commit="\ud800\x00")
    made["cell"]["normal_class"] = "\ud800 <&> | $"
    write_report(make_report([write(tmp_path / "in", made)]), tmp_path / "out")
    assert (tmp_path / "out" / "index.html").read_bytes().decode()


def test_the_command(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lone = write(tmp_path / "lone", line(PCA(), "ship"))
    assert main(["report", str(results), str(lone), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'out' / 'index.html'}\n"
    assert "7 result lines, 1 of them failures" in said.err
    assert "left out: the interval of PCA reconstruction on CIFAR-10 ship" in said.err
    assert "npz is missing" in (tmp_path / "out" / "index.html").read_text()


def test_a_torn_last_line_is_dropped_and_another_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "in", line(PCA(), "cat"))
    whole = (folder / "results.jsonl").read_bytes()
    (folder / "results.jsonl").write_bytes(whole + whole[:100])
    assert main(["report", str(folder), "--out", str(tmp_path / "out")]) == 0
    (folder / "results.jsonl").write_bytes(whole + whole[:100] + b"\n" + whole)
    assert main(["report", str(folder), "--out", str(tmp_path / "other")]) == 2
    assert "line 2 is no result line" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


# ---------------------------------------------------------------------------------------------------------------
# In a browser

Opener = Callable[..., Page]


def outside(address: str) -> bool:
    return not address.startswith(("file:", "data:"))


@pytest.fixture
def opened(chromium: Browser, report: Path) -> Iterator[Opener]:
    """Opens the page; afterwards nothing may have been asked for, and no error said."""
    said: list[str] = []
    contexts = []

    def opener(**how: Any) -> Page:
        context = chromium.new_context(**how)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if outside(request.url) else None)
        page.goto((report / "index.html").as_uri())
        return page

    yield opener
    for context in contexts:
        context.close()
    assert said == []


def column(page: Page, table: str, number: int) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        f"#{table} tbody tr", f"rows => rows.map(row => row.cells[{number}].textContent.trim())"
    )
    return found


def test_a_column_is_sorted_by_keyboard(opened: Opener) -> None:
    page = opened()
    original = column(page, "table3", 4)
    head = page.locator("#table3 thead th").nth(4)
    assert head.get_attribute("aria-sort") == "none"
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    rising = [float(value) for value in column(page, "table3", 4) if value != "not run"]
    assert rising == sorted(rising)
    assert len(rising) > 10
    assert column(page, "table3", 4)[-1] == "not run", "what is missing stands last"
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(v) for v in column(page, "table3", 4) if v != "not run"] == rising[::-1]
    assert column(page, "table3", 4)[-1] == "not run"
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "none"
    assert column(page, "table3", 4) == original


def test_sorting_one_column_forgets_another(opened: Opener) -> None:
    page = opened()
    heads = page.locator("#table3 thead th")
    heads.nth(4).locator("button").click()
    heads.nth(0).locator("button").click()
    assert [head.get_attribute("aria-sort") for head in heads.all()].count("none") == heads.count() - 1
    names = column(page, "table3", 0)
    assert names == sorted(names, key=str.casefold)


def test_a_number_leads_to_its_line(opened: Opener, results: Path) -> None:
    page = opened()
    # PCA on one class: a single line.
    link = page.locator("#table3 tbody tr", has_text="PCA reconstruction").locator("td.measured a").first
    link.click()
    key = page.evaluate("location.hash").removeprefix("#line-")
    shown = page.locator(f"#line-{key}")
    assert shown.get_attribute("open") is not None
    assert shown.locator("pre").is_visible()
    lines = [json.loads(text) for text in (results / "results.jsonl").read_text().splitlines()]
    assert json.loads(shown.locator("pre").text_content() or "") in lines
    assert page.evaluate("document.activeElement.parentElement.id") == f"line-{key}"


def test_a_mean_leads_to_all_its_lines(opened: Opener) -> None:
    page = opened()
    row = page.locator("#table3 tbody tr", has_text="2 seeds")
    row.locator("td.measured a").first.click()
    place = page.evaluate("location.hash.slice(1)")
    members = page.locator(f"#{place} li a")
    assert members.count() == 2
    members.first.click()
    # The page opens a line once it hears of the new address, which comes after the click has returned.
    page.locator("section.lines :target pre, :target pre").first.wait_for(state="visible")
    assert page.evaluate("location.hash").startswith("#line-")


def test_the_filter_keeps_what_holds_every_word(opened: Opener) -> None:
    page = opened()
    page.locator("#filter").fill("pca  MEASURED")
    shown = [row.text_content() or "" for row in page.locator("#table3 tbody tr").all() if row.is_visible()]
    assert len(shown) == 1
    assert "PCA reconstruction" in shown[0]
    assert re.fullmatch(r"\d+ rows and lines", page.locator("#found").text_content() or "")
    page.locator("#filter").fill("")
    assert all(row.is_visible() for row in page.locator("#table3 tbody tr").all())


def test_dark_and_light(opened: Opener) -> None:
    def brightness(page: Page, what: str) -> float:
        colour = page.evaluate(f"getComputedStyle(document.body).{what}")
        return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3

    light, dark = (opened(color_scheme=scheme) for scheme in ("light", "dark"))
    assert brightness(light, "backgroundColor") > 200 > 100 > brightness(light, "color")
    assert brightness(dark, "backgroundColor") < 60 < 180 < brightness(dark, "color")


@pytest.mark.parametrize("width", [380, 768, 1280])
def test_nothing_runs_over_the_edge(width: int, opened: Opener) -> None:
    page = opened(viewport={"width": width, "height": 800})
    for details in page.locator("details").all():
        details.evaluate("each => { each.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.locator("#table3 .scroll")
    assert wide.get_attribute("tabindex") == "0", "who has no pointer scrolls by keys"
    assert wide.evaluate("each => getComputedStyle(each).overflowX") == "auto"


def test_the_page_is_read_without_its_script(opened: Opener) -> None:
    page = opened(java_script_enabled=False)
    assert page.locator("#table3 tbody tr").count() > 15
    assert page.locator("#filter").is_hidden(), "what would not work is not shown"
    assert page.locator("details.line pre").first.text_content()


def test_tables_are_taken_along(opened: Opener, report: Path) -> None:
    page = opened()
    with page.expect_download() as waiting:
        page.locator("#table3 .files a", has_text="CSV").click()
    assert waiting.value.suggested_filename == "table3.csv"
    assert Path(waiting.value.path()).read_bytes() == (report / "tables" / "table3.csv").read_bytes()


def test_pictures_are_shown_and_described(opened: Opener) -> None:
    page = opened()
    images = page.locator("figure img")
    assert images.count() == 4
    for image in images.all():
        assert image.evaluate("each => each.complete && each.naturalWidth") == 1200
        assert len(image.get_attribute("alt") or "") > 40
