"""BLEEP: patches and expression embedded in one space, expression retrieved by patch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spared_benchmark.errors import ConfigurationError, ContractError, nearest
from spared_benchmark.prediction.bank import Bank
from spared_benchmark.prediction.encoders import PatchEncoder
from spared_benchmark.prediction.methods._contrastive import (
    SpotTransformer,
    TwoSided,
    one_hot_loss,
    retrieved,
    similarities,
    soft_loss,
)
from spared_benchmark.prediction.predictor import NetworkPredictor, State, train_mean
from spared_benchmark.prediction.types import Attached, BlindSlide, NodeBatch, Sampling, Slide
from spared_benchmark.registry import Card
from spared_benchmark.study import EncoderSettings, Size

# What makes it mclSTExp (Min et al., Briefings in Bioinformatics 2024).
MCLSTEXP: Mapping[str, Any] = {
    "spots": "together",
    "targets": "one_hot",
    "average": "inverse_square",
    "neighbours": (200, 1, 10, 50),
}
_CHOICES = {
    "spots": ("alone", "together"),
    "targets": ("soft", "one_hot"),
    "average": ("equal", "inverse_square"),
}
_COMMON: dict[str, Any] = {
    "weights": "none",
    "neighbours": (50, 1, 10, 200),
    "temperature": 1.0,
    "spots": "alone",
    "targets": "soft",
    "average": "equal",
    "faithful": False,
}
_BANK = "bank."
_OWN = ("train_mean", "neighbours")
# Spots that the published mclSTExp embeds at once.
_CHUNK = 128


def _own(channels: tuple[int, ...], width: int, heads: int) -> dict[str, Any]:
    return {
        **_COMMON,
        "network": "resnet10t",
        "options": {"channels": channels, "stem_width": channels[0]},
        "image_size": 32,
        "width": width,
        "transformer": {"rows": 128, "depth": 2, "heads": heads, "head_width": 16},
    }


class Bleep(NetworkPredictor):
    """A contrastive loss draws a patch and its expression together; a new patch asks the train set.

    Its prediction is the mean profile of the train spots whose expression lies nearest to it in the
    common space, by cosine: always a mixture of profiles that were seen. The first number in
    ``neighbours`` is how many there are while it is trained; then validation selects one of them. A
    spot of a train slide finds none of its own slide (or of its neighbourhood, where there is one
    train slide). Expression enters as the deviation from the train mean, entries that do not count
    as 0, and the means are over entries that count.

    The options ``spots``, ``targets`` and ``average`` make it mclSTExp, see ``MCLSTEXP``, with
    ``network: densenet121``: expression is seen with its place and with other spots of the slide.
    Those are a random part of the slide in training, and all of it for retrieval, so that no
    prediction depends on how spots are divided into batches. On one train slide the keys that a
    train spot may find have then seen it, and what it expresses moves its own prediction a little;
    no loss, no selection and no other slide's prediction is made of that.

    With ``faithful``, the first number of neighbours stays; expression enters as it is; the targets
    for images are transposed and do not sum to one; a train spot finds itself; and with
    ``spots: together`` a batch attends to all of itself, whatever the slide, and the train spots
    are embedded 128 by 128.

    Raises:
        ConfigurationError: For an option that there is not, or without a number of neighbours.
    """

    card: ClassVar[Card] = Card(
        name="bleep",
        label="BLEEP",
        summary="Mean profile of the train spots whose expression lies nearest to the patch in a "
        "space learnt by contrast",
        source="Xie et al., NeurIPS 2023; options: Min et al., Briefings in Bioinformatics 2024",
        year=2023,
        uses=frozenset({"genes", "image"}),
        sizes={
            "paper": {
                **_COMMON,
                "network": "resnet50",
                "weights": "pretrained",
                "options": {},
                "image_size": 224,
                "width": 256,
                "transformer": {"rows": 65_536, "depth": 2, "heads": 8, "head_width": 64},
            },
            "small": _own((16, 32, 64, 128), width=128, heads=4),
            "tiny": {**_own((8, 8, 16, 16), width=32, heads=2), "neighbours": (5, 1, 10)},
        },
        version=2,
        trained=True,
        exemptions=frozenset({"retrieval"}),
    )
    loss_is_a_mean = False  # every spot of a batch is compared with every other

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        for name, allowed in _CHOICES.items():
            found = str(self.settings[name])
            if found not in allowed:
                msg = f"bleep: {name} {found!r}{nearest(found, allowed)}; give {allowed}"
                raise ConfigurationError(msg)
        numbers = self.settings["neighbours"]
        if not numbers or min(numbers) < 1:
            msg = f"bleep: neighbours {list(numbers)}; give at least one number, each above 0"
            raise ConfigurationError(msg)
        self._k = int(numbers[0])
        self._bank: Bank | None = None
        self._mean = np.zeros(0, dtype=np.float32)

    @property
    def sampling(self) -> Sampling:
        """Patches, each turned at random."""
        return Sampling(image_size=self.settings["image_size"], augment="each")

    @property
    def bank(self) -> Bank:
        """The train spots.

        Raises:
            ContractError: Before ``prepare`` or ``load_state``.
        """
        if self._bank is None:
            msg = "bleep has no train spots yet: call prepare or load_state first"
            raise ContractError(msg)
        return self._bank

    @property
    def network(self) -> TwoSided:
        """Both sides."""
        module = self.module
        assert isinstance(module, TwoSided)  # noqa: S101 - build returns no other
        return module

    def prepare(self, train: Sequence[Slide]) -> None:
        """Keep the train spots and build the network.

        Raises:
            ConfigurationError: When a spot's place is beyond the tables of places.
        """
        # Keys are learnt; of what they are made, places are not in a bank already.
        places = [slide.array_rc.astype(np.float32) for slide in train]
        self._bank = Bank.of(train, places, "none" if self.settings["faithful"] else None)
        self._mean = train_mean(train)
        rows = self.settings["transformer"]["rows"]
        furthest = int(self._bank.keys.max())
        if self.settings["spots"] == "together" and furthest >= rows:
            told = f"array place {furthest} of train is beyond transformer.rows {rows}"
            msg = f"bleep: {told}; give more"
            raise ConfigurationError(msg)
        super().prepare(train)

    def build(self, n_genes: int) -> nn.Module:
        """Return both sides.

        Raises:
            MissingInputError: When pretrained weights cannot be fetched.
        """
        names = ("network", "weights", "options", "image_size")
        wanted = EncoderSettings(**{name: self.settings[name] for name in names})
        encoder = PatchEncoder(wanted, trainable=True)
        mixer = None
        if self.settings["spots"] == "together":
            mixer = SpotTransformer(n_genes, **self.settings["transformer"])
        return TwoSided(encoder, mixer, n_genes, self.settings["width"])

    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """Return the numbers of neighbours that the bank can give."""
        if self.settings["faithful"]:
            return ()
        numbers = sorted(set(self.settings["neighbours"]))
        return [{"neighbours": k} for k in numbers if k <= len(self.bank.keys)]

    def choose(self, candidate: Mapping[str, Any]) -> None:
        """Take one number of neighbours."""
        self._k = int(candidate["neighbours"])

    def attach(self, slide: BlindSlide) -> Attached:
        """Attach what a spot may not find: its slide in the bank, or bank rows; −1 for none."""
        bank = self.bank
        own = np.full(slide.n_spots, -1, dtype=np.int64)
        beside = np.full((slide.n_spots, 0), -1, dtype=np.int64)
        known = bank.rows_of(slide) is not None
        if bank.exclude == "own_neighbourhood":
            beside = bank.beside(slide)
        elif known and bank.exclude == "own_slide":
            own[:] = bank.slides.index(slide.whole)
        left = len(bank.keys) - (beside >= 0).sum(axis=1)
        if known and bank.exclude == "own_slide":
            left = left - bank.sizes[own[0]]
        bank.tell_shortage(slide, left, max(self.settings["neighbours"]))
        return {"own": own, "beside": beside}

    def loss(self, batch: NodeBatch) -> dict[str, Tensor]:
        """Return the contrastive loss among the spots of the batch."""
        y, weight = batch.labels()
        block = batch.slide[batch.query]
        if self.settings["faithful"]:
            block = torch.zeros_like(block)
        shown = self._shown(y, weight)
        expression = self.network.spots(shown, batch.array_rc[batch.query], block)
        image = self.embedding(batch)
        temperature = self.settings["temperature"]
        if self.settings["targets"] == "one_hot":
            return {"loss": one_hot_loss(expression, image, temperature)}
        transpose = bool(self.settings["faithful"])
        return {"loss": soft_loss(expression, image, temperature, transpose=transpose)}

    def embedding(self, batch: NodeBatch) -> Tensor:
        """Return where patches lie in the common space, ``(n_queries, width)``."""
        embedded: Tensor = self.network(batch.images()[batch.query])
        return embedded

    def forward(self, batch: NodeBatch) -> Tensor:
        """Return the mean profiles of the train spots found."""
        queries = self.embedding(batch)
        device = queries.device
        values, weight = (
            torch.from_numpy(array).to(device) for array in (self.bank.values, self.bank.weight)
        )
        similarity = similarities(queries, self.keys(values, weight))
        if self.settings["faithful"]:
            weight = torch.ones_like(weight)
        return retrieved(
            self._allowed(similarity, batch),
            values,
            weight,
            self._k,
            torch.from_numpy(self._mean).to(device),
            inverse_square=self.settings["average"] == "inverse_square",
        )

    def keys(self, values: Tensor, weight: Tensor) -> Tensor:
        """Return where the bank's profiles lie in the common space, ``(n_bank, width)``."""
        shown = self._shown(values, weight)
        place = torch.from_numpy(self.bank.keys).to(values.device)
        sizes = self.bank.sizes
        if self.settings["spots"] == "together" and self.settings["faithful"]:
            sizes = tuple(len(part) for part in shown.split(_CHUNK))
        parts = zip(shown.split(sizes), place.split(sizes), strict=True)
        block = torch.zeros(max(sizes), device=values.device)
        return torch.cat([self.network.spots(y, rc, block[: len(y)]) for y, rc in parts])

    def state(self) -> State:
        """Return weights, bank, train mean and the number of neighbours."""
        bank = {_BANK + name: array for name, array in self.bank.state().items()}
        own = {"train_mean": self._mean, "neighbours": np.array([self._k])}
        return {**super().state(), **bank, **own}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take them over, without fetching weights."""
        bank = {name.removeprefix(_BANK): state[name] for name in state if name.startswith(_BANK)}
        self._bank, self._mean = Bank.from_state(bank), np.array(state["train_mean"])
        self._k = int(state["neighbours"][0])
        self._module = self.rebuilt(len(self._mean))
        self._module.load_state_dict(
            {
                name: torch.from_numpy(np.array(value))
                for name, value in state.items()
                if not name.startswith(_BANK) and name not in _OWN
            }
        )

    def _shown(self, y: Tensor, weight: Tensor) -> Tensor:
        if self.settings["faithful"]:
            return y
        return torch.where(weight, y - torch.from_numpy(self._mean).to(y.device), 0.0)

    def _allowed(self, similarity: Tensor, batch: NodeBatch) -> Tensor:
        own, beside = (batch.attached[name][batch.query] for name in ("own", "beside"))
        slide = torch.repeat_interleave(torch.tensor(self.bank.sizes)).to(own.device)
        similarity = similarity.masked_fill(slide == own[:, None], -torch.inf)
        spot, place = torch.nonzero(beside >= 0, as_tuple=True)
        similarity[spot, beside[spot, place]] = -torch.inf
        return similarity
