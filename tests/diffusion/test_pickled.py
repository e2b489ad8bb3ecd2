from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict, deque

import pytest
import torch

from astro_galaxysd.diffusion import pickled
from astro_galaxysd.diffusion.pickled import is_pickle, read_pickle
from astro_galaxysd.errors import WeightsError


class Payload:
    """Makes a folder when it is unpickled by the ordinary module."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def rewritten(path, change, **options):
    """The archive with every entry passed through `change`: name and content to those that are written, or None."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in entries:
            for new_name, new_content in change(name, content):
                archive.writestr(new_name, new_content)
    return path


@pytest.fixture
def saved(tmp_path):
    """An archive with one tensor."""
    torch.save({"base": {"a": torch.arange(64.0)}}, tmp_path / "w.ckpt")
    return tmp_path / "w.ckpt"


def test_tensors_come_back(tmp_path):
    weight = torch.arange(24.0).reshape(2, 3, 4)
    content = {
        "base": OrderedDict(a=weight.permute(2, 0, 1), b=torch.nn.Parameter(weight.half())),
        "base_ema": {"a": weight.bfloat16(), "n": torch.tensor(3)},
        "epoch": 3, "rate": 0.5, "name": "x", "none": None, "on": True,
    }  # fmt: skip
    torch.save(content, tmp_path / "w.safely")
    assert is_pickle(tmp_path / "w.safely")
    found = read_pickle(tmp_path / "w.safely")
    assert {key: value for key, value in found.items() if not isinstance(value, dict)} == {
        "epoch": 3, "rate": 0.5, "name": "x", "none": None, "on": True
    }  # fmt: skip
    for group in ("base", "base_ema"):
        for name, value in content[group].items():
            stored = found[group][name]
            assert (stored.dtype, stored.shape) == (value.dtype, tuple(value.shape))
            assert torch.equal(stored.read(), value)
            assert stored.read().is_contiguous()
    assert torch.equal(found["base"]["b"].reshaped((24,)).read(), weight.half().flatten())


def test_a_payload_does_not_run(tmp_path):
    place = tmp_path / "owned"
    torch.save({"base": {"a": torch.ones(2)}, "x": Payload(place)}, tmp_path / "w.ckpt")
    with pytest.raises(WeightsError, match=r"no pickle of tensors alone \(it wants posix.mkdir, which is no part of a"):
        read_pickle(tmp_path / "w.ckpt")
    assert not place.exists()
    torch.load(tmp_path / "w.ckpt", weights_only=False)  # it would have run
    assert place.exists()


def test_a_payload_in_a_bare_pickle_does_not_run(tmp_path):
    place = tmp_path / "owned"
    for protocol in (2, 4):
        (tmp_path / "w.ckpt").write_bytes(pickle.dumps(Payload(place), protocol))
        assert is_pickle(tmp_path / "w.ckpt")
        with pytest.raises(
            WeightsError, match=r"a pickle in no zip archive \(torch before 1.6\) can't be checked; ask"
        ):
            read_pickle(tmp_path / "w.ckpt")
    assert not place.exists()


def test_archives_from_before_torch_1_6(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "w.ckpt", _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match="a pickle in no zip archive"):
        read_pickle(tmp_path / "w.ckpt")


def test_names_that_are_put_together_while_it_runs(saved, tmp_path):
    """Protocol 4 takes a function's name from the stack, where it can't be read in advance."""
    program = pickle.dumps(Payload(tmp_path / "owned"), 4)
    rewritten(saved, lambda name, content: [(name, program if name.endswith("data.pkl") else content)])
    with pytest.raises(WeightsError, match="the operation STACK_GLOBAL, which torch.save does not write"):
        read_pickle(saved)
    assert not (tmp_path / "owned").exists()


def test_torch_refuses_too(tmp_path, monkeypatch):
    monkeypatch.setattr(pickled, "_check_program", lambda program: None)
    torch.save({"x": Payload(tmp_path / "owned")}, tmp_path / "w.ckpt")
    with pytest.raises(WeightsError, match="no pickle of tensors alone .Weights only load failed"):
        read_pickle(tmp_path / "w.ckpt")
    assert not (tmp_path / "owned").exists()


def test_a_pickle_under_the_name_of_safetensors(saved):
    path = saved.rename(saved.with_suffix(".safetensors"))
    with pytest.raises(WeightsError, match="w.safetensors: a pickle under the name of safetensors, which are none"):
        read_pickle(path)


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/evil", "w/../../evil", "w\\..\\evil", "C:/evil", "w/d\u0430ta/0", "w//0"]
)
def test_entries_that_lead_elsewhere(saved, name):
    rewritten(saved, lambda old, content: [(old, content)] + [(name, b"x")] * old.endswith("data.pkl"))
    with pytest.raises(WeightsError, match="an entry with the name .*, which leads elsewhere"):
        read_pickle(saved)


def test_compressed_entries(saved):
    rewritten(saved, lambda name, content: [(name, content)], compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="is compressed to .* bytes of"):
        read_pickle(saved)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_with_one_name(saved):
    rewritten(saved, lambda name, content: [(name, content)] * (1 + name.endswith("data.pkl")))
    with pytest.raises(WeightsError, match="two entries have one name"):
        read_pickle(saved)


def test_encrypted_entries(saved):
    content = bytearray(saved.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    saved.write_bytes(content)
    with pytest.raises(WeightsError, match="data.pkl is encrypted"):
        read_pickle(saved)


def test_entries_that_overlap(saved):
    """A bomb: many entries of the directory name the same bytes."""
    with zipfile.ZipFile(saved, "a") as archive:
        big = max(archive.infolist(), key=lambda entry: entry.file_size)
        for number in range(200):
            copy = zipfile.ZipInfo(f"w/data/{number + 10}")
            for field in ("compress_size", "file_size", "header_offset", "CRC"):
                setattr(copy, field, getattr(big, field))
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
        archive._didModify = True
    with pytest.raises(WeightsError, match="entries overlap: they have more bytes than the file"):
        read_pickle(saved)


def test_too_many_entries(saved, monkeypatch):
    monkeypatch.setattr(pickled, "_MAX_ENTRIES", 2)
    with pytest.raises(WeightsError, match="entries, where 2 are allowed"):
        read_pickle(saved)


def test_a_huge_program(saved, monkeypatch):
    monkeypatch.setattr(pickled, "MAX_HEADER", 20)
    with pytest.raises(WeightsError, match="data.pkl has more than 20 bytes"):
        read_pickle(saved)


def test_archives_of_something_else(tmp_path, saved):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match="not the archive of one object that torch.save writes"):
        read_pickle(tmp_path / "data.zip")
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("w/constants.pkl", "a script of torch has them")
    with pytest.raises(WeightsError, match="not the archive of one object that torch.save writes"):
        read_pickle(saved)
    saved.write_bytes(saved.read_bytes()[:-30])
    with pytest.raises(WeightsError, match="no pickle of tensors alone .File is not a zip file"):
        read_pickle(saved)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "it holds list, not a dictionary"),
        ({1: torch.ones(2)}, "a name that is int, not text"),
        ({"a": [torch.ones(2)]}, "a is list, not a tensor"),
        ({"a": {"b": (1, 2)}}, "b is tuple, not a tensor"),
        ({"a": deque()}, "it wants collections.deque"),
        ({"w\u0435ight": torch.ones(2)}, r"a tensor with the name 'w\\u0435ight'"),
        ({"a": torch.ones(2).to_sparse()}, "it wants torch._utils._rebuild_sparse_tensor"),
        ({"a": torch.ones(1).expand(10**6)}, r"a has a shape of \[1000000\] but fewer values"),
        ({"a": torch.ones(2, device="meta")}, "it wants torch._utils"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_dictionary_of_tensors(tmp_path, content, message):
    torch.save(content, tmp_path / "w.ckpt")
    with pytest.raises(WeightsError, match=f"no pickle of tensors alone .{message}.*; ask its author for safetensors"):
        read_pickle(tmp_path / "w.ckpt")


def test_dictionaries_that_hold_themselves(tmp_path):
    ring = {"a": torch.ones(2)}
    ring["again"] = ring
    torch.save(ring, tmp_path / "w.ckpt")
    with pytest.raises(WeightsError, match="a dictionary in two places"):
        read_pickle(tmp_path / "w.ckpt")


def test_many_tensors_of_the_same_bytes(tmp_path):
    values = torch.ones(10_000)
    torch.save({str(number): values for number in range(100)}, tmp_path / "w.ckpt")
    with pytest.raises(WeightsError, match="tensors of 4,000,000 bytes in a file of"):
        read_pickle(tmp_path / "w.ckpt")
