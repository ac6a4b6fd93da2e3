"""Convert the released CREformer to a model folder of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cisoform.genome.files import sha256_file
from cisoform.jobs.creformer_model import CREformerModel, released_edges
from cisoform.weights.creformer import convert_released, read_released, read_vocabulary


def convert_creformer(source: Path, out: Path, vocabulary: Path, heads: int | None = None) -> dict[str, Any]:
    """Read, check and write; returns what was found.

    Raises:
        InputError: As `weights.creformer` does; nothing is then left under `out`.
    """
    weights = read_released(source)
    model = convert_released(weights, read_vocabulary(vocabulary), heads)
    config = model.config
    about = {
        "source": source.name,
        "source_sha256": _hashes(source),
        "vocabulary_sha256": sha256_file(vocabulary),
        "expression": "unit not published",
    }
    CREformerModel(model, released_edges(config.elementary.tracks), about).save(out)
    elementary = config.elementary
    return {
        "out": str(out),
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "n_dropped": sum(".encoder_layer." in name for name in weights.tensors),
        "sizes": {
            "dim": elementary.dim,
            "heads": elementary.heads,
            "ffn": elementary.ffn,
            "layers": [elementary.bin_layers, elementary.window_layers, config.layers],
            "max_peaks": config.max_peaks,
        },
    }


def _hashes(source: Path) -> dict[str, str]:
    files = sorted(source.glob("*.pkl")) if source.is_dir() else [source]
    return {file.name: sha256_file(file) for file in files}
