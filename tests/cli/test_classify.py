"""``galaxysd verdict`` and ``galaxysd search``, as they are typed."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd import cli, read_table, write_table
from astro_galaxysd.images.encoded import Encoding, encode_image
from astro_galaxysd.images.sources import object_array
from astro_galaxysd.testing import example_batch
from astro_galaxysd.verdict import VERDICT


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """A table of galaxies, a third of them mergers, in the current folder."""
    monkeypatch.chdir(tmp_path)
    batch = example_batch(80, size=32)
    fractions = np.where(np.arange(80) % 3 == 0, 0.8, 0.1)
    votes = {"t01_smooth": np.full(80, 0.7), "t06_odd_yes": np.full(80, 0.9), "t08_merger": fractions}
    write_table(Table({"id": batch.ids, "image": list(batch.images), **votes}), "real.parquet")
    return tmp_path


def test_a_verdict_and_its_page(tables, tiny_weights, capsys):
    words = ["verdict", "real.parquet", "--target", "merger", "--quick", "--runs", "3", "--others", "12", "-o", "out"]
    words += ["--weights", str(tiny_weights), "--steps", "2", "--guidance", "1", "--arms", "transfer", "synthetic"]
    words += ["--positives", "6", "--training-steps", "10", "--no-progress"]
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert "6 labelled  synthetic at ratio 1" in told
    assert "merger, 6 labelled: " in told
    assert told.endswith("verdict  out/verdict.html\n")
    assert "6 labelled galaxies" in (tables / "out" / "verdict.html").read_text()
    table = Table.read(tables / "out" / "verdict.ecsv", format="ascii.ecsv")
    assert set(table["arm"]) == {"real", "transfer", "synthetic"}
    assert table.meta[VERDICT]["target"] == "merger"


def test_an_interrupt_says_how_to_go_on(tables, capsys, monkeypatch):
    def interrupted(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("astro_galaxysd.verdict.augmentation_verdict", interrupted)
    assert cli.main(["verdict", "real.parquet", "--target", "merger", "-o", "out"]) == 130
    assert capsys.readouterr().err == "galaxysd: interrupted; the same command goes on from out\n"


def test_no_output_named(tables, capsys):
    assert cli.main(["verdict", "real.parquet", "--target", "merger"]) == 1
    assert "no output named; give -o FOLDER, for example -o merger/" in capsys.readouterr().err


def test_rows_left_out_are_named(tables, tiny_weights, capsys):
    table = read_table("real.parquet")
    encoded = [encode_image(np.asarray(image), Encoding("PNG")) for image in table["image"]]
    encoded[1] = encoded[2] = None
    table.replace_column("image", object_array(encoded))
    write_table(table, "gaps.parquet")
    words = ["verdict", "gaps.parquet", "--target", "merger", "--arms", "transfer", "--runs", "3", "--others", "12"]
    words += [
        "--weights",
        str(tiny_weights),
        "--positives",
        "6",
        "--training-steps",
        "2",
        "-o",
        "gaps",
        "--no-progress",
    ]
    assert cli.main(words) == 0
    assert f"left out, no image: 2, {table['id'][1]}, {table['id'][2]}\n" in capsys.readouterr().out
    words = ["search", "real.parquet", "--labelled", "gaps.parquet", "--target", "merger", "--n-synthetic", "0"]
    assert cli.main([*words, "-o", "found", "--no-progress"]) == 0
    assert f"left out, no image: 2, {table['id'][1]}, {table['id'][2]}\n" in capsys.readouterr().out


class TestSearch:
    words = ("search", "catalogue.parquet", "--labelled", "real.parquet", "--target", "merger", "--n-synthetic", "0",
             "--budget", "5", "-o", "round1", "--no-progress")  # fmt: skip

    @pytest.fixture
    def catalogue(self, tables):
        batch = example_batch(30, size=32, rng=9)
        write_table(Table({"id": [f"c{row}" for row in range(30)], "image": list(batch.images)}), "catalogue.parquet")
        return tables

    def test_candidates_and_what_to_do_next(self, catalogue, capsys):
        assert cli.main([*self.words]) == 0
        told = capsys.readouterr().out
        assert "labelled  27 of the class, 53 others\nsynthetic  0 (average precision of held-out" in told
        assert "scored  30\n" in told
        for name in ("prevalence", "found", "purity", "completeness"):
            assert f"\n{name}  " in told
        assert "candidates  round1/candidates.png\nlook at them  round1/vetting.html; save its answers" in told
        assert len(read_table("round1/candidates.parquet")) == 5

    def test_a_second_round(self, catalogue, capsys):
        assert cli.main([*self.words]) == 0
        names = read_table("round1/candidates.parquet")["search_name"]
        (catalogue / "round1" / "vetting.csv").write_text(f"id,answer,seconds\n{names[0]},yes,1\n{names[1]},no,1\n")
        capsys.readouterr()
        assert cli.main([*self.words, "--after", "round1", "-o", "round2"]) == 0
        told = capsys.readouterr().out
        assert "labelled  28 of the class, 54 others" in told
        assert f"left out, labelled or looked at before: 2, {names[0]}" in told or names[1] in told

    def test_nothing_is_overwritten(self, catalogue, capsys):
        assert cli.main([*self.words]) == 0
        assert cli.main([*self.words]) == 1
        assert "candidates.parquet" in capsys.readouterr().err
        assert cli.main([*self.words, "--overwrite"]) == 0

    def test_no_output_named(self, catalogue, capsys):
        assert cli.main(list(self.words[:-3])) == 1
        assert "no output named; give -o FOLDER, for example -o mergers/" in capsys.readouterr().err
