import logging

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from spared_benchmark.errors import ConfigurationError, InputError
from spared_benchmark.expression.moran import morans_i
from spared_benchmark.expression.normalisation import log_tpm
from spared_benchmark.expression.process import process
from spared_benchmark.slides.schema import check
from spared_benchmark.study import Cohort, ProcessingSettings
from spared_benchmark.tissue.lattice import neighbour_table

GENES = 60
SPLITS = {"A": "train", "B": "train", "C": "val", "D": "test"}


def cohort(subjects=("P1", "P2", "P1", "P2"), **changes):
    content = {
        "title": "made",
        "organism": "human",
        "tissue": "none",
        "lattice": "hexagonal",
        "format": "anndata",
        "licence": "CC0",
        "citation": "none",
        "genes": 12,
        "slides": {
            slide: {"subject": subject, "split": split}
            for (slide, split), subject in zip(SPLITS.items(), subjects, strict=True)
        },
    }
    return Cohort.model_validate({**content, **changes})


def slide(seed):
    rng = np.random.default_rng(seed)
    row, col = (place.ravel() for place in np.meshgrid(range(8), range(16), indexing="ij"))
    even = (row + col) % 2 == 0
    row, col = row[even], col[even]
    keep = rng.random(row.size) < 0.9
    row, col = row[keep], col[keep]
    level = np.geomspace(0.02, 30, GENES)
    wave = np.sin(row[:, None] / 2 + np.arange(GENES)) * np.linspace(0.9, 0.1, GENES)
    depth = rng.gamma(8, 1 / 8, row.size)[:, None]
    counts = rng.poisson(level * (1 + wave) * depth * rng.uniform(0.7, 1.4, GENES))
    counts[0] = 0
    adata = AnnData(sparse.csr_matrix(counts.astype(np.int32)))
    adata.obs_names = [f"spot{place}" for place in range(row.size)]
    adata.var_names = [f"ENSG{place:011d}" for place in range(GENES)]
    adata.var["symbol"] = [f"SYM{place}" for place in range(GENES)]
    adata.obs["array_row"], adata.obs["array_col"] = row.astype(np.int32), col.astype(np.int32)
    adata.obsm["spatial"] = np.stack([col * 50.0, row * 87.0], axis=1)
    adata.uns["slide"] = {"source_digest": f"digest {seed}"}
    return adata


SLIDES = {name: slide(seed) for seed, name in enumerate(SPLITS)}
LENGTHS = pd.DataFrame(
    {
        "gene_id": SLIDES["A"].var_names,
        "symbol": SLIDES["A"].var["symbol"].to_numpy(),
        "length": np.linspace(500, 6000, GENES).astype(int),
    }
)


def run(slides=None, protocol="transductive", settings=None, lengths=LENGTHS, **changes):
    slides = SLIDES if slides is None else slides
    loaders = {name: (lambda adata=adata: adata.copy()) for name, adata in slides.items()}
    made_by = settings or ProcessingSettings()
    return process(loaders, cohort(**changes), "MADE", protocol, made_by, lengths)


@pytest.fixture(scope="module", params=["transductive", "inductive"])
def processed(request):
    return run(protocol=request.param)


def numbers(result):
    return result.statistics.set_index("statistic")["value"].to_dict()


def test_the_contract_holds_and_files_come_back(processed, tmp_path):
    for adata, name in ((processed.expression, "expression"), (processed.context, "context")):
        check(adata, name)
        adata.write_h5ad(tmp_path / "a.h5ad")
        back = anndata.read_h5ad(tmp_path / "a.h5ad")
        check(back, name)
        assert np.array_equal(back.layers["log_tpm"], adata.layers["log_tpm"])
    assert processed.expression.obs["slide"].cat.categories.tolist() == list(SPLITS)
    assert processed.expression.uns["source_digests"]["C"] == "digest 2"
    assert processed.expression.obs_names[0] == "A_spot1"
    assert processed.expression.obs_names.equals(processed.context.obs_names)
    assert not set(processed.expression.var_names) & set(processed.context.var_names)


def test_layers_say_the_same_of_each_entry(processed):
    layers = processed.expression.layers
    measured = layers["measured"]
    assert measured.dtype == bool
    assert np.array_equal(measured, layers["counts"] > 0)
    assert np.array_equal(measured, layers["log_tpm"] > 0)
    assert np.array_equal(layers["median"][measured], layers["log_tpm"][measured])
    assert (layers["median"] > 0).all()
    for name in ("counts", "log_tpm", "median", "combat"):
        assert layers[name].dtype == np.float32


def test_counts_and_positions_are_those_of_the_slide(processed):
    for name, raw in SLIDES.items():
        part = processed.expression[processed.expression.obs["slide"] == name]
        barcodes = [spot.removeprefix(f"{name}_") for spot in part.obs_names]
        same = raw[barcodes, part.var_names]
        assert np.array_equal(part.layers["counts"], same.X.toarray())
        assert np.array_equal(part.obsm["spatial"], same.obsm["spatial"])
        assert np.array_equal(part.obs["array_row"], same.obs["array_row"])
        assert barcodes == [spot for spot in raw.obs_names if spot in barcodes]


def test_denominators_are_over_all_filtered_genes(processed):
    expression, context = processed.expression, processed.context
    assert expression.n_vars + context.n_vars == numbers(processed)["genes_filtered"]
    counts = np.concatenate([expression.layers["counts"], context.layers["counts"]], axis=1)
    lengths = np.concatenate([expression.var["gene_length"], context.var["gene_length"]])
    assert expression.obs["library_size"].to_numpy() == pytest.approx(counts.sum(axis=1))
    denominator = expression.obs["tpm_denominator"].to_numpy()
    assert denominator == pytest.approx((counts / lengths).sum(axis=1))
    values = log_tpm(counts, lengths, denominator)
    assert expression.layers["log_tpm"] == pytest.approx(values[:, : expression.n_vars], abs=1e-5)
    assert context.layers["log_tpm"] == pytest.approx(values[:, expression.n_vars :], abs=1e-5)


def test_genes_are_in_descending_order_of_morans_i(processed):
    expression, context = processed.expression, processed.context
    moran = expression.var["moran"].to_numpy()
    assert (np.diff(moran) <= 0).all()
    assert moran[-1] >= np.nanmax(context.var["moran"])
    choosers = list(SPLITS) if expression.uns["protocol"] == "transductive" else ["A", "B"]
    by_slide = []
    for name in choosers:
        part = expression[expression.obs["slide"] == name]
        place = part.obs["array_row"], part.obs["array_col"], np.zeros(part.n_obs)
        table = neighbour_table(*place, "hexagonal", 1)
        by_slide.append(morans_i(part.layers["median"], table))
    assert np.mean(by_slide, axis=0) == pytest.approx(moran, abs=1e-6)


def test_the_affine_map_of_each_slide_gives_the_combat_layer(processed):
    expression = processed.expression
    combat = expression.uns["combat"]
    assert list(combat["slides"]) == list(SPLITS)
    assert combat["skipped"] == ""
    code = expression.obs["slide"].cat.codes.to_numpy()
    mapped = combat["scale"][code] * expression.layers["median"] + combat["shift"][code]
    assert expression.layers["combat"] == pytest.approx(mapped, abs=1e-4)
    assert np.abs(expression.layers["combat"] - expression.layers["median"]).max() > 0.1


def test_train_means_are_over_measured_entries_of_train_spots(processed):
    train = processed.expression[processed.expression.obs["split"] == "train"]
    for name, layer in (("train_mean", "log_tpm"), ("train_mean_combat", "combat")):
        values = np.where(train.layers["measured"], train.layers[layer], np.nan)
        assert np.nanmean(values, axis=0) == pytest.approx(train.var[name].to_numpy(), abs=1e-5)


def test_inductive_nothing_fitted_depends_on_val_or_test_slides():
    first = run(protocol="inductive")
    others = {name: slide(seed + 50) for seed, name in enumerate("CD")}
    for adata in others.values():
        adata.X = sparse.csr_matrix(adata.X.toarray()[:, ::-1]).astype(np.int32)
    changed = {"test": {**SLIDES, "D": others["D"]}, "both": {**SLIDES, **others}}
    for who, slides in changed.items():
        second = run(slides, protocol="inductive")
        pd.testing.assert_frame_equal(first.genes, second.genes, check_exact=True)
        assert first.expression.var.equals(second.expression.var)
        assert first.context.var.equals(second.context.var)
        fixed = ["A", "B", "C"] if who == "test" else ["A", "B"]
        rows = first.expression.obs["slide"].isin(fixed).to_numpy()
        same = second.expression.obs["slide"].isin(fixed).to_numpy()
        for layer in first.expression.layers:
            assert np.array_equal(
                first.expression.layers[layer][rows], second.expression.layers[layer][same]
            )
        for key in ("scale", "shift"):
            one, two = (done.expression.uns["combat"][key] for done in (first, second))
            assert np.array_equal(one[: len(fixed)], two[: len(fixed)])
            assert not np.array_equal(one[3], two[3])


def test_transductive_the_test_slide_does_matter():
    first = run()
    second = run({**SLIDES, "D": slide(77)})
    assert not first.expression.var["moran"].equals(second.expression.var["moran"])


def test_neither_the_order_of_slides_nor_that_of_genes_matters():
    first = run()
    order = np.random.default_rng(0).permutation(GENES)
    moved = {name: SLIDES[name][:, order].copy() for name in reversed(SLIDES)}
    second = run(moved)
    assert first.expression.var.equals(second.expression.var)
    assert first.expression.obs.equals(second.expression.obs)
    assert np.array_equal(first.expression.layers["combat"], second.expression.layers["combat"])


@pytest.mark.parametrize("protocol", ["transductive", "inductive"])
def test_each_slide_is_read_twice(protocol):
    reads = []

    def loader(name):
        return lambda: reads.append(name) or SLIDES[name].copy()

    loaders = {name: loader(name) for name in SLIDES}
    process(loaders, cohort(), "MADE", protocol, ProcessingSettings(), LENGTHS)
    assert {name: reads.count(name) for name in SLIDES} == dict.fromkeys(SLIDES, 2)


def test_every_gene_and_every_spot_has_a_fate(processed):
    genes, spots = processed.genes, processed.spots
    assert set(genes["gene"]) == set(LENGTHS["gene_id"])
    by_fate = {fate: set(rows["gene"]) for fate, rows in genes.groupby("fate")}
    assert by_fate["chosen"] == set(processed.expression.var_names)
    assert by_fate["context"] == set(processed.context.var_names)
    assert set(by_fate) <= {"chosen", "context", "passed", "narrow", "limits"}
    ranked = genes[genes["rank"].notna()].sort_values("rank")
    assert ranked["gene"].tolist()[:12] == processed.expression.var_names.tolist()
    assert ranked["rank"].tolist() == list(range(1, len(ranked) + 1))
    assert (np.diff(ranked["moran"]) <= 0).all()
    kept = spots[spots["fate"] == "kept"]
    names = (kept["slide"] + "_" + kept["barcode"]).tolist()
    assert names == processed.expression.obs_names.tolist()
    assert np.array_equal(kept["library_size"], processed.expression.obs["library_size"])
    assert len(spots) == sum(adata.n_obs for adata in SLIDES.values())
    assert not spots.loc[spots["fate"] != "kept", "library_size"].any()
    raw = np.concatenate([adata.X.sum(axis=1).A1 for adata in SLIDES.values()])
    assert np.array_equal(spots["total_counts"], raw)


def test_spots_outside_the_limits_are_low_or_high():
    total = SLIDES["A"].X.sum(axis=1).A1
    limits = float(np.quantile(total, 0.1)), float(np.quantile(total, 0.9))
    spots = run(filter={"spot_counts": limits}).spots
    of_slide = spots[spots["slide"] == "A"]
    assert np.array_equal(of_slide["fate"] == "low", total <= limits[0])
    assert np.array_equal(of_slide["fate"] == "high", total >= limits[1])


def test_totals_of_spots_are_those_that_the_limits_looked_at():
    own = SLIDES["A"].copy()
    extra = AnnData(sparse.csr_matrix(np.full((own.n_obs, 1), 1000, np.int32)))
    extra.obs_names, extra.var_names = own.obs_names, ["ENSG99999999999"]
    wider = anndata.concat([own, extra], axis=1)
    wider.obs, wider.obsm["spatial"], wider.uns = own.obs, own.obsm["spatial"], own.uns
    wider.var["symbol"] = [*own.var["symbol"], "EXTRA"]
    spots = run({**SLIDES, "A": wider}).spots
    assert spots["total_counts"].equals(run().spots["total_counts"])
    assert (spots.loc[spots["fate"] == "low", "total_counts"] <= 10).all()


def test_genes_that_one_slide_does_not_measure_are_left_out():
    fewer = {**SLIDES, "C": SLIDES["C"][:, : GENES - 5].copy()}
    result = run(fewer)
    lost = set(SLIDES["A"].var_names[-5:])
    assert not lost & {*result.expression.var_names, *result.context.var_names}
    everywhere = {name: adata[:, : GENES - 5].copy() for name, adata in SLIDES.items()}
    expected = run(everywhere)
    assert expected.expression.var.equals(result.expression.var)
    assert expected.statistics.equals(result.statistics)


def test_inductive_a_gene_without_a_column_on_the_test_slide_is_zero_there_and_changes_no_other():
    first = run(protocol="inductive")
    chosen = first.expression.var_names
    lost = [chosen[0], chosen[-1], first.context.var_names[0]]
    test = SLIDES["D"]
    zero, dropped = test.copy(), test[:, ~test.var_names.isin(lost)].copy()
    zero.X = test.X.multiply(~test.var_names.isin(lost)).astype(np.int32).tocsr()
    result = run({**SLIDES, "D": dropped}, protocol="inductive")
    same = run({**SLIDES, "D": zero}, protocol="inductive")
    for name in ("expression", "context"):
        before, after, expected = (getattr(done, name) for done in (first, result, same))
        assert after.var.equals(before.var)
        assert after.obs.equals(expected.obs)
        others = (before.obs["slide"] != "D").to_numpy()
        for layer in before.layers:
            assert np.array_equal(after.layers[layer], expected.layers[layer])
            assert np.array_equal(after.layers[layer][: others.sum()], before.layers[layer][others])
    on_test = result.expression[result.expression.obs["slide"] == "D"]
    assert not on_test[:, lost[:2]].layers["measured"].any()
    assert on_test[:, chosen[1]].layers["measured"].any()
    for key in ("scale", "shift"):
        before, after = (done.expression.uns["combat"][key] for done in (first, result))
        assert np.array_equal(before[:3], after[:3])


def test_inductive_a_gene_without_a_column_on_a_train_slide_is_left_out():
    gone = run(protocol="inductive").expression.var_names[0]
    fewer = SLIDES["B"][:, SLIDES["B"].var_names != gone].copy()
    result = run({**SLIDES, "B": fewer}, protocol="inductive")
    assert gone not in {*result.expression.var_names, *result.context.var_names}


def test_genes_without_a_length_are_reported(caplog):
    whole = run()
    lost = [whole.expression.var_names[0], whole.context.var_names[0]]
    with caplog.at_level(logging.WARNING):
        result = run(lengths=LENGTHS[~LENGTHS["gene_id"].isin(lost)])
    assert numbers(result)["lengths_missing"] == 2
    assert numbers(result)["genes_filtered"] == numbers(whole)["genes_filtered"] - 2
    assert "2 of" in caplog.text
    assert all(gene in caplog.text for gene in lost)
    assert lost[0] not in result.expression.var_names


def test_names_may_be_symbols():
    named = {}
    for name, adata in SLIDES.items():
        named[name] = adata.copy()
        named[name].var_names = adata.var["symbol"].tolist()
    result = run(named)
    assert numbers(result)["lengths_missing"] == 0
    assert result.expression.var.equals(run().expression.var)
    assert np.array_equal(result.expression.layers["combat"], run().expression.layers["combat"])


def test_counts_per_million_need_no_lengths():
    settings = ProcessingSettings(normalisation="cpm")
    result = run(settings=settings, lengths=None)
    expression, context = result.expression, result.context
    counts = np.concatenate([expression.layers["counts"], context.layers["counts"]], axis=1)
    share = counts / counts.sum(axis=1, keepdims=True)
    both = np.concatenate([expression.layers["log_tpm"], context.layers["log_tpm"]], axis=1)
    assert both == pytest.approx(np.log2(1e6 * share + 1), abs=1e-4)
    assert (expression.var["gene_length"] == 1).all()
    assert numbers(result)["lengths_missing"] == 0


def test_genes_may_be_named():
    names = tuple(LENGTHS["gene_id"][12:35])
    free = run()
    every = run(genes=None, gene_names=names)
    assert set(every.expression.var_names) == set(names)
    assert (np.diff(every.expression.var["moran"]) <= 0).all()
    best = run(genes=8, gene_names=names)
    assert best.expression.var_names.tolist() == every.expression.var_names.tolist()[:8]
    passed = set(free.genes.loc[free.genes["rank"].notna(), "gene"])
    assert set(names) - passed, "some named genes do not pass the filter"
    genes = every.genes.set_index("gene")["fate"]
    assert set(genes.index[genes == "context"]) == passed - set(names)
    assert set(genes.index[genes == "context"]) == set(every.context.var_names)
    fates = best.genes.set_index("gene")["fate"]
    assert set(fates[list(set(names) | passed)]) == {"chosen", "context"}
    narrow = run(genes=8, gene_names=names, settings=ProcessingSettings(context_genes=9))
    assert (narrow.genes["fate"] == "context").sum() == narrow.context.n_vars == 1
    assert (narrow.genes["fate"] == "passed").sum() == len(passed | set(names)) - 9


def test_counts_of_named_genes_are_divided_by_the_total_over_the_filter_too():
    # All pass the filter here, so naming some must not change a single value of theirs.
    free, names = run(), tuple(run().context.var_names[:2])
    named = run(genes=None, gene_names=names).expression
    assert (named.layers["log_tpm"].max(axis=0) < np.log2(1e6)).all()
    for layer in ("counts", "log_tpm"):
        same = free.context[:, named.var_names].layers[layer]
        assert np.array_equal(named.layers[layer], same)
    assert np.array_equal(named.obs["library_size"], free.expression.obs["library_size"])
    assert named.var["moran"].notna().all()


def test_in_parity_named_genes_replace_the_filter():
    names = tuple(LENGTHS["gene_id"][30:45])
    result = run(genes=None, gene_names=names, settings=ProcessingSettings(published="new"))
    assert set(result.genes["fate"]) == {"chosen", "narrow"}
    counts = result.expression.layers["counts"].sum(axis=1)
    assert np.array_equal(result.expression.obs["library_size"], counts)


def test_thresholds_are_the_papers_text():
    rule = {"rule": "thresholds", "slide_fraction": 0.4, "overall_fraction": 0.6}
    genes = run(filter=rule).genes.set_index("gene")
    wide = (genes["fraction_min"] >= 0.4) & (genes["fraction"] >= 0.6)
    within = genes["total"].between(10, 1e6, inclusive="neither")
    assert genes.index[genes["rank"].notna()].tolist() == genes.index[wide & within].tolist()
    assert wide.any()
    assert not wide.all()


def test_parity_with_the_published_library_is_transductive():
    with pytest.raises(ConfigurationError, match=r"MADE: .*\n.*'new' cannot be kept by an induct"):
        run(protocol="inductive", settings=ProcessingSettings(published="new"))
    with pytest.raises(ConfigurationError, match=r"rank_on: 'log_tpm' cannot be kept with .*: old"):
        run(settings=ProcessingSettings(published="old", rank_on="log_tpm"))


def test_inductive_a_single_train_batch_is_told():
    changes = {"batch_key": "subject", "subjects": ("P1", "P1", "P2", "P3")}
    combat = run(protocol="inductive", **changes).expression.uns["combat"]
    assert combat["skipped"].endswith("the only one of train, is the reference and stays as it is")
    assert (combat["scale"][:2] == 1).all()
    assert not (combat["scale"][2:] == 1).all()


def test_fewer_genes_than_asked_keeps_all_and_leaves_no_context(caplog, tmp_path):
    with caplog.at_level(logging.WARNING):
        result = run(genes=500)
    assert "genes may be chosen where 500 are asked" in caplog.text
    assert result.expression.n_vars == numbers(result)["genes"] < GENES
    assert result.context.shape == (result.expression.n_obs, 0)
    check(result.context, "context")
    result.context.write_h5ad(tmp_path / "context.h5ad")
    check(anndata.read_h5ad(tmp_path / "context.h5ad"), "context")


def test_the_context_holds_no_more_than_is_asked():
    assert run(settings=ProcessingSettings(context_genes=20)).context.n_vars == 8
    assert run(settings=ProcessingSettings(context_genes=5)).context.n_vars == 0


def test_genes_may_be_ranked_on_zeros():
    result = run(settings=ProcessingSettings(rank_on="log_tpm"))
    assert not result.expression.var["moran"].equals(run().expression.var["moran"])


def test_subjects_may_be_the_batches():
    combat = run(batch_key="subject").expression.uns["combat"]
    assert np.array_equal(combat["scale"][0], combat["scale"][2])
    assert np.array_equal(combat["shift"][1], combat["shift"][3])
    assert not np.array_equal(combat["scale"][0], combat["scale"][1])


def test_inductive_no_slide_of_an_unseen_subject_moves_another():
    changes = {"batch_key": "subject", "subjects": ("P1", "P2", "P3", "P3")}
    first, second = (
        run({**SLIDES, "D": test}, "inductive", **changes).expression
        for test in (SLIDES["D"], slide(77))
    )
    of_val = [(done.obs["slide"] == "C").to_numpy() for done in (first, second)]
    for layer in first.layers:
        assert np.array_equal(first.layers[layer][of_val[0]], second.layers[layer][of_val[1]])
    for key in ("scale", "shift"):
        one, two = (done.uns["combat"][key] for done in (first, second))
        assert np.array_equal(one[:3], two[:3])
        assert not np.array_equal(one[3], two[3])


def test_inductive_slides_of_a_subject_seen_in_train_keep_its_estimate():
    combat = run(protocol="inductive", batch_key="subject").expression.uns["combat"]
    assert np.array_equal(combat["scale"][0], combat["scale"][2])
    assert np.array_equal(combat["shift"][1], combat["shift"][3])


def test_statistics(processed):
    found = numbers(processed)
    raw = np.concatenate([adata.X.toarray() for adata in SLIDES.values()])
    assert found["missing_before"] == pytest.approx((raw[:, raw.any(axis=0)] == 0).mean())
    measured = processed.expression.layers["measured"]
    assert found["missing_after"] == pytest.approx(1 - measured.mean())
    assert found["spots"] + found["spots_dropped"] == len(raw)
    assert found["spots_dropped"] == 4
    assert found["spots_corrupt"] == (~measured).any(axis=1).sum()
    assert (found["slides"], found["subjects"], found["genes"]) == (4, 2, 12)
    spots = [found[f"{split}_spots"] for split in ("train", "val", "test")]
    assert sum(spots) == found["spots"]
    assert found["genes_measured"] == raw.any(axis=0).sum()


def test_published_figures_stand_beside():
    published = {
        "slides": 4, "subjects": 2, "spots": 9, "missing_before": 0.9, "missing_after": 0.3
    }  # fmt: skip
    found = numbers(run(published=published))
    assert {name: found[f"published_{name}"] for name in published} == published


def test_bad_inputs_say_what_is_wrong():
    with pytest.raises(ConfigurationError, match="slides X are not in the cohort's definition"):
        run({**SLIDES, "X": SLIDES["A"]})
    with pytest.raises(ConfigurationError, match="none of the slides C, D has the split 'train'"):
        run({name: SLIDES[name] for name in "CD"})
    with pytest.raises(InputError, match=r"MADE: none of .* filtered genes has a length"):
        run(lengths=LENGTHS.assign(gene_id="x"))
    doubled = SLIDES["B"].copy()
    doubled.var_names = [SLIDES["B"].var_names[0]] * 2 + SLIDES["B"].var_names[2:].tolist()
    with pytest.raises(InputError, match=r"slide B: the gene .* comes more than once"):
        run({**SLIDES, "B": doubled})
    strange = SLIDES["B"].copy()
    strange.var_names = [f"ENSMUSG{place:011d}" for place in range(GENES)]
    for protocol, name in (("transductive", "B"), ("inductive", "B"), ("inductive", "D")):
        with pytest.raises(InputError, match=rf"the slides A.*{name} share no gene"):
            run({**SLIDES, name: strange}, protocol=protocol)
    empty = SLIDES["D"].copy()
    empty.X = sparse.csr_matrix(empty.shape, dtype=np.int32)
    for protocol in ("transductive", "inductive"):
        with pytest.raises(InputError, match="slide D: none of its"):
            run({**SLIDES, "D": empty}, protocol=protocol)


@pytest.mark.real
def test_the_lung_organoid_has_the_published_size(real_data, gene_lengths_folder):
    from spared_benchmark.expression.gene_lengths import read_lengths
    from spared_benchmark.slides.read import read_slide

    splits = zip("ABCD", ("train", "train", "val", "test"), strict=True)
    organoid = cohort(
        format="space_ranger",
        genes=128,
        slides={f"V19D02-088_{area}1": {"subject": "S", "split": split} for area, split in splits},
    )
    folder = real_data / "villacampa_lung_organoid"
    loaders = {
        name: (lambda name=name: read_slide(folder / name, organoid, "VLO", name).adata)
        for name in organoid.slides
    }
    lengths = read_lengths(gene_lengths_folder / "gene_lengths_human.tsv.gz")
    result = process(loaders, organoid, "VLO", "transductive", ProcessingSettings(), lengths)
    found = numbers(result)
    assert result.expression.shape == (1832, 128)
    assert result.context.n_vars == 500
    assert found["missing_before"] == pytest.approx(0.902, abs=1e-3)
    assert found["missing_after"] == pytest.approx(0.244, abs=1e-3)
    assert found["lengths_missing"] == 13
