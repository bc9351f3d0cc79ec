"""What an LSTM makes of a network's steps, as Hist2ST and HGGEP have it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def joined_steps(lstm: nn.LSTM, steps: Sequence[Tensor]) -> Tensor:
    """Return the mean of the LSTM's outputs over the steps, ``(n_spots, width)``.

    On a CPU it computes in single precision, whatever autocast says: torch's LSTM in bfloat16
    fails on processors without such instructions.

    Args:
        lstm: Batch first.
        steps: Each ``(n_spots, width)``, in order.
    """
    sequence = torch.stack(list(steps), dim=1)
    if sequence.device.type != "cpu":
        output: Tensor = lstm(sequence)[0]
    else:
        with torch.autocast("cpu", enabled=False):
            output = lstm(sequence.float())[0]
    return output.mean(dim=1)
