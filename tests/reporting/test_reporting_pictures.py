"""Figures find their section and caption, and a cohort's processing stays together."""

from __future__ import annotations

import re

import pytest

from spared_benchmark.errors import ContractError
from spared_benchmark.pipelines.processing.pipeline import STAGES
from spared_benchmark.reporting import pictures, report

PNG = pictures.PNG_HEAD + b"rest"


def test_every_stage_of_processing_has_its_caption():
    assert tuple(pictures.STAGE_CAPTIONS) == STAGES


def test_figures_go_to_their_section_with_caption():
    sections = pictures.by_section({"maps:VLO": PNG, "own": PNG, "stage:spots:VLO": PNG})
    assert sections["maps"][0].caption.startswith("VLO. Genes on the tissue")
    assert [picture.name for picture in sections["more"]] == ["own"]
    assert sum(map(len, sections.values())) == 2


def test_stages_are_grouped_by_cohort_in_order():
    given = {f"stage:{stage}:{code}": PNG for code in ("VLO", "MOB") for stage in STAGES}
    cohorts = pictures.by_cohort({**given, "cohorts": PNG})
    assert list(cohorts) == ["VLO", "MOB"]
    assert [picture.name for picture in cohorts["MOB"]] == [f"MOB: {stage}" for stage in STAGES]
    assert cohorts["VLO"][0].caption == pictures.STAGE_CAPTIONS["spots"]


def test_what_is_no_png_is_refused_by_name():
    with pytest.raises(ContractError, match="figure 'stage:spots:VLO' is not a PNG: it begins"):
        pictures.by_cohort({"stage:spots:VLO": b"<svg"})


def test_the_page_folds_the_stages_of_each_cohort(study, results):
    given = {f"stage:{stage}:{code}": PNG for code in ("VLO", "MOB") for stage in STAGES}
    page = report.render(study, results, given)
    folds = re.findall(r'<details class="stages">.*?</details>', page, flags=re.DOTALL)
    assert [re.search("<summary>(.*?)</summary>", fold).group(1) for fold in folds] == [
        "VLO: processing, step by step",
        "MOB: processing, step by step",
    ]
    assert all(fold.count("data:image/png;base64,") == len(STAGES) for fold in folds)
    assert "step by step" not in report.render(study, results, {})
