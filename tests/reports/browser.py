"""Pages in a real Chromium, driven by playwright: what they log and ask for, what a person does in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PAINTED = "moo:painted"


def needs_browser() -> list[pytest.MarkDecorator]:
    """Return the marks of a test that needs Chromium and playwright: skipped with the reason elsewhere."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        reason = "no playwright (pip install playwright); it drives the Chromium that is there"
        return [pytest.mark.browser, pytest.mark.skip(reason=reason)]
    reason = "no Chromium on the PATH (Debian: apt-get install chromium)"
    return [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason=reason)]


@contextmanager
def chromium() -> Iterator[Any]:
    """Start Chromium, the one on the PATH; nothing is downloaded."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page that is open, with what it logged and asked for."""

    page: Any
    log: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def set_value(self, selector: str, value: float | str, event: str) -> None:
        """Set a slider or field as a person would, and wait until the page shows what follows."""
        self.page.evaluate(
            """([selector, value, event, painted]) => new Promise((done) => {
              addEventListener(painted, () => done(), { once: true });
              const input = document.querySelector(selector);
              input.value = value;
              input.dispatchEvent(new Event(event, { bubbles: true }));
            })""",
            [selector, str(value), event, PAINTED],
        )

    def slide(self, selector: str, value: float) -> None:
        """Move a slider."""
        self.set_value(selector, value, "input")

    def type_number(self, selector: str, value: float | str) -> None:
        """Type into a number field, and leave it."""
        self.set_value(selector, value, "change")

    def go_to(self, fragment: str) -> None:
        """Set the part of the address after the #, as if typed there, and wait until the page shows it."""
        self.page.evaluate(
            """([fragment, painted]) => new Promise((done) => {
              addEventListener(painted, () => done(), { once: true });
              history.replaceState(null, "", location.href.split("#")[0] + fragment);
              dispatchEvent(new HashChangeEvent("hashchange"));
            })""",
            [fragment, PAINTED],
        )

    def settled(self) -> None:
        """Wait until what was done is shown."""
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def state(self, expression: str) -> Any:
        """Return something of the page's own state, `model` and `view`."""
        return self.page.evaluate(f"() => {{ const {{ model, view }} = moo.page; return {expression}; }}")

    @property
    def recommended(self) -> int | None:
        """The number of the candidate that the page recommends now."""
        number: int | None = self.state(
            "model.decision.best === null ? null : model.data.ids[model.decision.best]"
        )
        return number

    @property
    def front(self) -> set[int]:
        """The numbers of the candidates on the front now."""
        return set(self.state("model.decision.front.map((i) => model.data.ids[i])"))


def open_page(browser: Any, path: Path, *, fragment: str = "", **options: Any) -> Opened:
    """Open a file in a window of its own, and wait until it is drawn."""
    options = {"viewport": {"width": 1300, "height": 1000}, **options}
    page = browser.new_context(**options).new_page()
    opened = Opened(page)
    page.on("console", lambda message: opened.log.append(message.text))
    page.on("pageerror", lambda error: opened.log.append(str(error)))
    page.on("request", lambda request: opened.asked.append(request.url))
    page.goto(path.as_uri() + fragment)
    page.wait_for_load_state("load")
    opened.settled()
    return opened
