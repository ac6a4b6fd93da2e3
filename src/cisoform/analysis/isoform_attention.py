"""Where the RNA encoder of an IsoFormer looks, before and after fine-tuning (IsoFormer, Appendix C and Fig. 3 right).

For one transcript, layer and head: of the attention weights above their mean, the share (by weight) that lands on the
5'UTR, the CDS and the 3'UTR. Special tokens neither ask nor are read; a token of several bases counts for its regions
by their bases. The paper does not print the formula: this is that of the authors' Nucleotide Transformer paper, with
the mean as threshold. Transcripts of one family are averaged first, and tests are over families.

Two nulls. The share of a region's bases is what even attention would give. The permutation null turns the regions of
each transcript round by a random number of positions (they stay in one piece, since neighbouring positions are alike)
and keeps the attention; both models are turned alike, so that their difference has a null too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from jaxtyping import Bool, Float, Int, Integer
from scipy.stats import t as student
from torch import nn

from cisoform.analysis.enrichment import benjamini_hochberg
from cisoform.batches import Tokens
from cisoform.data.loader import IsoformLoader, LoaderConfig
from cisoform.data.samples import IsoformSamples
from cisoform.models.encoders.attention import encoder_attention, position_of_base
from cisoform.tokens.kmer import token_starts
from cisoform.tokens.rna import CODON_1, CODON_3, JUNCTION, UTR3, UTR5, first_base_kept

REGIONS = ("5'UTR", "CDS", "3'UTR")
Update = Callable[[int, int], None]
Shares = Float[np.ndarray, "layers heads regions"]


@dataclass(frozen=True)
class AttentionShares:
    """Shares of above-mean attention of some families; NaN where a head attends to all positions alike.

    Attributes:
        families: Name of each.
        n_transcripts: Transcripts in all.
        before: Of the encoder before fine-tuning.
        after: Of the fine-tuned one.
        bases: Share of each region among the bases that are read: what even attention gives.
        null_before: Mean over the families with regions turned round, for each draw.
        null_after: The same of the fine-tuned encoder, with the same turns.
    """

    families: list[str]
    n_transcripts: int
    before: Float[np.ndarray, "families layers heads regions"]
    after: Float[np.ndarray, "families layers heads regions"]
    bases: Float[np.ndarray, "families regions"]
    null_before: Float[np.ndarray, "draws layers heads regions"]
    null_after: Float[np.ndarray, "draws layers heads regions"]


def attention_received(
    weights: Float[np.ndarray, "layers heads queries keys"], real: Bool[np.ndarray, " positions"]
) -> Float[np.ndarray, "layers heads kept"]:
    """Each real position's share of a head's above-mean attention; NaN where no weight is above the mean.

    Args:
        weights: Softmax weights of one transcript.
        real: Positions that hold bases; the others neither ask nor are read.
    """
    inner = weights[:, :, real][:, :, :, real].astype(np.float64)
    # A head that spreads its attention evenly has no weight above the mean but by rounding.
    mean = inner.mean(axis=(2, 3), keepdims=True) * (1 + 1e-6)
    received = np.where(inner > mean, inner, 0.0).sum(axis=2)
    total = received.sum(axis=2, keepdims=True)
    return np.where(total > 0, received / np.where(total > 0, total, 1.0), np.nan)


def region_of_bases(codes: Integer[np.ndarray, " bases"]) -> Int[np.ndarray, " bases"]:
    """0, 1 or 2 for the bases of 5'UTR, CDS and 3'UTR, from the codes of `tokens.rna`; -1 for anything else."""
    plain = codes.astype(np.int64) % JUNCTION
    coding = (plain >= CODON_1) & (plain <= CODON_3)
    return np.select([plain == UTR5, coding, plain == UTR3], [0, 1, 2], default=-1)


def region_shares(
    region: Int[np.ndarray, " bases"], position: Int[np.ndarray, " bases"], n_positions: int
) -> tuple[Float[np.ndarray, "positions regions"], Bool[np.ndarray, " positions"]]:
    """What part of each position's bases lies in each region, and which positions hold bases."""
    counts = np.zeros((n_positions, len(REGIONS)))
    known = region >= 0
    np.add.at(counts, (position[known], region[known]), 1.0)
    total = np.bincount(position, minlength=n_positions)
    return counts / np.maximum(total, 1)[:, None], total > 0


def turned(
    shares: Float[np.ndarray, "positions regions"], offsets: Int[np.ndarray, " draws"]
) -> Float[np.ndarray, "draws positions regions"]:
    """Regions turned round the transcript by each offset: position p takes the regions of p + offset."""
    n = len(shares)
    return np.asarray(shares[(np.arange(n)[None, :] + offsets[:, None]) % n], dtype=np.float64)


def attention_shares(
    before: nn.Module,
    after: nn.Module,
    samples: IsoformSamples,
    rows: npt.NDArray[np.integer],
    family: Sequence[str],
    loader: LoaderConfig,
    *,
    draws: int = 200,
    seed: int = 0,
    update: Update | None = None,
) -> AttentionShares:
    """Read both encoders on some coding transcripts.

    Args:
        before: The RNA encoder before fine-tuning, in evaluation mode.
        after: The fine-tuned one, of the same form.
        samples: Transcripts.
        rows: Which of them; each has an RNA and a CDS.
        family: Family of every transcript of `samples`.
        loader: How the model is shown RNA.
        draws: Turns of the permutation null.
        seed: Of the turns.
        update: Is told how many transcripts of how many are read.
    """
    config = _one_by_one(loader)
    batches = IsoformLoader(samples, rows, config, shuffle=False)
    rng = np.random.default_rng(seed)
    names = sorted({family[int(row)] for row in rows})
    index = {name: number for number, name in enumerate(names)}
    sums: dict[str, npt.NDArray[np.float64]] = {}
    counts: dict[str, npt.NDArray[np.float64]] = {}
    bases = np.zeros((len(names), len(REGIONS)))
    members = np.zeros(len(names))
    # A family counts once in the null as in the data, however many transcripts it has.
    size = np.bincount([index[family[int(row)]] for row in rows], minlength=len(names))
    for done, batch in enumerate(batches.epoch()):
        assert batch.rna is not None
        row, tokens = int(batch.index[0]), batch.rna.tokens
        where = index[family[row]]
        shares, real, own = _regions(after, samples, row, tokens, loader)
        offsets = rng.integers(0, max(int(real.sum()), 1), size=draws)
        nulls = turned(shares[real], offsets)
        for name, encoder in (("before", before), ("after", after)):
            device = next(encoder.parameters()).device
            weights = encoder_attention(encoder, tokens.to(device))[:, 0].float().cpu().numpy()
            received = attention_received(weights, real)
            found = received @ shares[real]
            turned_round = np.einsum("lhp,dpr->dlhr", received, nulls) / size[where]
            _add(sums, counts, name, found, where, len(names))
            _add(sums, counts, f"null_{name}", turned_round, None, draws, 1 / size[where])
        bases[where] += own
        members[where] += 1
        if update is not None:
            update(done + 1, len(rows))
    means = {name: _divided(sums[name], counts[name]) for name in sums}
    return AttentionShares(
        families=names,
        n_transcripts=len(rows),
        before=means["before"],
        after=means["after"],
        bases=bases / np.maximum(members, 1)[:, None],
        null_before=means["null_before"],
        null_after=means["null_after"],
    )


def _one_by_one(loader: LoaderConfig) -> LoaderConfig:
    """One transcript a batch: no padding, and no more weights in memory than those of one."""
    limits = replace(loader.limits, batch_size=1, token_budget=None)
    return replace(loader.for_evaluation(), modalities=("rna",), limits=limits)


def _regions(
    encoder: nn.Module, samples: IsoformSamples, row: int, tokens: Tokens, loader: LoaderConfig
) -> tuple[
    Float[np.ndarray, "positions regions"], Bool[np.ndarray, " positions"], Float[np.ndarray, " regions"]
]:
    """Regions of the positions, which of them are real, and the regions' shares of the bases."""
    length = int(samples.lengths("rna")[row])
    region = region_of_bases(samples.regions(row, first_base_kept(length, loader.rna_max)))
    ids = tokens.ids[0].numpy()
    if loader.rna_tokens == "kmers":
        starts = token_starts(ids)
        token = np.searchsorted(starts, np.arange(len(region)), side="right") - 1
    else:
        token = np.arange(len(region))
    position = position_of_base(encoder, token)
    n_positions = int(position_of_base(encoder, np.array([len(ids) - 1]))[0]) + 1
    shares, real = region_shares(region, position, n_positions)
    return shares, real, np.bincount(region[region >= 0], minlength=len(REGIONS)) / max(len(region), 1)


def _add(
    sums: dict[str, npt.NDArray[np.float64]],
    counts: dict[str, npt.NDArray[np.float64]],
    name: str,
    found: npt.NDArray[np.float64],
    where: int | None,
    n: int,
    weight: float = 1.0,
) -> None:
    """Add values to a running mean, of one family or (None) of all draws; undefined ones do not count."""
    if name not in sums:
        shape = (n, *found.shape) if where is not None else found.shape
        sums[name], counts[name] = np.zeros(shape), np.zeros(shape)
    known = np.isfinite(found)
    place = slice(None) if where is None else where
    sums[name][place] += np.where(known, found, 0.0)
    counts[name][place] += known * weight


def _divided(total: npt.NDArray[np.float64], count: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(count > 0, total / np.where(count > 0, count, 1.0), np.nan)


# ---------------------------------------------------------------------------------------------------------- tests


def attention_table(found: AttentionShares, level: float = 0.95) -> pl.DataFrame:
    """A row per layer, head (both from 1) and region.

    `share_before`, `share_after`: means over the families that have both. `difference` with its interval, `t`, `p`:
    paired t-test; `fdr`: Benjamini-Hochberg over all rows. `null_*`: mean of the permutation null; `p_null_*`: share of
    draws at least as far from its mean as what is observed, which counts as a draw itself.
    """
    _, layers, heads, _ = found.before.shape
    even = found.bases.mean(axis=0)
    rows = []
    for layer in range(layers):
        for head in range(heads):
            for place, region in enumerate(REGIONS):
                one = (slice(None), layer, head, place)
                row: dict[str, object] = {"layer": layer + 1, "head": head + 1, "region": region}
                row |= paired_t(found.before[one], found.after[one], level)
                row["share_of_bases"] = float(even[place])
                nulls = {"before": found.null_before[one], "after": found.null_after[one]}
                nulls["difference"] = nulls["after"] - nulls["before"]
                observed = {
                    "before": row["share_before"],
                    "after": row["share_after"],
                    "difference": row["difference"],
                }
                for name, draws in nulls.items():
                    row[f"null_{name}"] = _mean(draws)
                    row[f"p_null_{name}"] = permutation_p(float(observed[name]), draws)  # type: ignore[arg-type]
                rows.append(row)
    table = pl.DataFrame(rows)
    rates = {
        name: benjamini_hochberg(table[p].to_numpy().astype(np.float64))
        for name, p in (("fdr", "p"), ("fdr_null_difference", "p_null_difference"))
    }
    return table.with_columns(pl.Series(name, values) for name, values in rates.items())


def paired_t(
    before: Float[np.ndarray, " families"], after: Float[np.ndarray, " families"], level: float = 0.95
) -> dict[str, object]:
    """Means, difference after - before with its interval, t and p over the families that have both."""
    both = np.isfinite(before) & np.isfinite(after)
    change = (after - before)[both]
    n = len(change)
    row: dict[str, object] = {
        "n_families": n,
        "share_before": _mean(before[both]),
        "share_after": _mean(after[both]),
        "difference": _mean(change),
    }
    error = float(change.std(ddof=1)) / n**0.5 if n > 1 else float("nan")
    mean = np.float64(_mean(change))
    reach = float(student.ppf((1 + level) / 2, n - 1)) * error if n > 1 else float("nan")
    with np.errstate(divide="ignore"):
        score = float(mean / np.float64(error)) if n > 1 and (error or mean) else float("nan")
    p = float("nan") if np.isnan(score) else float(2 * student.sf(abs(score), n - 1))
    return row | {"low": float(mean - reach), "high": float(mean + reach), "t": score, "p": p}


def permutation_p(observed: float, draws: Float[np.ndarray, " draws"]) -> float:
    """Two-sided p-value of a value among draws of its null; NaN without draws."""
    known = draws[np.isfinite(draws)]
    if not len(known) or not np.isfinite(observed):
        return float("nan")
    centre = known.mean()
    return float((np.sum(np.abs(known - centre) >= abs(observed - centre) - 1e-12) + 1) / (len(known) + 1))


def _mean(values: Float[np.ndarray, " values"]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def same_weights(one: nn.Module, two: nn.Module) -> bool:
    """Whether two encoders of one form hold the same numbers."""
    left, right = one.state_dict(), two.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
