"""The released SpaCKLE's training: spots of a batch attend to one another, slot by slot."""

from __future__ import annotations

import torch
from torch import Tensor

from spared_benchmark.completion.methods._spackle_layers import Layout, Weights
from spared_benchmark.completion.methods._spackle_network import encode
from spared_benchmark.completion.methods._spackle_problem import SpackleProblem
from spared_benchmark.training.dropout import Dropout


class ReleasedProblem(SpackleProblem):
    """As `SpackleProblem`, but each slot attends over the batch instead of the neighbourhood.

    The released encoder takes the first axis for the sequence and is given the batch there. A
    batch is a random subset of the train spots, as each batch of a shuffled pass is.
    """

    def _sets(self, members: Tensor) -> Tensor:
        return members.T.contiguous()

    def validations(self, weights: Weights) -> dict[str, Tensor]:
        """Return ``val_mse`` over hidden entries of the val spots, in batches in their order."""
        expression, size = self.validation.expression, self.batch_size
        completed = complete_in_batches(weights, expression, size, self.products, drop_last=True)
        return {"val_mse": self._errors(completed)}


def complete_in_batches(
    weights: Weights,
    expression: Tensor,
    batch_size: int,
    products: torch.dtype,
    *,
    drop_last: bool = False,
) -> Tensor:
    """Return the completed expression of spots that attend to the others of their batch.

    Neighbours are left out: each slot attends within itself alone, so they cannot change the
    centre's.

    Args:
        weights: Stacked weights of `SpackleNetwork`.
        expression: Input, batches in this order ``(n_spots, n_genes)``.
        batch_size: Spots that see one another.
        products: As `encode`.
        drop_last: Leave out an incomplete last batch, unless it is the only one.

    Returns:
        ``(n_copies, n_spots, n_genes)``.
    """
    if drop_last and expression.shape[0] > batch_size:
        expression = expression[: expression.shape[0] // batch_size * batch_size]
    drop = Dropout(0.0, None, expression.device)
    with torch.inference_mode():
        parts = []
        for batch in expression.split(batch_size):
            everyone = torch.ones(1, batch.shape[0], dtype=torch.bool, device=batch.device)
            parts.append(encode(weights, batch, Layout.packed(everyone), drop, products))
        return torch.cat(parts, dim=1)
