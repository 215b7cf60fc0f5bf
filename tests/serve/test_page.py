"""The page in a real browser: what a person drops, sees, moves, reads, marks and downloads; and what goes wrong."""

from __future__ import annotations

import base64
import csv
import io
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Page, Request, expect

from novanda.detector import Detector

from .conftest import Process, Start, digits, png

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def process(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One service for all tests that do not end it."""
    store = tmp_path_factory.mktemp("page") / "feedback.sqlite"
    running = Process(model, f"other={model}", "--port", "0", "--feedback", store, "--limits.file-bytes", "50000")
    yield running
    running.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> Path:
    """A folder with a folder in it: sound images, one that is torn, one that is too large, and a text."""
    root = tmp_path_factory.mktemp("photos")
    (root / "deep").mkdir()
    for number, image in enumerate(images):
        (root / ("deep" if number % 2 else ".") / f"{number:02d}.png").write_bytes(png(image))
    (root / "torn.png").write_bytes(png(images[0])[:60])
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    (root / "large.png").write_bytes(png(noise))
    (root / "notes.txt").write_text("no image")
    return root


Open = Callable[..., Page]
GONE = re.compile("ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_SOCKET_NOT_CONNECTED")
ASKED = re.compile("status of 40[01]|status of 413|status of 422|status of 503")


@pytest.fixture
def open_page(chromium: Browser, process: Process) -> Iterator[Open]:
    """Opens the page; at the end no error was on the console but those expected, and nothing was asked elsewhere."""
    errors: list[str] = []
    asked: list[str] = []
    contexts = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not ASKED.search(message.text):
            errors.append(message.text)

    def make(address: str = process.address, **look: object) -> Page:
        context = chromium.new_context(**look)  # type: ignore[arg-type]  # passed on
        contexts.append(context)
        page = context.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not [text for text in errors if not GONE.search(text)]
    own = re.compile(r"(blob:)?http://127\.0\.0\.1:\d+/|data:image/png")
    assert asked
    assert not [url for url in asked if not own.match(url)]


@pytest.fixture
def page(open_page: Open) -> Page:
    return open_page()


def payload(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": content}


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.png"))


def done(page: Page, count: int) -> None:
    """Wait until so many files are scored or refused."""
    expect(page.locator("#spoken")).to_contain_text(f"{count} of {count} done", timeout=60_000)


def cards(page: Page) -> list[tuple[str, float, bool]]:
    """(name, p-value, whether it is flagged) as they are shown, in order."""
    found = []
    for text in page.locator("#grid button").all_text_contents():
        card = re.fullmatch(r"(\S+)\s+(Novel|Normal)\s+p (\S+).*", text.strip(), re.DOTALL)
        assert card, text
        name, word, number = card.groups()
        found.append((name, float(number), word == "Novel"))
    return found


def drop(page: Page, contents: dict[str, bytes], folder: str | None = None) -> None:
    """Drop files as a person does; browsers give scripts no folder to drop, so one is made that behaves like it."""
    packed = {name: base64.b64encode(content).decode() for name, content in contents.items()}
    page.evaluate(
        """([packed, folder]) => {
            const files = Object.entries(packed).map(([name, text]) =>
                new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
            const transfer = new DataTransfer();
            for (const file of files) transfer.items.add(file);
            const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
            if (folder) {
                const entries = files.map((file) =>
                    ({ isDirectory: false, name: file.name, file: (give) => give(file) }));
                const parts = [entries.slice(0, 2), entries.slice(2), []];
                const entry = { isDirectory: true, name: folder, createReader: () =>
                    ({ readEntries: (give) => give(parts.shift()) }) };
                Object.defineProperty(event, "dataTransfer", { value:
                    { items: [{ kind: "file", webkitGetAsEntry: () => entry }] } });
            }
            document.querySelector("main").dispatchEvent(event);
        }""",
        [packed, folder],
    )


# ---------------------------------------------------------------------------------------------------------------
# What it is for


def test_dropped_images_are_sorted_by_novelty(page: Page, detector: Detector, images: np.ndarray) -> None:
    drop(page, {f"{number:02d}.png": png(image) for number, image in enumerate(images)})
    done(page, len(images))
    novelty = detector.novelty_score(images[:, :, :, None])
    shown = cards(page)
    order = np.argsort(-novelty, kind="stable")
    assert [name for name, _, _ in shown] == [f"{number:02d}.png" for number in order]
    np.testing.assert_allclose([p for _, p, _ in shown], detector.p_value(images[order][:, :, :, None]), rtol=5e-3)
    assert [flagged for _, _, flagged in shown] == (detector.predict(images[order][:, :, :, None]) < 0).tolist()
    page.select_option("#order", "normal")
    assert [name for name, _, _ in cards(page)] == [f"{number:02d}.png" for number in order[::-1]]
    widths = page.locator("#grid img").evaluate_all("all => all.map((image) => image.naturalWidth)")
    assert widths[0] == 8, "no thumbnail"


def test_a_dropped_folder_is_read_whole_and_what_is_no_image_left_out(page: Page, images: np.ndarray) -> None:
    contents = {f"{number}.png": png(images[number]) for number in range(5)}
    drop(page, {**contents, "notes.txt": b"no image"}, folder="parts")
    done(page, 5)
    assert "1 file in the folder is no image" in page.locator("#notice").inner_text()
    assert page.locator("#grid button").first.get_attribute("title") in {f"parts/{name}" for name in contents}


def test_a_chosen_folder_is_read_with_the_folders_in_it(page: Page, photos: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.click("#choose-folder")
    chooser.value.set_files(photos)
    done(page, len(files_below(photos)))
    titles = page.locator("#grid button").evaluate_all("all => all.map((each) => each.title)")
    assert set(titles) == {f"{photos.name}/{path.relative_to(photos)}" for path in files_below(photos)
                           if path.name not in ("torn.png", "large.png")}  # fmt: skip


def test_the_slider_decides_anew_at_once(page: Page, detector: Detector, photos: Path, images: np.ndarray) -> None:
    page.set_input_files("#files", files_below(photos))
    done(page, len(files_below(photos)))
    p_values = detector.p_value(images[:, :, :, None])
    slider = page.locator("#rate")
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    rates = []
    slider.focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "End"):
        page.keyboard.press(key)
        (rate,) = re.findall(r"([\d.]+) %", page.locator("#rate-shown").inner_text())
        flagged = sum(flag for _, _, flag in cards(page))
        assert int(page.locator("#count-novel").inner_text()) == flagged
        assert slider.get_attribute("aria-valuetext", timeout=1000).startswith(f"{rate} %")  # type: ignore[union-attr]
        # The shown rate is rounded; the one that decides is a multiple of 1 / 25.
        exact = round(float(rate) / 100 * 25) / 25
        assert flagged == int((p_values <= exact).sum())
        rates.append(exact)
    assert rates == sorted(set(rates))
    assert rates[0] == 1 / 25
    assert not asked, "it asked the service what it knows already"


def test_at_first_it_decides_as_the_service_does(page: Page, process: Process, photos: Path) -> None:
    chosen = files_below(photos)[:20]
    page.set_input_files("#files", chosen)
    done(page, 20)
    files = [("files", (path.name, path.read_bytes())) for path in chosen]
    results = httpx2.post(f"{process.address}/v1/score", files=files).json()["results"]
    assert {name: flagged for name, _, flagged in cards(page)} == {each["name"]: each["is_novel"] for each in results}


def test_only_the_novel_or_the_normal_are_shown(page: Page, photos: Path) -> None:
    page.set_input_files("#files", files_below(photos))
    done(page, len(files_below(photos)))
    everything = cards(page)
    for value, wanted in (("novel", True), ("normal", False)):
        page.get_by_text(value.title(), exact=True).first.click()
        assert cards(page) == [card for card in everything if card[2] is wanted]


def test_a_click_explains(page: Page, images: np.ndarray, detector: Detector) -> None:
    drop(page, {"one.png": png(images[-1]), "zero.png": png(images[0])})
    done(page, 2)
    page.get_by_role("button", name="one.png").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name="one.png")).to_be_focused()
    expect(dialog.locator("figure")).to_have_count(3)
    expect(dialog.get_by_alt_text("What it expected")).to_be_visible()
    assert dialog.locator("#why-decision").inner_text() == "Novel"
    above = int((detector.calibration().scores >= detector.novelty_score(images[-1:, :, :, None])[0]).sum())
    words = dialog.locator("#why-words").inner_text()
    assert words.startswith(f"{above or 'None'} of the 24 normal images kept aside")
    expect(dialog.locator("#why-neighbours img")).to_have_count(3)
    widths = dialog.locator("img").evaluate_all("all => all.map((image) => image.naturalWidth)")
    assert widths == [8] * 6
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Save explanation").click()
    assert download.value.suggested_filename == "one-why.png"
    with Image.open(download.value.path()) as saved:
        assert saved.width == 1200
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("heading", name="zero.png")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="zero.png")).to_be_focused()


def test_marks_are_kept_changed_and_taken_back(page: Page, process: Process, images: np.ndarray) -> None:
    drop(page, {"marked.png": png(images[-2])})
    done(page, 1)

    def kept() -> list[str]:
        rows = httpx2.get(f"{process.address}/v1/feedback").json()["feedback"]
        return [row["verdict"] for row in rows if row["name"] == "marked.png"]

    page.get_by_role("button", name="marked.png").click()
    false, true = page.locator("#mark-false"), page.locator("#mark-true")
    false.click()
    expect(false).to_have_attribute("aria-pressed", "true")
    assert kept() == ["false_alarm"]
    true.click()
    expect(true).to_have_attribute("aria-pressed", "true")
    expect(false).to_have_attribute("aria-pressed", "false")
    assert kept() == ["true_alarm"]
    true.click()
    expect(true).to_have_attribute("aria-pressed", "false")
    assert kept() == []
    page.keyboard.press("f")
    expect(false).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    assert "marked false alarm" in page.locator("#grid").inner_text()


def test_the_csv_has_the_columns_of_novanda_score(page: Page, photos: Path, detector: Detector) -> None:
    page.set_input_files("#files", files_below(photos))
    done(page, len(files_below(photos)))
    marked = cards(page)[0][0]
    page.get_by_role("button", name=marked).click()
    page.keyboard.press("f")
    expect(page.locator("#mark-false")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    with page.expect_download() as download:
        page.click("#download")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert list(rows[0]) == ["path", "novelty", "p_value", "is_novel", "error", "false_alarm"]
    assert [row["path"] for row in rows if row["false_alarm"]] == [marked]
    by_name = {row["path"]: row for row in rows}
    assert len(by_name) == len(files_below(photos))
    for path in files_below(photos):
        row = by_name[path.name]
        if path.name in ("torn.png", "large.png"):
            assert row["error"]
            assert not row["novelty"]
            continue
        with Image.open(path) as image:
            pixels = np.asarray(image)[None, :, :, None]
        assert float(row["novelty"]) == pytest.approx(detector.novelty_score(pixels)[0], rel=1e-5)
        assert row["is_novel"] == str(bool(detector.predict(pixels)[0] < 0)).lower()


def test_another_detector_scores_all_anew(page: Page, images: np.ndarray) -> None:
    drop(page, {"a.png": png(images[0]), "b.png": png(images[1])})
    done(page, 2)
    with page.expect_request("**/v1/score?model=other"):
        page.select_option("#model", "other")
    expect(page.locator("#grid .waiting")).to_have_count(0)
    assert len(cards(page)) == 2


# ---------------------------------------------------------------------------------------------------------------
# What goes wrong


def test_large_and_torn_files_are_told_and_cost_no_other(page: Page, photos: Path) -> None:
    chosen = [photos / "torn.png", photos / "large.png", photos / "00.png"]
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.set_input_files("#files", chosen)
    done(page, 3)
    told = page.locator("#refused-list li").all_inner_texts()
    assert len(told) == 2
    assert re.match(r"large.png: 0.1 MB. Expected a file of at most 0.0 MB; make the image smaller", told[0])
    assert re.match(r"torn.png: broken or not an image: .*truncated.* Expected a PNG", told[1])
    assert len(cards(page)) == 1
    assert len(sent) == 1


def test_gone_and_back(open_page: Open, start: Start, images: np.ndarray) -> None:
    first = start()
    port = first.port
    page = open_page(first.address)
    drop(page, {"before.png": png(images[0])})
    done(page, 1)
    first.end(signal.SIGKILL)
    drop(page, {"during.png": png(images[1])})
    banner = page.get_by_role("alert").filter(has_text="does not answer")
    expect(banner).to_be_visible()
    assert len(page.locator("#grid button").all()) == 2
    start(port=port)
    page.get_by_role("button", name="Try now").click()
    expect(banner).to_be_hidden(timeout=30_000)
    done(page, 2)
    assert {name for name, _, _ in cards(page)} == {"before.png", "during.png"}
    page.get_by_role("button", name="during.png").click()
    expect(page.locator("#why figure")).to_have_count(3)


def test_busy_is_waited_out(page: Page, images: np.ndarray) -> None:
    refusals = 2

    def busy(route: object) -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            route.fulfill(status=503, headers={"Retry-After": "0"}, json={"error": "busy"})  # type: ignore[attr-defined]
        else:
            route.continue_()  # type: ignore[attr-defined]

    page.route("**/v1/score*", busy)
    drop(page, {"a.png": png(images[0])})
    done(page, 1)
    assert len(cards(page)) == 1
    assert refusals == 0


def test_one_refused_chunk_is_taken_apart(page: Page, detector: Detector, images: np.ndarray) -> None:
    """Something between page and service may refuse what the service would not; the others are scored all the same."""
    refuse = {"error": "bad", "expected": "another file", "got": "this one", "hint": "leave it out"}

    def picky(route: object) -> None:
        body = route.request.post_data_buffer  # type: ignore[attr-defined]
        if b"bad.png" in body:
            route.fulfill(status=400, json=refuse)  # type: ignore[attr-defined]
        else:
            route.continue_()  # type: ignore[attr-defined]

    page.route("**/v1/score*", picky)
    with page.expect_file_chooser() as chooser:
        page.click("#choose-files")
    names = ["a.png", "b.png", "bad.png", "c.png"]
    # The most novel first, and no two alike: of equal pictures in two requests the last digit would choose.
    order = np.argsort(-detector.novelty_score(images[:4, :, :, None]))
    chooser.value.set_files([payload(name, png(images[row])) for name, row in zip(names, order, strict=True)])
    done(page, 4)
    assert [name for name, _, _ in cards(page)] == ["a.png", "b.png", "c.png"]
    assert "this one" in page.locator("#refused-list").inner_text()


def test_a_token_is_asked_for_and_a_wrong_one_told(open_page: Open, start: Start, images: np.ndarray) -> None:
    process = start(environment={"NOVANDA_TOKEN": TOKEN})
    page = open_page(process.address)
    field = page.get_by_role("textbox", name="Token")
    expect(field).to_be_focused()
    field.fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("did not take that token")).to_be_visible()
    field.fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator("#login")).to_be_hidden()
    drop(page, {"a.png": png(images[0])})
    done(page, 1)
    page.get_by_role("button", name="a.png").click()
    expect(page.locator("#why figure")).to_have_count(3)
    assert TOKEN not in page.content()
    page.reload()
    expect(page.locator("#model option")).to_have_count(1)


# ---------------------------------------------------------------------------------------------------------------
# For everyone, and for many


def test_all_of_it_by_keyboard_alone(page: Page, process: Process, photos: Path) -> None:
    def tab_to(name: str, most: int = 12) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            focused = page.evaluate("document.activeElement.id || document.activeElement.className")
            if focused == name:
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", f"{name} has the focus and does not show it"
                return
        raise AssertionError(f"{name} is not reached by Tab")

    with page.expect_file_chooser() as chooser:
        tab_to("choose-files")  # takes a while, in which the browser learns that the chooser is to be caught
        page.keyboard.press("Enter")
    chooser.value.set_files(files_below(photos)[:20])
    done(page, 20)
    tab_to("rate")
    before = page.locator("#rate-shown").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#rate-shown").inner_text() != before
    page.locator("#clear").focus()
    tab_to("card novel")
    names = [name for name, _, _ in cards(page)]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("heading", name=names[1])).to_be_focused()
    tab_to("mark-true")
    page.keyboard.press("Space")
    expect(page.locator("#mark-true")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name=names[1])).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("button", name=names[-1])).to_be_focused()


def test_every_control_has_a_name_and_every_image_a_text(page: Page, images: np.ndarray) -> None:
    drop(page, {"a.png": png(images[0])})
    done(page, 1)
    page.get_by_role("button", name="a.png").click()
    expect(page.locator("#why figure")).to_have_count(3)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input:not([hidden])")].filter((each) =>
            !(each.labels?.length || each.getAttribute("aria-label") || each.textContent.trim()))
            .map((each) => each.id)"""
    )
    assert nameless == []
    assert page.evaluate("[...document.images].filter((each) => !each.hasAttribute('alt')).length") == 0
    assert page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(open_page: Open, scheme: str, images: np.ndarray) -> None:
    """WCAG 2 AA: a contrast of at least 4.5 for every colour of words on the grounds they are laid on."""
    page = open_page(color_scheme=scheme)
    names = ("ground", "card", "sunk", "ink", "quiet", "accent", "accent-ink", "novel", "normal", "bad", "bad-ground")
    found = page.evaluate(
        "(names) => names.map((name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name))",
        names,
    )
    colours = {name: luminance(value.strip()) for name, value in zip(names, found, strict=True)}
    pairs = [(ink, ground) for ink in ("ink", "quiet") for ground in ("ground", "card", "sunk")]
    pairs += [("novel", "card"), ("normal", "card"), ("accent-ink", "accent"), ("bad", "bad-ground"), ("bad", "sunk")]
    for ink, ground in pairs:
        light, dark = sorted((colours[ink], colours[ground]), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)
    assert (colours["ground"] > 0.5) == (scheme == "light")


def luminance(colour: str) -> float:
    """WCAG's relative luminance of #rrggbb."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_narrow_screen_scrolls_in_one_direction_only(open_page: Open, photos: Path) -> None:
    page = open_page(viewport={"width": 360, "height": 700})
    page.set_input_files("#files", files_below(photos)[:20])
    done(page, 20)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#grid button").first.click()
    expect(page.locator("#why figure")).to_have_count(3)
    assert page.evaluate("document.querySelector('#why').scrollWidth <= document.querySelector('#why').clientWidth")


def test_a_thousand_images(page: Page, detector: Detector) -> None:
    many = np.concatenate([digits(label) for label in range(6)])[:1000]
    assert len(many) == 1000
    with page.expect_file_chooser() as chooser:
        page.click("#choose-files")
    chooser.value.set_files([payload(f"{number}.png", png(image)) for number, image in enumerate(many)])
    done(page, 1000)
    flagged = int((detector.predict(many[:, :, :, None]) < 0).sum())
    assert page.locator("#count-novel").inner_text() == str(flagged)
    assert page.locator("#grid li").count() <= 240, "the document holds what nobody has scrolled to"
    for _ in range(12):
        page.mouse.wheel(0, 20_000)
        page.wait_for_timeout(100)
    expect(page.locator("#grid li")).to_have_count(1000)
