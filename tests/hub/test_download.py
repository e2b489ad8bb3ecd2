"""Folders from the Hub: which commit, which files, what is asked again."""

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from astro_galaxysd.errors import HubError, HubNameError
from astro_galaxysd.hub.download import fetch_folder
from astro_galaxysd.hub.listing import PICKLE_SUFFIXES, SAFE_SUFFIXES, Limits

LARGE = ("unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors")
SAFE = ("README.md", "model_index.json", "training_ids.txt", "unet/config.json")


def test_safe_files_of_the_newest_commit(hub, rings, whole):
    fetched = fetch_folder("team/rings")
    assert fetched.revision == rings
    assert fetched.files == tuple(sorted((*SAFE, *LARGE)))
    assert whole(fetched)
    assert {path.relative_to(fetched.path).as_posix() for path in fetched.path.rglob("*") if path.is_file()} == set(
        fetched.files
    )


@pytest.mark.parametrize("name", ["team/rings@v1", "team/rings@main"])
def test_a_tag_or_branch_becomes_a_commit(hub, rings, name):
    assert fetch_folder(name).revision == rings
    # every file is asked for at the commit, so that a push meanwhile can't mix two
    assert all(rings in request.path for request in hub.asked("/resolve/"))


def test_a_push_meanwhile_does_not_mix_commits(hub, rings, whole):
    before = dict(hub.files("team/rings"))
    fetched = fetch_folder("team/rings", patterns=["*.json"])
    hub.add("team/rings", {"unet/config.json": b'{"new": 1}', LARGE[0]: b"new"})
    assert whole(fetch_folder("team/rings", fetched.revision), before)
    newer = fetch_folder("team/rings")
    assert newer.revision != rings
    assert (newer.path / LARGE[0]).read_bytes() == b"new"


def test_an_older_commit_stays_what_it_was(hub, rings):
    hub.add("team/rings", {"README.md": b"# newer\n"})
    assert (fetch_folder("team/rings@v1").path / "README.md").read_bytes() == b"# rings\n"
    assert (fetch_folder("team/rings").path / "README.md").read_bytes() == b"# newer\n"


def test_only_what_matches_and_pickles_only_when_asked_for(hub, rings):
    assert fetch_folder("team/rings", patterns=["unet/*", "README.md"]).files == (
        "README.md",
        "unet/config.json",
        LARGE[0],
    )
    asked = fetch_folder("team/rings", patterns=["old*"], suffixes=SAFE_SUFFIXES | PICKLE_SUFFIXES)
    assert asked.files == ("old.ckpt",)
    assert not hub.asked("modeling.py")


def test_data_sets(hub):
    commit = hub.add("team/galaxies", {"votes.csv": b"id,votes\n"}, kind="dataset")
    fetched = fetch_folder("team/galaxies", kind="dataset")
    assert fetched.revision == commit
    assert (fetched.path / "votes.csv").read_bytes() == b"id,votes\n"


def test_a_warm_cache_moves_no_bodies(hub, rings):
    first = fetch_folder("team/rings")
    del hub.requests[:]
    assert fetch_folder("team/rings") == first
    assert [f"{one.method} {one.path}" for one in hub.requests] == ["GET /api/models/team/rings/revision/main"]
    del hub.requests[:]
    assert fetch_folder("team/rings", rings) == first
    assert hub.requests == []


def test_a_new_commit_moves_only_what_changed(hub, rings):
    fetch_folder("team/rings")
    hub.add("team/rings", {"README.md": b"# newer\n"})
    del hub.requests[:]
    fetch_folder("team/rings")
    assert [one.path.rsplit("/")[-1] for one in hub.bodies()] == ["README.md"]


@pytest.fixture
def elsewhere(monkeypatch):
    """Fetches as another program would."""
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # there is none here
    return huggingface_hub.snapshot_download


def test_what_another_program_fetched_is_checked_and_used(hub, rings, whole, elsewhere):
    elsewhere("team/rings")
    del hub.requests[:]
    assert whole(fetch_folder("team/rings"))
    assert hub.bodies() == []


def test_what_another_program_left_damaged_is_fetched_anew(hub, rings, whole, elsewhere):
    folder = elsewhere("team/rings")
    with open(f"{folder}/{LARGE[0]}", "r+b") as file:
        file.write(b"damage")
    del hub.requests[:]
    assert whole(fetch_folder("team/rings"))
    assert len(hub.asked("^GET /storage/")) == 1


def test_a_file_that_was_removed_or_cut_is_fetched_anew(hub, rings, whole):
    fetched = fetch_folder("team/rings")
    (fetched.path / SAFE[0]).unlink()
    content = (fetched.path / LARGE[0]).resolve()
    content.write_bytes(content.read_bytes()[:100])
    assert whole(fetch_folder("team/rings", rings))


def test_other_programs_find_what_was_fetched(hub, rings, offline):
    import huggingface_hub

    fetched = fetch_folder("team/rings")
    offline()
    assert huggingface_hub.hf_hub_download("team/rings", LARGE[0]) == str(fetched.path / LARGE[0])


def test_large_files_come_from_the_storage_without_the_token(hub, rings):
    hub.repositories["model", "team/rings"].private = True
    token = next(iter(hub.accounts))
    fetch_folder("team/rings", token=token)
    assert all(one.authorised for one in hub.requests if "/storage/" not in one.path)
    assert not any(one.authorised for one in hub.asked("/storage/"))


def test_xet_is_never_used_and_comes_back_after(hub, rings, monkeypatch):
    import huggingface_hub.file_download
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr(huggingface_hub.file_download, "xet_get", lambda **_: pytest.fail("Xet was used"))
    fetch_folder("team/rings")
    assert constants.HF_HUB_DISABLE_XET is False


def test_several_threads_fetch_the_same(hub, rings, whole):
    fetched = []
    threads = [threading.Thread(target=lambda: fetched.append(fetch_folder("team/rings"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 4
    assert len({one.path for one in fetched}) == 1
    assert whole(fetched[0])


def test_nothing_wanted_is_there(hub, rings):
    with pytest.raises(HubError, match=f"team/rings at {rings} has no files of kind .ckpt that match 'x\\*'; check"):
        fetch_folder("team/rings", patterns=["x*"], suffixes={".ckpt"})


def test_code_is_never_fetched(hub, rings):
    with pytest.raises(HubError, match=r"files of kind \.py are never fetched; choose of \.bin, \.ckpt, \.csv"):
        fetch_folder("team/rings", suffixes={".py", ".json"})
    assert not hub.asked("/resolve/")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            Limits(file=3000),
            r"team/rings: 'unet/diffusion_\S+' has 3200 bytes, more than 3000 bytes; nothing was fetched",
        ),
        (
            Limits(total=4000),
            r"team/rings: 6 files with 4869 bytes together, more than 1000 files or 4000 bytes; nothing",
        ),
        (Limits(count=5), r"team/rings: 6 files with 4869 bytes together, more than 5 files or 20\.00 GB; nothing was"),
    ],
)
def test_sizes_are_refused_before_a_byte_is_fetched(hub, rings, limits, message):
    with pytest.raises(HubError, match=message):
        fetch_folder("team/rings", limits=limits)
    assert not hub.asked("/resolve/")


@pytest.mark.parametrize(
    "path", ["../evil.json", "/etc/evil.json", "a\\..\\evil.json", "unet//evil.json", "c:/evil.json"]
)
def test_paths_out_of_the_folder_are_refused(hub, path):
    hub.add("team/rings", {"config.json": b"{}", path: b"{}"})
    with pytest.raises(HubError, match="team/rings lists .* which could lead out of the folder; nothing was moved"):
        fetch_folder("team/rings")
    assert not hub.asked("/resolve/")


def test_an_unknown_size_is_refused(hub, rings):
    info = {"id": "team/rings", "sha": rings, "siblings": [{"rfilename": "a.json"}]}
    hub.answer(200, "revision/main", body=json.dumps(info).encode(), headers={"Content-Type": "application/json"})
    with pytest.raises(HubError, match="team/rings does not say how large 'a.json' is, so it is not fetched"):
        fetch_folder("team/rings")


def test_what_is_no_hub(hub, rings):
    hub.answer(200, "revision/main", body=b'{"id": "team/rings"}', headers={"Content-Type": "application/json"})
    with pytest.raises(HubError, match=r"/team/rings names no commit; is HF_ENDPOINT the address of a Hub\?"):
        fetch_folder("team/rings")


def test_names_are_refused_before_anything_is_asked(hub):
    with pytest.raises(HubNameError, match="is no kind of repository"):
        fetch_folder("team/rings", kind="space")
    with pytest.raises(HubNameError, match="is no name on the Hub"):
        fetch_folder("../rings")
    assert hub.requests == []


def test_a_cache_without_symbolic_links(hub, rings, whole, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    hub.corrupt(times=1)
    fetched = fetch_folder("team/rings")
    assert whole(fetched)
    assert not any(path.is_symlink() for path in fetched.path.rglob("*"))


def test_a_damaged_record_is_made_anew(hub, rings, whole):
    fetched = fetch_folder("team/rings")
    record = fetched.path.parents[1] / "galaxysd" / f"{rings}.json"
    for content in ("{", "[]", '{"files": [{"wrong": 1}], "checked": []}'):
        record.write_text(content)
        assert whole(fetch_folder("team/rings", rings))
    assert set(json.loads(record.read_text())["checked"]) == set(fetched.files)


def test_the_environment_says_where(hub, rings, tmp_path):
    """In a process of its own, as users set it: endpoint, home and token by variables."""
    program = """
        import sys
        from astro_galaxysd.hub.download import fetch_folder
        assert "huggingface_hub" not in sys.modules
        print(fetch_folder("team/rings").path)
    """
    token = next(iter(hub.accounts))
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "own"), "HF_TOKEN": token}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "own" / "hub" / "models--team--rings" / "snapshots"))
    assert hub.asked("^GET /api/models/")[0].headers["authorization"] == f"Bearer {token}"
    assert hub.asked("^GET /api/models/")[0].headers["user-agent"].startswith("astro_galaxysd/")


def test_the_hash_of_git_is_known(hub, rings):
    from astro_galaxysd.hub.listing import HubFile, content_fault

    fetched = fetch_folder("team/rings")
    path = fetched.path / "README.md"
    expected = hashlib.sha1(b"blob 8\0# rings\n").hexdigest()
    assert content_fault(path, HubFile("README.md", 8, git_sha1=expected)) == ""
    assert "its content has the hash" in content_fault(path, HubFile("README.md", 8, git_sha1="0" * 40))
    assert content_fault(path, HubFile("README.md", 8)) == ""
