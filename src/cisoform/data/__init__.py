"""Samples, datasets, splits, normalisation and collation."""
