"""The written files agree with each other, read by independent routines."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import polars
import pysam
import pytest

from cisoform.data.simulate.config import RULES, SimulateConfig, tiny
from cisoform.data.simulate.simulation import simulate
from cisoform.data.simulate.write import write_simulation
from cisoform.errors import InputError
from cisoform.genome.annotation import read_annotation
from cisoform.genome.fasta import Genome
from cisoform.genome.transcripts import build_transcripts
from tests.data.simulate.naive import CODE, effects, features, flip, read_tsv, with_variant


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(simulated, tmp_path):
    again = hashes(write_simulation(simulate(simulated.config), tmp_path / "again"))
    assert again == hashes(simulated.folder)
    other = hashes(write_simulation(simulate(SimulateConfig(seed=4, n_genes=11)), tmp_path / "other"))
    assert not set(again.values()) & set(other.values()) - {again["samples.tsv"]}


def test_the_fasta_index_finds_the_bases(simulated):
    with pysam.FastaFile(str(simulated.folder / "genome.fa")) as handle:
        assert dict(zip(handle.references, handle.lengths, strict=True)) == {
            name: len(text) for name, text in simulated.genome.items()
        }
        assert handle.fetch("chr2", 1234, 2345) == simulated.genome["chr2"][1234:2345]


def test_the_bgzip_genome_holds_the_same_bases(simulated, tmp_path):
    folder = write_simulation(simulated.simulation, tmp_path / "zipped", bgzip=True)
    assert not (folder / "genome.fa").exists()
    with pysam.FastaFile(str(folder / "genome.fa.gz")) as handle:
        assert {name: handle.fetch(name) for name in handle.references} == simulated.genome


def test_every_cds_starts_stops_and_stays_in_frame(simulated):
    coding = 0
    for transcript in simulated.transcripts.values():
        if "CDS" not in transcript.rows:
            continue
        coding += 1
        cds = transcript.text(simulated.genome, "CDS")
        assert len(cds) % 3 == 0
        protein = "".join(CODE[cds[i : i + 3]] for i in range(0, len(cds), 3))
        assert protein[0] == "M" and "*" not in protein
        assert transcript.text(simulated.genome, "start_codon") == "ATG"
        assert CODE[transcript.text(simulated.genome, "stop_codon")] == "*"
        done = 0
        for start, end, phase in transcript.spans("CDS"):
            assert int(phase) == -done % 3
            done += end - start + 1
    assert coding > 100


def test_utr_cds_and_stop_codon_tile_the_exons(simulated):
    for transcript in simulated.transcripts.values():
        if "CDS" not in transcript.rows:
            continue
        covered = sorted(
            base
            for kind in ("UTR", "CDS", "stop_codon")
            for start, end, _ in transcript.spans(kind)
            for base in range(start, end + 1)
        )
        exons = [b for start, end, _ in transcript.spans("exon") for b in range(start, end + 1)]
        assert covered == sorted(exons)


def test_introns_have_splice_sites(simulated):
    introns = 0
    for transcript in simulated.transcripts.values():
        exons = sorted(transcript.rows["exon"])
        for (_, end, _), (start, _, _) in zip(exons, exons[1:], strict=False):
            intron = simulated.genome[transcript.chrom][end : start - 1]
            intron = intron if transcript.strand == "+" else flip(intron)
            # Where an isoform skips an exon, its intron spans two introns and that exon.
            assert intron[:2] == "GT" and intron[-2:] == "AG"
            introns += 1
    assert introns > 200


def test_both_strands_and_every_kind_of_isoform_occur(simulated):
    transcripts = simulated.transcripts.values()
    assert {transcript.strand for transcript in transcripts} == {"+", "-"}
    noncoding = sum("CDS" not in transcript.rows for transcript in transcripts)
    assert 0 < noncoding < len(transcripts) / 2
    by_gene = {}
    for transcript in transcripts:
        by_gene.setdefault(transcript.gene_id, []).append(transcript)
    starts = [len({t.tss() for t in group}) for group in by_gene.values()]
    ends = [len({t.spans("exon")[-1][:2] for t in group}) for group in by_gene.values()]
    sizes = [len(group) for group in by_gene.values()]
    assert max(starts) > 1 and max(ends) > 1
    assert any(size > start for size, start in zip(sizes, starts, strict=True))  # a shared TSS


def test_rules_computed_by_hand_give_the_truth(simulated):
    table = polars.read_parquet(simulated.folder / "truth.parquet")
    tissues, rules = simulated.truth["tissues"], simulated.truth["rules"]
    for row in table.iter_rows(named=True):
        values = features(simulated.transcripts[row["transcript_id"]], simulated.genome, rules)
        found = effects(values, rules, len(tissues))
        for at, tissue in enumerate(tissues):
            assert {rule: found[rule][at] for rule in RULES} == pytest.approx(
                {rule: row[f"effect:{rule}:{tissue}"] for rule in RULES}, abs=1e-9
            )
            whole = simulated.truth["base"][tissue] + sum(found[rule][at] for rule in RULES)
            assert row[f"noise_free:{tissue}"] == pytest.approx(whole, abs=1e-6)


def test_planted_sites_are_where_the_bed_says(simulated):
    motifs = simulated.truth["rules"]["promoter"]["motifs"] | simulated.truth["rules"]["utr3"]["motifs"]
    rows = [line.split("\t") for line in (simulated.folder / "elements.bed").read_text().splitlines()]
    assert len(rows) > 300
    for chrom, start, end, name, _, strand in rows:
        text = simulated.genome[chrom][int(start) : int(end)]
        text = text if strand == "+" else flip(text)
        motif = name.split("|")[0]
        if motif == "uORF":
            assert re.fullmatch(r"GCCACCATGG.{5}T[AG]A", text)
        else:
            assert sum(a != b for a, b in zip(text, motifs[motif], strict=True)) <= 1
    assert {name.split("|")[2] for _, _, _, name, _, _ in rows} == {"acts", "decoy"}


def test_variants_match_the_genome_and_have_the_stated_effects(simulated):
    rules, n_tissues = simulated.truth["rules"], len(simulated.truth["tissues"])
    rows = [
        line.split("\t")
        for line in (simulated.folder / "variants.vcf").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert len(rows) == len(simulated.truth["variants"]) == 96
    nonzero = dict.fromkeys({variant["kind"] for variant in simulated.truth["variants"]}, 0)
    for row, variant in zip(rows, simulated.truth["variants"], strict=True):
        assert row[:5] == [
            variant["chrom"],
            str(variant["position"]),
            variant["id"],
            variant["ref"],
            variant["alt"],
        ]
        genome, transcripts = with_variant(simulated.genome, simulated.transcripts, variant)
        for name in variant["effects"]:
            before = effects(features(simulated.transcripts[name], simulated.genome, rules), rules, n_tissues)
            after = effects(features(transcripts[name], genome, rules), rules, n_tissues)
            change = np.sum(list(after.values()), axis=0) - np.sum(list(before.values()), axis=0)
            assert variant["effects"][name] == pytest.approx(list(change), abs=1e-8)
        nonzero[variant["kind"]] += any(value for row in variant["effects"].values() for value in row)
    assert nonzero["control"] == nonzero["decoy_snv"] == 0
    assert all(count for kind, count in nonzero.items() if kind not in ("control", "decoy_snv"))


def test_variant_indels_are_left_aligned(simulated):
    indels = [v for v in simulated.truth["variants"] if len(v["ref"]) != len(v["alt"])]
    assert indels
    for variant in indels:
        assert min(len(variant["ref"]), len(variant["alt"])) == 1
        assert variant["ref"][0] == variant["alt"][0]
        assert variant["ref"][-1] != variant["alt"][-1]


def test_replicates_and_genes_add_up_to_the_expression(simulated):
    header, rows = read_tsv(simulated.folder / "expression.tsv")
    tissues = header[2:]
    values = np.array([row[2:] for row in rows], dtype=float)
    samples, replicate_rows = read_tsv(simulated.folder / "replicates.tsv")
    of_sample = dict(read_tsv(simulated.folder / "samples.tsv")[1])
    replicates = np.log1p(np.array([row[2:] for row in replicate_rows], dtype=float))
    for at, tissue in enumerate(tissues):
        mine = [column for column, sample in enumerate(samples[2:]) if of_sample[sample] == tissue]
        assert len(mine) == simulated.config.replicates
        np.testing.assert_allclose(replicates[:, mine].mean(axis=1), np.log1p(values[:, at]), atol=2e-5)
    genes = {
        name: np.array(row, dtype=float)
        for name, *row in read_tsv(simulated.folder / "gene_expression.tsv")[1]
    }
    for gene, total in genes.items():
        mine = values[[row[1] == gene for row in rows]].sum(axis=0)
        np.testing.assert_allclose(mine, total, rtol=1e-5)
    split = dict(read_tsv(simulated.folder / "splits.tsv")[1])
    assert set(split) == set(genes) and set(split.values()) == {"train", "valid", "test"}


def test_a_folder_that_holds_something_is_not_replaced(simulated, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="out: already exists"):
        write_simulation(simulated.simulation, tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]


def test_the_tiny_preset_has_the_promised_size():
    config = tiny()
    simulation = simulate(config)
    assert 1200 <= len(simulation.genome.transcript_ids) <= 2000
    assert 4 <= len(config.tissues) <= 6
    assert sum(len(codes) for codes in simulation.genome.chromosomes.values()) < 2_000_000
    assert len(simulation.variants) == config.n_variants


def test_the_genome_layer_reads_what_the_simulator_meant(simulated):
    annotation = read_annotation(simulated.folder / "annotation.gtf")
    transcripts = build_transcripts(annotation, Genome.open(simulated.folder / "genome.fa"))
    genome = simulated.simulation.genome
    meant = genome.sequences()
    order = {name: row for row, name in enumerate(transcripts.table["transcript_id"])}
    rows = np.array([order[name] for name in genome.transcript_ids])
    read = transcripts.rna.take(rows)
    assert (read.offsets == meant.rna.offsets).all() and (read.data == meant.rna.data).all()
    assert (transcripts.table.select("cds_start", "cds_end").to_numpy()[rows] == meant.cds).all()
    assert (transcripts.table["flags"] == 0).all()
    tss = transcripts.table["tss"].to_numpy()[rows]
    assert tss.tolist() == [simulated.transcripts[name].tss() for name in genome.transcript_ids]
