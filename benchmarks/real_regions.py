"""Stage 1 on real Roadmap marks: a held-out contig and a held-out cell type beside the mean of the training cells.

From the pack `human_regulation` (arcsinh(-log10 p) at 25 bp on three contigs): E017 is written as bigWig from the
pack's arrays, regions are built with `transform=sinh`, recipe `small` is pre-trained for some steps on E003 and
E116 of contig ENm001, and every mark is predicted from the other marks and from DNA alone.

    python benchmarks/real_regions.py --steps 240          # about 6 minutes of one CPU core
    python benchmarks/real_regions.py --steps 20000 --batch-tokens 16384 --device cuda

The training-cell mean is a strong predictor: most of a mark is the same in every cell type. `partial` is the
correlation of truth and prediction beyond that mean: what the model adds.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

MARKS = ("H3K4me1", "H3K4me3", "H3K27me3", "H3K36me3", "H3K9me3")
CELLS = ("E003", "E116", "E017")
STEP = 25
UNITS = 40.0  # of the pack's uint8 arrays
# Contigs with tracks, and the region of the pilot arrays that each lies in.
CONTIGS = {"ENm001": "ENm001", "ENm002": "ENm002", "ENm004s": "ENm004"}
TEST_CONTIG, VALID_CONTIG, TEST_CELL = "ENm002", "ENm004s", "E017"


def find_pack(named: Path | None) -> Path | None:
    """The pack: as named, in $CISOFORM_PACKS, or beside the checkout."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    folders = [named] if named else [Path(os.environ.get("CISOFORM_PACKS", beside)) / "human_regulation"]
    return next((folder for folder in folders if (folder / "tracks").is_dir()), None)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def write_cell(pack: Path, cell: str, folder: Path) -> None:
    """bigWigs of one cell type in contig coordinates, from the arrays of the 42 pilot regions.

    Bins are 25 bases of the genome's own grid: bin i of a region covers 25 * (start // 25 + i) onwards.
    """
    import pybigtools

    arrays = np.load(pack / "tracks" / "encode_pilot_3cells_5marks_25bp_u8.npz")
    regions = {row["region"]: row for row in rows_of(pack / "tracks" / "encode_pilot_regions_hg19.tsv")}
    contigs = {row["contig"]: row for row in rows_of(pack / "sequence" / "contigs.tsv")}
    for mark in MARKS:
        records, values = [], arrays[f"{cell}.{mark}"].astype(np.float64) / UNITS
        for name, pilot in sorted(CONTIGS.items()):
            begin, length = int(contigs[name]["start"]), int(contigs[name]["length"])
            region = regions[pilot]
            grid, offset, n_bins = (
                int(region["start_hg19"]) // STEP,
                int(region["bin_offset"]),
                int(region["n_bins"]),
            )
            for index in range(begin // STEP, (begin + length - 1) // STEP + 1):
                if 0 <= index - grid < n_bins:
                    start, end = max(0, index * STEP - begin), min(length, (index + 1) * STEP - begin)
                    records.append((name, start, end, float(values[offset + index - grid])))
        lengths = {name: int(contigs[name]["length"]) for name in CONTIGS}
        pybigtools.open(str(folder / f"{cell}.{mark}.bw"), "w").write(lengths, iter(records))


def check_written(pack: Path, folder: Path) -> float:
    """Largest difference of E003 written this way from the pack's own bigWig."""
    import pybigtools

    write_cell(pack, "E003", folder)
    worst = 0.0
    for mark in MARKS:
        ours = pybigtools.open(str(folder / f"E003.{mark}.bw"))
        theirs = pybigtools.open(str(pack / "tracks" / f"E003.{mark}.bw"))
        for name, length in theirs.chroms().items():
            a, b = (f.values(name, 0, length - STEP, fillna=0.0) for f in (ours, theirs))
            worst = max(worst, float(np.abs(a - b).max()))
    return worst


def tracks_table(pack: Path, folder: Path) -> Path:
    lines = ["sample\ttrack\tpath\ttransform"]
    for cell in CELLS:
        where = folder if cell == TEST_CELL else pack / "tracks"
        lines += [f"{cell}\t{mark}\t{where / f'{cell}.{mark}.bw'}\tsinh" for mark in MARKS]
    path = folder / "tracks.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(pack: Path, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    from cisoform.benchmark.elementary import EvaluationConfig
    from cisoform.data.region_build import build_regions
    from cisoform.data.region_plan import RegionBuildConfig
    from cisoform.data.regions import RegionDataset
    from cisoform.jobs.elementary import choose_recipe, evaluate, load, prepare, pretrain

    difference = check_written(pack, folder)
    write_cell(pack, TEST_CELL, folder)
    begun = time.perf_counter()
    config = RegionBuildConfig(
        window=args.window,
        test_chromosomes=(TEST_CONTIG,),
        valid_chromosomes=(VALID_CONTIG,),
        test_samples=(TEST_CELL,),
    )
    genome = pack / "sequence" / "contigs.fa.gz"
    made = build_regions(genome, tracks_table(pack, folder), folder / "regions", config)
    built = time.perf_counter()
    dataset = RegionDataset.open(folder / "regions")
    settings = [
        f"loader.batch_tokens={args.batch_tokens}",
        f"loader.lengths={[n for n in (1024, 2048, 4096, 8192, 16_384) if n <= min(args.batch_tokens, args.window)]}",
        "loader.hiding.signal_span_min=75",  # three steps of 25 bp
        f"loader.valid_tokens={args.valid_tokens}",
        f"train.max_steps={args.steps}",
        "train.epochs=null",
        f"train.validate_every={max(1, args.steps // 4)}",
        f"train.lr={args.lr}",
    ]
    prepared = prepare(dataset, choose_recipe("small", settings, args.seed), "small")
    cpu = time.process_time()
    result = pretrain(prepared, folder / "run", device=args.device)
    trained = time.perf_counter()
    cpu = time.process_time() - cpu
    model = load(folder / "run", args.device)
    scoring = EvaluationConfig(
        hiding=model.loader.hiding, anchor=None, tokens=args.eval_tokens, seed=args.seed
    )
    scores = evaluate(model, dataset, "test", scoring)
    return {
        "e003_rewritten_max_difference": difference,
        "regions": made.four_way,
        "warnings": made.warnings,
        "parameters": prepared.n_parameters,
        "steps": result.step,
        "tokens_seen": result.step * args.batch_tokens,
        "best_step": result.best_step,
        "valid": dict(result.best),
        "seconds": {
            "build": built - begun,
            "pretrain": trained - built,
            "pretrain_cpu": cpu,
            "evaluate": time.perf_counter() - trained,
        },
        "evaluation": scores,
    }


def show(found: dict[str, Any]) -> None:
    print(
        f"{found['parameters']:,} parameters, {found['steps']} steps, {found['tokens_seen']:,} tokens in "
        f"{found['seconds']['pretrain']:.0f} s ({found['seconds']['pretrain_cpu']:.0f} s of CPU)"
    )
    print(f"valid: {found['valid']}")
    for name, part in found["evaluation"]["parts"].items():
        accuracy = part["hidden"]["bases"]["accuracy"]
        print(
            f"\n{name}: hidden bases {accuracy['model']:.3f} (neighbour {accuracy['neighbour']:.3f}, "
            f"majority {accuracy['majority']:.3f})"
        )
        for mark, given in part["preserved"].items():
            for shown, scores in given.items():
                pair = scores["pearson_where_mean"]
                model, mean, extra = pair["model"], pair["training_mean"], scores["partial_given_mean"]
                if None in (model, mean, extra):
                    print(f"  {mark:9s} {shown:13s} undefined")
                    continue
                verdict = "above" if model > mean else "below"
                print(
                    f"  {mark:9s} {shown:13s} Pearson {model:6.3f}  training mean {mean:6.3f} ({verdict})  "
                    f"partial {extra:6.3f}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pack", type=Path, help="folder of human_regulation")
    parser.add_argument("--out", type=Path, help="folder to keep; default a temporary one")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--valid-tokens", type=int, default=16_384)
    parser.add_argument("--eval-tokens", type=int, default=32_768)
    parser.add_argument("--window", type=int, default=16_384)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    pack = find_pack(args.pack)
    if pack is None:
        print("the pack human_regulation is not here ($CISOFORM_PACKS or --pack); nothing to measure")
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = run(pack, folder, args)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        show(found)


if __name__ == "__main__":
    main()
