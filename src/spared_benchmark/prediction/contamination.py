"""Predictors whose weights may have seen what they are tested on."""

from __future__ import annotations

from spared_benchmark.prediction.names import keys_of
from spared_benchmark.study import BenchmarkSettings

# Networks trained on public spatial transcriptomics, by a part of their name: OmiCLIP, in Loki
# (Chen et al., Nature Methods 2025), STPath (Huang et al. 2025), SpatialWhisperer (Schaefer et al.,
# ICML 2026), all on collections that hold most public Visium slides.
SAW_PUBLIC_SLIDES = ("omiclip", "loki", "stpath", "spatialwhisperer")


def contaminated(name: str, settings: BenchmarkSettings) -> bool:
    """Return whether a predictor works on weights that have seen public spatial transcriptomics.

    Told by ``contaminated`` of the settings, which names predictors and encoders, and by the names
    of known networks. What a file of weights was trained on, no program can tell.

    Args:
        name: Of the predictor, variants included.
        settings: Its encoders and its own settings.
    """
    keys = keys_of(name)
    encoders = settings.encoders_of(*keys)
    if {*keys, *encoders} & set(settings.contaminated):
        return True
    own = settings.settings_of(*keys)
    told = [str(own.get(key, "")) for key in ("network", "weights")]
    for encoder in encoders:
        known = settings.encoders.get(encoder)  # features may also come with the slides
        told += [known.network, known.weights] if known else [encoder]
    return any(part in one.lower() for one in told for part in SAW_PUBLIC_SLIDES)
