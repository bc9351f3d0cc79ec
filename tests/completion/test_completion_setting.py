"""What is seen, hidden and judged in each space."""

from __future__ import annotations

import numpy as np
import pytest

from spared_benchmark.completion.setting import Setting


@pytest.mark.parametrize("space", ["log_tpm", "combat"])
def test_selection_hides_its_own_masks_on_the_val_slides(space, expression, masks):
    val = (expression.obs["split"] == "val").to_numpy()
    measured = expression.layers["measured"][val]
    values = expression.layers[space][val]
    hidden = masks.selection()[val]
    for assay in range(masks.assays):
        assert not np.array_equal(hidden, masks.reported(assay)[val])
    selection = Setting(expression, masks, space).selection()
    np.testing.assert_array_equal(selection.hidden, hidden)
    np.testing.assert_array_equal(selection.truth, np.where(hidden, values, 0))
    np.testing.assert_array_equal(selection.visible.visible, measured & ~hidden)
    np.testing.assert_array_equal(selection.visible.values, np.where(measured & ~hidden, values, 0))
    # Corrected space alone shows what the published protocol shows: values at missing entries.
    shown = np.where(measured, 0, values) if space == "combat" else np.zeros_like(values)
    filled = np.where(measured & ~hidden, values, shown)
    np.testing.assert_array_equal(selection.visible.filled, filled)
