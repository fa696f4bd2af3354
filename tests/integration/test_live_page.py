"""
The live page in a real Chromium: on a phone and on a desk, in light and dark, in every state.

FINETUNED_PICTURES=1 also writes the pictures of docs/how-to/watch-it-live.md anew.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from finetuned.config import ServingConfig
from support.browser import chromium, served
from support.gateway import KEY, free_port, running_gateway
from support.live_roots import STATES, make_root, write_status

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAUGHTY = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\u202e\"'&${7*7}"
PHONE, DESK = (390, 844), (1440, 900)
LOOKS = [(size, theme) for size in (PHONE, DESK) for theme in ("light", "dark")]
HEADLINES = {
    "empty": "No daemon ever ran here",
    "training": "Training",
    "paused": "Paused: the GPU is needed",
    "failed": "Waiting for files",
    "500 versions": "Training",
}
BRIGHT, DIM = (PHONE, "light"), (DESK, "dark")
READ = (
    dict.fromkeys(STATES, LOOKS)
    if os.environ.get("FINETUNED_LONG")
    else {
        "empty": [DIM],
        "training": [BRIGHT, DIM],
        "paused": [DIM],
        "failed": [BRIGHT],
        "500 versions": [BRIGHT],
    }
)
"""In which looks axe-core reads a state; it takes a second or more for each."""
MOST_BYTES = 1_000_000
MOST_SECONDS = 1.0 if os.environ.get("FINETUNED_LONG") else 4.0
"""Until a person can use the page; on a machine that does nothing else it is below 1."""
SAID_SECONDS = 5.0
PICTURES = Path(__file__).parents[2] / "docs" / "how-to"

Address = Callable[[str], str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """
    Where the page of a state is, served from its first use to the end of this file.
    """
    known: dict[str, str] = {}
    with ExitStack() as open_:

        def of(state: str) -> str:
            if state not in known:
                layout = make_root(tmp_path_factory.mktemp("root"), state)
                known[state] = open_.enter_context(served(layout))[0]
            return known[state]

        yield of


@contextmanager
def opened(browser: Browser, url: str) -> Iterator[Page]:
    """
    Open a page; at the end it has asked nobody else for anything, and complained of nothing.
    """
    origin = "/".join(url.split("/")[:3])
    with browser.new_context(viewport={"width": PHONE[0], "height": PHONE[1]}) as context:
        page = context.new_page()
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        yield page
        assert [] == [u for u in asked if not u.startswith((origin, "data:"))]
        assert [] == complaints


def show(page: Page, size: tuple[int, int], theme: str) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]


def heard(page: Page) -> None:
    """
    Wait until the first word of the stream is on the page.
    """
    page.wait_for_selector("main[data-heard]", state="attached")


def findings(page: Page) -> list[tuple[str, str]]:
    """
    Return what axe-core finds serious or worse: its rule and the first element.
    """
    axe = pytest.importorskip("axe_playwright_python.base", reason="needs the extra test")
    session = page.context.new_cdp_session(page)  # the page's policy forbids it to load scripts
    session.send("Runtime.evaluate", {"expression": f"{axe.AXE_SCRIPT};0"})
    run = "axe.run({resultTypes: ['violations']}).then((found) => found.violations)"
    found: list[dict[str, Any]] = page.evaluate(run)
    session.detach()
    return [
        (each["id"], each["nodes"][0]["html"][:200])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


def too_wide(page: Page) -> int:
    """
    Return by how many pixels the page can be scrolled sideways.
    """
    root = "document.documentElement"
    wider: int = page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")
    return wider


@pytest.mark.parametrize("state", STATES)
def test_every_state_fits_every_screen_and_can_be_read(
    browser: Browser, address: Address, state: str
) -> None:
    """
    Nothing is cut off at the side, and axe-core finds nothing serious.
    """
    with opened(browser, address(state)) as page:
        heard(page)
        assert HEADLINES[state] == page.inner_text("#now h1").strip()
        for size, theme in LOOKS:
            show(page, size, theme)
            assert 0 == too_wide(page), (size, theme)
            if (size, theme) in READ[state]:
                assert [] == findings(page), (size, theme)
        drawn = page.locator(".uplot").count()
    assert (0 if state == "empty" else 2) == drawn


@pytest.mark.parametrize("path", ["/versions", "/versions/v0004", "/datasets/d00000901"])
def test_the_pages_behind_it_fit_a_phone_and_can_be_read(
    browser: Browser, address: Address, path: str
) -> None:
    """
    All versions, one of them, and a file that was set aside.
    """
    with opened(browser, address("failed") + path) as page:
        assert 0 == too_wide(page)
        assert [] == findings(page)


def test_it_is_small_and_soon_there(browser: Browser, address: Address) -> None:
    """
    With 500 versions; all that a browser loads together, and the best of three times.
    """
    sizes: dict[str, int] = {}
    seconds = []
    for path in ("/", "/", "/", "/versions"):
        with browser.new_context() as context:
            page = context.new_page()
            loaded: list[Any] = []
            page.on("response", lambda response, to=loaded: to.append(response))
            page.goto(f"{address('500 versions')}{path}")
            assert 0 == too_wide(page)
            sizes[path] = sum(len(r.body()) for r in loaded if "/live/events" not in r.url)
            timing = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
            seconds.append(page.evaluate(timing) / 1000)
    print(f"{sizes} bytes, there after {min(seconds[:3]):.2f} s, all versions {seconds[3]:.2f} s")

    assert 0 < max(sizes.values()) <= MOST_BYTES
    assert min(seconds[:3]) < MOST_SECONDS


def test_the_keyboard_reaches_everything(browser: Browser, address: Address) -> None:
    """
    In the order of the page, and where one is can be seen.
    """
    can = "[...document.querySelectorAll('a[href], button, summary, input, [tabindex=\"0\"]')]"
    seen = "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
    with opened(browser, address("training")) as page:
        heard(page)
        count = page.evaluate(f"{can}.length")
        reached, marked = [], []
        for _ in range(count):
            page.keyboard.press("Tab")
            reached.append(page.evaluate(f"{can}.indexOf(document.activeElement)"))
            marked.append(page.evaluate(seen))
        page.evaluate("document.activeElement.blur()")

    assert count > 30
    assert list(range(count)) == reached
    assert all(marked)


def test_it_is_said_soon_that_the_daemon_or_the_service_is_gone(
    browser: Browser, tmp_path: Path
) -> None:
    """
    Within 5 s; who is on a link of a part that changes stays there.
    """
    with subprocess.Popen(["sleep", "600"]) as daemon:
        layout = make_root(tmp_path, "training", pid=daemon.pid)
        with (
            served(layout) as (url, server),
            browser.new_context(viewport={"width": 1200, "height": 760}) as context,
        ):
            page = context.new_page()
            page.goto(url)
            heard(page)
            page.focus("#now a")
            daemon.kill()
            daemon.wait()
            gone = page.locator("#now h1", has_text="The daemon is gone")
            gone.wait_for(timeout=1000 * SAID_SECONDS)
            assert "/versions/v0009" == page.evaluate("document.activeElement.pathname")
            page.evaluate("document.activeElement.blur()")
            _picture(page, "live-gone", height=430)
            server.should_exit = True
            page.wait_for_selector("#lost", timeout=1000 * SAID_SECONDS)
            assert "No word from the service" in page.inner_text("#lost")


def test_a_browser_watches_through_the_guards(browser: Browser, tmp_path: Path) -> None:
    """
    With a key as password of any user: the page, its files and the stream that renews it.
    """
    layout = make_root(tmp_path, "training")
    layout.current_model.unlink()  # its version has no weights: the service answers with the base
    config = ServingConfig(port=free_port(), chat_port=0)
    with (
        running_gateway(tmp_path, config, gives_key=False) as gateway,
        browser.new_context(http_credentials={"username": "me", "password": KEY}) as context,
    ):
        page = context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        answer = page.goto(gateway.url)
        heard(page)

        assert answer is not None
        assert (200, []) == (answer.status, complaints)
        assert 2 == page.locator(".uplot").count()


def test_texts_of_strangers_are_shown_and_do_nothing(browser: Browser, tmp_path: Path) -> None:
    """
    Markup is not obeyed, and a name without a place to break it makes no phone scroll sideways.
    """
    layout = make_root(tmp_path, "paused")
    said = f"{NAUGHTY}{'x' * 200}"
    example = {"step": 1, "current_file": said, "prompt": said, "golden": said}
    write_status(
        layout,
        pid=os.getpid(),
        version="v0009",
        head=said,
        phase="training",
        job={"id": said, "datasets": [said], "n_datasets": 1, "attempts": 0},
        error_type="E",
        error_message=said,
        inbox_waiting=[{"name": said, "reason": said}],
        recent_examples=[{**example, "model_output": said[::-1], "matches": False}],
        gpus=[{"index": 0, "name": said}],
    )
    (layout.logs / "supervisor.log").write_text(f"{said}\n")
    (layout.incidents / "1.json").write_text(json.dumps({"version": said, "reason": said}))
    with served(layout, name=said) as (url, _), opened(browser, url) as page:
        page.on("dialog", lambda dialog: dialog.dismiss())
        heard(page)

        assert (0, 0) == (too_wide(page), page.locator("img").count())
        assert page.title().startswith("Training - <img")
        assert 9 <= page.inner_text("body").count("<img src=x")


def _picture(page: Page, name: str, *, height: float, top: float = 0) -> None:
    if not os.environ.get("FINETUNED_PICTURES"):
        return
    from PIL import Image

    width = page.evaluate("document.documentElement.clientWidth")
    clip = {"x": 0.0, "y": top, "width": float(width), "height": height}
    shot = page.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]
    path = PICTURES / f"{name}.png"
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


@pytest.mark.skipif(
    not os.environ.get("FINETUNED_PICTURES"), reason="FINETUNED_PICTURES=1 writes the pictures"
)
def test_pictures_for_the_page_that_explains_it(browser: Browser, address: Address) -> None:
    """
    At a desk in light and dark, and on a phone.
    """
    with opened(browser, address("training")) as page:
        heard(page)
        show(page, (1200, 760), "light")
        _picture(page, "live-training", height=760)
        show(page, (1200, 760), "dark")
        place = "document.getElementById('{}').getBoundingClientRect().{} + scrollY"
        top = page.evaluate(place.format("versions", "top"))
        bottom = page.evaluate(place.format("forgetting", "bottom"))
        _picture(page, "live-versions", height=bottom - top, top=top)
        show(page, PHONE, "dark")
        page.reload()
        heard(page)
        _picture(page, "live-phone", height=844)


@pytest.mark.parametrize("path", sorted(PICTURES.glob("live-*.png")), ids=lambda p: p.name)
def test_pictures_are_small(path: Path) -> None:
    """
    They are in every clone for ever.
    """
    assert path.stat().st_size <= 150_000
