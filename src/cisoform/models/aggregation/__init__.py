"""Ways to fuse the hidden sequences of the modalities."""
