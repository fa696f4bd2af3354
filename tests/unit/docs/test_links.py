"""
Every link of every page leads to a file, and every anchor to a heading of it.
"""

from __future__ import annotations

import re

import pytest

from support.pages import CHECKOUT, PAGES, by_hand, name

LINKS = [
    (page, link)
    for page in PAGES
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    if "://" not in link
]


def anchors(text: str) -> set[str]:
    """
    Return the anchors that GitHub makes of a page's headings.
    """
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{name(p)}:{link}" for p, link in LINKS])
def test_a_link_leads_somewhere(page, link):
    """
    A page that is moved takes its links along.
    """
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page

    assert target.exists()
    assert not anchor or anchor in anchors(target.read_text())


def test_every_page_can_be_reached_from_the_index():
    """
    A page that no link leads to is read by nobody.
    """
    index = CHECKOUT / "docs" / "README.md"
    seen, waiting = {index}, [index]
    while waiting:
        page = waiting.pop()
        for link in re.findall(r"\]\(([^)\s#]+)", page.read_text()):
            target = (page.parent / link).resolve()
            if "://" not in link and target.suffix == ".md" and target not in seen:
                seen.add(target)
                waiting.append(target)

    assert set() == {p for p in PAGES if "docs" in p.relative_to(CHECKOUT).parts} - seen


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_begins_with_its_title(page):
    """
    The title is what the tree and a list of search results show.
    """
    assert re.match(r"# \S", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_is_written_for_reading(page):
    """
    Lines that a terminal shows without wrapping twice; tables, links and code may be longer.
    """
    text = re.sub(r"^```.*?^```", "", by_hand(page), flags=re.DOTALL | re.MULTILINE)
    long = [line for line in text.splitlines() if len(line) > 120 and line[:1] not in "|[ !"]

    assert [] == long
