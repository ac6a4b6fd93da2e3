"""A test that lacks its data is skipped with a reason; in CI with the data beside the checkout it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.mark.pack
def test_by_mark(): pass

@pytest.mark.golden
def test_inside(): pytest.skip("the file is not there")

def test_other(): pytest.skip("no GPU")
"""


@pytest.mark.parametrize(
    ("ci", "shared", "outcome"),
    [("", True, "3 skipped"), ("true", False, "3 skipped"), ("true", True, "1 failed, 1 skipped, 1 error")],
)
def test_a_skip_for_want_of_data_fails_only_in_ci(
    tmp_path: Path, ci: str, shared: bool, outcome: str
) -> None:
    tests = tmp_path / "checkout" / "tests"
    tests.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("conftest.py"), tests)
    (tests / "test_some.py").write_text(TESTS)
    (tests.parent / "pytest.ini").write_text("[pytest]\nmarkers =\n    pack: p\n    golden: g\n")
    if shared:
        (tmp_path / "shared").mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("CISOFORM_", "PYTEST_"))}
    env |= {"CI": ci, "CISOFORM_GOLDEN": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(
        command,
        cwd=tests.parent,
        env=env,
        capture_output=True,
        text=True,
    )
    assert outcome in done.stdout.splitlines()[-1], done.stdout
    assert ("skipped although shared data" in done.stdout) == (outcome != "3 skipped")
    assert "$CISOFORM_PACKS names no folder" in done.stdout
