"""The report in a real browser: what a reader gets, with the network and scripts off."""

import shutil

import pytest

from crenel.report.html import render_html
from tests.report import fixture

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render_html(fixture.run()), encoding="utf-8")
    return file


def opened(browser, path, width=1280, scripts=True, scheme="light"):
    """The page, and everything that the browser asked for or complained of while opening it."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, java_script_enabled=scripts, color_scheme=scheme
    )
    page = context.new_page()
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    return page, asked, complaints


def test_it_asks_for_nothing_and_complains_of_nothing(browser, path):
    page, asked, complaints = opened(browser, path)
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert complaints == []
    assert "Fail: 3 of 10 limits exceeded" in page.inner_text("h1")
    assert page.locator("img").count() == 3
    shown = page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert shown


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_overflows_sideways(browser, path, width):
    page, _, _ = opened(browser, path, width)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """width => [...document.querySelectorAll('main *')]
        .filter(e => !e.closest('svg') && !e.closest('.wide') && e.getClientRects().length)
        .filter(e => e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML)""",
        width,
    )
    assert outside == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_words_of_charts_stay_inside_and_are_legible(browser, path, width):
    page, _, _ = opened(browser, path, width)
    texts = page.evaluate(
        """() => [...document.querySelectorAll('svg.chart text')].map(t => {
        const box = t.getBoundingClientRect(), chart = t.closest('svg').getBoundingClientRect();
        return [t.textContent, chart.left - box.left, box.right - chart.right, box.height]})"""
    )
    assert len(texts) > 50
    for text, left, right, height in texts:
        assert max(left, right) <= 4, text
        assert height >= 9, text


def test_it_reads_without_scripts_in_light_and_dark(browser, path):
    grounds = {}
    for scheme in ("light", "dark"):
        page, _, _ = opened(browser, path, scripts=False, scheme=scheme)
        assert page.locator("svg.chart").count() == 8
        assert page.locator("svg.chart").first.bounding_box()["width"] > 300
        grounds[scheme] = page.screenshot()
        page.locator("#confidentiality").scroll_into_view_if_needed()
        assert page.locator("#confidentiality .headline").is_visible()
    assert grounds["light"] != grounds["dark"]


def test_details_open_without_scripts(browser, path):
    page, _, _ = opened(browser, path, scripts=False)
    table = page.locator("table.figures").first
    assert not table.is_visible()
    page.locator("summary", has_text="The figures").first.click()
    assert table.is_visible()


def test_it_prints_on_few_pages(browser, path):
    page, _, _ = opened(browser, path)
    pdf = page.pdf(format="A4", print_background=True)
    assert pdf.startswith(b"%PDF")
    pages = pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ")
    assert 3 <= pages <= 14
    page.emulate_media(media="print")
    assert page.locator(".finding .evidence").first.is_visible(), "print shows what is folded"


def test_every_region_has_a_name_and_headings_do_not_skip(browser, path):
    page, _, _ = opened(browser, path)
    assert page.locator("main").count() == 1
    assert page.locator("h1").count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert all(b - a <= 1 for a, b in zip([1, *levels], levels))
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('section')].filter(s =>
        !s.getAttribute('aria-label') &&
        !document.getElementById(s.getAttribute('aria-labelledby'))?.textContent.trim()).length"""
    )
    assert unnamed == 0
