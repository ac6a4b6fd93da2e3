"""Commands out of documents, so that what they promise is run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def fenced(document: str, language: str) -> list[str]:
    """Texts of the fenced blocks of one language, in order."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def commands(document: str) -> list[list[str]]:
    """Words of each command line in the bash blocks; comments are dropped, continued lines joined."""
    lines = "".join(fenced(document, "bash")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line for line in words if line]
