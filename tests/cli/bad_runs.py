"""Wrong inputs of `isoform train`, `evaluate` and `predict`: each spoils one thing of a trained project.

A case takes copies of a project, its data set and a run, and returns the words and what the one line must contain.
New things would be written as `new`; that name must not exist afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cli.bad_input import edit
from tests.cli.mini import MiniProject

NEW = "new"
SETTINGS = ("--set", "train.max_steps=2", "--set", "train.epochs=1")


@dataclass
class Trained:
    """A project with a data set built from it and a run trained on that."""

    project: MiniProject
    data: Path
    run: Path

    def train(self, *more: str, out: Path | str = NEW, data: Path | None = None) -> list[str]:
        words = ["isoform", "train", str(data or self.data), "--recipe", "tiny", "--out", str(out)]
        return [*words, "--device", "cpu", *SETTINGS, *more]

    def evaluate(self, *more: str) -> list[str]:
        words = ["isoform", "evaluate", str(self.run), "--data", str(self.data), "--out", NEW]
        return [*words, *(more if "--split" in more else ("--split", "test", *more))]

    def predict(self, *more: str, out: str = f"{NEW}.tsv") -> list[str]:
        words = ["isoform", "predict", str(self.run), "--out", out, *more]
        if "--sequences" in more:
            return words
        return [*words, "--genome", str(self.project.genome), "--annotation", str(self.project.annotation)]


Case = Callable[[Trained], tuple[list[str], list[str]]]
RUNS: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def register(function: Case) -> Case:
        assert name not in RUNS, name
        RUNS[name] = function
        return function

    return register


def flip_byte(path: Path, at: int = -5) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


# --- train ----------------------------------------------------------------------------------------------------------


@case("train: the data set is missing")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train(data=t.data.with_name("datta")), ["datta", "isoform build"]


@case("train: the data set is some other folder")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train(data=t.project.root), [str(t.project.root), "manifest.json"]


@case("train: kernel regression on encoders without summaries")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train("--set", "model.kernel={}"), [
        "kernel regression",
        "landmark encoders",
        "model.kernel=null",
    ]


@case("train: kernel regression is asked for variances")
def _(t: Trained) -> tuple[list[str], list[str]]:
    settings = ("--recipe", "yeast-best", "--set", "model.dna.starts=null", "--set", "loss.kind=gaussian")
    return t.train(*settings), ["model.kernel", "no variance", "model.kernel=null"]


@case("train: a kernel with more than its whole share")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train("--recipe", "yeast-best", "--set", "model.kernel.weight=2"), ["weight=2", "at most 1"]


@case("train: a kernel with too little noise for rows that are alike")
def _(t: Trained) -> tuple[list[str], list[str]]:
    more = ("--set", "model.kernel.noise=1e-12", "--set", 'loader.modalities=["protein"]')
    return t.train("--recipe", "yeast-best", "--set", "model.dna.starts=null", *more), [
        "noise=1e-12",
        "raise it",
    ]


@case("train: windows whose start is not in the middle, for an encoder that expects it there")
def _(t: Trained) -> tuple[list[str], list[str]]:
    settings = ("--recipe", "yeast-best", "--set", "loader.dna_upstream=256")
    return t.train(*settings), ["landmark_dna", "dna_upstream=256", "512"]


@case("train: edges of stretches that fall")
def _(t: Trained) -> tuple[list[str], list[str]]:
    settings = ("--recipe", "yeast-best", "--set", "model.rna.stretches=[0,50,20]")
    return t.train(*settings), ["stretches=[0, 50, 20]", "must rise"]


@case("train: the data set was built by another version")
def _(t: Trained) -> tuple[list[str], list[str]]:
    edit(t.data / "manifest.json", '"format_version": 1', '"format_version": 99')
    return t.train(), [str(t.data), "99"]


@case("train: the manifest of the data set was edited")
def _(t: Trained) -> tuple[list[str], list[str]]:
    edit(t.data / "manifest.json", '"window": 128', '"window": 256')
    return t.train(), [str(t.data), "hash"]


@case("train: a file of the data set has a flipped byte")
def _(t: Trained) -> tuple[list[str], list[str]]:
    flip_byte(t.data / "expression.npy")
    return t.train(), ["expression.npy"]


@case("train: a file of the data set is cut short")
def _(t: Trained) -> tuple[list[str], list[str]]:
    path = t.data / "genome.npy"
    path.write_bytes(path.read_bytes()[:-7])
    return t.train(), ["genome.npy", "bytes"]


@case("train: a file of the data set is gone")
def _(t: Trained) -> tuple[list[str], list[str]]:
    (t.data / "protein.npy").unlink()
    return t.train(), ["protein.npy", "missing"]


@case("train: an unknown recipe")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train("--recipe", "tinny"), ["tinny", "tiny"]


@case("train: an unknown setting")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train("--set", "train.lrr=0.1"), ["train.lrr", "train.lr"]


@case("train: a setting of the wrong kind")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train("--set", "train.lr=fast"), ["train.lr", "fast"]


@case("train: a setting out of range")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train("--set", "train.lr=-1"), ["lr", "-1"]


@case("train: a setting without a value")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train("--set", "train.lr"), ["train.lr", "key=value"]


@case("train: a device that is not there")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train("--device", "cuda:77"), ["cuda:77"]


@case("train: a negative seed")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train("--seed", "-3"), ["--seed", "-3"]


@case("train: the run exists and --resume is not given")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train(out=t.run), [str(t.run), "--resume"]


@case("train: --resume and there is no run")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train("--resume"), [NEW, "--resume"]


@case("train: --resume with another configuration")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train("--resume", "--set", "train.lr=0.5", out=t.run), ["train.lr", "0.5"]


@case("train: --resume with another seed")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train("--resume", "--seed", "9", out=t.run), ["seed", "9"]


@case("train: --resume with another data set")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.train("--resume", out=t.run, data=t.data.with_name("other")), ["data set", str(t.run)]


@case("train: the checkpoint to resume from has a flipped byte")
def _(t: Trained) -> tuple[list[str], list[str]]:
    state = max((t.run / "last").rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    flip_byte(state)
    return t.train("--resume", out=t.run), [state.name]


# --- evaluate -------------------------------------------------------------------------------------------------------


@case("evaluate: the run is missing")
def _(t: Trained) -> tuple[list[str], list[str]]:
    t.run = t.run.with_name("rn")
    return t.evaluate(), ["rn", "no such folder"]


@case("evaluate: the folder holds no model")
def _(t: Trained) -> tuple[list[str], list[str]]:
    t.run = t.data
    return t.evaluate(), [str(t.data), "no model"]


@case("evaluate: the weights have a flipped byte")
def _(t: Trained) -> tuple[list[str], list[str]]:
    flip_byte(t.run / "model" / "model.safetensors")
    return t.evaluate(), ["model.safetensors"]


@case("evaluate: the model's configuration was edited")
def _(t: Trained) -> tuple[list[str], list[str]]:
    edit(t.run / "model" / "config.json", "{", "{ ")
    return t.evaluate(), ["config.json"]


@case("evaluate: the model is of another format")
def _(t: Trained) -> tuple[list[str], list[str]]:
    manifest = t.run / "model" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "format": 99}))
    return t.evaluate(), ["manifest.json", "99"]


@case("evaluate: the model's manifest is no JSON")
def _(t: Trained) -> tuple[list[str], list[str]]:
    (t.run / "model" / "manifest.json").write_text("{kind")
    return t.evaluate(), ["model"]


@case("evaluate: an unknown split")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.evaluate("--split", "tset"), ["tset", "test"]


@case("evaluate: a contrast of an unknown tissue")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.evaluate("--contrast", "Brain:Livr"), ["Livr", "Liver"]


@case("evaluate: a contrast of one tissue")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.evaluate("--contrast", "Brain"), ["Brain", ":"]


@case("evaluate: the data set lacks a tissue of the model")
def _(t: Trained) -> tuple[list[str], list[str]]:
    t.data = t.data.with_name("other")
    return t.evaluate(), ["Whole Blood"]


# --- predict --------------------------------------------------------------------------------------------------------


@case("predict: an ending that is no format")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.predict(out=f"{NEW}.xlsx"), [f"{NEW}.xlsx", ".parquet", ".tsv", ".h5ad"]


@case("predict: the genome is missing")
def _(t: Trained) -> tuple[list[str], list[str]]:
    t.project.genome.unlink()
    return t.predict(), ["genome.fa", "no such file"]


@case("predict: no id of the list is in the annotation")
def _(t: Trained) -> tuple[list[str], list[str]]:
    wanted = t.project.root / "wanted.txt"
    wanted.write_text("ENST99999999999.1\n")
    return t.predict("--transcripts", str(wanted)), ["annotation.gtf", "ENST99999999999.1"]


@case("predict: the list of ids is empty")
def _(t: Trained) -> tuple[list[str], list[str]]:
    wanted = t.project.root / "wanted.txt"
    wanted.write_text("")
    return t.predict("--transcripts", str(wanted)), ["wanted.txt"]


def sequences(t: Trained, *lines: str) -> str:
    path = t.project.root / "records.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


GOOD = '{"rna_sequence": "ATGGCCTAA"}'


@case("predict: a record that is no JSON")
def _(t: Trained) -> tuple[list[str], list[str]]:
    path = sequences(t, GOOD, "{rna_sequence: ATG}")
    return t.predict("--sequences", path), ["records.jsonl", "line 2"]


@case("predict: a record without a sequence")
def _(t: Trained) -> tuple[list[str], list[str]]:
    path = sequences(t, GOOD, '{"transcript_id": "x"}')
    return t.predict("--sequences", path), ["records.jsonl", "record 2"]


@case("predict: a record with a key that is unknown")
def _(t: Trained) -> tuple[list[str], list[str]]:
    path = sequences(t, GOOD, '{"rna": "ATG"}')
    return t.predict("--sequences", path), ["records.jsonl", "record 2", "'rna'", "rna_sequence"]


@case("predict: a record with a letter that is no base")
def _(t: Trained) -> tuple[list[str], list[str]]:
    path = sequences(t, GOOD, '{"rna_sequence": "ATG7CC"}')
    return t.predict("--sequences", path), ["records.jsonl", "record 2", "'7'"]


@case("predict: both sequences and a genome")
def _(t: Trained) -> tuple[list[str], list[str]]:
    words = t.predict("--sequences", sequences(t, GOOD))
    return [*words, "--genome", str(t.project.genome)], ["--sequences", "--genome"]


@case("predict: neither sequences nor a genome")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return ["isoform", "predict", str(t.run), "--out", f"{NEW}.tsv"], ["--genome", "--sequences"]


@case("predict: an average of nothing")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.predict("--average", "0"), ["--average", "0"]


@case("predict: the folder of the result is missing")
def _(t: Trained) -> tuple[list[str], list[str]]:
    return t.predict(out=f"nowhere/{NEW}.tsv"), ["nowhere"]
