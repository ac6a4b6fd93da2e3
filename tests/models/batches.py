"""Random batches and their pieces, for the laws of encoders and models."""

import torch

from cisoform.batches import IsoformBatch, Modality, Tokens

IDS = {"dna": 5, "rna": 5, "protein": 23}
CHANNELS = {"dna": 0, "rna": 16, "protein": 0}


def random_tokens(name, lengths, generator):
    width = max(lengths)
    mask = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    ids = torch.randint(IDS[name], (len(lengths), width), generator=generator)
    channels = None
    if CHANNELS[name]:
        channels = torch.randint(1, CHANNELS[name], ids.shape, generator=generator)
    return Tokens(ids, mask, channels)


def random_batch(present, seed=0):
    """`present`: one string of letters d, r, p per sample. Samples share rows of DNA and protein."""
    generator = torch.Generator().manual_seed(seed)
    lengths = {"dna": [53, 53], "rna": [41, 17, 29, 37, 31, 23, 19], "protein": [13, 11, 7]}
    parts = {}
    for name, rows in lengths.items():
        has = torch.tensor([name[0] in sample for sample in present])
        row = torch.arange(len(present)) % len(rows)
        row[~has] = -1
        tokens = random_tokens(name, rows, generator)
        parts[name] = Modality(tokens, row, has) if has.any() else None
    return IsoformBatch(index=torch.arange(len(present)), **parts)


def alone(batch, sample, keep="drp"):
    """The sample by itself, unpadded, with only the modalities in `keep`."""
    parts = {}
    for name in ("dna", "rna", "protein"):
        modality = getattr(batch, name)
        parts[name] = None
        if modality is None or not modality.present[sample] or name[0] not in keep:
            continue
        row = modality.row[sample]
        length = int(modality.tokens.mask[row].sum())
        tokens = modality.tokens
        channels = None if tokens.channels is None else tokens.channels[row : row + 1, :length]
        only = Tokens(tokens.ids[row : row + 1, :length], tokens.mask[row : row + 1, :length], channels)
        parts[name] = Modality(only, torch.tensor([0]), torch.tensor([True]))
    return IsoformBatch(index=batch.index[sample : sample + 1], **parts)
