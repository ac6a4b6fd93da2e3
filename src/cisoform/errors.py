"""The one exception for mistakes in what a user gave: the command line prints it as one line and exits with 2."""

from __future__ import annotations


class InputError(ValueError):
    """A file, record, value or flag that cannot be used.

    The message names the file, the line or record, the offending value and the mend. It is a `ValueError`,
    so library users can catch it as one; `cisoform.cli` turns it into one line and exit code 2.
    """
