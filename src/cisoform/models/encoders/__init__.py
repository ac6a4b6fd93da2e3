"""Sequence encoders: one file each, all with the interface of `SequenceEncoder`."""
