from __future__ import annotations

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from astro_galaxysd.diffusion import safefiles
from astro_galaxysd.diffusion.safefiles import (
    MAX_HEADER,
    check_total,
    contained,
    is_safetensors,
    read_header,
    read_json,
    shown,
)
from astro_galaxysd.errors import WeightsError

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def write(path, header, values=b"\0" * 8, length=None):
    """A file with any header, which may be text that is no JSON."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + values)
    return path


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool],
    ids=str,
)
def test_tensors_come_back(tmp_path, dtype):
    values = (torch.randn(3, 4, 5) * 10).to(dtype)
    tensors = {"a": values, "none": torch.zeros(0, 3), "one": torch.tensor(5), "z": values[:1].clone()}
    save_file(tensors, tmp_path / "w.bin", metadata={"format": "pt"})
    assert is_safetensors(tmp_path / "w.bin")
    found = read_header(tmp_path / "w.bin")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tuple(tensor.shape))
        assert torch.equal(found[name].read(), tensor)
    assert torch.equal(found["a"].reshaped((12, 5)).read(), values.reshape(12, 5))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ('{"a": ', "no sound safetensors .Expecting value"),
        ("[1]", "the header holds list, not a JSON object"),
        ('{"a":' * 3000 + "1" + "}" * 3000, "no sound safetensors .maximum recursion"),
        ('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": 1}', "the key 'a' is there twice"),
        ({"a": 1}, "a has not just dtype, shape and data_offsets"),
        ({"a": ENTRY | {"code": "x"}}, "a has not just dtype, shape and data_offsets"),
        ({"a": ENTRY | {"dtype": "F4"}}, "a has values of kind F4; known are F64, F32"),
        ({"a": ENTRY | {"dtype": ["F32"]}}, r"a has values of kind \['F32'\]"),
        ({"a": ENTRY | {"shape": [-2]}}, r"a has a shape of \[-2\]"),
        ({"a": ENTRY | {"shape": [2.0]}}, r"a has a shape of \[2.0\]"),
        ({"a": ENTRY | {"shape": [True, 2]}}, r"a has a shape of \[True, 2\]"),
        ({"a": ENTRY | {"shape": [2] + [1] * 8}}, r"a has a shape of \[2, 1, 1"),
        ({"a": ENTRY | {"shape": [2**61, 8]}}, r"a has a shape of \[2305843009213693952, 8\] F32, which are not 8"),
        ({"a": ENTRY | {"shape": [3]}}, r"a has a shape of \[3\] F32, which are not 8 bytes"),
        ({"a": ENTRY | {"data_offsets": [8, 0]}}, "which are not -8 bytes"),
        ({"a": ENTRY | {"data_offsets": [-8, 0]}}, r"a has data_offsets of \[-8, 0\]"),
        ({"a": ENTRY | {"data_offsets": [0]}}, r"a has data_offsets of \[0\]"),
        ({"a": ENTRY, "b": ENTRY}, "b begins at 0, in the one before"),
        ({"a": ENTRY | {"data_offsets": [4, 12]}}, "a begins at 4, after a gap"),
        ({"a": ENTRY, "b": ENTRY | {"data_offsets": [8, 16]}}, "tensors of 16 bytes where the file has 8"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, "tensors of 4 bytes where the file has 8"),
        ({"__metadata__": {"a": 1}, "a": ENTRY}, "__metadata__ is no object of texts"),
        ({"": ENTRY}, "a tensor with the name ''"),
        ({"conv_in.w\u0435ight": ENTRY}, r"a tensor with the name 'conv_in.w\\u0435ight'"),
        ({"a\nb": ENTRY}, r"a tensor with the name 'a\\nb'"),
        ({"a" * 301: ENTRY}, "a tensor with the name 'aaaa"),
    ],
)  # fmt: skip
def test_headers_that_can_not_be(tmp_path, header, message):
    path = write(tmp_path / "w.safetensors", header)
    with pytest.raises(WeightsError, match=f"w.safetensors: .*{message}.*copy the weights again"):
        read_header(path)


def test_header_that_is_no_text(tmp_path):
    (tmp_path / "w").write_bytes((4).to_bytes(8, "little") + b"{\xff\xfe}")
    with pytest.raises(WeightsError, match="no sound safetensors .*decode"):
        read_header(tmp_path / "w")


@pytest.mark.parametrize("length", [0, 1, 1_000, 2**63])
def test_headers_longer_than_the_file(tmp_path, length):
    path = write(tmp_path / "w", {"a": ENTRY}, length=length)
    with pytest.raises(WeightsError, match=f"a header of {length:,} bytes in a file of "):
        read_header(path)


def test_a_huge_header_is_not_read(tmp_path):
    """The file has holes, and takes no place on the disk."""
    with (tmp_path / "w").open("wb") as file:
        file.write((90_000_000).to_bytes(8, "little"))
        file.truncate(100_000_000)
    with pytest.raises(WeightsError, match=f"a header of 90,000,000 bytes, where {MAX_HEADER:,} are allowed"):
        read_header(tmp_path / "w")


@pytest.mark.parametrize("content", [b"", b"abc"])
def test_files_too_short_for_anything(tmp_path, content):
    (tmp_path / "w").write_bytes(content)
    assert not is_safetensors(tmp_path / "w")
    with pytest.raises(WeightsError, match=f"in a file of {len(content)}"):
        read_header(tmp_path / "w")


def test_a_file_cut_after_it_was_looked_at(tmp_path):
    path = write(tmp_path / "w", {"a": ENTRY})
    tensor = read_header(path)["a"]
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(WeightsError, match="the file ends at byte .*copy the weights again"):
        tensor.read()


def test_all_files_together(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).write_bytes(bytes(10))
    check_total([tmp_path / "a", tmp_path / "b", tmp_path / "a"])
    monkeypatch.setattr(safefiles, "MAX_BYTES", 15)
    with pytest.raises(WeightsError, match="a and others: 20 bytes where 15 are allowed; no Stable Diffusion 1 is"):
        check_total([tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "can't be read .Expecting"),
        ("[]", "holds list, not a JSON object; copy"),
        ('{"a": 1, "a": 2}', "the key 'a' is there twice"),
        ("[" * 100_000, "can't be read .maximum recursion"),
        ('{"a": "' + "x" * 1_000_000 + '"}', "more than 1,000,000 bytes"),
    ],
)
def test_json_that_is_not_read(tmp_path, content, message):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(WeightsError, match=message):
        read_json(tmp_path / "c.json")


def test_links_inside_a_folder(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a").write_text("1")
    (tmp_path / "w" / "b").symlink_to("a")
    (tmp_path / "link").symlink_to("w")
    assert contained(tmp_path / "w" / "b", tmp_path / "w") == tmp_path / "w" / "b"
    assert contained(tmp_path / "link" / "b", tmp_path / "link") == tmp_path / "link" / "b"


@pytest.mark.parametrize("target", ["../secret", "/etc/hostname", "../w2/a"])
def test_links_that_leave_a_folder(tmp_path, target):
    for name in ("secret", "w/x", "w2/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    (tmp_path / "w" / "b").symlink_to(target)
    with pytest.raises(WeightsError, match="w/b is a link that leaves .*/w: it leads to .*; put a copy in its place"):
        contained(tmp_path / "w" / "b", tmp_path / "w")
    (tmp_path / "w" / "c").symlink_to("b")
    with pytest.raises(WeightsError, match="w/c is a link that leaves"):
        contained(tmp_path / "w" / "c", tmp_path / "w")


def test_names_that_leave_a_folder(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "secret").write_text("1")
    with pytest.raises(WeightsError, match="leaves"):
        contained(tmp_path / "w" / ".." / "secret", tmp_path / "w")


def test_links_that_lead_nowhere(tmp_path):
    (tmp_path / "b").symlink_to("gone")
    with pytest.raises(WeightsError, match="b is missing; copy the weights again"):
        contained(tmp_path / "b", tmp_path)
    (tmp_path / "c").symlink_to("c")
    with pytest.raises(WeightsError, match="c can't be followed"):
        contained(tmp_path / "c", tmp_path)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="pipe is neither a file nor a folder"):
        contained(tmp_path / "pipe", tmp_path)


@pytest.fixture
def snapshot(tmp_path):
    """A snapshot in the cache of the Hugging Face Hub: links to blobs of the same model."""
    model = tmp_path / "models--a--b"
    for name in ("blobs", "snapshots/1f"):
        (model / name).mkdir(parents=True)
    (model / "blobs" / "77").write_text("1")
    (model / "snapshots" / "1f" / "w").symlink_to("../../blobs/77")
    return model / "snapshots" / "1f"


def test_links_from_a_snapshot_to_blobs(snapshot):
    assert contained(snapshot / "w", snapshot)
    (snapshot.parents[2] / "secret").write_text("1")
    (snapshot / "x").symlink_to("../../../secret")
    with pytest.raises(WeightsError, match="x is a link that leaves"):
        contained(snapshot / "x", snapshot)


def test_blobs_that_are_a_link_themselves(snapshot, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "77").write_text("1")
    blobs = snapshot.parents[1] / "blobs"
    (blobs / "77").unlink()
    blobs.rmdir()
    blobs.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WeightsError, match="w is a link that leaves"):
        contained(snapshot / "w", snapshot)


def test_long_lists_are_cut():
    assert shown(["a", "b"]) == "a, b"
    assert shown(map(str, range(9))) == "0, 1, 2, 3, 4 ... (9 in all)"
    assert len(shown(["x" * 1000])) < 130
