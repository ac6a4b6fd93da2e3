"""Encoders, aggregators and the models built of them. Models never read files."""
