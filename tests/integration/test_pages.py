"""The pages of a session, a week and a candidate, as runs write them: valid, small, self-contained, fit for a phone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import html5lib
import pytest
from playwright.sync_api import expect, sync_playwright

from countersign.steps.retrain import ask_as_person, make_candidate
from countersign.steps.weekly import review_weeks
from tests.desk import ASKER, HOUR, NOON, Desk
from tests.steps import run_sessions

CHROMIUM = shutil.which("chromium")

PAGES = ("report", "weekly_review", "review")
LIMIT = 1_000_000
"""Bytes of a page."""
PHONE, DESK = 390, 1280
"""Pixels across."""


@pytest.fixture(scope="module")
def pages(first_desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where each of ``PAGES`` lies after a week, of which outcomes have matured, and a retrain."""
    desk = first_desk.copy(tmp_path_factory.mktemp("pages") / "home")
    project = desk.project
    run_sessions(project, project.daily_sessions(NOON)[:9], NOON)
    list(review_weeks(project, ["2008-09-08"], NOON))
    ask_as_person(project, "autumn 2008", ASKER, NOON)
    make_candidate(project, "", "", NOON + HOUR)
    found = {name: sorted((desk.home / "artifacts").rglob(f"{name}.html"))[-1] for name in PAGES}
    assert found["report"].parent.name == "2008-09-12"
    return found


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_valid_html_under_a_megabyte_and_names_nothing_from_elsewhere(
    name: str, pages: dict[str, Path]
) -> None:
    written = pages[name].read_bytes()
    assert len(written) < LIMIT
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    tree = parser.parse(written)
    # Hyphens within a comment, where the artifact's digest stands, are allowed since html5lib was written.
    assert [error for _, error, _ in parser.errors if error != "unexpected-char-in-comment"] == []
    assert tree.find("head/title").text.endswith(" – Countersign")
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len({*ids})
    loading = {"script", "link", "iframe", "img", "object", "embed", "video", "audio", "source", "base", "form"}
    assert not loading & {element.tag for element in tree.iter()}
    for element in tree.iter():
        for key, value in element.attrib.items():
            if key in {"src", "href", "srcset", "action", "data", "poster", "background"} or ":" in str(key):
                assert value.removeprefix("#") in ids, ElementTree.tostring(element)
            assert "url(" not in value
    assert not re.search(r"url\(|@import|image-set", "".join(style.text for style in tree.iter("style")))


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)")
def test_a_browser_asks_for_the_page_alone_and_any_screen_shows_its_whole_width(pages: dict[str, Path]) -> None:
    with sync_playwright() as driver:
        # Without Chromium's sandbox, which root may not use: tests often run as root in a container.
        browser = driver.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        try:
            page = browser.new_page()
            asked_for: list[str] = []
            complaints: list[str] = []
            page.on("request", lambda one: asked_for.append(one.url))
            page.on("console", lambda one: complaints.append(one.text))
            for path in pages.values():
                page.goto(path.as_uri())
                for width in (PHONE, DESK):
                    page.set_viewport_size({"width": width, "height": 844})
                    # A wide table scrolls within itself; the page does not.
                    assert page.evaluate("document.documentElement.scrollWidth") == width, path
                # What is folded on a screen is open on paper.
                for folded in page.locator("details > div").all():
                    page.emulate_media(media="screen")
                    expect(folded).to_be_hidden()
                    page.emulate_media(media="print")
                    expect(folded).to_be_visible()
                page.emulate_media(media="screen")
            assert asked_for == [path.as_uri() for path in pages.values()]
            assert complaints == []
        finally:
            browser.close()
