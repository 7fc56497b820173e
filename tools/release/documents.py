# SPDX-License-Identifier: Apache-2.0
"""Copies README.md, the guides and every file of the repository that they lead to, where they are.

    python3 tools/release/documents.py SOURCE TARGET
"""

import re
import shutil
import sys
from pathlib import Path

LINK = re.compile(r"\]\(<?([^)#>\s]+)")
ELSEWHERE = re.compile(r"[a-z]+:")


def linked(path):
    """Files that a page has links to."""
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if not ELSEWHERE.match(link):
            yield (path.parent / link).resolve()


def reached(pages):
    """These and all that their links lead to; a link that leads nowhere ends this."""
    found, left = set(), list(pages)
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += linked(path) if path.suffix == ".md" else []
    return sorted(found)


def main():
    source, target = (Path(folder).resolve() for folder in sys.argv[1:])
    guides = (source / "Sources/RegateKit/RegateKit.docc").glob("*.md")
    for path in reached([source / "README.md", *guides]):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


main()
