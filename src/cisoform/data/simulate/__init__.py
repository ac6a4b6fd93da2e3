"""Simulated genomes with planted expression rules, for tests, demos and benchmarks with a known answer.

`config` says how much, `genes` and `genome` make sequences, `rules` say what they do, `expression` adds noise,
`variants` edits, `simulation` runs it all, `write` puts it into files.
"""
