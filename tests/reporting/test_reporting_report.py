"""The page: self-contained, escaped, and open about what is missing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from spared_benchmark.errors import ContractError
from spared_benchmark.reporting import regimes, report, tables
from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.figures.cohorts import cohort_overview
from spared_benchmark.study import Study

VOID = {"meta", "img", "br", "link"}


class _Page(HTMLParser):
    """Collects text, attributes and tags that were not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture
def page(study: Study, results: dict[str, pd.DataFrame]) -> str:
    figures = {"cohorts": style.png(cohort_overview(results["cohorts"]), dpi=40)}
    figures["overlay:VLO/A1"] = figures["cohorts"]
    return report.render(
        study, results, figures, provenance={"torch": "2.6.0"}, notes=["A note of the run."]
    )


def test_page_is_well_formed_and_asks_the_network_for_nothing(page: str) -> None:
    parsed = _Page(page)
    assert parsed.open == []
    assert page.startswith("<!DOCTYPE html>")
    loads = [value for _, name, value in parsed.attributes if name in ("src", "href")]
    assert len([value for value in loads if value.startswith("data:image/png;base64,")]) == 2
    assert all(value.startswith(("data:", "#")) for value in loads)
    assert "http://" not in page
    assert "https://" not in page
    anchors = {value for _, name, value in parsed.attributes if name == "id"}
    assert {value[1:] for value in loads if value.startswith("#")} <= anchors


def test_page_names_what_is_missing_left_out_and_limited(page: str) -> None:
    text = _Page(page).text
    for sentence in (
        "No results at all yet for VKO.",
        "VLO: V19D02-088_C1",
        "MOB: no test slide. What is shown is a validation score",
        "Only one seed was run: no spread is known.",
        "Transductive protocol: the choice of genes and ComBat see the val and test slides",
        "Patches coarser than 1 µm per pixel: MOB (1.43 µm)",
        "Without an image, in completion only: MOB_val2 (MOB).",
        "One test slide only: VLO.",
        "A note of the run.",
        "MOB: validation score, no test slide",
    ):
        assert sentence in text
    assert "torch" in text


def test_page_names_what_splits_and_cohorts_share(
    study: Study, results: dict[str, pd.DataFrame]
) -> None:
    columns = ["cohort", "rule", "severity", "slides", "splits", "detail"]
    findings = [
        ("VLO", "same_subject", "warning", "A, B", "train, val", "subject P1 has slides in …"),
        ("VLO", "same_subject", "warning", "C, D", "train, val", "subject P2 has slides in …"),
        ("MOB", "same_subject", "warning", "E, F", "train, val", "subject P3 has slides in …"),
        (
            "MOB",
            "same_image",
            "warning",
            "E, F",
            "train, val",
            "E (train), F (val) have one picture",
        ),
        ("MOB", "no_image", "warning", "G", "val", "G: no image"),
        ("VLO, MOB", "same_cohort", "warning", "A, E", "train", "1 of the 4 slides of VLO and …"),
    ]
    shared = pd.DataFrame(findings, columns=columns)
    text = _Page(report.render(study, {**results, "shared": shared}, {})).text

    assert "MOB: E (train), F (val) have one picture." in text
    assert "VLO, MOB: 1 of the 4 slides of VLO and" in text
    assert "A subject has slides in several splits: VLO, MOB. Scores there tell" in text
    assert "no image." not in text, "told once, with the other slides that have none"


def test_inductive_page_makes_no_transductive_confession(
    study: Study, results: dict[str, pd.DataFrame]
) -> None:
    text = _Page(
        report.render(study.model_copy(update={"protocol": "inductive"}), results, {})
    ).text
    assert "fitted on train slides alone" in text
    assert "because the paper's do" not in text


def test_undefined_cells_say_why(page: str) -> None:
    cells = re.findall(r'<td class="[^"]*"[^>]*>–</td>', page)
    assert cells
    assert all('title="' in cell for cell in cells)
    assert any("the prediction is constant" in cell for cell in cells)


def test_best_method_is_bold_and_controls_never(page: str) -> None:
    asides = re.findall(r'<tbody class="aside">.*?</tbody>', page, flags=re.DOTALL)
    assert asides
    assert not any("best" in re.findall(r'class="([^"]*)"', aside) for aside in asides)
    assert not any(" best" in aside for aside in asides)
    assert ' best"' in page


def test_ids_of_users_are_escaped(study: Study, results: dict[str, pd.DataFrame]) -> None:
    nasty = '<script>alert("x")</script>'
    spoilt = dict(results)
    spoilt["ingestion"] = results["ingestion"].assign(slide=nasty + results["ingestion"]["slide"])
    scores = results["completion_scores"]
    spoilt["completion_scores"] = scores.replace({"completer": {"spackle": nasty}})
    page = report.render(
        study.model_copy(update={"title": nasty}), spoilt, {}, provenance={nasty: nasty}
    )
    assert nasty not in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert _Page(page).open == []


def test_same_input_same_page(study: Study, results: dict[str, pd.DataFrame]) -> None:
    assert report.render(study, results, {}) == report.render(study, results, {})


def test_empty_study_is_a_page_that_says_so(study: Study) -> None:
    text = _Page(report.render(study, {}, {})).text
    assert "No scores yet" in text
    assert "No results at all yet for VLO, MOB, VKO." in text
    assert "Not run." in text


def test_partial_study_names_the_stage(study: Study, results: dict[str, pd.DataFrame]) -> None:
    scores = results["prediction_scores"]
    partial = {**results, "prediction_scores": scores[scores["cohort"] == "VLO"]}
    text = _Page(report.render(study, partial, {})).text
    assert "Prediction scores: missing for MOB." in text


def test_what_failed_and_what_limits_stand_before_the_numbers(page: str) -> None:
    text = _Page(page).text
    failed = "Failed: stnet on spackle, VLO: DivergedError: every trial diverged on VLO"
    assert text.index(failed) < text.index("Does training on completed values help prediction?")
    section = text[text.index("Prediction no pre-training") :]
    assert section.startswith(
        "Prediction no pre-training, small models: no ranking of the published models "
        "µm per patch pixel: VLO 0.78, MOB 0.78 to 1.43. "
        "Patches coarser than 1 µm per pixel: MOB (1.43 µm)."
    )
    order = ("Fitted to exchanged labels", "Predictor by predictor,", "How predictors were trained")
    assert [section.index(words) for words in order] == sorted(map(section.index, order))


def test_page_is_built_when_every_predictor_failed(
    study: Study, results: dict[str, pd.DataFrame]
) -> None:
    scores, trained = results["prediction_scores"], results["training"]
    lost = {"training": trained.assign(status="failed", reason="OSError: no weights")}
    lost["comparisons"] = results["comparisons"].head(0)
    for left in (scores[scores["kind"] != "method"], scores[scores["target"] == "truth"]):
        text = _Page(report.render(study, {**results, **lost, "prediction_scores": left}, {})).text
        assert "Failed: vit_b on raw, VLO: OSError: no weights" in text
        assert "the best predictor" not in text
    text = _Page(report.render(study, {**results, **lost, "prediction_scores": left[:0]}, {})).text
    assert "No predictor succeeded." in text


def test_scores_without_comparisons_make_a_page(
    study: Study, results: dict[str, pd.DataFrame]
) -> None:
    plain = {
        name: table for name, table in results.items() if name not in ("comparisons", "training")
    }
    text = _Page(report.render(study, plain, {})).text
    assert "Best predictor of each target" in text
    assert "Predictor by predictor" not in text
    assert "How predictors were trained" not in text


def test_wrong_names_and_bytes_are_refused(study: Study, results: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(ContractError, match=r"no table 'cohort' \(did you mean 'cohorts'\?\)"):
        report.render(study, {"cohort": results["cohorts"]}, {})
    with pytest.raises(
        ContractError, match="figure 'maps:VLO' is not a PNG: it begins with b'GIF8"
    ):
        report.render(study, results, {"maps:VLO": b"GIF89a.."})


def _with_regimes(scores: pd.DataFrame) -> pd.DataFrame:
    """The same scores, a little worse, under two further ways of hiding and a smaller share."""
    further = [
        scores[scores["space"] == "log_tpm"].assign(
            regime=regime,
            hidden_fraction=share,
            value=lambda rows, factor=factor: rows["value"] * factor,
        )
        for regime, share, factor in (
            ("entries", 0.1, 0.9),
            ("blocks", 0.3, 1.2),
            ("molecular", 0.5, 1.3),
        )
    ]
    # The smaller share comes first: what is read first must not hang on the order of rows.
    return pd.concat([*further, scores], ignore_index=True)


def test_random_entries_at_thirty_per_cent_are_read_first(
    study: Study, results: dict[str, pd.DataFrame]
) -> None:
    scores = _with_regimes(results["completion_scores"])
    blocks = report.completion_blocks(tables.completion_summary(scores))
    first, every, *others = blocks
    assert first.title == "entries, 30 % hidden, log2(TPM+1)"
    assert every.title == "Every way of hiding, log2(TPM+1)"
    assert [block.folded for block in blocks] == [False, False, *[True] * len(others)]
    assert len(others) == 4
    plain = report.render(study, results, {})
    text = _Page(report.render(study, {**results, "completion_scores": scores}, {})).text
    sentence = re.search(r"On the test slides the best completer is [^;]*;", _Page(plain).text)
    assert sentence is not None
    assert sentence.group() in text


def test_every_regime_stands_beside_the_others(results: dict[str, pd.DataFrame]) -> None:
    summary = tables.completion_summary(_with_regimes(results["completion_scores"]))
    own = summary[(summary["cohort"] == "VLO") & (summary["space"] == "log_tpm")]
    grid = regimes.regime_grid(own, "VLO")
    drawn = ["entries, 10 %", "entries, 30 %", "blocks, 30 %", "molecular, 50 % of molecules"]
    assert [column.label for column in grid.columns] == ["Completer", *drawn]
    methods, aside = grid.groups
    assert (methods.aside, aside.aside) == (False, True)
    spackle = next(row for row in methods.rows if row[0].text == "spackle")
    assert [cell.best for cell in spackle] == [False, True, True, True, True]
    thirty, blocks = float(spackle[2].sort), float(spackle[3].sort)
    assert blocks == pytest.approx(1.2 * thirty)
    assert "of the reducible error removed" in spackle[2].title
    lost = own[~((own["completer"] == "spackle") & (own["regime"] == "blocks"))]
    methods, _ = regimes.regime_grid(lost, "VLO").groups
    spackle = next(row for row in methods.rows if row[0].text == "spackle")
    assert spackle[3].title == "Not scored under this regime"


def test_one_regime_alone_needs_no_table_of_regimes(results: dict[str, pd.DataFrame]) -> None:
    blocks = report.completion_blocks(tables.completion_summary(results["completion_scores"]))
    assert [block.title for block in blocks if "Every way" in block.title] == []
