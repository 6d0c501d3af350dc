"""What every HTML report has in common: escaping by default, and a policy under which nothing foreign can run."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence


def environment() -> Environment:
    """Return the template engine: it escapes every text, and an unknown name is an error."""
    engine = Environment(
        loader=PackageLoader("nclforensics.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    engine.filters["printable"] = printable
    return engine


def template_file(name: str) -> str:
    """Return a style sheet or script of the package."""
    return files("nclforensics.reports").joinpath("templates", name).read_text(encoding="utf-8")


def policy(style: str, script: str, *, images: str) -> str:
    """Return the Content-Security-Policy of a page.

    Should an escape ever be missing, the browser would still run and load nothing but these.

    Args:
        style: Content of the page's one style sheet.
        script: Content of its one script.
        images: Where pictures may come from, such as "data:".
    """
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; img-src {images}; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


def data_uri(content: bytes, kind: str) -> str:
    """Return content of a media type, such as "image/jpeg", as an address that holds all of it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def hex_color(color: Sequence[int]) -> str:
    """Return a colour as CSS writes it."""
    return "#" + "".join(f"{channel:02x}" for channel in color)
