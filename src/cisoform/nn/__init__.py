"""Tensor in, tensor out: attention, blocks, pools, losses."""
