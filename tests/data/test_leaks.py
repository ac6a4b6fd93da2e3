"""Nothing but sequence and exon/CDS structure reaches a model: ids and the order of rows are renamed and shuffled."""

import random

from cisoform.data.build import build_isoform_dataset
from cisoform.data.from_annotation import samples_from_annotation
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.loader import IsoformLoader, LoaderConfig, fit_normaliser
from cisoform.data.sampling import BatchLimits
from tests.data.test_loader import by_transcript

CONFIG = LoaderConfig(dna_window=301, rna_max=400, limits=BatchLimits(batch_size=11))


def renamed(toy, folder):
    """The toy files under new ids that sort otherwise, with genes and rows in another order."""
    rng = random.Random(0)
    lines = toy.expression.read_text().splitlines()
    ids = [line.split("\t")[:2] for line in lines[1:]]
    transcripts, genes = sorted({one for one, _ in ids}), sorted({one for _, one in ids})
    new = {}
    for kind, names in (("tx", transcripts), ("locus", genes)):
        numbers = rng.sample(range(10**6), len(names))
        new |= {name: f"{kind}_{number:x}" for name, number in zip(names, numbers, strict=True)}

    folder.mkdir()
    blocks: dict[str, list[str]] = {}
    for line in toy.annotation.read_text().splitlines():
        if line.startswith("#"):
            continue
        gene = line.split('gene_id "')[1].split('"')[0]
        for name in [
            gene,
            *([line.split('transcript_id "')[1].split('"')[0]] if "transcript_id" in line else []),
        ]:
            line = line.replace(f'"{name}"', f'"{new[name]}"')
        blocks.setdefault(gene, []).append(line)
    order = list(blocks)
    rng.shuffle(order)
    # Within a gene the transcripts come in reverse.
    text = []
    for gene in order:
        by_id: dict[str, list[str]] = {}
        for line in blocks[gene]:
            by_id.setdefault(
                line.split("transcript_id")[-1].split(";")[0] if "transcript_id" in line else "", []
            ).append(line)
        text += by_id.pop("", []) + [line for one in reversed(list(by_id.values())) for line in one]
    (folder / "annotation.gtf").write_text("\n".join(text) + "\n")
    for path in (toy.expression, toy.gene_expression, toy.splits):
        header, *rows = path.read_text().splitlines()
        rows = ["\t".join(new.get(field, field) for field in row.split("\t")) for row in rows]
        rng.shuffle(rows)
        (folder / path.name).write_text("\n".join([header, *rows]) + "\n")
    return new


def test_ids_and_order_do_not_reach_a_model(toy, built, tmp_path):
    folder = tmp_path / "renamed"
    new = renamed(toy, folder)
    build_isoform_dataset(
        toy.genome,
        folder / "annotation.gtf",
        folder / "expression.tsv",
        gene_expression=folder / "gene_expression.tsv",
        splits=folder / "splits.tsv",
        window=501,
        out=tmp_path / "out",
    )
    other = IsoformDataset.open(tmp_path / "out")
    assert other.samples.transcript_ids != [new[name] for name in built.dataset.samples.transcript_ids]
    seen = by_transcript(IsoformLoader(built.dataset, None, CONFIG, shuffle=False), built.dataset.samples)
    renamed_seen = by_transcript(IsoformLoader(other, None, CONFIG, shuffle=False), other.samples)
    assert {new[name]: one for name, one in seen.items()} == renamed_seen
    # Labels and split follow their transcript.
    place = {name: row for row, name in enumerate(other.samples.transcript_ids)}
    for row, name in enumerate(built.dataset.samples.transcript_ids):
        assert built.dataset.expression[row].tolist() == other.expression[place[new[name]]].tolist()
        assert built.dataset.split[row] == other.split[place[new[name]]]


def test_prediction_sees_the_same_sequences_as_training(toy, built):
    annotated = samples_from_annotation(toy.genome, toy.annotation)
    seen = by_transcript(IsoformLoader(built.dataset, None, CONFIG, shuffle=False), built.dataset.samples)
    alone = by_transcript(IsoformLoader(annotated.samples, None, CONFIG, shuffle=False), annotated.samples)
    assert {name: alone[name] for name in seen} == seen


def test_the_split_governs_the_gene_table_too(built):
    dataset = built.dataset
    train_genes = {dataset.samples.gene_ids[row] for row in dataset.rows("train")}
    for part in ("valid", "test"):
        assert not train_genes & {dataset.samples.gene_ids[row] for row in dataset.rows(part)}
    normaliser = fit_normaliser(dataset, dataset.rows("train"), CONFIG)
    loader = IsoformLoader(dataset, dataset.rows("train"), CONFIG, normaliser)
    seen = {dataset.samples.gene_ids[int(index)] for batch in loader.epoch() for index in batch.index}
    assert seen == train_genes
