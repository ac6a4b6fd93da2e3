"""Effects of alleles against whole haplotypes, cut and encoded again peak by peak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import predict
from cisoform.analysis.reader import Reader
from cisoform.analysis.variant_windows import PeakWindows, control_alleles, place_alleles
from cisoform.analysis.variants import by_base
from cisoform.errors import InputError
from cisoform.genome.fasta import Genome
from cisoform.genome.sequence import decode_dna, encode_dna
from cisoform.genome.variants import Allele, read_vcf
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.readings import open_reader
from cisoform.jobs.variants import score_variants
from cisoform.tokens.peaks import dna_tokens, signal_tokens
from tests.data.gene_sets import build_small, save_creformer

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("variants")


@pytest.fixture(scope="module")
def reader(root: Path) -> Reader:
    dataset = build_small(root, fragments=True, n_cells=6)
    model = CREformerModel.load(save_creformer(root / "model"))
    every = np.arange(dataset.groups.height), np.arange(dataset.genes.height)
    return open_reader(model, dataset, *every, cache=root / "cache")


def middles(reader: Reader) -> np.ndarray:
    return ((reader.peaks["start"] + reader.peaks["end"]) // 2).to_numpy()


def write_vcf(path: Path, records: list[tuple[str, int, str, str]]) -> Path:
    lines = [
        f"{chrom}\t{position + 1}\tv{row}\t{ref}\t{alt}\n"
        for row, (chrom, position, ref, alt) in enumerate(records)
    ]
    path.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n" + "".join(lines))
    return path


@pytest.fixture(scope="module")
def vcf(root: Path, reader: Reader) -> Path:
    """A substitution, an insertion, deletions at an edge and over a middle, and a replacement by two alleles."""
    genome = Genome.open(root / "files" / "genome.fa")
    mid = middles(reader)
    chrom = reader.peaks["chrom"].to_list()

    def at(peak: int, offset: int, length: int) -> tuple[str, int, str]:
        whole = decode_dna(genome.chromosome(chrom[peak]))
        position = int(mid[peak]) + offset
        return chrom[peak], position, whole[position : position + length]

    made = []
    for peak, offset, length, alt in (
        (1, -40, 1, "{other}"),
        (2, 30, 1, "{same}GATTACAGATTACA"),
        (3, -520, 12, "{same}"),
        (4, -3, 9, "{same}"),
        (5, 100, 4, "TTTTTTT,{same}"),
    ):
        name, position, ref = at(peak, offset, length)
        other = "ACGT"[("ACGT".index(ref[0]) + 1) % 4]
        made.append((name, position, ref, alt.format(other=other, same=ref[0])))
    return write_vcf(root / "v.vcf", made)


def haplotype_window(whole: str, allele: Allele, middle: int) -> np.ndarray:
    """The 1,029 bases round a base of the reference on the chromosome that carries the allele; N beyond its ends."""
    end = allele.position + len(allele.ref)
    changed = whole[: allele.position] + allele.alt + whole[end:]
    first, ref, alt = allele.trimmed()
    if middle < first:
        centre = middle
    elif middle >= first + len(ref):
        centre = middle + len(alt) - len(ref)
    else:
        centre = first + min(middle - first, max(len(alt) - 1, 0))
    padded = "N" * 514 + changed + "N" * 514
    return encode_dna(padded[centre : centre + 1029])


@torch.no_grad()
def naive(
    reader: Reader, genome: Genome, allele: Allele, gene: int, group: int, scaled: bool
) -> tuple[float, float]:
    """Reference and alternative prediction of one gene in one group, every peak encoded from its bases."""
    inputs = reader.inputs(np.array([gene]), np.array([group]))
    mask = inputs.mask
    peaks = inputs.peak[mask].numpy()
    signal = reader.base_signal(inputs, mask)
    values = []
    for carries in (False, True):
        windows, shown = [], []
        for row, peak in enumerate(peaks.tolist()):
            chrom = reader.peaks["chrom"][peak]
            middle = int(middles(reader)[peak])
            whole = decode_dna(genome.chromosome(chrom))
            plain = encode_dna(("N" * 514 + whole + "N" * 514)[middle : middle + 1029])
            window = haplotype_window(whole, allele, middle) if carries and chrom == allele.chrom else plain
            windows.append(window)
            factor = (
                np.exp(gc_share(window[None]) - gc_share(plain[None]))[0]
                if scaled and carries
                else np.ones(8)
            )
            # 128 bases a bin; the last five bases belong to the eighth.
            shown.append(signal[row] * np.append(np.repeat(factor, 128), [factor[7]] * 5))
        dna = torch.from_numpy(dna_tokens(np.stack(windows)).astype(np.int32))
        tokens = torch.from_numpy(signal_tokens(np.stack(shown).astype(np.float32), reader.dataset.edges))
        vectors = reader.model.encode_peaks(dna, {"atac": tokens})
        values.append(float(predict(reader.model, reader.link, inputs.replaced(mask, vectors))[0]))
    return values[0], values[1]


def gc_share(windows: np.ndarray) -> np.ndarray:
    """Stands for a model of accessibility: 500 times the share of G and C in each of 8 bins (levels must change)."""
    is_gc = (windows == 1) | (windows == 2)
    return 500 * is_gc[:, :1024].reshape(len(windows), 8, 128).mean(axis=2)


def test_effects_equal_haplotypes_encoded_from_scratch(root: Path, reader: Reader, vcf: Path) -> None:
    path = root / "files" / "genome.fa"
    genome = Genome.open(path)
    groups = np.arange(0, reader.groups.height, 2)
    found = score_variants(
        *(reader, Grouping.by_itself(reader.groups, groups), np.arange(reader.genes.height), vcf),
        genome=path,
        expected=gc_share,
        n_controls=0,
    )
    assert found.counts == {"scored": 6}
    alleles = read_vcf(vcf)
    assert set(found.effects["variant"]) == {one.name for one in alleles}
    table = found.effects.filter(pl.int_range(pl.len()) % 2 == 0)
    assert table.height > 15
    ids, names = reader.genes["gene_id"].to_list(), reader.groups["name"].to_list()
    moved = rescaled = 0
    for row in table.iter_rows(named=True):
        allele = next(one for one in alleles if one.name == row["variant"] and one.alt == row["alt"])
        where = ids.index(row["gene_id"]), names.index(row["group"])
        before, after = naive(reader, genome, allele, *where, scaled=False)
        assert row["reference"] == pytest.approx(before, abs=2e-5)
        assert row["alternative"] == pytest.approx(after, abs=2e-5)
        moved += abs(after - before) > 1e-4
        again = naive(reader, genome, allele, *where, scaled=True)[1]
        assert row["difference_accessibility_predicted"] == pytest.approx(again - before, abs=2e-5)
        rescaled += abs(again - after) > 1e-4
    assert moved > 5 and rescaled > 1  # most groups show no cut in most peaks


def test_every_gene_in_reach_and_no_other_is_predicted(reader: Reader, vcf: Path) -> None:
    genes, groups = np.arange(reader.genes.height), np.array([1])
    found = score_variants(reader, Grouping.by_itself(reader.groups, groups), genes, vcf, n_controls=0)
    mid, index = middles(reader), reader.dataset.index
    for allele in read_vcf(vcf):
        first, ref, _ = allele.trimmed()
        on = (reader.peaks["chrom"] == allele.chrom).to_numpy()
        touched = np.flatnonzero(on & (first < mid + 515) & (first + max(len(ref), 1) > mid - 514))
        expected = {
            reader.genes["gene_id"][gene]
            for gene in genes.tolist()
            if np.isin(np.arange(index.first[gene], index.first[gene] + index.count[gene]), touched).any()
        }
        rows = found.effects.filter((pl.col("variant") == allele.name) & (pl.col("alt") == allele.alt))
        assert set(rows["gene_id"]) == expected and rows.height == len(expected) > 0
        about = found.variants.filter((pl.col("variant") == allele.name) & (pl.col("alt") == allele.alt))
        assert about["n_peaks"].item() == len(touched) and about["n_genes"].item() == len(expected)
        assert about["largest_difference"].item() == rows["difference"].abs().max()


def test_labels_average_groups_and_controls_are_drawn_once(reader: Reader, vcf: Path) -> None:
    genes, groups = np.arange(reader.genes.height), np.arange(reader.groups.height)
    alone = score_variants(reader, Grouping.by_itself(reader.groups, groups), genes, vcf, n_controls=2)
    types = reader.groups["cell_type"].to_list()
    by_type = Grouping.by_label("cell_type", types, groups)
    joint = score_variants(reader, by_type, genes, vcf, n_controls=2).effects
    of = dict(zip(reader.groups["name"], types, strict=True))
    labelled = alone.effects.with_columns(cell_type=pl.col("group").replace_strict(of))
    keys = ["variant", "alt", "gene_id", "cell_type"]
    mean = labelled.group_by(keys).agg(pl.col("difference").mean().alias("mean"), pl.len().alias("n"))
    joined = joint.join(mean, on=keys)
    assert joined.height == joint.height > 0
    np.testing.assert_allclose(joined["difference"], joined["mean"], atol=1e-6)
    assert (joined["n_groups"] == joined["n"]).all()
    many = joint.filter(pl.col("n_groups") > 1)
    assert (
        many.height
        and (many["low"] <= many["difference"]).all()
        and (many["high"] >= many["difference"]).all()
    )
    again = score_variants(reader, by_type, genes, vcf, n_controls=2, seed=0).effects
    assert again.equals(joint)
    other = score_variants(reader, by_type, genes, vcf, n_controls=2, seed=1).effects
    assert not other["control_mean_absolute"].equals(joint["control_mean_absolute"])
    assert set(alone.effects["n_controls"]) == {2}
    assert set(alone.effects["p"].round(4)) <= {0.3333, 0.6667, 1.0}


def test_without_a_genome_a_deletion_draws_in_unknown_bases(root: Path, reader: Reader, vcf: Path) -> None:
    windows = PeakWindows.of(reader, np.arange(reader.dataset.n_peaks))
    placed = place_alleles(read_vcf(vcf), windows)
    deletion = placed.windows[placed.allele == 3][0]
    assert (deletion[-8:] == 4).sum() + (deletion[:8] == 4).sum() == 8 and (deletion[8:-8] < 4).all()
    substitution = placed.windows[placed.allele == 0][0]
    assert (substitution != windows.bases[placed.peak[placed.allele == 0][0]]).sum() == 1


def test_controls_change_as_much_at_another_place(reader: Reader, vcf: Path) -> None:
    windows = PeakWindows.of(reader, np.arange(reader.dataset.n_peaks))
    alleles = read_vcf(vcf)
    placed = place_alleles(alleles, windows)
    drawn, of = control_alleles(alleles, placed, windows, 3, seed=4)
    assert of.tolist() == np.repeat(np.arange(len(alleles)), 3).tolist()
    for one, number in zip(drawn, of.tolist(), strict=True):
        _, ref, alt = alleles[number].trimmed()
        assert (len(one.ref), len(one.alt)) == (len(ref), len(alt))
    assert set(place_alleles(drawn, windows).status) == {"scored"}
    same, _ = control_alleles(alleles[:2], place_alleles(alleles[:2], windows), windows, 3, seed=4)
    assert same == drawn[:6]  # does not depend on what else is in the file


def test_factors_reach_every_base() -> None:
    found = by_base(np.arange(8.0)[None])
    assert found.shape == (1, 1029)
    assert (found[0, :1024] == np.repeat(np.arange(8), 128)).all() and (found[0, 1024:] == 7).all()


def test_a_genome_of_another_assembly_is_refused(root: Path, reader: Reader, vcf: Path) -> None:
    text = (root / "files" / "genome.fa").read_text()
    other = root / "other.fa"
    other.write_text(
        "".join(line if line.startswith(">") else line[::-1].strip() + "\n" for line in text.splitlines(True))
    )
    with pytest.raises(InputError, match=r"other\.fa: its bases at chr1:.* are not those of the data"):
        score_variants(
            *(reader, Grouping.by_itself(reader.groups, np.array([0])), np.arange(3), vcf), genome=other
        )
