"""Random forests grown by scikit-learn, kept as arrays and read by our own traversal.

Arrays are what can be stored without a pickle, and they go to any device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeRegressor


@dataclass(frozen=True)
class Growth:
    """How forests are grown.

    Attributes:
        trees: Of each forest.
        leaf: Train spots of a leaf at least.
        share: Of the inputs that are tried at each split, drawn anew.
        seed: Of bootstrap and splits.
        jobs: Threads; the result does not depend on them.
    """

    trees: int
    leaf: int
    share: float
    seed: int
    jobs: int = 1


@dataclass(frozen=True)
class Forests:
    """One forest for all genes, or one for each; nodes of all trees under one another.

    Attributes:
        roots: Node of each tree's root, int64 ``(n_forests, n_trees)``.
        split: Input that a node asks about, int32 ``(n_nodes,)``; 0 at leaves.
        threshold: A value up to it goes to the first child, float64 ``(n_nodes,)``; infinite at
            leaves.
        children: Nodes that follow, int32 ``(n_nodes, 2)``; a leaf is its own child, so that a
            spot that has arrived stays.
        leaf: Row of ``values`` of a leaf, int32 ``(n_nodes,)``; 0 at other nodes.
        values: Mean target of each leaf, float32 ``(n_leaves, n_genes / n_forests)``.
        depth: Of the deepest tree, int64 ``(1,)``.
    """

    roots: NDArray[np.int64]
    split: NDArray[np.int32]
    threshold: NDArray[np.float64]
    children: NDArray[np.int32]
    leaf: NDArray[np.int32]
    values: NDArray[np.float32]
    depth: NDArray[np.int64]

    def predict(self, inputs: Tensor) -> Tensor:
        """Return the mean over trees, float32 ``(n_spots, n_genes)``.

        Args:
            inputs: float32 ``(n_spots, d)``: the precision in which the trees were grown.
        """
        device = inputs.device
        split, threshold, children, leaf, values = (
            torch.from_numpy(array).to(device)
            for array in (self.split, self.threshold, self.children, self.leaf, self.values)
        )
        roots = torch.from_numpy(self.roots).to(device)
        nodes = roots.flatten().expand(len(inputs), -1)
        for _ in range(int(self.depth[0])):
            beyond = inputs.gather(1, split[nodes].long()) > threshold[nodes]
            nodes = children.flatten()[2 * nodes + beyond].long()
        rows = leaf[nodes].reshape(-1, *roots.shape)
        total = torch.zeros((*rows.shape[:2], values.shape[1]), dtype=torch.float64, device=device)
        for tree in rows.unbind(dim=2):
            total += values[tree]
        return (total / roots.shape[1]).flatten(1).float()

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Forests:
        """Return the forests of which `state` told."""
        return cls(**{one.name: np.array(state[one.name]) for one in fields(cls)})


def grow(
    inputs: NDArray[np.float32],
    y: NDArray[np.float32],
    weight: NDArray[np.bool_],
    growth: Growth,
) -> Forests:
    """Grow one forest for all genes where every entry counts, else one for each on its own spots.

    Args:
        inputs: ``(n_spots, d)``.
        y: ``(n_spots, n_genes)``; not read where ``weight`` is not set.
        weight: Entries that count; a gene with none takes the mean of all.
        growth: How.
    """
    if weight.all():
        return _gathered([_trees(inputs, y, growth)])
    overall = np.float32(y[weight].mean() if weight.any() else 0)
    forests = []
    for gene in range(y.shape[1]):
        rows = weight[:, gene]
        target = y[rows, gene, None] if rows.any() else np.full((1, 1), overall)
        forests.append(_trees(inputs[rows] if rows.any() else inputs[:1], target, growth))
    return _gathered(forests)


def _trees(
    inputs: NDArray[np.float32], y: NDArray[np.float32], growth: Growth
) -> Sequence[DecisionTreeRegressor]:
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(
        n_estimators=growth.trees,
        min_samples_leaf=growth.leaf,
        max_features=growth.share,
        random_state=growth.seed,
        n_jobs=growth.jobs,
    )
    forest.fit(inputs, y[:, 0] if y.shape[1] == 1 else y)
    trees: Sequence[DecisionTreeRegressor] = forest.estimators_
    return trees


def _gathered(forests: Sequence[Sequence[DecisionTreeRegressor]]) -> Forests:
    trees = [tree.tree_ for forest in forests for tree in forest]
    starts = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
    nodes = np.arange(sum(tree.node_count for tree in trees))
    left, right = (
        np.concatenate([getattr(t, side) + start for t, start in zip(trees, starts, strict=True)])
        for side in ("children_left", "children_right")
    )
    ends = np.concatenate([tree.children_left < 0 for tree in trees])
    values = np.concatenate([tree.value[tree.children_left < 0, :, 0] for tree in trees])
    split = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    children = np.stack([np.where(ends, nodes, left), np.where(ends, nodes, right)], axis=1)
    return Forests(
        roots=starts.reshape(len(forests), -1).astype(np.int64),
        split=np.where(ends, 0, split).astype(np.int32),
        threshold=np.where(ends, np.inf, threshold).astype(np.float64),
        children=children.astype(np.int32),
        leaf=np.where(ends, np.cumsum(ends) - 1, 0).astype(np.int32),
        values=values.astype(np.float32),
        depth=np.array([max(tree.max_depth for tree in trees)], dtype=np.int64),
    )
