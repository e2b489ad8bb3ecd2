"""Which settings nothing outdoes."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

from astro_galaxysd.errors import ConditionError, UnknownNameError
from astro_galaxysd.evaluation.pareto import pareto_front, sweep_table

POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=25)


def test_a_front_by_hand():
    sweep = Table({"realism": [0.9, 0.8, 0.7, 0.8], "diversity": [0.1, 0.3, 0.2, 0.3], "guidance": list("abcd")})
    marked = pareto_front(sweep, {"realism": True, "diversity": True})
    assert marked["front"].tolist() == [True, True, False, True]  # c is outdone; b and d are equal
    assert "front" not in sweep.colnames
    assert pareto_front(sweep, {"realism": True})["front"].tolist() == [True, False, False, False]
    assert pareto_front(sweep, {"realism": False})["front"].tolist() == [False, False, True, False]


@given(POINTS)
def test_what_is_on_the_front_is_not_outdone_and_the_rest_is(points):
    objectives = {"a": True, "b": True, "c": False}
    marked = pareto_front(Table(rows=points, names=list(objectives)), objectives)
    good = np.array([(a, b, -c) for a, b, c in points])

    def outdone(row):
        return any((other >= row).all() and (other > row).any() for other in good)

    assert marked["front"].tolist() == [not outdone(row) for row in good]
    assert marked["front"].any()


def test_what_is_not_known_is_not_on_the_front():
    sweep = Table({"a": [1.0, np.nan, 0.5], "b": MaskedColumn([1.0, 9.0, 9.0], mask=[False, False, True])})
    assert pareto_front(sweep, {"a": True, "b": True})["front"].tolist() == [True, False, False]


def test_what_has_no_front():
    sweep = Table({"a": [1.0], "name": ["x"], "pair": [[1.0, 2.0]]})
    with pytest.raises(ConditionError, match="needs at least one objective"):
        pareto_front(sweep, {})
    with pytest.raises(UnknownNameError, match="unknown objective 'b'.*Objectives are columns of the table"):
        pareto_front(sweep, {"b": True})
    with pytest.raises(ConditionError, match="column 'name' holds <U1 of shape"):
        pareto_front(sweep, {"name": True})
    with pytest.raises(ConditionError, match=r"column 'pair' holds float64 of shape \(1, 2\)"):
        pareto_front(sweep, {"pair": True})


def evaluation(value, groups=("all", "ring galaxy")):
    rows = [(metric, group, value, 0.01) for metric in ("nearest_real", "consistency", "flux_ks") for group in groups]
    return Table(rows=rows, names=("metric", "group", "value", "error"))


def test_evaluations_become_a_sweep():
    sweep = sweep_table([({"guidance": 1.0}, evaluation(0.5)), ({"guidance": 3.0}, evaluation(0.7, ("all",)))])
    assert list(zip(sweep["guidance"], sweep["group"], sweep["nearest_real"], strict=True)) == [
        (1.0, "all", 0.5), (1.0, "ring galaxy", 0.5), (3.0, "all", 0.7),
    ]  # fmt: skip
    assert sweep["consistency_error"].tolist() == [0.01] * 3
    assert np.isnan(sweep["pairwise_distance"]).all()
    assert "flux_ks" not in sweep.colnames
    assert pareto_front(sweep, {"consistency": True})["front"].tolist() == [False, False, True]


def test_what_is_no_sweep():
    with pytest.raises(ConditionError, match="no evaluations; give"):
        sweep_table([])
    with pytest.raises(ConditionError, match=r"settings differ in their names: \['step'\] .*; name the same"):
        sweep_table([({"guidance": 1.0}, evaluation(0.5)), ({"step": 10}, evaluation(0.5))])
    with pytest.raises(ConditionError, match="the evaluation of {'step': 1} has no metric vendi"):
        sweep_table([({"step": 1}, evaluation(0.5))], ["vendi"])
