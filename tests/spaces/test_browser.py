"""The Spaces in a browser: every tab, on a desktop and a phone, light and dark, without the mouse."""

from __future__ import annotations

import base64
import re
import threading
from pathlib import Path

import pytest
from PIL import Image

from croc.rendering import fragments as pages

pytestmark = [pytest.mark.slow, pytest.mark.browser]

CHROMIUM = Path("/usr/bin/chromium")
TABS = (
    "Score",
    "Contrast",
    "Benchmark your metric",
    "Leaderboard",
    "Others' benchmarks",
    "Browse",
)
WAIT = 120_000  # ms; a busy machine may take long, and nothing here is about speed
EVIL = "<img src=x onerror=document.title='pwned'>, <script>document.title='pwned'</script>"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if not CHROMIUM.is_file():
        pytest.skip(f"needs a chromium in {CHROMIUM}")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("gradio", reason="needs gradio, which shows the pages")
    import tiny_models
    from page_server import serve

    folder = tmp_path_factory.mktemp("space")
    model = tiny_models.save(*tiny_models.llava(), folder / "tiny")
    with serve("crocscore", folder, model=model) as page:
        yield page


@pytest.fixture
def visit(browser, server):
    """Opens the page; what the console complains of, and requests elsewhere, fail the test at its end."""
    wrong, contexts = [], []

    def opened(url=server.url, *, width=1280, dark=False):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if _elsewhere(request.url) else None)
        page.goto(f"{url}/?__theme={'dark' if dark else 'light'}")
        page.wait_for_selector(".masthead")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def _elsewhere(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "data:", "blob:"))


def turn_to(page, name):
    page.get_by_role("tab", name=TABS[0], exact=True).first.wait_for()  # they are laid out after the page
    tab = page.get_by_role("tab", name=name, exact=True).first
    if not tab.is_visible():  # a phone shows those that fit, and a menu
        page.locator(".overflow-menu button").first.click()
        tab = page.locator(".overflow-dropdown button", has_text=name)
    tab.click()


def shown(page, result, what=""):
    return page.wait_for_selector(f"#{result} .croc {what}".strip())


def in_the_end(elements, number):
    """The page has so many of them; it may be laid out again after a result was read."""
    from playwright.sync_api import expect

    expect(elements).to_have_count(number, timeout=WAIT)


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (64, 48), "red").save(tmp_path / "red.png")
    return str(tmp_path / "red.png")


# ---- A tab after the other ----


def test_score_an_upload_and_an_example(visit, picture):
    page = visit()
    page.locator("input[type=file]").first.set_input_files(picture)
    page.wait_for_selector("img[src*='red']")
    page.get_by_label("Prompts").fill(f"a red dog, and no cat\na blue dog\n{EVIL}")
    page.get_by_role("button", name="Score", exact=True).click()
    page.wait_for_function("document.querySelectorAll('#score-result li.panel').length == 3")
    result = page.locator("#score-result").inner_text()
    assert "No percentage is shown, as this model is not calibrated." in result  # the answers are
    assert "%" not in result
    in_the_end(page.locator("#score-result th", has_text="Answer"), 2)
    assert page.title() == "CROCScore: does the image show the prompt?"
    example = page.locator("#score-examples tr", has_text="a cat to the left of a house")
    lines = example.locator("td.textbox").inner_text().split("\n")
    assert lines == ["a cat to the left of a house", "a cat to the right of a house"]
    example.click()
    page.wait_for_function("document.querySelector('#score-result').innerText.includes('a cat to the right')")


def test_a_mistake_is_explained_where_the_answer_would_be(visit, tmp_path):
    page = visit()
    shown(page, "score-result", "ol.scores")  # of the example
    page.get_by_role("button", name="Remove Image").first.click()
    page.get_by_role("button", name="Score", exact=True).click()
    assert "Add the image first" in shown(page, "score-result", ".problem").inner_text()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    page.locator("input[type=file]").first.set_input_files(str(tmp_path / "broken.png"))
    page.wait_for_timeout(1_000)
    page.get_by_label("Prompts").fill("a dog")
    page.get_by_role("button", name="Score", exact=True).click()
    page.wait_for_function("document.querySelector('#score-result').innerText.includes('image')")


def test_the_page_opens_with_examples_that_the_shipped_model_scored_right(visit, tmp_path):
    from page_server import serve

    with serve("crocscore", tmp_path) as small:
        page = visit(small.url)
        shown(page, "score-result", "ol.scores")
        prompts = page.get_by_label("Prompts").input_value().splitlines()
        found = page.locator("#score-result li.panel")
        assert [prompt in found.nth(k).inner_text() for k, prompt in enumerate(prompts)] == [True, True]
        assert "clearly shown" in found.nth(0).inner_text()
        assert "clearly not shown" in found.nth(1).inner_text()
        described = page.locator("#model-state").inner_text()
        assert described.startswith(
            "Model: crocscore-tiny. The small model in the package; it runs on a CPU."
        )
        assert "exact world" in described  # what it knows, from the model's own card
        page.get_by_text("take a larger model").click()
        assert page.locator("#larger-models tbody tr").count() >= 3
        turn_to(page, "Contrast")
        shown(page, "contrast-result", "table.matrix")
        assert page.get_by_label("Prompt A").input_value()
        page.wait_for_function("[...document.querySelectorAll('[data-testid=image] img')].length >= 3")
        assert "Passes all four directions" in page.locator("#contrast-result").inner_text()


def test_a_slow_opening_does_not_replace_what_the_visitor_asked_for(visit):
    gr = pytest.importorskip("gradio", reason="needs gradio, which shows the pages")
    from croc.rendering import gradio_app as webui

    asked, ended = threading.Event(), threading.Event()

    def opening():
        asked.wait(WAIT / 1000)
        ended.set()
        return "the example"

    with webui.blocks("A slow page") as demo:
        ui = webui.Wiring(demo)
        webui.html('<h1 class="masthead">A slow page</h1>')
        button, result = gr.Button("Score"), webui.html("nothing yet", elem_id="score-result")
        ui.at_once(opening, result, unless=[button.click])
        ui.on(button, lambda: "my own", [], result)
    try:
        page = visit(webui.serve(demo, block=False).rstrip("/"))
        page.get_by_role("button", name="Score").click()
        page.wait_for_function("document.querySelector('#score-result').innerText.includes('my own')")
        asked.set()
        assert ended.wait(WAIT / 1000)
        page.wait_for_timeout(2_000)  # for the answer to arrive
        assert page.locator("#score-result").inner_text() == "my own"
        page.reload()
        page.get_by_text("the example").wait_for()
        page.close()  # it would complain of a server that is gone
    finally:
        asked.set()
        demo.close()


def test_draw_a_ready_pair_and_score_the_contrast(visit):
    page = visit()
    turn_to(page, "Contrast")
    shown(page, "contrast-result", "table.matrix")  # of the pair that is chosen
    page.get_by_label("Ready pair").click()
    page.get_by_role("option", name=re.compile("^negation")).first.click()
    page.wait_for_function("document.querySelector('#contrast-result').innerText.includes('Both are drawn')")
    page.get_by_role("button", name="Score the contrast").click()
    shown(page, "contrast-result", "table.matrix")
    in_the_end(page.locator("#contrast-result ul.directions li"), 4)
    assert "No image can show both prompts" in page.locator("#contrast-result").inner_text()


def test_drawing_says_which_word_it_does_not_know(visit):
    page = visit()
    turn_to(page, "Contrast")
    page.get_by_label("Prompt A").fill("a dog in a park")
    page.get_by_label("Prompt B").fill("a tyrannosaur in a park")
    page.get_by_role("button", name="Draw it").click()
    message = shown(page, "contrast-result", ".problem").inner_text()
    assert "Prompt B cannot be drawn" in message
    assert "tyrannosaur" in message


def test_evaluate_an_uploaded_table_and_download_the_report(visit, tmp_path):
    page = visit()
    turn_to(page, "Benchmark your metric")
    page.locator("input[type=file]:not([accept*=image])").last.set_input_files(str(pages.EXAMPLE_TABLE))
    page.get_by_text("colour-words.parquet").first.wait_for()
    page.get_by_role("button", name="Evaluate", exact=True).click()
    shown(page, "benchmark-result", ".report")
    rows = page.locator("#benchmark-result table.heat tr")
    cell = rows.filter(has_text="size relation").locator("td").first
    assert (
        cell.evaluate("cell => getComputedStyle(cell).backgroundColor") == "rgb(242, 242, 242)"
    )  # at chance
    few = rows.filter(has_text="colour binding").locator("td").first
    assert few.evaluate("cell => getComputedStyle(cell).fontStyle") == "italic"  # fewer than ten checks
    for what, begins in (
        ("Heatmap (PNG)", b"\x89PNG"),
        ("Table (LaTeX)", rb"\begin{table}"),
        ("All numbers (JSON)", b"{"),
        ("Card (Markdown)", b"---"),
    ):
        link = page.get_by_role("link", name=what)
        assert link.get_attribute("download")
        data = link.get_attribute("href").partition("base64,")[2]
        assert base64.b64decode(data).startswith(begins), what


def scorers(page):
    return page.locator("#leaderboard-ranking tbody th.name").all_inner_texts()


def choose(page, field, option):
    """Choose from a dropdown with the keyboard alone."""
    page.get_by_label(field, exact=True).focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(option)
    page.get_by_role("option", name=option, exact=True).wait_for()
    page.keyboard.press("Enter")


def test_sort_and_filter_the_leaderboard(visit):
    page = visit()
    turn_to(page, "Leaderboard")
    shown(page, "leaderboard-ranking", "table")
    region = page.locator("#leaderboard-ranking [aria-live=polite]").element_handle()
    everyone = scorers(page)
    choose(page, "Sort by", "Scorer")
    page.wait_for_selector("#leaderboard-ranking th.name[aria-sort=ascending]")
    assert scorers(page) == sorted(everyone)
    page.get_by_label("Reverse order").focus()
    page.keyboard.press("Space")
    page.wait_for_selector("#leaderboard-ranking th.name[aria-sort=descending]")
    assert scorers(page) == sorted(everyone, reverse=True)
    assert page.locator("#leaderboard-categories tbody th.name").all_inner_texts() == scorers(page)
    page.get_by_label("baselines").uncheck()
    page.wait_for_function("!document.querySelector('#leaderboard-ranking').innerText.includes('random')")
    page.get_by_label("Find a scorer").fill("nobody")
    page.wait_for_function(
        "document.querySelector('#leaderboard-ranking').innerText.includes('No scorer is left')"
    )
    assert region.evaluate("region => region.isConnected")  # a screen reader announces changes of an element
    assert page.locator("#leaderboard-failed img").count() >= 2
    assert "Kendall tau-b" in page.locator("#leaderboard-sides").inner_text()


def test_choose_a_benchmark_of_others_and_find_a_metric(visit):
    page = visit()
    turn_to(page, "Others' benchmarks")
    shown(page, "external-ranking", "table")
    choose(page, "Benchmark of others", "T2IScoreScore (Saxon et al. 2024, NeurIPS, arXiv 2404.04251)")
    page.wait_for_function(
        "document.querySelector('#external-ranking').innerText.includes('instruct_blip_dsg')"
    )
    assert "the metrics were not run" in page.locator("#external-about").inner_text()
    row = page.locator("#external-ranking tbody tr", has_text="alignscore")
    assert (
        row.get_by_role("link")
        .get_attribute("href")
        .startswith("https://github.com/michaelsaxon/T2IScoreScore/tree/93ebf895b73d")
    )
    assert "metric not run by us" in row.inner_text()
    page.get_by_label("Find a metric").fill("clip")
    page.wait_for_function("document.querySelectorAll('#external-ranking tbody tr').length == 1")
    assert page.locator("#external-ranking tbody th").inner_text() == "clipscore"
    page.get_by_label("Find a metric").fill("nobody")
    page.wait_for_function(
        "document.querySelector('#external-ranking').innerText.includes('No metric is left')"
    )


def test_browse_by_category_and_page(visit):
    page = visit()
    turn_to(page, "Browse")
    shown(page, "browse-result", "ul.cards")
    first = page.locator("#browse-result").inner_text()
    page.get_by_role("button", name="Next page").click()
    page.wait_for_function("document.querySelector('#browse-result').innerText.includes('page 2 of')")
    assert page.locator("#browse-result").inner_text() != first
    page.get_by_label("Category").last.click()
    page.get_by_role("option", name="counting").last.click()
    page.wait_for_function("document.querySelector('#browse-result').innerText.includes('page 1 of')")
    assert set(page.locator("#browse-result li .tag:first-child").all_inner_texts()) == {"counting"}
    assert all(image.get_attribute("alt") for image in page.locator("#browse-result img").all())


# ---- Looks ----


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_every_tab_fits_and_axe_finds_nothing_serious(visit, width, dark):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = visit(width=width, dark=dark)
    serious = []
    for name in TABS:
        turn_to(page, name)
        if name == "Leaderboard":
            choose(page, "Sort by", "Scorer")
            page.wait_for_selector("#leaderboard-ranking th.name[aria-sort=ascending]")
        page.wait_for_timeout(800)  # colours fade in; axe measures them as they are
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        found = axe.Axe().run(page).response["violations"]
        serious += [
            (name, each["id"], [node["html"][:120] for node in each["nodes"][:3]])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
    assert serious == []


def test_every_column_is_reached_on_a_phone_and_the_name_stays_in_sight(visit):
    page = visit(width=390)
    turn_to(page, "Leaderboard")
    region = page.locator("#leaderboard-ranking .scroll")
    region.wait_for()
    cue = "scroll => getComputedStyle(scroll.querySelector('caption'), '::after').visibility"
    assert region.evaluate("scroll => scroll.scrollWidth > scroll.clientWidth")
    assert region.evaluate(cue) == "visible"
    region.evaluate("scroll => scroll.scrollTo(scroll.scrollWidth, 0)")
    page.wait_for_timeout(300)
    assert region.evaluate(cue) == "hidden"
    inside = region.bounding_box()
    for cell in (region.locator("thead th").last, region.locator("tbody th.name").first):
        box = cell.bounding_box()
        assert inside["x"] <= box["x"] + 1 and box["x"] + box["width"] <= inside["x"] + inside["width"] + 1
    # Nothing to scroll, no line about it.
    page.set_viewport_size({"width": 3000, "height": 900})
    page.wait_for_timeout(300)
    assert region.evaluate(cue) == "hidden"


def test_what_a_ranking_says_first_is_seen_without_scrolling(visit):
    page = visit(width=1280)
    turn_to(page, "Leaderboard")
    region = page.locator("#leaderboard-ranking .scroll")
    region.wait_for()
    inside = region.bounding_box()
    for name in ("Scorer", "Mean", "Inverse image", "Best-of-16 yield", "Flips at 4/255", "Weakest property"):
        box = region.get_by_role("columnheader", name=name).bounding_box()
        assert box["x"] + box["width"] <= inside["x"] + inside["width"], name


# ---- Without a model, and the metric's page ----


def test_without_a_model_the_page_says_so_and_the_other_tabs_work(visit, tmp_path):
    from page_server import serve

    with serve("crocscore", tmp_path, model=tmp_path / "nothing") as bare:
        page = visit(bare.url)
        message = shown(page, "model-state", ".problem").inner_text()
        assert message.startswith("There is no model to score with")
        turn_to(page, "Leaderboard")
        assert scorers(page)


def test_the_page_of_the_metric_explains_evaluates_and_ranks(visit, tmp_path):
    from page_server import serve

    with serve("croc", tmp_path) as metric:
        page = visit(metric.url, width=390)
        text = page.locator("body").inner_text()
        assert 'evaluate.load("croc/croc")' in text
        assert "Leaderboard" in text
        assert "metric not run by us" in text
        page.get_by_role("button", name="Use the example table").click()
        page.wait_for_selector(".file-preview")  # a narrow page breaks the name in two
        page.get_by_role("button", name="Evaluate", exact=True).click()
        shown(page, "benchmark-result", ".report")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
