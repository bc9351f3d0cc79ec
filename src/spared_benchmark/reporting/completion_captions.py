"""What stands below the figures of completion."""

from __future__ import annotations

COMPLETION_CAPTIONS = {
    "completion_errors": "Errors on hidden entries, all completers. A point is one slide in one "
    "assay, random entries at 30 % hidden (the first way of hiding where that was not run); the "
    "shape is the density of log10 MSE, the stroke its median. Best first; grey: controls, green: "
    "the Poisson floor. n: hidden entries of one assay, all slides together. Numbers at the "
    "border: medians beyond it.",
    "completion_shares": "Errors against the share of measured entries hidden at random, mean over "
    "assays. Named: the best methods over all cohorts and the paper's; grey: the others; dashed: "
    "controls; green: the Poisson floor.",
    "completion_regimes": "Share of the reducible error removed, in %, by way of hiding: 0 is the "
    "mean of the slide, 100 the Poisson floor; mean over cohorts, which count alike. An asterisk: "
    "not every cohort has the cell; hatched: none has.",
    "learning_curves": "Error on the val entries of selection while networks were trained, one "
    "line per learning rate; dots: the lowest, whose weights were kept. Cut at twice the lowest of "
    "a panel.",
    "hidden_maps": "One slide, one assay, random entries at 30 % hidden. Two genes, those that the "
    "best method recovered best and worst by PCC: what was measured, what stayed visible, what was "
    "hidden, and what completers gave the hidden spots. Grey: nothing to show. One scale per gene "
    "(1st to 99th percentile of what was measured).",
    "hidden_scatter": "Completed against true values of the entries hidden in one assay, random "
    "entries at 30 %; dashed: equal. The best methods, the paper's and the mean to beat. Values "
    "beyond the true range lie at the border. Genes differ in level, so a cloud along the line "
    "needs no skill: read the errors and the PCC within genes.",
}
