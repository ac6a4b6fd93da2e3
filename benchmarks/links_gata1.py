"""Tested pairs of K562 on the peaks of the GATA1 locus: baselines, and what a model makes of GATA1 and HDAC6.

    python benchmarks/links_gata1.py [MODEL]        # default: the small weights of the golden vectors (no training)

The only place where the shared data hold DNA under tested elements: about 100 pairs overlap the 44 peaks, 7 of them
regulated. That is too few to rank models; without trained weights the readings show the format alone.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cisoform.benchmark.links import baselines, evaluate_links
from cisoform.cli.regulation_reading import Selection, open_selection
from cisoform.data.locus_text import read_locus_text
from cisoform.data.tested_pairs import TestedPairs, read_tested_pairs
from cisoform.jobs.convert_creformer import convert_creformer
from cisoform.jobs.link_reading import LinkConfig, predictions_of, read_links, tested_here
from cisoform.jobs.score import parse_variants

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
TABLE = "human_regulation/crispri/training_K562.GRCh38.tsv.gz"
GENES = ("GATA1", "HDAC6")  # both on the plus strand


def on_peaks(pairs: TestedPairs, peaks: np.ndarray) -> np.ndarray:
    """Pairs of chrX whose element overlaps a peak."""
    reach = (pairs.start[:, None] < peaks[None, :, 1]) & (pairs.end[:, None] > peaks[None, :, 0])
    return (pairs.chrom == "chrX") & reach.any(axis=1)


def auprc(scores: dict[str, Any]) -> dict[str, float]:
    return {name: round(value["auprc"], 3) for name, value in scores.items()}


def reading(model: Path, text: Path, peaks: np.ndarray, pairs: TestedPairs, gene: str) -> dict[str, Any]:
    """AUPRC of every reading of one gene on the pairs with a score, beside the baselines."""
    tss = int(pairs.tss[pairs.gene == gene][0])
    tss_peak = int(np.argmin(np.abs(peaks.mean(axis=1) - tss)))
    opened = open_selection(
        Selection(model=model, locus_text=text, tss_peak=tss_peak, strand="+", device="cpu")
    )
    config = LinkConfig(variants=parse_variants("all"), normalise="none", gene=gene)
    table = read_links(opened.reader, opened.grouping, opened.genes, config)
    some, _, _ = tested_here(pairs, table, text.name)
    found = evaluate_links(predictions_of(table, config, some), some, n_draws=0)
    return {
        "tss_peak": tss_peak,
        **found["counts"],
        **auprc(found["baselines"]),
        **auprc(found["predictors"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?")
    words = parser.parse_args()
    table = Path(os.environ.get("CISOFORM_PACKS", SHARED / "data")) / TABLE
    golden = Path(os.environ.get("CISOFORM_GOLDEN", SHARED / "golden"))
    text = golden / "gata1_wild_type.txt.gz"
    if not table.is_file() or not text.is_file():
        print("the table of tested pairs or the golden locus is not here: nothing measured")
        return
    ids = read_locus_text(text).ids
    peaks = np.array([[int(part) for part in name.split("_")[1:]] for name in ids])
    pairs = read_tested_pairs(table)
    here = pairs.take(on_peaks(pairs, peaks))
    simple = evaluate_links({}, here, n_draws=1000)["baselines"]
    result: dict[str, Any] = {
        "peaks": len(peaks),
        "pairs": len(here),
        "regulated": int(here.truth().sum()),
        "baselines": {
            name: {
                "auprc": round(row["auprc"], 3),
                "interval": np.round(row["intervals"]["auprc"], 3).tolist(),
            }
            for name, row in simple.items()
        },
    }
    assert set(simple) == set(baselines(here))
    with tempfile.TemporaryDirectory() as folder:
        model = words.model
        if model is None:
            model = Path(folder) / "model"
            weights, vocabulary = golden / "creformer_small.safetensors", golden / "creformer_vocab.txt"
            convert_creformer(weights, model, vocabulary, heads=4)
        result["trained"] = words.model is not None
        for gene in GENES:
            result[gene] = reading(model, text, peaks, here, gene)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
