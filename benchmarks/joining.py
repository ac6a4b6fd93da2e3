"""Does a cell type's track improve the tissue-centred R2 of isoforms? The measurement of docs/joining.md.

Runs the commands of that page: the simulation whose promoters are open or closed by tissue, pre-training, the data set,
and each way to train, per seed. The control has the same genome and the same tracks, but expression that they have no
part in (`simulate --chromatin 0`). Scores the unseen genes of the test part: every run alone, baselines, and what the
planted rules themselves reach. Finished runs are kept in the folder; a stopped measurement goes on where it was.

    OMP_NUM_THREADS=1 python benchmarks/joining.py FOLDER [--seeds 3] [--genes 400] [--set KEY=VALUE ...]
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.benchmark import metrics
from cisoform.benchmark.evaluation import dataset_baselines
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.genome.files import write_json
from cisoform.jobs.isoform_model import IsoformModel, predict

BASELINES = ("mean_per_tissue", "kmer_ridge", "track_ridge", "kmer_track_ridge")
NO_TRACKS = "loader.tracks=[]"
NOTHING, TUNED = "model.dna.kind=elementary", "model.dna.learn=full"
DRAWS, SEEDS_OF_RATES = 2_000, 2
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """One way to train: its name, whether it starts from the pre-trained run, settings, and the data set."""

    name: str
    settings: tuple[str, ...] = ()
    pretrained: bool = False
    data: str = "data"


MAIN = (
    Arm("plain"),
    Arm("sequence", (NOTHING, NO_TRACKS)),
    Arm("scratch", (NOTHING,)),
    Arm("frozen_sequence", (NO_TRACKS,), pretrained=True),
    Arm("frozen", pretrained=True),
    Arm("tuned_sequence", (TUNED, NO_TRACKS), pretrained=True),
    Arm("tuned", (TUNED,), pretrained=True),
)
CONTROL = (
    Arm("control_sequence", (NOTHING, NO_TRACKS), data="control"),
    Arm("control_scratch", (NOTHING,), data="control"),
)
RATES = (
    Arm("plain_slower", ("train.lr=0.002",)),
    Arm("sequence_faster", (NOTHING, NO_TRACKS, "train.lr=0.005")),
    Arm("scratch_faster", (NOTHING, "train.lr=0.005")),
)
ARMS = (*MAIN, *CONTROL, *RATES)
PAIRS = (
    ("scratch", "sequence"),
    ("frozen", "frozen_sequence"),
    ("tuned", "tuned_sequence"),
    ("scratch", "kmer_track_ridge"),
    ("frozen", "kmer_track_ridge"),
    ("tuned", "kmer_track_ridge"),
    ("tuned", "scratch"),
    ("sequence", "plain"),
    ("control_scratch", "control_sequence"),
)


def cpu_of_children() -> float:
    """CPU seconds of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cisoform(folder: Path, out: str, *words: str) -> float:
    """Run one command in the folder unless it is done; its CPU seconds, which depend little on other work."""
    mark = folder / f"{out}.seconds"
    if not mark.exists():
        begun = cpu_of_children()
        command = [str(Path(sys.executable).with_name("cisoform")), *words]
        if (folder / out).exists() and words[1] in ("pretrain", "train"):
            command.append("--resume")
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(f"{cpu_of_children() - begun:.1f}\n")
    return float(mark.read_text())


def prepare(folder: Path, genes: int) -> None:
    """Simulations, the pre-trained run, and both data sets."""
    for sim, share in (("sim", "0.4"), ("control_sim", "0")):
        sizes = ("--genes", str(genes), "--tissues", "4", "--chromatin", share, "--seed", "1")
        cisoform(folder, sim, "simulate", sim, "--what", "isoform", *sizes)
    if (folder / "sim/genome.fa").read_bytes() != (folder / "control_sim/genome.fa").read_bytes():
        raise SystemExit("the control has another genome: its tracks would not lie on it")
    files = ("--genome", "sim/genome.fa", "--tracks", "sim/tracks.tsv", "--window", "512")
    cisoform(folder, "regions", "regulation", "build-regions", *files, "--out", "regions")
    cisoform(folder, "stage1", "regulation", "pretrain", "regions", "--recipe", "tiny", "--out", "stage1")
    for data, sim in (("data", "sim"), ("control", "control_sim")):
        tables = ("--annotation", f"{sim}/annotation.gtf", "--expression", f"{sim}/expression.tsv")
        cut = ("--splits", f"{sim}/splits.tsv", "--edges", "stage1", "--out", data)
        cisoform(folder, data, "isoform", "build", *files, *tables, *cut)


def train(folder: Path, arm: Arm, seed: int, settings: Sequence[str]) -> tuple[Path, float]:
    """The run of one arm and seed."""
    out = f"runs/{arm.name}_{seed}"
    start = ("--elementary", "stage1") if arm.pretrained else ()
    changes = [word for text in (*arm.settings, *settings) for word in ("--set", text)]
    words = ("--recipe", "tiny", *start, *changes, "--seed", str(seed), "--out", out)
    return folder / out, cisoform(folder, out, "isoform", "train", arm.data, *words)


def scores(truth: Floats, predicted: Floats) -> dict[str, float]:
    """Mean R2 over the tissues, and that of what is left when a transcript's own mean is taken away."""
    centred = metrics.r2_centred(truth, predicted)
    return {
        "r2": float(metrics.mean_over_columns(metrics.r2(truth, predicted))),
        "r2_centred": float(metrics.mean_over_columns(centred)),
    }


def labels(dataset: IsoformDataset, part: str) -> Floats:
    return np.log1p(dataset.expression[dataset.rows(part)].astype(np.float64))


def planted(sim: Path, dataset: IsoformDataset, part: str) -> dict[str, Floats]:
    """What the rules themselves predict: all of them, and all but the state of the promoter."""
    truth = pl.read_parquet(sim / "truth.parquet")
    place = {name: row for row, name in enumerate(truth["transcript_id"])}
    truth = truth[[place[dataset.samples.transcript_ids[row]] for row in dataset.rows(part).tolist()]]

    def parts(what: str) -> Floats:
        return np.stack([truth[f"{what}:{column.name}"].to_numpy() for column in dataset.columns], axis=1)

    whole = parts("noise_free")
    if f"effect:chromatin:{dataset.columns[0].name}" not in truth.columns:
        return {"all rules": whole}
    state = parts("effect:chromatin")
    return {"all rules": whole, "all rules but chromatin": whole - state + state.mean(axis=0)}


def measure(folder: Path, seeds: int, settings: Sequence[str]) -> dict[str, Any]:
    """Train and score everything."""
    for group in (MAIN, CONTROL, RATES):
        for seed, arm in itertools.product(
            range(min(seeds, SEEDS_OF_RATES) if group is RATES else seeds), group
        ):
            run, seconds = train(folder, arm, seed, settings)
            print(f"{run.name}: {seconds:.0f} s", file=sys.stderr, flush=True)
    result: dict[str, Any] = {"arms": {}, "baselines": {}, "differences": {}, "datasets": {}}
    predictions: dict[str, list[Floats]] = {}
    for data, sim in (("data", "sim"), ("control", "control_sim")):
        dataset = IsoformDataset.open(folder / data)
        counts = {part: len(dataset.rows(part)) for part in ("train", "valid", "test")}
        result["datasets"][data] = {"hash": dataset.hash, "transcripts": counts}
        for arm in (arm for arm in ARMS if arm.data == data):
            result["arms"][arm.name], predictions[arm.name] = score_arm(
                folder, arm, dataset, min(seeds, SEEDS_OF_RATES) if arm in RATES else seeds
            )
        names = [column.name for column in dataset.columns]
        known = planted(folder / sim, dataset, "test")
        for baseline in dataset_baselines(dataset, dataset.rows("test"), names, names=BASELINES):
            known[baseline.name] = np.asarray(baseline.predicted, dtype=np.float64)
        result["baselines"][data] = {key: scores(labels(dataset, "test"), x) for key, x in known.items()}
        predictions |= {key: [x] * seeds for key, x in known.items()} if data == "data" else {}
        pairs = [pair for pair in PAIRS if pair[0].startswith("control") == (data == "control")]
        for first, second in pairs:
            found = difference(dataset, predictions[first], predictions[second])
            result["differences"][f"{first} - {second}"] = found
    return result


def score_arm(
    folder: Path, arm: Arm, dataset: IsoformDataset, seeds: int
) -> tuple[dict[str, Any], list[Floats]]:
    """Scores per seed on the valid and the test part, sizes, and the predictions of the test part."""
    models = [IsoformModel.load(folder / "runs" / f"{arm.name}_{seed}") for seed in range(seeds)]
    row: dict[str, Any] = {"parameters": sum(p.numel() for p in models[0].model.parameters())}
    row["learnt"] = sum(p.numel() for p in models[0].model.parameters() if p.requires_grad)
    row["seconds"] = [
        float((folder / "runs" / f"{arm.name}_{seed}.seconds").read_text()) for seed in range(seeds)
    ]
    found: list[Floats] = []
    for part in ("valid", "test"):
        rows = dataset.rows(part)
        found = [predict([model], dataset.samples, rows)[0].astype(np.float64) for model in models]
        row[part] = [scores(labels(dataset, part), values) for values in found]
    return row, found


def difference(dataset: IsoformDataset, first: list[Floats], second: list[Floats]) -> dict[str, Any]:
    """Mean over the seeds of the difference in centred R2, with a 95 % interval over draws of the test genes."""
    rows, truth = dataset.rows("test"), labels(dataset, "test")
    genes = metrics.group_codes([dataset.samples.gene_ids[row] for row in rows.tolist()])
    bootstrap = metrics.GroupBootstrap.draw(genes, DRAWS, 0)

    def draws(predicted: Floats) -> Floats:
        return np.asarray(metrics.mean_over_columns(bootstrap.r2(*metrics.centred_pair(truth, predicted))))

    each = [
        scores(truth, a)["r2_centred"] - scores(truth, b)["r2_centred"]
        for a, b in zip(first, second, strict=True)
    ]
    drawn = np.mean([draws(a) - draws(b) for a, b in zip(first, second, strict=True)], axis=0)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"mean": float(np.mean(each)), "seeds": each, "interval": [float(low), float(high)]}


def cell(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def table(result: dict[str, Any]) -> str:
    """The tables of docs/joining.md, in Markdown."""
    lines = [
        "| model | learnt parameters | R2 | centred R2 | valid centred R2 | CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["arms"].items():
        part = [cell([x[key] for x in row[part]]) for part, key in (("test", "r2"), ("test", "r2_centred"))]
        part += [cell([x["r2_centred"] for x in row["valid"]]), f"{np.median(row['seconds']):.0f}"]
        lines.append(f"| {name} | {row['learnt']:,} of {row['parameters']:,} | {' | '.join(part)} |")
    for data, rows in result["baselines"].items():
        for name, row in rows.items():
            lines.append(f"| {name} ({data}) | | {row['r2']:.3f} | {row['r2_centred']:.3f} | | |")
    lines += ["", "| difference in centred R2 | mean | 95 % | each seed |", "|---|---|---|---|"]
    for name, row in result["differences"].items():
        each = ", ".join(f"{value:+.3f}" for value in row["seeds"])
        low, high = row["interval"]
        lines.append(f"| {name} | {row['mean']:+.3f} | {low:+.3f} to {high:+.3f} | {each} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--genes", type=int, default=400)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    prepare(args.folder, args.genes)
    result = {**vars(args), "folder": None} | measure(args.folder, args.seeds, args.settings)
    write_json(args.folder / "joining.json", result)
    print(table(json.loads((args.folder / "joining.json").read_text())))


if __name__ == "__main__":
    main()
