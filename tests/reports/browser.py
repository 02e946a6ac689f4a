"""A headless Chromium, driven over HTTP by the W3C's protocol (WebDriver): only ``chromedriver`` is needed."""

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

START_SECONDS = 30


class Browser:
    """One session; an error of the browser is a RuntimeError with its words."""

    def __init__(self, address: str, downloads: Path) -> None:
        options = {
            "binary": BROWSER,
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"],
            "prefs": {"download.default_directory": str(downloads), "download.prompt_for_download": False},
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self._address = f"{address}/session"
        self._address += "/" + self._ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _ask(self, method: str, path: str, body: dict | None = None) -> Any:
        data, kind = None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(self._address + path, data, kind, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from error

    def open(self, page: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show a file in a window of that size, and wait until its script has run."""
        emulation = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **emulation)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.command("Emulation.setEmulatedMedia", features=scheme)
        self._ask("POST", "/url", {"url": page.resolve().as_uri()})

    def command(self, name: str, **words: Any) -> Any:
        """What a command of the DevTools protocol answers."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": words})

    def run(self, script: str, *words: Any) -> Any:
        """What a script returns; ``arguments`` are the words."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": words})

    def act(self, kind: str, *actions: dict[str, Any]) -> None:
        """Do what a hand does, at a ``key``board, a ``pointer`` or a ``wheel``."""
        self._ask("POST", "/actions", {"actions": [{"type": kind, "id": kind, "actions": list(actions)}]})

    def press(self, *keys: str) -> None:
        """Press keys one after the other, by their characters or the protocol's code points."""
        self.act("key", *({"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")))

    def click(self, place: Sequence[float], to: Sequence[float] | None = None) -> None:
        """Click at a place of the window; with ``to``, drag from one to the other."""
        steps = [{"type": "pointerMove", "duration": 0, "x": round(place[0]), "y": round(place[1])}]
        steps.append({"type": "pointerDown", "button": 0})
        if to is not None:
            steps.append({"type": "pointerMove", "duration": 20, "x": round(to[0]), "y": round(to[1])})
        self.act("pointer", *steps, {"type": "pointerUp", "button": 0})

    def turn(self, place: Sequence[float], by: int) -> None:
        """Turn the wheel at a place of the window."""
        where = {"x": round(place[0]), "y": round(place[1])}
        self.act("wheel", {"type": "scroll", "duration": 0, "deltaX": 0, "deltaY": by, **where})

    def middle(self, selector: str, number: int = 0) -> tuple[float, float]:
        """Where the middle of an element is in the window, once it was scrolled into sight."""
        script = (
            "const one = document.querySelectorAll(arguments[0])[arguments[1]];"
            "one.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2];"
        )
        x, y = self.run(script, selector, number)
        return x, y

    def wait(self, script: str, *words: Any, seconds: float = 10) -> Any:
        """What a script returns as soon as that is true."""
        end = time.monotonic() + seconds
        while not (found := self.run(script, *words)):
            assert time.monotonic() < end, f"not so after {seconds} s: {script}"
            time.sleep(0.02)
        return found

    def complaints(self) -> list[str]:
        """What was written to the console as a warning or an error since it was last asked."""
        entries = self._ask("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    def requests(self) -> list[str]:
        """The addresses asked for since this was last asked, those inside the page (``data:``, ``blob:``) left out."""
        entries = self._ask("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [address for address in sent if not address.startswith(("data:", "blob:"))]

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self._ask("GET", "/screenshot"))

    def pdf(self) -> bytes:
        """The page as it is printed, on A4."""
        return base64.b64decode(self._ask("POST", "/print", {"page": {"width": 21.0, "height": 29.7}}))

    def close(self) -> None:
        """End the session, and with it the browser."""
        self._ask("DELETE", "")


@contextmanager
def browser(downloads: Path) -> Iterator[Browser]:
    """A browser that is closed in the end; what it downloads goes to a folder."""
    process = subprocess.Popen([str(DRIVER), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        port = _port_of(process)
        one = Browser(f"http://127.0.0.1:{port}", downloads)
        try:
            yield one
        finally:
            one.close()
    finally:
        process.terminate()
        process.communicate(timeout=START_SECONDS)


def _port_of(process: subprocess.Popen) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if "on port " in line and "started successfully" in line:
            return int(line.rstrip(". \n").rsplit(" ", 1)[-1])
    raise RuntimeError("chromedriver ended before it listened")
