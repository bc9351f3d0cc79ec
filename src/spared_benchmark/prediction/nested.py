"""Selection inside train, for cohorts whose val slides have to serve as a test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spared_benchmark.errors import InputError
from spared_benchmark.prediction.assemble import Assembled
from spared_benchmark.prediction.tiles import tiles_of
from spared_benchmark.prediction.types import Slide

_SECTIONS = 2


def nested(slides: Assembled) -> Assembled:
    """Return the cohort with a part of train for selection and its val slides for the test.

    Held out of train is the slides of the last subject where there are several subjects, the last
    slide where there are several slides, and of a single slide one quarter. Nothing is fitted
    again with that part once rate and step are chosen.

    Args:
        slides: A cohort without a test slide; one with a test slide is returned as it is.

    Raises:
        InputError: When nothing can be held out.
    """
    if slides.of("test"):
        return slides
    train = slides.of("train")
    held_out = _last(train)
    if len(train) > 1:
        parts = [replace(one, split="val" if one in held_out else "train") for one in train]
    else:
        parts = _quartered(train[0])
    tested = [replace(slide, split="test") for slide in slides.of("val")]
    return replace(slides, slides=(*parts, *tested))


def _last(train: list[Slide]) -> list[Slide]:
    subjects = list(dict.fromkeys(slide.subject for slide in train))
    if len(subjects) > 1:
        return [slide for slide in train if slide.subject == subjects[-1]]
    return train[-1:]


def _quartered(slide: Slide) -> list[Slide]:
    section = tiles_of(slide.xy_um, _SECTIONS)
    inside = section == section.max()
    if inside.all() or not slide.measured[inside].any():
        msg = (
            f"selection: nested needs a part of train to select on; slide {slide.slide!r} is the "
            f"only one and has {slide.n_spots} spots, too few to hold a quarter out; use "
            "selection: val"
        )
        raise InputError(msg)
    rest, quarter = (slide.take(np.flatnonzero(rows)) for rows in (~inside, inside))
    # Another name: what a predictor keeps of a train slide must not be taken for this one's.
    name = f"{slide.slide} (held out)"
    return [rest, replace(quarter, slide=name, part_of=slide.whole, split="val")]
