"""What a study is made of: typed cohorts and settings, every problem reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from spared_benchmark.cohort_settings import (
    FilterSettings,
    Fraction,
    PublishedFigures,
    SimulationSettings,
)
from spared_benchmark.settings_model import Settings

Split = Literal["train", "val", "test"]
Lattice = Literal["hexagonal", "square", "diamond"]
Protocol = Literal["transductive", "inductive"]
Organism = Literal["human", "mouse", "simulated"]
Format = Literal["space_ranger", "legacy_st", "anndata", "spared"]
Severity = Literal["error", "warning"]
Size = Literal["paper", "small", "tiny"]

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Code = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
# Of an encoder: no dash, because names of files and datasets are cut at dashes.
EncoderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$")]
# ``1d`` is one spot diameter, ``112um`` is 112 µm.
Window = Annotated[str, Field(pattern=r"^([1-9]\d*(\.\d+)?|0\.\d*[1-9]\d*)(d|um)$")]
VariantName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Regime = Literal["entries", "spots", "blocks", "gene_region", "low_values", "molecular"]

# The way of hiding by which completers select, are compared first and meet the printed numbers.
HEADLINE: tuple[Regime, float] = ("entries", 0.3)
_HEADLINE_ONLY: dict[Regime, tuple[float, ...]] = {HEADLINE[0]: (HEADLINE[1],)}
# The ways of hiding that have a counterpart in context genes.
CONTEXT_REGIMES: tuple[Regime, ...] = ("entries", "spots", "blocks", "low_values")
# The share of molecules withheld where molecules, not entries, are hidden: one of two halves.
HALF = 0.5

# Centre-to-centre distance of neighbouring spots, µm: Visium, first and second generation ST.
PITCH_UM: dict[str, float] = {"hexagonal": 100.0, "square": 200.0, "diamond": 141.4}
# Diameter of a spot as a share of that distance: 55/100 in Visium, one half in legacy ST.
DIAMETER_SHARE: dict[str, float] = {"hexagonal": 0.55, "square": 0.5, "diamond": 0.5}


class SlideDefinition(Settings):
    """One tissue section.

    Attributes:
        subject: The patient or animal it comes from.
        split: ``train``, ``val`` or ``test``.
        source: Folder or file below the cohort's folder; the slide's own name when not given.
            The format ``spared`` has none: one file holds all slides, called as here.
        image: File name of the H&E image below ``source``; ``hires`` is the one that Space Ranger
            writes; null says that there is none: the slide then takes part in completion only.
    """

    subject: str
    split: Split
    source: str | None = None
    image: str | None = "hires"


class Cohort(Settings):
    """Slides of one tissue, prepared in one way.

    Attributes:
        title: What a reader sees.
        organism: Chooses the table of gene lengths.
        lattice: How the spots lie.
        genes: Genes to keep, the highest by Moran's I; null keeps every gene that may be chosen.
        gene_file: Names of the genes that may be chosen, one a line (Ensembl ids or symbols),
            whatever the filter says of them. The others that pass it still count in the totals
            that counts are divided by, and may be context. Relative to the folder of the project.
        gene_names: What that file holds; filled in, not written by hand.
        batch_key: What ComBat takes for a batch.
        folder: Below the root of raw data; the cohort's code when not given. With the format
            ``spared`` it holds ``adata.h5ad``, or is the file itself.
        resplit: Of the format ``spared``: slides may be in other splits than the file has them in.
        pitch_um: Centre-to-centre distance of neighbouring spots, µm.
    """

    title: str
    organism: Organism
    tissue: str
    lattice: Lattice
    format: Format
    genes: Annotated[int, Field(ge=1)] | None = 128
    gene_file: str | None = None
    gene_names: tuple[str, ...] = ()
    batch_key: Literal["slide", "subject"] = "slide"
    licence: str
    citation: str
    folder: str | None = None
    resplit: bool = False
    pitch_um: Annotated[float, Field(gt=0)] | None = None
    filter: FilterSettings = FilterSettings()
    simulation: SimulationSettings | None = None
    published: PublishedFigures | None = None
    slides: Annotated[dict[Identifier, SlideDefinition], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Cohort:
        if (self.simulation is not None) != (self.organism == "simulated"):
            msg = "'simulation' belongs to the organism 'simulated' and to no other"
            raise ValueError(msg)
        if self.format == "spared":
            self._check_one_file()
        sources = [(one.source or slide).rstrip("/") for slide, one in self.slides.items()]
        twice = sorted({source for source in sources if sources.count(source) > 1})
        if twice:
            msg = f"two slides have the same source: {', '.join(twice)}"
            raise ValueError(msg)
        return self

    def _check_one_file(self) -> None:
        if self.simulation is not None:
            msg = "the format 'spared' is read and not written: simulated slides have another"
            raise ValueError(msg)
        with_source = [slide for slide, one in self.slides.items() if one.source is not None]
        if with_source:
            msg = (
                "slides of the format 'spared' have no 'source': the cohort's 'folder' names the "
                f"one file that holds them all; found one for {', '.join(with_source)}"
            )
            raise ValueError(msg)

    @property
    def pitch(self) -> float:
        """Centre-to-centre distance of neighbouring spots, µm."""
        return self.pitch_um or PITCH_UM[self.lattice]

    def of_slide(self, slide: str) -> Cohort:
        """Return what reading or simulating ``slide`` depends on, the rest neutral."""
        return Cohort(
            **{**self._neutral(), "licence": self.licence, "format": self.format},
            slides={slide: self.slides[slide].model_copy(update={"split": "train"})},
        )

    def curated(self) -> Cohort:
        """Return what processing depends on, the rest neutral."""
        chosen = ("genes", "gene_names", "batch_key", "filter", "published", "resplit")
        return Cohort(
            **{**self._neutral(), **{name: getattr(self, name) for name in chosen}},
            slides={
                slide: SlideDefinition(subject=definition.subject, split=definition.split)
                for slide, definition in self.slides.items()
            },
        )

    def _neutral(self) -> dict[str, Any]:
        kept = ("organism", "tissue", "lattice", "pitch_um", "simulation")
        words = {"title": "", "citation": "", "licence": "", "format": "anndata"}
        return {**words, **{name: getattr(self, name) for name in kept}}


class Budget(Settings):
    """How long and at which rates a network is trained.

    Attributes:
        steps: Steps of Adam.
        views: Spot views instead: as many steps as it takes to see so many spots, so that models
            of patches and of whole slides are given the same.
        batch_size: Spots of a step; a model of whole slides takes one slide, or a section of it.
        learning_rates: All are tried and the best on val is kept.
        validate_every: Steps between two validations; the last step is always one.
        halving: Of the trials, one in so many goes on at each rung (successive halving); none
            trains all to the end, as the paper does.
    """

    steps: Annotated[int, Field(ge=1)] = 1000
    views: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 256
    learning_rates: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (
        1e-3,
    )
    validate_every: Annotated[int, Field(ge=1)] = 50
    halving: Annotated[int, Field(ge=2)] | None = None

    def resolved(self, views_per_step: int) -> Budget:
        """Return the budget in steps, for a model that sees so many spots at each."""
        if self.views is None:
            return self
        steps = max(1, round(self.views / views_per_step))
        return self.model_copy(update={"steps": steps, "views": None})


class BudgetedSettings(Settings):
    """Settings of methods that may be trained.

    Attributes:
        sizes: Of each method; ``small`` when not given.
        budgets: Training by method; ``default`` holds for the others.
    """

    sizes: dict[str, Size] = Field(default_factory=dict)
    budgets: dict[str, Budget] = Field(default_factory=dict)

    def budget(self, *names: str) -> Budget:
        """Return how long the method trains that is called by the first of ``names`` that is known.

        Else it trains as ``default`` says.
        """
        given = (self.budgets[name] for name in (*names, "default") if name in self.budgets)
        return next(given, Budget())


class ProcessingSettings(Settings):
    """See `spared_benchmark.expression`.

    Attributes:
        normalisation: ``tpm``, or ``cpm`` for those who hold that counts of 3' ends must not be
            divided by gene lengths: every gene then counts as one base long and needs no length.
        rank_on: Moran's I is taken of the median-completed values (the library) or of
            ``log_tpm`` with its zeros (the paper's text).
        published: For parity with the published library and nothing else: its neighbours by pixel
            distance, as squidpy before 1.4 (``old``) or since (``new``) lists them, its ComBat
            with the fault in the scales, its order of equally ranked genes.
        context_genes: Chosen and next-ranked genes together that the context file may hold.
    """

    normalisation: Literal["tpm", "cpm"] = "tpm"
    median_hops: Annotated[int, Field(ge=1, le=8)] = 4
    rank_on: Literal["median", "log_tpm"] = "median"
    published: Literal["old", "new"] | None = None
    context_genes: Annotated[int, Field(ge=1)] = 1024


class Variant(Settings):
    """A completer changed in one respect, which is compared under a name of its own.

    Attributes:
        of: The completer that it is a variant of.
        settings: Hyper-parameters in place of those of its size.
        context: The context genes are shown beside the chosen ones and completed with them, but
            the chosen ones alone are selected by and scored.
        features: The encoder, of ``benchmark.encoders``, whose features of each spot's image are
            shown beside the genes.
    """

    of: str
    settings: dict[str, Any] = Field(default_factory=dict)
    context: bool = False
    features: EncoderName | None = None


class CompletionSettings(BudgetedSettings):
    """See `spared_benchmark.completion`.

    Attributes:
        regimes: Ways of hiding with the shares of measured entries that each hides;
            ``entries`` at 0.3 is always among them. ``molecular`` withholds half of the molecules.
        assays: How often each regime is drawn at each share.
        spaces: ``log_tpm`` is scored under every regime, ``combat`` under ``entries`` at 0.3
            alone: the published protocol.
        variants: By the name under which a study may list them among its completers. Size and
            budget are those of what they are variants of, unless given by that name.
    """

    regimes: dict[Regime, Annotated[tuple[Fraction, ...], Field(min_length=1)]] = Field(
        default_factory=lambda: dict(_HEADLINE_ONLY)
    )
    assays: Annotated[int, Field(ge=1, le=1000)] = 10
    seed: int = 42
    spaces: tuple[Literal["log_tpm", "combat"], ...] = ("log_tpm", "combat")
    # Each reaches the node that runs it, and no other node's parameters hold them.
    variants: dict[VariantName, Variant] = Field(default_factory=dict, exclude=True)

    @field_validator("budgets")
    @classmethod
    def _in_steps(cls, budgets: dict[str, Budget]) -> dict[str, Budget]:
        for name, budget in budgets.items():
            if budget.views is not None:
                msg = f"{name}: 'views' are of predictors; give a completer its 'steps'"
                raise ValueError(msg)
        return budgets

    @field_validator("regimes")
    @classmethod
    def _possible(cls, regimes: dict[Regime, tuple[float, ...]]) -> dict[Regime, tuple[float, ...]]:
        regime, fraction = HEADLINE
        if fraction not in regimes.get(regime, ()):
            msg = f"{regime!r} at {fraction} is missing; add it: completers are compared by it"
            raise ValueError(msg)
        for name, fractions in regimes.items():
            if len(set(fractions)) < len(fractions):
                msg = f"{name}: a share is listed twice in {list(fractions)}"
                raise ValueError(msg)
        if max(regimes.get("gene_region", (0,))) > HALF:
            msg = "gene_region hides at most half of each gene: give shares up to 0.5"
            raise ValueError(msg)
        if set(regimes.get("molecular", (HALF,))) != {HALF}:
            msg = "molecular withholds one half of the molecules: its only share is 0.5"
            raise ValueError(msg)
        return regimes


class EncoderSettings(Settings):
    """An image network with its weights, and what it is shown of each spot.

    Attributes:
        network: A short name of `prediction.encoder_zoo` (``uni2_h``), a timm name,
            ``hf-hub:<id>``, ``torchvision:<name>`` or ``random_conv``.
        weights: ``none`` (random, by the seed), ``pretrained`` or a safetensors file.
        image_size: Side of the images that it is given, pixels; its own when not given.
        window: Tissue that an image shows, such as ``3d`` or ``336um``; the study's when not given.
        tiles: The window is cut into ``tiles`` by ``tiles`` sub-tiles, each seen alone: features
            are then ``(n_spots, tiles * tiles, d)``, row by row.
        options: What the network's maker takes beside its name, such as a depth.
        weights_digest: Of the file of weights; filled in, not written by hand.
    """

    network: str
    weights: str = "none"
    image_size: Annotated[int, Field(ge=16, le=1024)] | None = None
    window: Window | None = None
    tiles: Annotated[int, Field(ge=1, le=16)] = 1
    seed: int = 0
    options: dict[str, Any] = Field(default_factory=dict)
    weights_digest: str = ""

    @property
    def weights_file(self) -> Path | None:
        """The file of weights, if there is one."""
        return None if self.weights in ("none", "pretrained") else Path(self.weights)


class BenchmarkSettings(BudgetedSettings):
    """See `spared_benchmark.prediction`.

    Attributes:
        features: Encoder of each predictor that works on frozen features; a list for one that works
            on those of several, which then reach it as its setting ``features``.
        settings: Of each predictor, in place of those of its size: ``stnet: {faithful: true}``.
            Under ``<predictor>-<name>`` it is had with these besides, next to the plain one.
        smoothed: Predictors that are also scored as the mean over each spot and its neighbours.
        contaminated: Predictors, or encoders, whose weights have seen public spatial
            transcriptomics, maybe these slides: scored, marked and not ranked.
        rate_search: ``per_target`` tries all learning rates on every target; ``once`` (the paper)
            on the study's first target with the first seed, and the best is used for the rest.
        selection: ``val``, or ``nested``: where a cohort has no test slide, a part of train is held
            out to select on, and its val slides are scored as a test.
        precision: In which products of networks are computed in training; ``auto`` is bfloat16 on
            a GPU that multiplies it natively, and float32 on a CPU, where small networks gain
            nothing by it.
    """

    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (42,)
    encoders: dict[EncoderName, EncoderSettings] = Field(default_factory=dict)
    features: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    smoothed: tuple[str, ...] = ()
    contaminated: tuple[str, ...] = ()
    rate_search: Literal["per_target", "once"] = "per_target"
    selection: Literal["val", "nested"] = "val"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    budgets: dict[str, Budget] = Field(default_factory=lambda: {"default": Budget()})

    def settings_of(self, *names: str) -> dict[str, Any]:
        """Return the settings of all ``names``; those of the first count most."""
        return {
            key: value
            for name in reversed(names)
            for key, value in self.settings.get(name, {}).items()
        }

    def size_of(self, *names: str) -> Size:
        """Return the size of the first of ``names`` that has one, else ``small``."""
        return next((self.sizes[name] for name in names if name in self.sizes), "small")

    def encoders_of(self, *names: str) -> tuple[str, ...]:
        """Return the encoders of the first of ``names`` that has any."""
        for name in names:
            if name in self.features:
                named = self.features[name]
                return (named,) if isinstance(named, str) else named
        return ()


class ReportSettings(Settings):
    """See `spared_benchmark.reporting`."""

    title: str = "spared-benchmark"
    maps: Annotated[int, Field(ge=1, le=20)] = 3


class GateSettings(Settings):
    """What happens when two splits or two cohorts share something: the run ends, or is warned.

    Attributes:
        same_subject: One subject has slides in several splits, as in most published cohorts.
        same_slide: The same counts or files in several splits.
        same_image: Images of several splits that cannot be told apart by a perceptual hash.
        same_cohort: One cohort's slides are another's, so averages count them twice.
    """

    same_subject: Severity = "warning"
    same_slide: Severity = "error"
    same_image: Severity = "error"
    same_cohort: Severity = "warning"


class Study(Settings):
    """Which cohorts, by which protocol, completed and predicted by which methods.

    Attributes:
        window: Side of a patch: ``1d`` is one spot diameter, ``112um`` is 112 µm.
        controls: Predictors that stand beside the others and are never ranked.
        targets: ``raw``, ``measured`` or a completer's name: what predictors are trained on. The
            name of a completer that tells its uncertainty may be followed by ``_weighted``: what
            it is less sure of then counts less.
        leave_out: Slides that do not take part, by cohort.
        gate: What splits and cohorts may share.
    """

    title: str
    cohorts: Annotated[tuple[Code, ...], Field(min_length=1)]
    protocol: Protocol
    window: Window = "1d"
    completers: Annotated[tuple[str, ...], Field(min_length=1)]
    controls: tuple[str, ...] = ()
    predictors: tuple[str, ...] = ()
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("raw", "measured")
    leave_out: dict[Code, tuple[str, ...]] = Field(default_factory=dict)
    gate: GateSettings = GateSettings()
