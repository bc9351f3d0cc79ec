"""Write published.npz: what the published library computes, done a second and slow way.

Two small cohorts are simulated: three hexagonal slides of 33 to 36 spots and two square ones, eight
genes each. Everything is computed from the definitions by loops over spots and genes, without the
package. Two arrays are numpy's own: the order of tied values under AVX-512, which a processor
without it cannot reproduce.

Usage: python tests/golden/make_published.py [file]
"""

from __future__ import annotations

import math
import statistics
import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("published.npz")
LENGTHS = (812, 1540, 2210, 930, 4105, 1275, 3320, 655)
HOPS = 4
PUBLISHED_SCALE_FACTOR = 0.8


def sites(lattice, rng):
    """Spot centres of one slide with a ragged border, moved a little so that no two tie."""
    side = 6
    places = []
    for row in range(side):
        for col in range(side):
            x = col + 0.5 * (row % 2) if lattice == "hexagonal" else col
            y = row * math.sqrt(3) / 2 if lattice == "hexagonal" else row
            places.append((100 * x, 100 * y))
    corners = [(0, 0), (0, side - 1), (side - 1, 0)][: rng.integers(0, 4)]
    dropped = {row * side + col for row, col in corners}
    kept = [place for number, place in enumerate(places) if number not in dropped]
    return np.array(kept) + rng.uniform(-2, 2, (len(kept), 2))


def simulate(lattice, slides, rng):
    """Counts that vary smoothly over each slide, with its own depth, and the genes' own rates."""
    spatial, counts, slide = [], [], []
    rates = np.geomspace(0.1, 4, len(LENGTHS))
    for number in range(slides):
        xy = sites(lattice, rng)
        depth = rng.uniform(0.7, 1.4)
        wave = rng.uniform(0, 0.012, (2, len(LENGTHS)))
        level = rates * depth * np.exp(np.sin(xy @ wave) * 0.8 + rng.normal(0, 0.2, len(LENGTHS)))
        one = rng.poisson(level)
        one[:, 4] += 1
        spatial.append(xy)
        counts.append(one)
        slide += [number] * len(xy)
    return np.concatenate(spatial), np.concatenate(counts), np.array(slide)


def log_values(counts):
    """log2(TPM + 1), one spot and one gene at a time."""
    result = []
    for spot in counts.tolist():
        per_base = [count / length for count, length in zip(spot, LENGTHS, strict=True)]
        total = sum(per_base)
        result.append([math.log2(1e6 * value / total + 1) for value in per_base])
    return result


def nearest(xy, lattice):
    """By spot, the set of its neighbours by pixel distance."""
    wanted = 6 if lattice == "hexagonal" else 8
    found = []
    for one in range(len(xy)):
        far = [(math.dist(xy[one], xy[two]), two) for two in range(len(xy)) if two != one]
        found.append(sorted(far)[:wanted])
    if lattice != "hexagonal":
        limit = 1.3 * statistics.median(away for row in found for away, _ in row)
        found = [[(away, spot) for away, spot in row if away < limit] for row in found]
    return [{spot for _, spot in row} for row in found]


def turned(graph):
    """Who has the spot for a neighbour, instead of whom it has."""
    return [
        {other for other in range(len(graph)) if spot in graph[other]} for spot in range(len(graph))
    ]


def neighbourhoods(graph, hops):
    """By spot, whom one reaches in 1 to ``hops`` steps, without the spot."""
    result = []
    for spot in range(len(graph)):
        reached, frontier = set(), {spot}
        for _ in range(hops):
            frontier = {after for before in frontier for after in graph[before]}
            reached |= frontier
        result.append(sorted(reached - {spot}))
    return result


def padded(lists):
    """Each spot and its list, filled up with −1."""
    width = max(len(entries) for entries in lists)
    rows = [[spot, *row, *[-1] * (width - len(row))] for spot, row in enumerate(lists)]
    return np.array(rows, dtype=np.int8)


def completed(values, graph):
    """The adaptive median of one slide, one missing entry at a time."""
    windows = [neighbourhoods(graph, hops) for hops in range(1, HOPS + 1)]
    result = [list(row) for row in values]
    for gene in range(len(values[0])):
        present = [row[gene] for row in values if row[gene] != 0]
        for spot in range(len(values)):
            if values[spot][gene] == 0:
                tried = [
                    statistics.median(values[member][gene] for member in [spot, *window[spot]])
                    for window in windows
                ]
                last = statistics.median(present) if present else 0
                result[spot][gene] = next((value for value in tried if value != 0), last)
    return result


def moran(values, graph):
    """Moran's I of each gene of one slide."""
    result = []
    for gene in range(len(values[0])):
        column = [row[gene] for row in values]
        mean = sum(column) / len(column)
        centred = [value - mean for value in column]
        linked = [spot for spot in range(len(graph)) if graph[spot]]
        product = sum(
            centred[spot] * sum(centred[other] for other in graph[spot]) / len(graph[spot])
            for spot in linked
        )
        square = sum(value**2 for value in centred)
        result.append(len(column) / len(linked) * product / square if square else math.nan)
    return result


def combat(values, batch):
    """ComBat with the published faults, from standardised values themselves."""
    genes, codes = range(len(values[0])), sorted(set(batch))
    rows = {code: [spot for spot, own in enumerate(batch) if own == code] for code in codes}
    mean = [statistics.fmean(row[gene] for row in values) for gene in genes]
    level = {
        code: [statistics.fmean(values[spot][gene] for spot in rows[code]) for gene in genes]
        for code in codes
    }
    deviation = [
        math.sqrt(
            statistics.fmean(
                (values[spot][g] - level[own][g]) ** 2 for spot, own in enumerate(batch)
            )
        )
        for g in genes
    ]
    result = [[0.0] * len(mean) for _ in values]
    for code in codes:
        standard = [[(values[s][g] - mean[g]) / deviation[g] for s in rows[code]] for g in genes]
        gamma, delta = shrunk(standard)
        for g in genes:
            for place, spot in enumerate(rows[code]):
                residual = (standard[g][place] - gamma[g]) / math.sqrt(delta[g])
                result[spot][g] = residual * deviation[g] + mean[g]
    return result


def shrunk(standard):
    """Location and squared scale of one batch, as far as the published iteration goes."""
    spots = len(standard[0])
    hat = [statistics.fmean(row) for row in standard]
    spread = [statistics.pvariance(row) for row in standard]
    bar, width = statistics.fmean(hat), statistics.pvariance(hat)
    m, s2 = statistics.fmean(spread), statistics.pvariance(spread)
    a, b = (2 * s2 + m**2) / s2, (m * s2 + m**3) / s2
    gamma, delta, change = hat, spread, 1.0
    while change > 1e-4:
        new = [
            (spots * width * h + d * bar) / (spots * width + d)
            for h, d in zip(hat, delta, strict=True)
        ]
        squares = [sum((value - new[0]) ** 2 for value in row) for row in standard]
        scale = [(square / 2 + b) / (spots / 2 + a - 1) for square in squares]
        change = max(
            max(abs(n - o) / o for n, o in zip(new, gamma, strict=True)),
            max(abs(n - o) / o for n, o in zip(scale, delta, strict=True)),
        )
        gamma, delta = new, scale
    return gamma, delta


def cohort(lattice, slides, rng):
    """Everything of one cohort, by name."""
    spatial, counts, slide = simulate(lattice, slides, rng)
    logs = log_values(counts)
    out = {"spatial": spatial, "counts": counts.astype(np.uint8), "slide": slide.astype(np.uint8)}
    out["log1p"] = np.array(logs)
    for orientation in ("new", "old"):
        medians, by_slide = [], []
        for code in range(slides):
            rows = np.flatnonzero(slide == code)
            graph = nearest(spatial[rows], lattice)
            graph = turned(graph) if orientation == "old" else graph
            medians += completed([logs[row] for row in rows], graph)
            by_slide.append(moran(medians[-len(rows) :], graph))
            for hops in range(1, HOPS + 1):
                name = f"neighbours_{code}_hops{hops}_{orientation}"
                out[name] = padded(neighbourhoods(graph, hops))
        out[f"d_log1p_{orientation}"] = np.array(medians)
        out[f"moran_{orientation}"] = np.array(by_slide)
    return out


def corrected(out, train):
    """ComBat and what follows of it, from the layers of the orientation ``new``.

    Genes come in the order in which the library leaves them, by their mean Moran's I: ComBat
    depends on which is the first.
    """
    mean_moran = [statistics.fmean(column) for column in out["moran_new"].T.tolist()]
    out["ranked"] = np.array(sorted(range(len(LENGTHS)), key=lambda gene: -mean_moran[gene]))
    logs, medians, counts = (
        out[name][:, out["ranked"]].tolist() for name in ("log1p", "d_log1p_new", "counts")
    )
    batch = out["slide"].tolist()
    spots, genes = range(len(batch)), range(len(LENGTHS))
    both = combat(medians, batch)
    chosen = [both[spot] for spot in spots if batch[spot] in train]
    mean = [statistics.fmean(row[gene] for row in chosen) for gene in genes]
    delta = [[both[spot][gene] - mean[gene] for gene in genes] for spot in spots]
    out["c_log1p"] = np.array(combat(logs, batch))
    out["c_d_log1p"], out["c_d_log1p_avg_exp"] = np.array(both), np.array(mean)
    out["c_d_deltas"] = np.array(delta)
    out["noisy_c_d_log1p"] = np.array(
        [[both[s][g] if counts[s][g] else 0.0 for g in genes] for s in spots]
    )
    out["noisy_c_d_deltas"] = np.array(
        [[delta[s][g] if counts[s][g] else -mean[g] for g in genes] for s in spots]
    )
    return out


def filtered(rng):
    """Expressed fractions of 40 genes, no two alike, and which of them stay at 0.8."""
    lowest = rng.permutation(np.arange(1, 41) / 41).tolist()
    overall = [
        min(1.0, value + extra)
        for value, extra in zip(lowest, rng.uniform(0, 0.2, 40), strict=True)
    ]
    ranked = sorted(range(40), key=lambda gene: -lowest[gene])
    last = max(n for n in range(1, 41) if sum(overall[g] for g in ranked[:n]) / n >= 0.8)
    kept = [gene in ranked[:last] for gene in range(40)]
    return {"lowest": np.array(lowest), "overall": np.array(overall), "kept": np.array(kept)}


def hidden(fractions):
    """How likely an entry is hidden, by method and gene."""
    odds = [(1 - fraction) / fraction for fraction in fractions]
    chances = {
        "mask_prob": [0.3 / fraction for fraction in fractions],
        "prob_median": odds,
        "scale_factor": [PUBLISHED_SCALE_FACTOR * value for value in odds],
    }
    return {name: np.array([min(1.0, v) for v in row]) for name, row in chances.items()}


def tied(rng):
    """Values with many ties and the order in which numpy's unstable sort leaves them."""
    made = {
        "many": rng.integers(0, 40, 1500) / 40,
        "short": rng.integers(0, 5, 60) / 5,
        "falling": np.sort(rng.integers(0, 9, 700) / 9)[::-1].copy(),
    }
    orders = {f"{name}_order": np.argsort(values).astype(np.int16) for name, values in made.items()}
    return {
        **{name: np.rint(values * 360).astype(np.uint16) for name, values in made.items()},
        **orders,
    }


def everything():
    """Return every array of the file by its name."""
    rng = np.random.default_rng(20)
    parts = {
        "hex": corrected(cohort("hexagonal", 3, rng), train={0, 1}),
        "square": cohort("square", 2, rng),
        "filter": filtered(rng),
        "ties": tied(rng),
    }
    fractions = (parts["hex"]["counts"] > 0).mean(axis=0)
    parts["hidden"] = {"fraction": fractions, **hidden(fractions.tolist())}
    return {f"{part}_{name}": array for part, own in parts.items() for name, array in own.items()}


if __name__ == "__main__":
    np.savez_compressed(sys.argv[1] if len(sys.argv) > 1 else FILE, **everything())
