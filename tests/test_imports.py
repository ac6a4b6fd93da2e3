"""The layers of the package and which may import which; what must not be loaded at start-up."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "cisoform"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Layer -> what it may import of ours besides itself and BASE. A dotted name allows one module of a layer.
# This is the table of layers in the contributor's notes; change it only together with the design.
EVERYTHING = {"*"}  # but `cli`, which only `cli` itself imports
ALLOWED: dict[str, set[str]] = {
    "genome": set(),
    "tokens": {"genome.sequence"},
    "batches": set(),
    "data": {"genome", "tokens", "batches"},
    "nn": set(),
    "models": {"nn", "batches"},
    "training": {"models", "batches", "weights.store"},  # checkpoints are written where weights are
    "analysis": {"models", "data", "genome", "batches", "features", "tokens"},
    "benchmark": {"training", "analysis", "data", "models", "batches", "tokens", "genome.sequence"},
    "weights": {"models", "batches", "tokens"},  # the order of a vocabulary is part of its embedding
    "features": {"models", "data", "batches", "tokens"},
    "report": {"benchmark", "analysis", "data"},
    "recipes": {"models", "data", "training", "nn", "recipes_regulation"},
    "recipes_regulation": {"models", "data", "training", "nn", "tokens", "features"},
    "recipes_pretraining": {"models", "data", "training"},
    # What the commands do, without the command line.
    "jobs": {
        *("genome", "tokens", "batches", "data", "nn", "models", "training", "analysis"),
        *("benchmark", "weights", "features", "report", "recipes", "recipes_regulation"),
        "recipes_pretraining",
    },
    "api": EVERYTHING,
    "cli": EVERYTHING,
}
# Small, torch-free modules that know no biology: everybody may use them, they use only each other.
BASE = {"errors", "configs", "packs", "pack_archives", "genome.files", "genome.ragged"}
NO_TORCH = {"genome", "tokens", "errors", "configs", "packs", "pack_archives", "report"}


def module_name(path: Path) -> str:
    """`genome.fasta` for src/cisoform/genome/fasta.py, `""` for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str:
    return module.split(".")[0]


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every import in a file, inside functions and TYPE_CHECKING blocks too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full, not relative"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                as_file = PACKAGE.parent / Path(*full.split("."))
                is_module = as_file.with_suffix(".py").is_file() or as_file.is_dir()
                yield node.lineno, full if is_module else str(node.module)


def may_import(module: str, other: str) -> bool:
    """Whether our `module` may import our `other` (names without the package)."""
    if other in BASE or other == "":
        return True
    if module in BASE:
        return False
    layer = layer_of(module)
    allowed = ALLOWED.get(layer, set())
    same = layer_of(other) == layer
    named = any(other == name or other.startswith(f"{name}.") for name in allowed)
    return same or named or (allowed == EVERYTHING and layer_of(other) != "cli")


@pytest.mark.parametrize("path", MODULES, ids=[module_name(path) or "cisoform" for path in MODULES])
def test_arrows_point_down(path: Path) -> None:
    module = module_name(path)
    if module == "":  # the package itself: lazy names, imported when asked for
        return
    assert layer_of(module) in ALLOWED or module in BASE, f"{module} belongs to no layer: add it to the table"
    wrong = [
        f"{path.name}:{line}: {module} may not import {name}"
        for line, name in imports_of(path)
        if name.split(".")[0] == "cisoform" and not may_import(module, name.partition(".")[2])
    ]
    assert wrong == []


@pytest.mark.parametrize("path", MODULES, ids=[module_name(path) or "cisoform" for path in MODULES])
def test_readers_tokens_and_reports_know_no_torch(path: Path) -> None:
    if layer_of(module_name(path)) not in NO_TORCH:
        return
    assert [line for line, name in imports_of(path) if name.split(".")[0] == "torch"] == []


def loaded_after(code: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has loaded after running `code`."""
    program = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"torch", "numpy", "polars", "scipy", "sklearn", "matplotlib", "anndata", "h5py", "pysam", "pydantic"}


def test_import_and_help_load_nothing_heavy() -> None:
    code = "import cisoform\nfrom typer.testing import CliRunner\nfrom cisoform.cli.main import app\n"
    code += "result = CliRunner().invoke(app, ['--help'])\nassert result.exit_code == 0, result.stderr"
    assert loaded_after(code) & HEAVY == set()


def test_readers_tokens_and_commands_load_no_torch() -> None:
    names = [
        f"cisoform.{module_name(path)}"
        for path in MODULES
        if layer_of(module_name(path)) in {"genome", "tokens", "cli", "packs", "pack_archives"}
    ]
    assert "torch" not in loaded_after("\n".join(f"import {name}" for name in names))


def test_the_rules_catch_a_wrong_arrow() -> None:
    assert may_import("data.loader", "batches") and not may_import("nn.attention", "models.isoformer")
    assert not may_import("genome.fasta", "tokens.dna") and not may_import("tokens.rna", "genome.fasta")
    assert not may_import("api", "cli.main") and may_import("cli.main", "api")
    assert not may_import("errors", "genome.fasta") and may_import("packs", "errors")
