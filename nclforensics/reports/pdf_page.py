"""The paper of a PDF report: fonts, headings, lists and the line at the foot of each page.

The fonts are those that come with matplotlib. What they cannot draw, such as Chinese, is written as an escape: a name
is then still exact, and no file name can stop the report.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import matplotlib as mpl
from fpdf import FPDF
from fpdf.enums import WrapMode
from fpdf.fonts import TTFFont

from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

MARGIN: Final = 16.0  # mm
TEXT: Final = 9.0  # points
SMALL: Final = 7.5
LINE: Final = 4.4  # mm from one line of text to the next
SMALL_LINE: Final = 3.6
GREY: Final = 95
FRAME: Final = 205
TERMS: Final = 46.0  # mm, width of the column of terms
_PAGES: Final = "\x1fpages\x1f"  # replaced by the number of pages; no other text can hold a control character
_MEDIA: Final = Path(mpl.get_data_path(), "fonts", "ttf")
_FONTS: Final = (
    ("text", "", "DejaVuSans.ttf"),
    ("text", "B", "DejaVuSans-Bold.ttf"),
    ("mono", "", "DejaVuSansMono.ttf"),
)


class Paper(FPDF):
    """An A4 document whose texts may come from anywhere.

    Args:
        case: What each page says first beside its number, shortened to the room there is; "" says nothing.
        foot: What each page says then, always whole.
        created: ISO 8601; the document's date, since today's would make two equal reports differ.
    """

    def __init__(self, *, case: str, foot: str, created: str) -> None:
        super().__init__(format="A4")
        for family, style, name in _FONTS:
            self.add_font(family, style, _MEDIA / name)
        # What all three fonts have: a character drawn by one and not by another would look like a difference.
        drawn = [set(font.cmap) for font in self.fonts.values() if isinstance(font, TTFFont)]
        self._drawn = frozenset(set.intersection(*drawn))
        self._case, self._foot = self.text_of(case), self.text_of(foot)
        self.set_creation_date(_moment(created))
        self.set_margin(MARGIN)
        self.c_margin = 0  # text and pictures share their left edge
        self.set_auto_page_break(auto=True, margin=MARGIN + 4)
        self.alias_nb_pages(_PAGES)
        self.set_producer("nclforensics")
        self.set_lang("en")

    def text_of(self, text: str) -> str:
        """Return text with everything escaped that these fonts cannot draw or a reader could not see."""
        return printable(text, font=self._drawn)

    def footer(self) -> None:
        """Write the line at the foot of a page; fpdf2 calls it."""
        self.set_y(-MARGIN)
        self._pen("text", "", 6.5, grey=GREY)
        room = self.epw - 24
        case = self._shortened(self._case, room - self.get_string_width(self._foot))
        self.cell(room, 4, case + self._foot)
        self.cell(24, 4, f"page {self.page_no()} of {_PAGES}", align="R")

    def headline(self, text: str) -> None:
        """Write the title of the document."""
        self._pen("text", "B", 17)
        self._write_lines(text, 8)

    def heading(self, text: str, *, room: float = 22) -> None:
        """Write a heading, on the next page if what follows would not fit below it: both need so many mm."""
        if self.will_page_break(room):
            self.add_page()
        self.ln(3)
        self._pen("text", "B", 11.5)
        self._write_lines(text, 6)
        self.ln(0.5)

    def paragraph(self, text: str, *, size: float = TEXT, bold: bool = False, grey: bool = False) -> None:
        """Write text over the whole width."""
        self._pen("text", "B" if bold else "", size, grey=GREY if grey else 0)
        self._write_lines(text, LINE if size >= TEXT else SMALL_LINE)

    def points(self, texts: Iterable[str]) -> None:
        """Write a list."""
        for text in texts:
            self._pen("text", "", TEXT)
            self.cell(4, LINE, "\u2022")
            self._write_lines(text, LINE)
            self.ln(0.6)

    def terms(self, items: Iterable[tuple[str, str]], *, size: float = TEXT, mono: bool = False) -> None:
        """Write terms with their values beside them.

        Args:
            items: Term and value.
            size: In points.
            mono: Whether the values are code, which may break anywhere.
        """
        height = LINE if size >= TEXT else SMALL_LINE
        for term, value in items:
            if self.will_page_break(height):
                self.add_page()
            self._pen("text", "", size, grey=GREY)
            self.cell(TERMS, height, term)
            self._pen("mono" if mono else "text", "", size - 0.5 if mono else size)
            self._write_lines(value, height, anywhere=mono)

    def picture(self, content: bytes, title: str, *, x: float, y: float, box: tuple[float, float]) -> None:
        """Draw a picture into a box of width and height in mm, as large as fits, with its title above."""
        self._pen("text", "", 6.5, grey=GREY)
        self.set_xy(x, y)
        self.cell(box[0], 3.4, title)
        top, (width, height) = y + 3.6, box
        info = self.image(content, x=x, y=top, w=width, h=height, keep_aspect_ratio=True, alt_text=self.text_of(title))
        # A frame, since a white mask or a photographed page would have no end on white paper.
        across, down = info.rendered_width, info.rendered_height
        self.set_draw_color(FRAME)
        self.rect(x + (width - across) / 2, top + (height - down) / 2, across, down)

    def lines_of(self, text: str, width: float, *, anywhere: bool = False) -> list[str]:
        """Return text, made drawable, broken into lines of a width in mm; anywhere, since names have no words."""
        mode = WrapMode.CHAR if anywhere else WrapMode.WORD
        lines = self.multi_cell(width, SMALL_LINE, self.text_of(text), wrapmode=mode, dry_run=True, output="LINES")
        assert isinstance(lines, list)
        return lines

    def small(self, *, bold: bool = False, grey: bool = False) -> None:
        """Take the pen of tables."""
        self._pen("text", "B" if bold else "", SMALL, grey=GREY if grey else 0)

    def _shortened(self, text: str, width: float) -> str:
        """Return text, its end left out where it is longer than a width in mm."""
        if self.get_string_width(text) <= width:
            return text
        kept = text[: int(2 * width)]  # no letter of the foot is narrower than half a millimetre
        while kept and self.get_string_width(f"{kept}..., ") > width:
            kept = kept[:-1]
        return f"{kept}..., "

    def _pen(self, family: str, style: str, size: float, *, grey: int = 0) -> None:
        self.set_font(family, style, size)
        self.set_text_color(grey)

    def _write_lines(self, text: str, height: float, *, anywhere: bool = False) -> None:
        mode = WrapMode.CHAR if anywhere else WrapMode.WORD
        shown = self.text_of(text)
        self.multi_cell(0, height, shown, align="L", wrapmode=mode, new_x="LMARGIN", new_y="NEXT")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC)  # a scan writes it; local time may lie before the year 1
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
