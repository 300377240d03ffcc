"""The page in a real browser: drawn, silent on the console, asking for nothing."""

import re
import shutil
import subprocess
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

import reports
from tests.reports import samples

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (Debian: apt-get install chromium)"),
]
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--virtual-time-budget=5000", "--enable-logging=stderr", "--v=0"),
]


def browse(url, folder, *flags):
    """The page's elements after its scripts ran, and what they logged."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


STUDIES = {
    "digits": (samples.digits(), True),
    "bounded": (samples.bounded(), True),
    "hostile": (samples.hostile(), True),
    "empty": (samples.pairs([]), False),
    "no complete": (samples.no_complete(), True),
    "five objectives": (samples.many_objectives(5), True),
}


@pytest.mark.parametrize(("results", "has_points"), STUDIES.values(), ids=STUDIES.keys())
@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_the_chart_is_drawn_and_nothing_is_logged(results, has_points, scheme, tmp_path):
    page = reports.write(results, tmp_path)
    dom, log = browse(page.as_uri(), tmp_path, f"--blink-settings=preferredColorScheme={scheme}")
    assert log == []
    chart = dom[dom.index('id="front-chart"') : dom.index("Bars are 95% intervals")]
    assert "main-svg" in chart
    assert bool(re.search(r'<path class="point"', chart)) is has_points


def test_as_many_points_are_drawn_as_there_are_candidates(tmp_path):
    results = samples.pairs([(0.9, 0.001), (0.95, 0.002), (0.8, 0.003), (0.85, 0.004)])
    dom, _ = browse(reports.write(results, tmp_path).as_uri(), tmp_path)
    chart = dom[dom.index('id="front-chart"') : dom.index("Bars are 95% intervals")]
    assert len(re.findall(r'<path class="point"', chart)) == 4 + 1  # and the circle of the recommended one


def test_hostile_names_run_nothing(tmp_path):
    results = samples.hostile()
    dom, _ = browse(reports.write(results, tmp_path).as_uri(), tmp_path)
    assert dom.count("<script") == 3
    assert "mathjax" not in dom.lower().split("<script")[0]


class Recorder(BaseHTTPRequestHandler):
    def __init__(self, asked, content, *args):
        self.asked, self.content = asked, content
        super().__init__(*args)

    def do_GET(self):
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *args):
        pass


def test_the_page_asks_its_server_for_nothing_more(tmp_path):
    content, asked = reports.write(samples.hostile(), tmp_path).read_bytes(), []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Recorder, asked, content)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        _, log = browse(f"http://127.0.0.1:{server.server_port}/", tmp_path)
        server.shutdown()
    assert [path for path in asked if path != "/favicon.ico"] == ["/"]
    assert log == []
