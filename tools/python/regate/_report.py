# SPDX-License-Identifier: Apache-2.0
"""What a command tells: the object of `--json`, and the page of `--html` where one was asked for."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import Any


class Page:
    """A self-contained page, which a notebook shows."""

    def __init__(self, text: str, height: int = 640) -> None:
        self.text = text
        self.height = height
        """Pixels that a notebook gives it."""

    def write(self, path: str | os.PathLike[str]) -> None:
        Path(path).write_text(self.text, encoding="utf-8")

    def _repr_html_(self) -> str:
        # A frame of its own: the page's styles stay in it, and nothing in it reaches the notebook.
        return (
            f'<iframe srcdoc="{html.escape(self.text)}" sandbox="" loading="lazy" '
            f'style="width:100%;height:{self.height}px;border:0"></iframe>')

    def __repr__(self) -> str:
        return f"<Page of {len(self.text)} characters>"


class Report(dict[str, Any]):
    """The object of `--json`. A notebook shows the page, if there is one."""

    page: Page | None = None

    def _repr_html_(self) -> str | None:
        return self.page._repr_html_() if self.page else None
