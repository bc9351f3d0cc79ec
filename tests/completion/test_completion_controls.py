from __future__ import annotations

import numpy as np
import pytest

from spared_benchmark.completion.controls import completion_controls
from spared_benchmark.completion.masks import Masks
from spared_benchmark.completion.protocol import run_completer
from spared_benchmark.completion.score_tables import (
    COLUMNS,
    add_skill,
    collect_completion_scores,
)
from spared_benchmark.completion.setting import Setting
from spared_benchmark.errors import ContractError


@pytest.fixture
def controls(expression, masks, settings):
    return completion_controls(expression, masks, settings)


def pooled(scores, **wanted):
    chosen = scores[(scores["slide"] == "") & (scores["split"] == "test") & (scores["assay"] == 0)]
    for column, content in wanted.items():
        chosen = chosen[chosen[column] == content]
    assert len(chosen) == 1
    return float(chosen["value"].iloc[0])


def test_one_count_is_exact_where_one_was_counted(expression, masks, settings):
    expression.layers["measured"] = expression.layers["counts"] == 1
    lone = masks.__class__.draw(expression, settings)
    table = completion_controls(expression, lone, settings)
    assert pooled(table, completer="one_count", metric="mse", space="log_tpm") < 1e-10


def test_kinds_and_columns(controls):
    assert tuple(controls.columns) == COLUMNS
    kinds = dict(zip(controls["completer"], controls["kind"], strict=True))
    assert kinds == {"one_count": "control", "floor": "ceiling"}
    assert set(controls["space"]) == {"log_tpm", "combat"}


def test_in_combat_the_affine_map_scales_the_floor(controls):
    plain = pooled(controls, completer="floor", metric="mse", space="log_tpm")
    corrected = pooled(controls, completer="floor", metric="mse", space="combat")
    assert 0 < plain < 1
    assert corrected == pytest.approx(4 * plain)
    for space in ("log_tpm", "combat"):
        assert 0 <= pooled(controls, completer="floor", metric="pcc_gene", space=space) <= 1
    # Truth and control go through the same map: errors grow by its squared slope.
    plain = pooled(controls, completer="one_count", metric="mse", space="log_tpm")
    corrected = pooled(controls, completer="one_count", metric="mse", space="combat")
    assert corrected == pytest.approx(4 * plain, rel=1e-4)


@pytest.fixture
def regimes(settings):
    drawn = {"entries": (0.3, 0.5), "spots": (0.3,), "blocks": (0.3,), "gene_region": (0.3,)}
    drawn |= {"low_values": (0.3,), "molecular": (0.5,)}
    return settings.model_copy(update={"regimes": drawn})


def test_controls_and_floor_stand_in_every_regime(expression, regimes):
    table = completion_controls(expression, Masks.draw(expression, regimes), regimes)
    keys = [column for column in COLUMNS if column not in ("value", "n")]
    assert not table.duplicated(keys).any()
    drawn = {(regime, share) for regime, shares in regimes.regimes.items() for share in shares}
    for completer, metrics in (
        ("one_count", {"mse", "pcc_net", "moran_error"}),
        ("floor", {"mse"}),
    ):
        for metric in metrics:
            rows = table[(table["completer"] == completer) & (table["metric"] == metric)]
            of_space = rows[rows["space"] == "log_tpm"]
            found = set(zip(of_space["regime"], of_space["hidden_fraction"], strict=True))
            assert found == drawn
            assert np.isfinite(rows.loc[rows["metric"] == "mse", "value"]).all()
            corrected = rows[rows["space"] == "combat"]
            assert set(zip(corrected["regime"], corrected["hidden_fraction"], strict=True)) == {
                ("entries", 0.3)
            }


def test_one_count_is_told_the_depth_of_the_half_that_is_seen(expression, regimes):
    masks = Masks.draw(expression, regimes)
    setting = Setting(expression, masks, "log_tpm")
    table = completion_controls(expression, masks, regimes)
    assay = next(setting.assays("molecular", 0.5))
    lengths = expression.var["gene_length"].to_numpy()
    single = np.log2(1 + 1e6 / (lengths * assay.seen_depth[:, None]))
    on_test = setting.split == "test"
    errors = (single - assay.truth)[assay.hidden & on_test[:, None]]
    found = pooled(table, completer="one_count", metric="mse", regime="molecular")
    assert found == pytest.approx((errors**2).mean(), rel=1e-4)


def test_a_spot_without_a_molecule_in_the_seen_half_has_the_depth_of_its_slide(expression, regimes):
    counts = np.zeros_like(expression.layers["counts"])
    counts[:] = expression.layers["counts"]
    counts[110:130] = 0
    counts[110:130, 3] = 1
    expression.layers["counts"], expression.layers["measured"] = counts, counts > 0
    expression.obs["library_size"] = counts.sum(axis=1)
    lengths = expression.var["gene_length"].to_numpy()
    expression.obs["tpm_denominator"] = (counts / lengths).sum(axis=1)
    masks = Masks.draw(expression, regimes)
    assert (masks.halves[0].library_size[0, 108:] == 0).any()
    table = completion_controls(expression, masks, regimes)
    assert np.isfinite(table.loc[table["metric"] == "mse", "value"]).all()


def test_skill_is_told_in_every_regime(expression, regimes, training):
    masks = Masks.draw(expression, regimes)
    names = ("slide_gene_mean", "additive")
    tables = [run_completer(one, expression, masks, regimes, training).scores for one in names]
    scores = collect_completion_scores([*tables, completion_controls(expression, masks, regimes)])
    for regime, share in (("entries", 0.5), ("blocks", 0.3), ("molecular", 0.5)):
        pick = {"space": "log_tpm", "regime": regime, "hidden_fraction": share}
        mean, floor, own = (
            pooled(scores, completer=one, metric="mse", **pick)
            for one in ("slide_gene_mean", "floor", "additive")
        )
        skill = pooled(scores, completer="additive", metric="skill", **pick)
        assert skill == pytest.approx((mean - own) / (mean - floor))


def test_a_slide_without_its_map_is_named(expression, masks):
    expression.uns["combat"]["slides"] = ["A", "B", "C"]
    with pytest.raises(ContractError, match=r"tells no map for the slides \['D'\]"):
        Setting(expression, masks, "combat").affine()


def test_skill_is_the_share_of_the_reducible_error(expression, masks, settings, training, controls):
    names = ("slide_gene_mean", "additive")
    tables = [run_completer(name, expression, masks, settings, training).scores for name in names]
    scores = collect_completion_scores([*tables, controls])
    for space in ("log_tpm", "combat"):
        pick = {"metric": "mse", "space": space}
        mean = pooled(scores, completer="slide_gene_mean", **pick)
        floor = pooled(scores, completer="floor", **pick)
        own = pooled(scores, completer="additive", **pick)
        skill = pooled(scores, completer="additive", metric="skill", space=space)
        assert skill == pytest.approx((mean - own) / (mean - floor))
        assert pooled(scores, completer="slide_gene_mean", metric="skill", space=space) == 0
    assert "floor" not in set(scores.loc[scores["metric"] == "skill", "completer"])
    assert len(add_skill(scores)) == len(scores)
    keys = [column for column in COLUMNS if column not in ("value", "n")]
    assert not scores.duplicated(keys).any()


def test_skill_is_undefined_where_nothing_is_reducible(controls):
    errors = controls[controls["completer"] == "floor"]
    mean = errors.assign(completer="slide_gene_mean", kind="control")
    skill = add_skill(_joined(errors, mean))
    values = skill.loc[skill["metric"] == "skill", "value"]
    assert len(values) > 0
    assert values.isna().all()


def test_without_the_reference_no_skill_is_told(controls):
    scores = collect_completion_scores([controls])
    assert "skill" not in set(scores["metric"])
    assert len(scores) == len(controls)
    assert list(collect_completion_scores([]).columns) == list(COLUMNS)


def _joined(*tables):
    import pandas as pd

    return pd.concat(tables, ignore_index=True)


def test_counts_that_are_not_whole_have_no_floor(expression, masks, settings):
    expression.layers["counts"] = expression.layers["counts"] + np.float32(0.5)
    table = completion_controls(expression, masks, settings)
    floor = table[(table["completer"] == "floor") & (table["metric"] == "mse")]
    assert floor["value"].isna().all()
