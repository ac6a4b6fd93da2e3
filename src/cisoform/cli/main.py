"""Entry point of the `cisoform` command."""
