"""The pictures of the README, taken of what ``make run`` made: Dagster's page of a check, and a report.

    make run && .venv/bin/python docs/images/make.py

Takes Chromium (Debian: chromium) and leaves ``dagster.png`` and ``report.png`` beside itself. Look at them before they
are committed: they are to be legible at 850 pixels across and below 300 kB each.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SESSION = "2008-09-30"
PORT = 3123
URL = f"http://127.0.0.1:{PORT}"
CHECK = "jump"


def main() -> None:
    """Start Dagster's pages on the checkout, and take both pictures."""
    # Without the daemon: no sensor starts a run meanwhile.
    server = subprocess.Popen(
        [sys.executable, "-m", "dagster_webserver", "--workspace", "workspace.yaml", "--port", str(PORT)],
        cwd=ROOT,
        env=os.environ | {"DAGSTER_HOME": str(ROOT / ".dagster")},
        start_new_session=True,
    )
    try:
        wait_for_server()
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), chromium_sandbox=False)
            take(browser, f"{URL}/assets/prices_clean?view=checks&checkDetail={CHECK}", "Plots", "dagster", 1150, 690)
            report = ROOT / "artifacts" / "sessions" / SESSION / "report.html"
            take(browser, report.as_uri(), "Commentary", "report", 1200, 905)
            browser.close()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def wait_for_server() -> None:
    """Raises ``TimeoutError`` where the pages are not there after a minute."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"{URL}/server_info"):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"expected Dagster's pages on {URL} within a minute; is the port in use?")


def take(browser: Browser, url: str, last: str, name: str, width: int, height: int) -> None:
    """A picture of ``url`` once the words ``last`` are on it."""
    size: ViewportSize = {"width": width, "height": height}
    page = browser.new_page(viewport=size, device_scale_factor=1.5, color_scheme="light", reduced_motion="reduce")
    page.goto(url)
    page.get_by_text(last, exact=True).last.wait_for()
    if hide := page.get_by_text("Hide navigation").all():
        hide[0].click()
        page.mouse.move(0, 0)
    # The plots are drawn, and moved to their place, after their data came.
    page.wait_for_timeout(3000)
    page.screenshot(path=HERE / f"{name}.png")
    page.close()


if __name__ == "__main__":
    main()
