"""A page in headless Chromium: what it shows, what it fetches, and what goes wrong."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed; install the system's package chromium"
)

# Runs beside the page: presses every button and writes down what the browser then shows.
PROBE = """
<script>
addEventListener("load", async () => {
  while (!document.body.dataset.drawn) await new Promise((done) => setTimeout(done, 50));
  const sizes = {};
  const measure = (place, label) => {
    const box = place.querySelector(".main-svg").getBoundingClientRect();
    const marks = place.querySelectorAll(
      ".point, .js-line, .heatmaplayer image, .heatmaplayer path, .sankey-link").length;
    sizes[`${place.id} ${label}`] = [Math.round(box.width), Math.round(box.height), marks];
  };
  for (const place of document.querySelectorAll(".picture")) {
    const buttons = [...place.closest(".block").querySelectorAll(".switch button")];
    if (!buttons.length) measure(place, "");
    for (const button of buttons.reverse()) {
      button.click();
      await new Promise((done) => setTimeout(done, 20));
      measure(place, button.textContent);
    }
  }
  const found = document.createElement("pre");
  found.id = "probe";
  found.textContent = JSON.stringify({
    sizes, errors: window.errors, resources: performance.getEntriesByType("resource").length,
    broken: typeof window.broken, width: innerWidth, wanted: document.documentElement.scrollWidth,
    text: document.body.innerText,
  });
  document.body.append(found);
});
</script>
"""
WATCH = """
<script>
window.errors = [];
addEventListener("error", (event) => errors.push(String(event.message)));
addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => errors.push(`blocked ${event.blockedURI}`));
</script>
"""


def browse(page: Path, folder: Path, width: int) -> tuple[dict[str, Any], list[str]]:
    """Open a page in headless Chromium; return what the probe saw, and the console's errors."""
    text = page.read_text(encoding="utf-8")
    watched = folder / f"watched-{width}.html"
    text = text.replace("<head>", f"<head>{WATCH}", 1).replace(
        "</body>\n</html>", f"{PROBE}</body>"
    )
    watched.write_text(text, encoding="utf-8")
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}",
        "--enable-logging=stderr", "--v=0", f"--window-size={width},900",
        "--virtual-time-budget=60000", "--dump-dom", watched.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=200, check=True)
    console = [
        line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line
    ]
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout.decode(), flags=re.DOTALL)
    assert found, f"the page was not drawn; console: {console}"
    return json.loads(html.unescape(found.group(1))), console


def without_plotly(page: str) -> str:
    """Return the page without the script that draws: what the report itself wrote."""
    return re.sub(r"<script>/\*\*.*?</script>", "", page, count=1, flags=re.DOTALL)
