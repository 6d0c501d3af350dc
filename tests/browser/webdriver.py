"""A headless Chromium, driven through the W3C WebDriver protocol with nothing but the standard library.

https://www.w3.org/TR/webdriver2/; `goog:` names are ChromeDriver's own.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from pathlib import Path

DRIVER: Final = shutil.which("chromedriver")
CHROMIUM: Final = next(
    (path for name in ("chromium", "google-chrome", "chromium-browser") if (path := shutil.which(name))), None
)
KEYS: Final = {"Enter": "\ue007", "Tab": "\ue004", "Escape": "\ue00c", "ArrowDown": "\ue015", "ArrowRight": "\ue014"}
SECONDS: Final = 20.0  # that something on a page may take, on a machine that does other work too


class Browser:
    """One browser window without a screen; a context manager.

    Args:
        width: Of the page, in CSS pixels.
        height: Of the page.
        dark: Whether the reader prefers dark colours.
    """

    def __init__(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        assert DRIVER is not None
        assert CHROMIUM is not None
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        self._metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._scheme = "dark" if dark else "light"
        self._capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": CHROMIUM, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }

    def __enter__(self) -> Self:
        assert DRIVER is not None
        self._process = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603 - found in PATH
        try:
            self._session = ""
            self._root = f"http://127.0.0.1:{self._port()}/session"
            body = {"capabilities": {"alwaysMatch": self._capabilities}}
            self._session = "/" + self._call("POST", "", body)["sessionId"]
            self._devtools("Emulation.setDeviceMetricsOverride", self._metrics)
            self._devtools(
                "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": self._scheme}]}
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._session:
                self._call("DELETE", "")
        finally:
            self._process.terminate()
            self._process.communicate(timeout=SECONDS)

    def open(self, page: Path) -> None:
        """Load a page from the disk, as a double click does."""
        self._call("POST", "/url", {"url": page.resolve().as_uri()})

    def go_back(self) -> None:
        """Press the browser's button for the page before, and wait until that page is loaded."""
        self._call("POST", "/back", {})

    def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever the script returns
        """Run a function body in the page and return what it returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait_until(self, expression: str) -> None:
        """Wait until an expression of the page is true."""
        end = time.monotonic() + SECONDS
        while not self.run(f"return !!({expression})"):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press and release a key, named as in `KEYS`, on whatever has the focus."""
        strokes = [{"type": kind, "value": KEYS[key]} for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def console(self) -> list[str]:
        """Return what the page wrote to the console since it was last asked: errors, and what its policy refused."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, *, whole_page: bool = False) -> bytes:
        """Return a picture of the window, or of all of the page, as PNG."""
        picture = self._devtools("Page.captureScreenshot", {"captureBeyondViewport": whole_page})
        return base64.b64decode(picture["data"])

    def take_paper(self) -> None:
        """Lay the page out as it will be printed."""
        self._devtools("Emulation.setEmulatedMedia", {"media": "print"})

    def _devtools(self, command: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _port(self) -> int:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(rb"started successfully on port (\d+)", line):
                return int(found[1])
        raise AssertionError("chromedriver ended before it told its port")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
        data = None if body is None else json.dumps(body).encode()
        address = self._root + self._session + path
        request = Request(address, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - our own
        try:
            with urlopen(request, timeout=60) as answer:  # noqa: S310 - http, to this machine
                return json.load(answer)["value"]
        except HTTPError as error:  # what went wrong stands in the answer, not in the status
            raise AssertionError(f"{method} {path}: {error.read().decode(errors='replace')}") from error
