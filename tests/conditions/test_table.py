"""Which condition a row has, and from which of a table's columns."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_galaxysd.conditions import table as conditions_table
from astro_galaxysd.conditions.table import DialectChoice, choose_dialect, describe, find_dialects, read_conditions
from astro_galaxysd.errors import ConditionError, PluginWarning, PromptError, UnknownNameError
from astro_galaxysd.plugins.manager import PluginRegistry
from astro_galaxysd.records import ConditionSchema


@pytest.fixture
def both():
    """Two rows with complete conditional votes on task 6, one of them with Kaggle votes too."""
    return Table({"Class6.1": [0.3, np.nan], "Class6.2": [0.7, np.nan],
                  "t06_odd_yes": [0.3, 0.8], "t06_odd_no": [0.7, 0.2]})  # fmt: skip


def test_the_most_complete_dialect_is_read_unless_one_is_named(both):
    assert [d.name for d in find_dialects(both)] == ["kaggle", "conditional"]
    assert choose_dialect(both).name == "conditional"
    assert choose_dialect(both, "kaggle").name == "kaggle"
    assert read_conditions(both).source == "conditional"
    both["Class6.1"][1], both["Class6.2"][1] = 0.8, 0.2
    assert choose_dialect(both).name == "kaggle", "of equals the first"


def test_votes_become_prompts(both):
    read = read_conditions(both)
    assert read.prompts == ["sdss, {something odd:0.55}", "sdss, {something odd:1.05}"]
    assert read.fractions.shape == (2, 37)
    assert read.dialect.name == "conditional"


def test_no_vote_columns_lists_what_was_looked_for_and_the_ways_out():
    with pytest.raises(ConditionError) as caught:
        read_conditions(Table({"flux": [1.0]}))
    for words in ("kaggle (Class1.1 ... Class11.6)", "hart16 (t01_smooth_or_features_a01_smooth_fraction ...)",
                  "zoobot", "the table has flux", "column 'prompt'", "label_column="):  # fmt: skip
        assert words in str(caught.value)


def test_a_named_schema_without_columns_is_an_error(both):
    with pytest.raises(ConditionError, match="no vote columns: looked for zoobot"):
        choose_dialect(both, "zoobot")


def test_unknown_schema_suggests_the_nearest(both):
    with pytest.raises(UnknownNameError, match="unknown schema 'kagle': did you mean 'kaggle'"):
        choose_dialect(both, "kagle")


def test_a_rows_own_prompt_comes_before_its_votes(both):
    both["prompt"] = MaskedColumn(["ring galaxy", ""], mask=[False, True])
    read = read_conditions(both)
    assert read.prompts == ["ring galaxy", "sdss, {something odd:1.05}"]
    assert read.source == "prompt column"
    assert read_conditions(both, schema="conditional").prompts[0] == "sdss, {something odd:0.55}"


def test_prompts_alone_are_enough():
    read = read_conditions(Table({"prompt": ["a", "b"]}))
    assert (read.prompts, read.fractions, read.dialect) == (["a", "b"], None, None)


@pytest.mark.parametrize(
    "table",
    [Table({"prompt": ["a", ""]}), Table({"t06_odd_yes": [0.5, np.nan]})],
    ids=["blank prompt", "no votes"],
)
def test_a_row_that_says_nothing_is_named(table):
    with pytest.raises(ConditionError, match=r"1 row\(s\) without any vote or prompt \(1\)"):
        read_conditions(table)


def test_votes_of_a_plan_are_taken_as_they_are():
    votes = np.full((1, 37), 0.5)
    read = read_conditions(Table({"prompt": ["a"], "votes": votes}))
    np.testing.assert_array_equal(read.fractions, votes)


def test_labels_become_prompts():
    table = Table({"kind": ["S", "E"]})
    read = read_conditions(table, labels={"S": "spiral galaxy", "E": "smooth"}, label_column="kind")
    assert read.prompts == ["spiral galaxy", "smooth"]
    assert read.source == "labels of column 'kind'"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": {"S": "x"}}, ConditionError, "labels= was given without label_column="),
        ({"label_column": "kind"}, ConditionError, "label_column= was given without labels="),
        ({"labels": {"S": "x"}, "label_column": "knd"}, UnknownNameError, "unknown label column 'knd'.*'kind'"),
        ({"labels": {"S": "x"}, "label_column": "kind"}, UnknownNameError, "unknown label 'E'.*row 1"),
        ({"labels": {"S": "{x"}, "label_column": "kind"}, PromptError, "never closed"),
    ],
)
def test_labels_that_do_not_fit(options, error, message):
    with pytest.raises(error, match=message):
        read_conditions(Table({"kind": ["S", "E"]}), **options)


class OwnDialect:
    """A dialect of a survey that knows one answer."""

    name = "own"

    def columns(self, names):
        return [name for name in names if name == "is_odd"]

    def read(self, table):
        votes = np.full((len(table), 37), np.nan)
        votes[:, 13] = table["is_odd"]
        return votes

    def write(self, fractions, names):
        return {"is_odd": fractions[:, 13]}


class OwnPlugin:
    def __init__(self, factory):
        self.factory = factory

    def galaxysd_register_condition_schemas(self):
        return [ConditionSchema("own", self.factory)]


@pytest.fixture
def registry(monkeypatch):
    """Put plug-ins in the place of the installed ones."""
    from astro_galaxysd import hookimpl

    def use(factory):
        plugin = OwnPlugin(factory)
        hookimpl(type(plugin).galaxysd_register_condition_schemas)
        found = PluginRegistry(entry_points=[], plugins={"survey": plugin})
        monkeypatch.setattr(conditions_table, "get_registry", lambda: found)

    return use


def test_dialects_of_plugins_are_found_and_can_be_named(registry, monkeypatch):
    monkeypatch.setattr(conditions_table, "own_dialect", OwnDialect, raising=False)
    registry("astro_galaxysd.conditions.table:own_dialect")
    table = Table({"is_odd": [0.9]})
    for schema in (None, "own"):
        dialect = choose_dialect(table, schema)
        assert (dialect.name, describe(dialect, table)) == ("own", "own")
    assert read_conditions(table).prompts == ["sdss, {something odd:1.15}"]


def test_a_broken_dialect_is_left_out(registry, both):
    registry("no_such_module:Dialect")
    with pytest.warns(PluginWarning, match="schema 'own' was left out"):
        assert choose_dialect(both).name == "conditional"


def chosen(table, rows, schema=None):
    """What is found piece by piece, the whole table being `table`."""
    choice = DialectChoice(table[:1], schema)
    for start in range(0, len(table) if choice.is_open else 0, rows):
        choice.look_at(table[start : start + rows][choice.columns])
    return choice.dialect


@pytest.mark.parametrize("rows", [1, 2])
def test_dialect_of_pieces_is_that_of_the_whole(both, rows):
    assert chosen(both, rows).name == "conditional"
    assert chosen(both, rows, "kaggle").name == "kaggle"
    both["Class6.1"][1], both["Class6.2"][1] = 0.8, 0.2
    assert chosen(both, rows).name == "kaggle", "of equals the first"
    read = read_conditions(both[1:], dialect=chosen(both, rows))
    assert (read.source, read.prompts) == ("kaggle", ["sdss, {something odd:1.05}"])


def test_dialect_of_pieces_where_rows_decide_nothing(both):
    assert not DialectChoice(both["Class6.1", "Class6.2"][:1]).is_open
    assert chosen(both["Class6.1", "Class6.2"], 1).name == "kaggle"
    assert chosen(Table({"prompt": ["sdss, ring galaxy"]}), 1) is None
    assert chosen(both, 1, "zoobot") is None
    both["votes"] = np.full((2, 37), 0.5)
    assert chosen(both, 1) is None, "a plan's own votes come first"


def test_dialect_of_pieces_refuses_what_is_no_vote(both):
    both["Class6.1"][1] = 7
    with pytest.raises(ConditionError, match="'Class6.1', row 0: 7 is not a fraction"):
        chosen(both, 1)


def test_suffix_of_pieces_is_that_of_the_whole():
    stem = "t01_smooth_or_features_a01_smooth"
    table = Table({f"{stem}_weighted_fraction": [0.5, np.nan, np.nan], f"{stem}_debiased": [0.25, 0.5, 0.75]})
    for rows in (1, 2, 3):
        assert describe(chosen(table, rows), table[:1]) == "hart16 _debiased" == describe(choose_dialect(table), table)
    single = chosen(table[f"{stem}_debiased",], 1)
    assert describe(single, table) == "hart16 _debiased"
