"""Augmented tables: the real rows as they were, the new ones with what is known of them."""

from __future__ import annotations

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import CartesianRepresentation, SkyCoord
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time

from astro_galaxysd.augmentation.plan import plan_augmentation
from astro_galaxysd.augmentation.result import append_rows, check_columns
from astro_galaxysd.conditions.schemas import ConditionalDialect, Hart16Dialect, KaggleDialect
from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.errors import ConditionError, ImageError, UnknownNameError
from astro_galaxysd.images.provenance import PROVENANCE_COLUMNS, RUN_RECORD, drop_synthetic

PROVENANCE = {"generator": "diffusion", "weights": "mini", "weights_revision": "abc"}


@pytest.fixture
def table():
    """Two mergers and two others with everything a catalogue may hold."""
    odd, merger = np.float32([0.8, 0.9, 0.1, 0.0]), np.float32([0.75, 0.6, 0.0, 0.0])
    table = QTable({
        "id": ["a", "b", "c", "d"],
        "image": np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3),
        "Class6.1": odd, "Class6.2": 1 - odd, "Class8.6": odd * merger, "Class8.1": odd * (1 - merger),
        "t06_odd_yes": odd, "t06_odd_no": 1 - odd, "t08_merger": merger, "t08_ring": 1 - merger,
        "t06_odd_a14_yes_count": [40, 45, 5, 0], "t06_odd_a14_yes_flag": [1, 1, 0, 0],
        "t06_odd_a14_yes_weighted_fraction": MaskedColumn(odd, mask=[False, False, False, True]),
        "flux": [1.0, 2.0, np.nan, 4.0] * u.mJy,
        "seen": Time([50000.0, 50001.0, 50002.0, 50003.0], format="mjd"),
        "place": SkyCoord([1, 2, 3, 4], [5, 6, 7, 8], unit="deg"),
        "split": ["train", "train", "test", "val"],
        "bad": MaskedColumn([True, False, False, True], mask=[False, True, False, False]),
    })  # fmt: skip
    table["flux"].info.description = "in a band"
    table["split"].info.format = ">8s"
    table["split"].info.meta = {"origin": "here"}
    table.meta = {"survey": {"name": "SDSS", "bands": ["g", "r"]}}
    return table


def merger_plan(table, **options):
    return plan_augmentation(table, **{"target": "merger", "n": 3, "rng": 0, **options})


def append(table, plan, **options):
    images = options.pop("images", np.full((len(plan), 2, 2, 3), 9, np.uint8))
    column = options.pop("image_column", "image")
    return append_rows(table, plan, {column: images}, **{"provenance": PROVENANCE, **options})


def same(one, two):
    """Values, masks, dtypes, units and infos of two columns agree."""
    for attribute in ("name", "unit", "format", "description", "meta"):
        assert getattr(one.info, attribute) == getattr(two.info, attribute), one.info.name
    if isinstance(one, Column):
        np.testing.assert_array_equal(np.ma.getmaskarray(one.data), np.ma.getmaskarray(two.data))
        one, two = np.ma.getdata(one.data), np.ma.getdata(two.data)
        assert one.dtype.kind == two.dtype.kind
        if one.dtype.kind in "US":
            return one.tolist() == two.tolist()
        return one.dtype == two.dtype and one.tobytes() == two.tobytes()
    if isinstance(one, Time):
        return bool((one == two).all())
    if isinstance(one, SkyCoord):
        return bool(np.all((one.ra == two.ra) & (one.dec == two.dec)))
    return one.dtype == two.dtype and np.asarray(one.value).tobytes() == np.asarray(two.value).tobytes()


def test_real_rows_are_untouched(table):
    before, plan = table.copy(), merger_plan(table)
    result = append(table, plan)
    assert type(result) is QTable
    assert result.colnames == [*before.colnames, *PROVENANCE_COLUMNS]
    real = result[:4]
    for name in before.colnames:
        assert same(table[name], before[name]), name
        column = real[name]
        assert same(column, before[name]), name
    assert {k: v for k, v in result.meta.items() if k != RUN_RECORD} == before.meta
    result.meta["survey"]["bands"].append("i")
    assert table.meta == before.meta


def test_new_rows_have_votes_in_every_dialect_of_the_table(table):
    plan = merger_plan(table)
    new = append(table, plan)[4:]
    for dialect in (KaggleDialect(), ConditionalDialect()):
        read = dialect.read(new)
        for key in ("odd", "merger", "ring"):
            np.testing.assert_allclose(read[:, INDEX[key]], plan["votes"][:, INDEX[key]], atol=1e-6)
    np.testing.assert_allclose(new["Class8.6"], new["t06_odd_yes"] * new["t08_merger"], rtol=1e-6)
    np.testing.assert_allclose(Hart16Dialect().read(new)[:, INDEX["odd"]], plan["votes"][:, INDEX["odd"]], atol=1e-6)
    assert new["Class8.6"].dtype == np.float32


def test_what_is_not_known_is_missing(table):
    result = append(table, merger_plan(table))
    new = result[4:]
    for name in ("t06_odd_a14_yes_count", "t06_odd_a14_yes_flag", "split", "bad"):
        assert new[name].mask.all(), name
    assert not result["split"].mask[:4].any()
    assert np.isnan(new["flux"].value).all()
    assert new["seen"].mask.all()
    assert np.isnan(new["place"].ra.value).all()


def test_images_ids_and_provenance(table):
    plan = merger_plan(table)
    result = append(table, plan)
    new = result[4:]
    assert (new["image"] == 9).all()
    assert new["id"].tolist() == plan["row_id"].tolist()
    assert result["synthetic"].tolist() == [False] * 4 + [True] * 3
    assert new["prompt"].tolist() == plan["prompt"].tolist()
    assert new["seed"].tolist() == plan["seed"].tolist()
    assert result["seed"].dtype == np.int64
    assert [set(new[name]) for name in PROVENANCE] == [{value} for value in PROVENANCE.values()]
    assert json.loads(new["prompt_weights"][0])["something odd"] in (1.05, 1.15)
    for name in PROVENANCE_COLUMNS[1:]:
        assert result[name].mask.tolist() == [True] * 4 + [False] * 3


def test_provenance_a_row_and_left_out(table):
    result = append(table, merger_plan(table), provenance={"generator": ["a", "b", "c"]})
    assert result["generator"][4:].tolist() == ["a", "b", "c"]
    assert result["weights"].mask.all()


def test_integer_ids_are_masked_and_get_a_column_of_their_own(table):
    table["id"] = [10, 11, 12, 13]
    plan = merger_plan(table)
    result = append(table, plan)
    assert result["id"].tolist() == [10, 11, 12, 13, None, None, None]
    assert result["galaxysd_id"].tolist() == [None] * 4 + plan["row_id"].tolist()


def test_tables_without_ids_get_them(table):
    table.remove_column("id")
    assert "galaxysd_id" in append(table, merger_plan(table)).colnames


def test_named_id_column_and_object_ids(table):
    table["name"] = np.array(["p", "q", "r", "s"], dtype=object)
    plan = merger_plan(table, id_column="name")
    result = append(table, plan, id_column="name")
    assert result["name"].tolist() == ["p", "q", "r", "s", *plan["row_id"]]
    assert result["id"].mask.tolist() == [False] * 4 + [True] * 3
    table["name"] = np.array([1, 2, 3, 4], dtype=object)
    assert append(table, plan, id_column="name")["name"].tolist() == [1, 2, 3, 4, None, None, None]


def test_labels_and_flags_of_the_class_are_set(table):
    table["kind"], table["merger"] = ["M", "M", "E", "E"], [True, True, False, False]
    plan = plan_augmentation(table, target={"M": 2, "merger": 1}, label_column="kind", rng=0)
    result = append(table, plan)
    assert result["kind"].tolist() == ["M", "M", "E", "E", "M", "M", None]
    assert result["merger"].tolist() == [True, True, False, False, None, None, True]


@pytest.mark.parametrize("values", [[1, 1, 2, 2], [b"1", b"1", b"2", b"2"]])
def test_labels_keep_their_type(table, values):
    table["kind"] = values
    result = append(table, merger_plan(table, target="1", label_column="kind", labels={"1": "merger"}))
    assert result["kind"].dtype == table["kind"].dtype
    assert np.ma.getdata(result["kind"].data).tolist() == values + values[:1] * 3


def test_indices_and_masked_tables_are_kept(table):
    table["number"] = [4, 2, 3, 1]
    table.add_index("id", unique=True)
    table.add_index("number")
    table.add_index("seen")
    plan = merger_plan(table)
    result = append(table, plan)
    assert [index.data.unique for index in result.indices] == [True, False, False]
    assert result.primary_key == table.primary_key
    assert result.loc["b"]["number"] == 2
    assert result.loc[plan["row_id"][0]]["synthetic"]
    numbers = result.loc.with_index("number")
    # what lies under the mask must not spoil the order: at 0 the largest number would match the new rows too
    assert [numbers[number]["id"] for number in (1, 2, 3, 4)] == ["d", "b", "c", "a"]
    assert [row["id"] for row in numbers[1:2]] == ["d", "b"]
    assert append(Table(table, masked=True), plan).masked


def test_a_second_augmentation_goes_behind_the_first(table):
    first = append(table, merger_plan(table), record={"run": 1})
    plan = merger_plan(first)
    second = append(first, plan, record={"run": 2})
    assert plan["base_row"].max() < 2
    assert len(set(second["id"])) == len(second) == 10
    assert second["synthetic"].sum() == 6
    assert second["seed"][4:7].tolist() == first["seed"][4:].tolist()
    assert second.meta[RUN_RECORD]["run"] == 2
    assert second.meta[RUN_RECORD]["previous"] == {"run": 1}


def test_dropping_the_new_rows_gives_the_old_table_back(table):
    for augmented in (first := append(table, merger_plan(table)), append(first, merger_plan(first))):
        back = drop_synthetic(augmented)
        assert back.colnames == table.colnames
        for name in table.colnames:
            assert type(back[name]) is type(table[name]), name
            column, old = back[name], table[name]
            assert same(column, old), name
        assert back.meta == table.meta


def test_votes_of_0_and_1_get_the_fractions_of_the_plan():
    table = Table({
        "t01_smooth": [1, 1, 0], "t01_features_or_disk": [0, 0, 1], "t06_odd_yes": [1, 0, 0], "t06_odd_no": [0, 1, 1],
        "t08_merger": [1, 0, 0],
    })  # fmt: skip
    plan = plan_augmentation(table, target="dust_lane", n=1, compose=True, rng=0)
    result = append_rows(table, plan, provenance=PROVENANCE)
    written = ConditionalDialect().write(np.asarray(plan["votes"], dtype=np.float64), table.colnames)
    assert any(value % 1 for values in written.values() for value in values)
    for name in table.colnames:
        np.testing.assert_array_equal(result[name], [*table[name], *written[name]])
    back = drop_synthetic(result)
    for name in table.colnames:
        assert same(back[name], table[name]), name


def test_tables_with_prompts_of_their_own_go_on_with_them():
    table = Table({"prompt": ["merger", "ring galaxy"]})
    result = append_rows(table, merger_plan(table), provenance=PROVENANCE)
    assert result["prompt"].tolist() == ["merger", "ring galaxy"] + ["sdss, merger"] * 3


def test_part_of_a_plan_can_be_appended(table):
    assert len(append(table, merger_plan(table)[:2])) == 6


def test_images_must_be_there_and_fit(table):
    plan = merger_plan(table)
    with pytest.raises(ImageError, match="2 images for 3 planned rows"):
        append(table, plan, images=np.zeros((2, 2, 2, 3), np.uint8))
    with pytest.raises(ImageError, match="column 'image': 0 images for 3 planned rows"):
        append(table, plan, images=[])
    with pytest.raises(ImageError, match=r"'image' holds \(2, 2, 3\) a row"):
        append(table, plan, images=np.zeros((3, 4, 4, 3), np.uint8))
    with pytest.raises(UnknownNameError, match="unknown image column 'imag': did you mean 'image'"):
        append(table, plan, image_column="imag")


def test_encoded_images_go_into_object_columns(table):
    table["image"] = np.array([b"1\x00", b"2\x00", b"3\x00", b"4\x00"], dtype=object)
    result = append(table, merger_plan(table), images=[b"5\x00", b"6\x00", b"7\x00"])
    assert [bytes(value) for value in result["image"]] == [b"%d\x00" % i for i in range(1, 8)]


def test_provenance_is_checked(table):
    plan = merger_plan(table)
    with pytest.raises(UnknownNameError, match="unknown provenance column 'generatr': did you mean 'generator'"):
        append(table, plan, provenance={"generatr": "x"})
    with pytest.raises(ConditionError, match="provenance 'weights': 2 values for 3 rows"):
        append(table, plan, provenance={"weights": ["x", "y"]})


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("weights", [1.0], "'weights' holds float64.*as text; rename"),
        ("seed", ["x"], "'seed' holds <U1.*as 64-bit integers"),
        ("seed", np.int32([1]), "'seed' holds int32"),
        ("synthetic", ["yes"], "'synthetic' holds <U3.*as bool"),
        ("galaxysd_id", [1], "'galaxysd_id' holds int64"),
    ],
)
def test_taken_names(name, values, message):
    with pytest.raises(ConditionError, match=message):
        check_columns(Table({name: values}))


def test_columns_without_a_missing_value():
    with pytest.raises(ConditionError, match="column 'where' is a CartesianRepresentation"):
        check_columns(QTable({"a": [1], "where": CartesianRepresentation([[1], [2], [3]])}))
