"""Convert the public IsoFormer checkpoint to a model of ours that predicts like any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cisoform.data.isoform_dataset import Column
from cisoform.data.loader import LoaderConfig
from cisoform.data.normalisation_values import read_normalisation_values
from cisoform.data.sampling import BatchLimits
from cisoform.errors import InputError
from cisoform.jobs.isoform_model import IsoformModel
from cisoform.models.encoders.enformer import EnformerConfig, EnformerNetworkConfig
from cisoform.models.isoformer import IsoFormer
from cisoform.tokens.kmer import K
from cisoform.weights.enformer import whole
from cisoform.weights.isoformer import IsoformerWeights, read_isoformer
from cisoform.weights.public import CONFIG_FILE, public_folder

NORMALISATION_FILE = "normalization_values.csv"
DATA_SET = "InstaDeepAI/multi_omics_transcript_expression"
UNIT = "released labels (a logarithm of TPM, base and offset not published)"
PUBLISHED_WINDOW = 196_608
_BATCH = 4
_ESM_ENDS = 2


def convert_isoformer(
    source: str,
    out: Path,
    sha256: str | None = None,
    normalisation: Path | None = None,
    drop: Sequence[str] = (),
) -> dict[str, Any]:
    """Read, check and write; returns what was found.

    Args:
        source: Folder of the public files, or hf://owner/name.
        out: Model folder to write.
        sha256: What its weights file must hash to; None = anything.
        normalisation: `normalization_values.csv` of the data set; None = that beside the weights.
        drop: Prefixes of tensors to leave out.

    Raises:
        InputError: As `weights.isoformer.read_isoformer`, or if the normalisation values are missing or do not fit;
            nothing is then left under `out`.
    """
    table = normalisation or public_folder(source) / NORMALISATION_FILE
    if not table.is_file():
        raise InputError(
            f"{table}: no such file; outputs are standardised: fetch {NORMALISATION_FILE} of the data set {DATA_SET} "
            "into that folder, or give it with --normalisation"
        )
    weights = read_isoformer(source, sha256, drop)
    normaliser = read_normalisation_values(table, weights.config.tissues)
    loader = _loader(weights, public_folder(source) / CONFIG_FILE)
    model = IsoFormer(weights.config)
    model.load_state_dict(weights.state)
    columns = [Column(name, "transcript", UNIT) for name in normaliser.columns]
    about = {"recipe": "isoformer", **weights.about}
    IsoformModel(model.eval(), loader, normaliser, columns, about).save(out)
    return {
        "out": str(out),
        "n_parameters": sum(value.numel() for value in model.parameters()),
        "tissues": list(normaliser.columns),
        "dna_window": loader.dna_window,
        "rna_max": loader.rna_max,
        "protein_max": loader.protein_max,
        **weights.about,
    }


def _loader(weights: IsoformerWeights, where: Path) -> LoaderConfig:
    """How sequences are shown: lengths as `config.json` says, where it can mean them."""
    dna = weights.config.dna
    assert isinstance(dna, EnformerConfig)
    try:
        window = _window(dna.network, whole(weights.fields, "num_tokens_per_seq_nuctf", PUBLISHED_WINDOW))
        # `<cls>` is one of the tokens of RNA, `<cls>` and `<eos>` of protein.
        rna = (whole(weights.fields, "num_tokens_per_seq_nuctf_rna", 2_048) - 1) * K
        protein = whole(weights.fields, "num_protein_tokens_per_seq", 2_048) - _ESM_ENDS
        return LoaderConfig(
            dna_window=window,
            rna_max=rna,
            protein_max=protein,
            rna_tokens="kmers",
            protein_tokens="esm",
            limits=BatchLimits(batch_size=_BATCH),
        )
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _window(network: EnformerNetworkConfig, stated: int) -> int:
    """The stated window if the network can read it, else the published one."""
    keep = network.bins or 1
    for window in (stated, PUBLISHED_WINDOW):
        if window % network.bin_size == 0 and window // network.bin_size >= keep:
            return window
    raise ValueError(f"num_tokens_per_seq_nuctf is {stated}: fewer than {keep} bins of {network.bin_size} bp")
