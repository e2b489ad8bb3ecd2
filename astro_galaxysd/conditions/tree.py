"""The Galaxy Zoo 2 decision tree as data.

Source: Willett et al. 2013, MNRAS 435, 2835 (tree, table 2; well-sampled cuts, table 3); column names of the
`gz2_hart16` table (Hart et al. 2016, MNRAS 461, 3663), of the Galaxy Zoo challenge and of Zoobot; prompt words of
Ma et al. 2026, ApJS 282, 25. The order of `ANSWERS` is the order of every votes array in this package.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ANSWERS", "ANSWER_BY_KEY", "INDEX", "QUESTIONS", "QUESTION_OF", "Answer", "Question"]


@dataclass(frozen=True)
class Answer:
    """One answer of the tree under its names.

    Parameters
    ----------
    key : str
        The name users ask for: ``"merger"``.
    words : str
        Prompt words; empty where the published prompts have none.
    kaggle, hart16, zoobot, conditional : str
        Column names: the cumulative ``ClassT.A``, the `gz2_hart16` stem without its suffix, the Zoobot column
        (empty where Zoobot's tree lacks the answer) and the conditional ``tNN_*`` name.
    """

    key: str
    words: str
    kaggle: str
    hart16: str
    zoobot: str
    conditional: str


@dataclass(frozen=True)
class Question:
    """One task of the tree.

    Parameters
    ----------
    task : int
        1 to 11.
    parent : str
        Key of the answer that leads here; empty for the tasks every volunteer saw.
    cut : float
        The parent's fraction above which the question has about 20 votes (Willett et al. 2013, table 3).
    answers : tuple of Answer
    """

    task: int
    parent: str
    cut: float
    answers: tuple[Answer, ...]


def _question(
    task: int, stem: str, zoobot: str, parent: str, cut: float, answers: list[tuple[str, str, str, str, str]]
) -> Question:
    """Build one task; `answers` rows are key, hart16 ending, zoobot ending, conditional ending, prompt words."""
    return Question(
        task,
        parent,
        cut,
        tuple(
            Answer(
                key,
                words,
                f"Class{task}.{number}",
                f"t{task:02d}_{stem}_{hart16}",
                f"{zoobot}-gz2_{ending}" if ending else "",
                f"t{task:02d}_{conditional}",
            )
            for number, (key, hart16, ending, conditional, words) in enumerate(answers, start=1)
        ),
    )


QUESTIONS: tuple[Question, ...] = (
    _question(1, "smooth_or_features", "smooth-or-featured", "", 0.0, [
        ("smooth", "a01_smooth", "smooth", "smooth", "smooth"),
        ("features", "a02_features_or_disk", "featured-or-disk", "features_or_disk", "features or disk-shaped"),
        ("artifact", "a03_star_or_artifact", "artifact", "star_or_artifact", ""),
    ]),
    _question(2, "edgeon", "disk-edge-on", "features", 0.430, [
        ("edge_on", "a04_yes", "yes", "edgeon_yes", "edge-on galaxy"),
        ("not_edge_on", "a05_no", "no", "edgeon_no", ""),
    ]),
    _question(3, "bar", "bar", "not_edge_on", 0.715, [
        ("bar", "a06_bar", "yes", "bar", "bar-shaped structure in the center of galaxy"),
        ("no_bar", "a07_no_bar", "no", "no_bar", ""),
    ]),
    _question(4, "spiral", "has-spiral-arms", "not_edge_on", 0.715, [
        ("spiral", "a08_spiral", "yes", "spiral", "spiral galaxy"),
        ("no_spiral", "a09_no_spiral", "no", "no_spiral", ""),
    ]),
    _question(5, "bulge_prominence", "bulge-size", "not_edge_on", 0.715, [
        ("no_bulge", "a10_no_bulge", "no", "no_bulge", "no bulge prominence"),
        ("just_noticeable_bulge", "a11_just_noticeable", "just-noticeable", "bulge_just_noticeable",
         "just noticeable bulge prominence"),
        ("obvious_bulge", "a12_obvious", "obvious", "bulge_obvious", "obvious bulge prominence"),
        ("dominant_bulge", "a13_dominant", "dominant", "bulge_dominant", "dominant bulge prominence"),
    ]),
    _question(6, "odd", "something-odd", "", 0.0, [
        ("odd", "a14_yes", "yes", "odd_yes", "something odd"),
        ("not_odd", "a15_no", "no", "odd_no", ""),
    ]),
    _question(7, "rounded", "how-rounded", "smooth", 0.469, [
        ("round", "a16_completely_round", "round", "round", "completely round galaxy"),
        ("in_between", "a17_in_between", "in-between", "in_between", "in-between round galaxy"),
        ("cigar", "a18_cigar_shaped", "cigar", "cigar", "cigar shaped galaxy"),
    ]),
    _question(8, "odd_feature", "", "odd", 0.420, [
        ("ring", "a19_ring", "", "ring", "ring galaxy"),
        ("lens_or_arc", "a20_lens_or_arc", "", "lens_or_arc", "lens or arc"),
        ("disturbed", "a21_disturbed", "", "disturbed", "disturbed"),
        ("irregular", "a22_irregular", "", "irregular", "irregular"),
        ("odd_other", "a23_other", "", "odd_other", ""),
        ("merger", "a24_merger", "", "merger", "merger"),
        ("dust_lane", "a38_dust_lane", "", "dust_lane", "dust lane"),
    ]),
    _question(9, "bulge_shape", "bulge-shape", "edge_on", 0.602, [
        ("edge_bulge_rounded", "a25_rounded", "round", "edge_bulge_rounded", "with rounded edge-on bulge"),
        ("edge_bulge_boxy", "a26_boxy", "boxy", "edge_bulge_boxy", "with boxy edge-on bulge"),
        ("edge_bulge_none", "a27_no_bulge", "no-bulge", "edge_bulge_none", "without edge-on bulge"),
    ]),
    _question(10, "arms_winding", "spiral-winding", "spiral", 0.619, [
        ("tight_arms", "a28_tight", "tight", "arms_tight", "tightly wound spiral arms"),
        ("medium_arms", "a29_medium", "medium", "arms_medium", "medium wound spiral arms"),
        ("loose_arms", "a30_loose", "loose", "arms_loose", "loosely wound spiral arms"),
    ]),
    _question(11, "arms_number", "spiral-arm-count", "spiral", 0.619, [
        ("arms_1", "a31_1", "1", "arms_1", "1 spiral arms"),
        ("arms_2", "a32_2", "2", "arms_2", "2 spiral arms"),
        ("arms_3", "a33_3", "3", "arms_3", "3 spiral arms"),
        ("arms_4", "a34_4", "4", "arms_4", "4 spiral arms"),
        ("arms_more_than_4", "a36_more_than_4", "more-than-4", "arms_more_than_4", "more than 4 spiral arms"),
        ("arms_cant_tell", "a37_cant_tell", "cant-tell", "arms_cant_tell", ""),
    ]),
)  # fmt: skip

ANSWERS: tuple[Answer, ...] = tuple(answer for question in QUESTIONS for answer in question.answers)
ANSWER_BY_KEY: dict[str, Answer] = {answer.key: answer for answer in ANSWERS}
INDEX: dict[str, int] = {answer.key: number for number, answer in enumerate(ANSWERS)}
QUESTION_OF: dict[str, Question] = {answer.key: question for question in QUESTIONS for answer in question.answers}
