"""The four dialects: closed cases, round trips with hypothesis, and agreement on real votes."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from astro_galaxysd.conditions.schemas import ConditionalDialect, Hart16Dialect, KaggleDialect, ZoobotDialect
from astro_galaxysd.conditions.tree import ANSWERS, INDEX, QUESTIONS
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.plugins.protocols import VoteDialect

DIALECTS = [KaggleDialect, Hart16Dialect, ZoobotDialect, ConditionalDialect]
NAMES = {
    "kaggle": [a.kaggle for a in ANSWERS],
    "hart16": [a.hart16 + "_fraction" for a in ANSWERS],
    "zoobot": [a.zoobot + "_fraction" for a in ANSWERS if a.zoobot],
    "conditional": [a.conditional for a in ANSWERS],
}


@st.composite
def fractions(draw):
    """Conditional fractions of a few rows that add up to 1 by question; some were not asked."""
    rows = draw(st.integers(1, 4))
    votes = np.empty((rows, 37))
    for question in QUESTIONS:
        indices = [INDEX[a.key] for a in question.answers]
        counts = draw(hnp.arrays(np.int64, (rows, len(indices)), elements=st.integers(0, 20)))
        total = counts.sum(axis=1, keepdims=True)
        votes[:, indices] = np.where(total > 0, counts / np.where(total > 0, total, 1), np.nan)
    for question in QUESTIONS:
        if question.parent:
            unasked = ~(votes[:, INDEX[question.parent]] > 0)
            votes[np.ix_(unasked, [INDEX[a.key] for a in question.answers])] = np.nan
    return votes


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_follow_the_protocol(dialect):
    assert isinstance(dialect(), VoteDialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=25, deadline=None)
@given(votes=fractions())
def test_what_is_written_is_read_back(dialect, votes):
    dialect = dialect()
    expected = votes.copy()
    if dialect.name == "zoobot":
        expected[:, [INDEX[a.key] for a in QUESTIONS[7].answers]] = np.nan
    table = Table(dialect.write(votes, ["id", *NAMES[dialect.name]]))
    assert table.colnames == NAMES[dialect.name]
    np.testing.assert_allclose(dialect.read(table), expected, atol=1e-12)


def test_kaggle_values_are_divided_by_the_parent():
    table = Table({"Class1.1": [0.4], "Class1.2": [0.6], "Class1.3": [0.0], "Class2.1": [0.15], "Class2.2": [0.45],
                   "Class4.1": [0.09], "Class4.2": [0.36], "Class9.1": [0.15], "Class6.1": [0.3]})  # fmt: skip
    read = KaggleDialect().read(table)[0]
    assert read[INDEX["features"]] == 0.6
    assert read[INDEX["edge_on"]] == pytest.approx(0.25)
    assert read[INDEX["spiral"]] == pytest.approx(0.2)
    assert read[INDEX["edge_bulge_rounded"]] == pytest.approx(1.0)
    assert read[INDEX["odd"]] == 0.3
    assert np.isnan(read[INDEX["merger"]])


def test_kaggle_children_of_zero_were_not_asked_and_are_written_as_zero():
    names = [*NAMES["kaggle"]]
    table = Table({name: [0.0] for name in names})
    table["Class1.1"], table["Class7.1"], table["Class6.2"] = [1.0], [1.0], [1.0]
    read = KaggleDialect().read(table)
    assert np.isnan(read[0, [INDEX["edge_on"], INDEX["spiral"], INDEX["arms_2"], INDEX["merger"]]]).all()
    written = KaggleDialect().write(read, names)
    assert {name: column.tolist() for name, column in written.items()} == {n: table[n].tolist() for n in names}


def test_kaggle_children_that_were_not_asked_stay_missing():
    read = np.full((1, 37), np.nan)
    read[0, [INDEX["features"], INDEX["not_edge_on"]]] = 0.5
    written = KaggleDialect().write(read, ["Class2.2", "Class4.1", "Class3.1"])
    assert written["Class2.2"] == [0.25]
    assert np.isnan([written["Class4.1"][0], written["Class3.1"][0]]).all()


def test_masked_nan_and_all_zero_mean_not_asked():
    table = Table({"t06_odd_yes": MaskedColumn([0.4, 0.4, 0.0, 0.4], mask=[True, False, False, False]),
                   "t06_odd_no": MaskedColumn([0.6, np.nan, 0.0, 0.6])})  # fmt: skip
    read = ConditionalDialect().read(table)[:, [INDEX["odd"], INDEX["not_odd"]]]
    np.testing.assert_array_equal(read, [[np.nan, 0.6], [0.4, np.nan], [np.nan, np.nan], [0.4, 0.6]])


def test_zeros_of_an_incomplete_question_are_kept():
    assert ConditionalDialect().read(Table({"t06_odd_yes": [0.0]}))[0, INDEX["odd"]] == 0


def test_hart16_takes_the_most_complete_suffix_then_the_preferred():
    stems = [a.hart16 for a in QUESTIONS[5].answers]
    table = Table({stems[0] + "_debiased": [0.9], stems[1] + "_debiased": [0.3], stems[0] + "_fraction": [0.7]})
    assert Hart16Dialect().describe(table) == "hart16 _debiased"
    table[stems[1] + "_fraction"] = [0.3]
    assert Hart16Dialect().describe(table) == "hart16 _fraction"
    preferred = Hart16Dialect(preference=("_debiased", "_fraction"))
    assert preferred.read(table)[0, INDEX["odd"]] == 0.9
    assert Hart16Dialect().read(table)[0, INDEX["odd"]] == 0.7


def test_hart16_counts_become_fractions_when_nothing_else_is_there():
    stems = [a.hart16 for a in QUESTIONS[5].answers]
    table = Table({stems[0] + "_count": [30, 0], stems[1] + "_count": [10, 0], stems[0] + "_flag": [1, 0]})
    np.testing.assert_array_equal(Hart16Dialect().read(table)[:, INDEX["odd"]], [0.75, np.nan])
    assert Hart16Dialect().describe(table) == "hart16 _count"


def test_hart16_writes_fractions_and_leaves_counts_and_flags_missing():
    stem = "t06_odd_a14_yes"
    names = [stem + suffix for suffix in Hart16Dialect.suffixes] + ["total_votes", "id"]
    votes = np.full((1, 37), np.nan)
    votes[0, INDEX["odd"]] = 0.3
    written = Hart16Dialect().write(votes, names)
    assert sorted(written) == sorted(names[:-2])
    for suffix in Hart16Dialect.suffixes:
        expected = 0.3 if suffix in ("_fraction", "_weighted_fraction", "_debiased") else np.nan
        np.testing.assert_array_equal(written[stem + suffix], [expected])


def test_hart16_preference_is_checked():
    with pytest.raises(ConditionError, match="_flag.*can be read from _weighted_fraction"):
        Hart16Dialect(preference=("_flag",))


def test_zoobot_counts_over_their_total():
    table = Table({"something-odd-gz2_yes": [30, 30, 0], "something-odd-gz2_no": [10, 10, 0]})
    np.testing.assert_array_equal(ZoobotDialect().read(table)[:, INDEX["odd"]], [0.75, 0.75, np.nan])
    table["something-odd-gz2_total-votes"] = [50, 40, 0]
    np.testing.assert_array_equal(ZoobotDialect().read(table)[:, INDEX["odd"]], [0.6, 0.75, np.nan])
    assert ZoobotDialect().describe(table) == "zoobot counts"
    table["something-odd-gz2_total-votes"] = [20, 40, 0]
    assert ZoobotDialect().read(table)[0, INDEX["odd"]] == 0.75, "a total below the sum of its answers is none"
    table["something-odd-gz2_total-votes"] = [50, 40, 0]
    table["something-odd-gz2_yes_fraction"] = [0.1, np.nan, np.nan]
    np.testing.assert_array_equal(ZoobotDialect().read(table)[:, INDEX["odd"]], [0.1, 0.75, np.nan])
    assert ZoobotDialect().describe(table) == "zoobot fractions"


def test_zoobot_writes_no_counts():
    names = ["bar-gz2_yes", "bar-gz2_yes_fraction", "bar-gz2_total-votes"]
    votes = np.full((1, 37), np.nan)
    votes[0, INDEX["bar"]] = 0.3
    written = ZoobotDialect().write(votes, names)
    assert written["bar-gz2_yes_fraction"] == [0.3]
    assert np.isnan([written["bar-gz2_yes"][0], written["bar-gz2_total-votes"][0]]).all()


@pytest.mark.parametrize(
    ("dialect", "column", "values", "message"),
    [
        (KaggleDialect, "Class1.1", [0.5, 62.0], "'Class1.1', row 1: 62 is not a fraction.*divide percentages"),
        (KaggleDialect, "Class1.1", [-0.5], "-0.5 is not a fraction"),
        (ConditionalDialect, "t01_smooth", [np.inf], "inf is not a fraction"),
        (ConditionalDialect, "t01_smooth", ["much"], "no column of numbers"),
        (ConditionalDialect, "t01_smooth", [[0.1, 0.2]], r"shape \(1, 2\); it needs one number a row"),
        (ZoobotDialect, "bar-gz2_yes", [-3], "-3 is not a number of votes"),
    ],
)
def test_columns_that_hold_no_votes_are_named(dialect, column, values, message):
    with pytest.raises(ConditionError, match=message):
        dialect().read(Table({column: values}))


def test_object_columns_with_none_are_read():
    table = Table({"t06_odd_yes": np.array([0.4, None], dtype=object)})
    np.testing.assert_array_equal(ConditionalDialect().read(table)[:, INDEX["odd"]], [0.4, np.nan])


@pytest.fixture(scope="module")
def real(gz2):
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = ["votes_kind", *NAMES["kaggle"], *NAMES["conditional"]]
    return Table.from_pandas(parquet.read_table(gz2 / "test.parquet", columns=columns).to_pandas())


def test_kaggle_and_conditional_columns_of_real_galaxies_agree(real):
    kaggle, conditional = KaggleDialect().read(real), ConditionalDialect().read(real)
    np.testing.assert_array_equal(np.isnan(kaggle), np.isnan(conditional))
    np.testing.assert_allclose(kaggle, conditional, atol=1e-4)
    assert np.isfinite(kaggle[:, INDEX["merger"]]).sum() > 2000


@pytest.mark.parametrize("dialect", [KaggleDialect, ConditionalDialect])
def test_real_votes_survive_reading_and_writing(real, dialect):
    dialect = dialect()
    written = dialect.write(dialect.read(real), real.colnames)
    complete = real["votes_kind"] == "kaggle37"
    for name, values in written.items():
        old = np.asarray(real[name], dtype=float)
        known = np.isfinite(old) & (complete if dialect.name == "kaggle" else np.isfinite(values))
        np.testing.assert_allclose(values[known], old[known], atol=1e-5)
    np.testing.assert_allclose(dialect.read(Table(written)), dialect.read(real), atol=1e-5)


def test_hart16_sample_reads_as_the_weighted_votes_of_the_same_galaxies(gz2):
    parquet = pytest.importorskip("pyarrow.parquet")
    names = ["id", *NAMES["conditional"]]
    frame = parquet.read_table(gz2 / "test.parquet", columns=names).to_pandas().set_index("id")
    hart16 = parquet.read_table(gz2 / "hart16_sample.parquet").to_pandas().set_index("id")
    common = [identifier for identifier in hart16.index if identifier in frame.index]
    assert len(common) >= 100
    table = Table.from_pandas(hart16.loc[common])
    assert Hart16Dialect().describe(table) == "hart16 _weighted_fraction"
    conditional = ConditionalDialect().read(Table.from_pandas(frame.loc[common]))
    np.testing.assert_allclose(Hart16Dialect().read(table), conditional, atol=1e-4)
