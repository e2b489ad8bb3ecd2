from __future__ import annotations

import shutil

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import sweep, sweeping
from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.errors import ConditionError, OutputError, UnknownNameError
from astro_galaxysd.sweeping import read_sweep
from astro_galaxysd.testing import example_batch

N = 16


@pytest.fixture
def galaxies():
    """Forty blobs with votes."""
    rng = np.random.default_rng(0)
    votes = np.full((40, 37), np.nan)
    votes[:, INDEX["smooth"]] = rng.uniform(0.6, 1, 40)
    table = Table({answer.conditional: votes[:, INDEX[answer.key]] for answer in ANSWERS})
    table["id"] = [f"g{row}" for row in range(40)]
    table["image"] = list(example_batch(40).images)
    return table


@pytest.fixture
def judged(monkeypatch):
    """Drawing and judging that take no time; gives what was drawn and judged."""
    calls = []

    def draw(rows, setting, *_):
        drawn = rows.copy()
        drawn.meta["setting"] = setting
        return drawn

    def judge(real, drawn, *, reader, evaluators, rng, **options):
        setting = drawn.meta["setting"]
        calls.append((setting, drawn["id"].tolist(), reader, rng))
        goodness = {"nearest_real": setting.get("guidance", 1), "pairwise_distance": -setting.get("guidance", 1)}
        rows = [(name, "all", float(value), 0.1) for name, value in {**goodness, "consistency": 0.5}.items()]
        return Table(rows=rows, names=("metric", "group", "value", "error"))

    monkeypatch.setattr(sweeping, "_draw", draw)
    monkeypatch.setattr(sweeping, "evaluate", judge)
    return calls


def test_every_combination_on_the_same_rows(galaxies, judged):
    table = sweep(galaxies, {"guidance": [1.0, 2.0], "steps": [5, 10]}, n=N, rng=3)
    assert [(row["guidance"], row["steps"]) for row in table] == [(1, 5), (1, 10), (2, 5), (2, 10)]
    assert set(table["weights"]) == {"mini"}
    assert len({tuple(ids) for _, ids, _, _ in judged}) == 1
    assert len(judged[0][1]) == N
    assert {(reader, rng) for _, _, reader, rng in judged} == {("choosing", judged[0][3])}
    assert table["nearest_real"].tolist() == [1, 1, 2, 2]
    assert table["front"].all()  # what realism gains, diversity loses


def test_objectives_decide_the_front(galaxies, judged):
    table = sweep(galaxies, {"guidance": [1.0, 3.0, 2.0]}, n=N, objectives={"nearest_real": True}, rng=0)
    assert table["front"].tolist() == [False, True, False]


def test_what_is_finished_is_not_drawn_again(galaxies, judged, tmp_path):
    out = tmp_path / "sweep.ecsv"
    sweep(galaxies, {"guidance": [1.0, 2.0]}, n=N, rng=0, out=out)
    assert len(judged) == 2
    table = sweep(galaxies, {"guidance": [1.0, 2.0, 3.0]}, n=N, rng=0, out=out)
    assert len(judged) == 3
    assert table["nearest_real"].tolist() == [1, 2, 3]
    assert table["guidance"].tolist() == [1, 2, 3]


def test_the_file_of_another_sweep(galaxies, judged, tmp_path):
    out = tmp_path / "sweep.ecsv"
    sweep(galaxies, {"guidance": [1.0]}, n=N, rng=0, out=out)
    with pytest.raises(
        ConditionError, match=r"sweep.ecsv belongs to another sweep, which differs in seed and rows; name another"
    ):
        sweep(galaxies, {"guidance": [1.0]}, n=N, rng=1, out=out)
    with pytest.raises(ConditionError, match="differs in reader and images"):
        sweep(galaxies, {"guidance": [1.0]}, n=N, rng=0, out=out, reader="reporting", images="cutout")
    others = galaxies.copy()
    others["id"][3] = "x3"
    with pytest.raises(ConditionError, match="differs in rows;"):
        sweep(others, {"guidance": [1.0]}, n=N, rng=0, out=out)
    assert len(judged) == 1


def test_weights_that_were_trained_on_under_their_name_are_drawn_again(galaxies, judged, tiny_weights, tmp_path):
    out, folders = tmp_path / "sweep.ecsv", [tmp_path / run / "weights" for run in ("one", "two")]
    for folder in folders:
        shutil.copytree(tiny_weights, folder)

    def run():
        table = sweep(galaxies, {"weights": folders}, n=N, rng=0, out=out)
        assert table["weights"].tolist() == [str(folder) for folder in folders]
        return [setting["weights"] for setting, *_ in judged]

    assert run() == run() == [str(folder) for folder in folders]
    changed = folders[1] / "scheduler" / "scheduler_config.json"
    changed.write_text(changed.read_text() + " ")
    assert run() == [str(folder) for folder in (*folders, folders[1])]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no table", "no sweep can be read"),
        (b"\xff\xfe\x00", "no sweep can be read"),
        (b"# %ECSV 1.0\n# ---\n# datatype: [\n", "no sweep can be read .*or remove one that is damaged"),
        (b"# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\na\n1\n", "does not hold what a sweep has"),
    ],
)
def test_a_damaged_file(galaxies, judged, tmp_path, content, says):
    (tmp_path / "sweep.ecsv").write_bytes(content)
    with pytest.raises(ConditionError, match=says):
        sweep(galaxies, {"guidance": [1.0]}, n=N, rng=0, out=tmp_path / "sweep.ecsv")
    assert judged == []


@pytest.mark.parametrize("missing", [5, 200])
def test_a_file_cut_short(galaxies, judged, tmp_path, missing):
    out = tmp_path / "sweep.ecsv"
    sweep(galaxies, {"guidance": [1.0]}, n=N, rng=0, out=out)
    out.write_bytes(out.read_bytes()[:-missing])
    with pytest.raises(ConditionError, match="is cut short or was changed; remove it or name another"):
        sweep(galaxies, {"guidance": [1.0]}, n=N, rng=0, out=out)


def test_a_file_that_can_not_be_written(galaxies, judged, tmp_path):
    with pytest.raises(OutputError, match="doesn't exist; create it"):
        sweep(galaxies, {"guidance": [1.0]}, n=N, rng=0, out=tmp_path / "none" / "sweep.ecsv")
    assert judged == []


def test_a_sweep_that_is_not_there(tmp_path):
    with pytest.raises(ConditionError, match="none.ecsv: no sweep can be read .FileNotFoundError"):
        read_sweep(tmp_path / "none.ecsv")


def test_unknown_setting(galaxies, judged):
    with pytest.raises(UnknownNameError, match="unknown setting 'guidence': did you mean 'guidance'"):
        sweep(galaxies, {"guidence": [1]}, n=N)


@pytest.mark.parametrize("over", [{}, {"steps": []}])
def test_nothing_to_sweep_over(galaxies, judged, over):
    with pytest.raises(ConditionError, match="nothing to sweep over; give values for some of weights, steps"):
        sweep(galaxies, over, n=N)


def test_values_are_python_s_and_each_once(galaxies, judged):
    table = sweep(galaxies, {"guidance": np.arange(1, 4), "steps": [2, 2, np.int64(2)]}, n=N, rng=0)
    assert table["guidance"].tolist() == [1, 2, 3]
    assert table["steps"].tolist() == [2, 2, 2]
    assert {type(value) for setting, *_ in judged for value in setting.values()} == {int, str}


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"steps": 10}, r"setting 'steps' is 10; give a list of values, as in \{'steps': \[10\]\}"),
        ({"sampler": "ddim"}, "setting 'sampler' is 'ddim'; give a list"),
        ({"guidance": np.float64(2)}, "setting 'guidance' is .*; give a list"),
        ({"guidance": np.array(2.0)}, "setting 'guidance' is .*; give a list"),
        ({"guidance": [[1, 2]]}, r"setting 'guidance' has the value \[1, 2\]; give numbers or texts"),
    ],
)
def test_values_that_are_no_list(galaxies, judged, over, says):
    with pytest.raises(ConditionError, match=says):
        sweep(galaxies, over, n=N)
    assert judged == []


@pytest.mark.parametrize("n", [15, 21])
def test_numbers_of_rows(galaxies, judged, n):
    with pytest.raises(ConditionError, match=rf"n = {n} rows to draw, of 40; give 16 to 20"):
        sweep(galaxies, {"steps": [1]}, n=n)


class TestDrawing:
    """The settings reach the generator."""

    def test_steps_guidance_and_weights(self, galaxies, flow, tiny_weights, monkeypatch):
        from dataclasses import replace

        from astro_galaxysd import drawing

        monkeypatch.setattr(
            sweeping, "weight_card", lambda weights: replace(drawing.weight_card(weights), generator="flow")
        )
        setting = {"weights": str(tiny_weights), "steps": 7, "guidance": 3.0, "sampler": "euler-ancestral"}
        drawn = sweeping._draw(galaxies[:3], setting, 0, None, None, False)
        assert flow.made_with[-1] == ("tiny", 7, 3.0)
        assert drawn["id"].tolist() == galaxies["id"][:3].tolist()
        assert all("{smooth:" in prompt for prompt in drawn["prompt"])

    @pytest.mark.parametrize(("weight", "words"), [(1.0, "sdss, smooth"), (1.3, "sdss, {smooth:1.3}")])
    def test_feature_weight(self, galaxies, flow, tiny_weights, monkeypatch, weight, words):
        from dataclasses import replace

        from astro_galaxysd import drawing

        monkeypatch.setattr(
            sweeping, "weight_card", lambda weights: replace(drawing.weight_card(weights), generator="flow")
        )
        setting = {"weights": str(tiny_weights), "feature_weight": weight}
        drawn = sweeping._draw(galaxies[:3], setting, 0, None, None, False)
        assert set(drawn["prompt"]) == {words}
        assert "prompt" not in galaxies.colnames
