"""Gene expression from sequence: isoforms per tissue, and regulation from accessible peaks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cisoform.api import CREformer as CREformer
    from cisoform.api import IsoFormer as IsoFormer
    from cisoform.errors import InputError as InputError

__version__ = "0.1.0"
__all__ = ["CREformer", "InputError", "IsoFormer", "__version__"]

# Name -> module. Imported at first use (PEP 562), so that `import cisoform` does not load torch.
_LAZY = {"CREformer": "cisoform.api", "IsoFormer": "cisoform.api", "InputError": "cisoform.errors"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
