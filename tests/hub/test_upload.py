"""Folders to the Hub: what goes, in one commit, and what is refused."""

import pytest

from astro_galaxysd.errors import HubError, HubNameError, HubUnreachableError
from astro_galaxysd.hub import patience
from astro_galaxysd.hub.download import fetch_folder
from astro_galaxysd.hub.upload import PushFile, list_push, push_folder

LARGE = "unet/diffusion_pytorch_model.safetensors"
FILES = {
    "LICENSE": b"MIT\n",
    "README.md": b"---\nlicense: mit\n---\n# rings\n",
    "model_index.json": b"{}",
    "samples/sheet.png": b"\x89PNG\0",
    LARGE: bytes(range(256)) * 10,
    "vae/diffusion_pytorch_model.safetensors": bytes(range(256)) * 5,
}


@pytest.fixture
def folder(tmp_path):
    for path, content in {**FILES, ".cache/x.json": b"{}", ".hidden.json": b"{}"}.items():
        (tmp_path / "rings" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rings" / path).write_bytes(content)
    return tmp_path / "rings"


@pytest.fixture
def logged_in(hub, monkeypatch):
    """As one who may write; the token."""
    token = next(iter(hub.writers))
    monkeypatch.setenv("HF_TOKEN", token)
    return token


def commits(hub):
    return hub.asked("^POST .*/commit/")


def test_what_would_go(folder):
    assert list_push(folder) == [
        PushFile("LICENSE", 4, False),
        PushFile("README.md", 29, False),
        PushFile("model_index.json", 2, False),
        PushFile("samples/sheet.png", 5, True),
        PushFile(LARGE, 2560, True),
        PushFile("vae/diffusion_pytorch_model.safetensors", 1280, True),
    ]
    assert [one.path for one in list_push(folder, files=["model_index.json", LARGE])] == ["model_index.json", LARGE]


def test_a_folder_goes_in_one_commit_and_comes_back(hub, folder, logged_in):
    commit = push_folder(folder, "team/rings", message="Rings")
    assert hub.files("team/rings") == FILES
    assert len(commits(hub)) == 1
    assert fetch_folder("team/rings").revision == commit
    assert not hub.repositories["model", "team/rings"].private
    assert hub.pauses == []


def test_large_files_go_to_the_storage_without_the_token(hub, folder, logged_in):
    push_folder(folder, "team/rings", message="Rings")
    assert len(hub.asked("^PUT /storage/")) == 2
    assert not any(one.authorised for one in hub.asked("^PUT "))
    assert all(one.authorised for one in hub.requests if one.method != "PUT")


def test_what_is_there_does_not_travel_again(hub, folder, logged_in):
    first = push_folder(folder, "team/rings", message="Rings")
    del hub.requests[:]
    assert push_folder(folder, "team/rings", message="Again") == first
    assert commits(hub) == []
    (folder / "README.md").write_text("# better\n")
    assert push_folder(folder, "team/rings", message="Words") != first
    assert hub.asked("^PUT ") == []
    assert hub.files("team/rings")["README.md"] == b"# better\n"


def test_other_files_of_the_repository_stay(hub, folder, logged_in):
    hub.add("team/rings", {"notes.txt": b"mine"})
    push_folder(folder, "team/rings", message="Rings", files=["model_index.json"])
    assert hub.files("team/rings") == {"notes.txt": b"mine", "model_index.json": b"{}"}


def test_data_sets_and_a_given_token(hub, folder):
    token = next(iter(hub.writers))
    push_folder(folder, "team/galaxies", message="Rings", kind="dataset", token=token, files=["README.md"])
    assert hub.files("team/galaxies", "dataset") == {"README.md": FILES["README.md"]}


def test_a_private_repository(hub, folder, logged_in):
    push_folder(folder, "team/secret", message="Rings", private=True)
    assert hub.repositories["model", "team/secret"].private
    hub.add("team/open")
    with pytest.raises(
        HubError, match="model team/open is there already, and everybody can see it; nothing was pushed. Ma"
    ):
        push_folder(folder, "team/open", message="Rings", private=True)
    assert hub.files("team/open") == {}


def test_no_repository_is_made_if_not_wished(hub, folder, logged_in):
    with pytest.raises(HubError, match=r"the Hub shows no model team/none \(404\): check the name"):
        push_folder(folder, "team/none", message="Rings", create=False)
    assert hub.repositories == {}


def test_xet_is_never_used(hub, folder, logged_in, monkeypatch):
    import huggingface_hub._commit_api

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr(huggingface_hub._commit_api, "_upload_xet_files", lambda **_: pytest.fail("Xet was used"))
    push_folder(folder, "team/rings", message="Rings")
    assert hub.asked("^PUT /storage/"), "large files went another way"
    assert set(hub.files("team/rings")) >= {file.path for file in list_push(folder)}


# ---- refused before anything is asked


def test_nobody_is_logged_in(hub, folder):
    with pytest.raises(
        HubError, match="push to the model team/rings failed: nobody is logged in; log in with `hf auth log"
    ):
        push_folder(folder, "team/rings", message="Rings")
    assert hub.requests == []


def test_offline(hub, folder, logged_in, offline):
    offline()
    with pytest.raises(HubError, match="the push to the model team/rings failed: HF_HUB_OFFLINE is set; unset it"):
        push_folder(folder, "team/rings", message="Rings")
    assert hub.requests == []


def test_names_and_message(folder):
    with pytest.raises(
        HubNameError, match="'team/rings@v1' names a revision, but files are pushed to the branch 'main'"
    ):
        push_folder(folder, "team/rings@v1", message="Rings")
    with pytest.raises(HubNameError, match="'rings' is no name on the Hub"):
        push_folder(folder, "rings", message="Rings")
    with pytest.raises(HubError, match="the message of the commit is empty; say what is pushed"):
        push_folder(folder, "team/rings", message=" ")


def test_folders_without_files(tmp_path):
    with pytest.raises(HubError, match="none: no such folder; name the one to push"):
        list_push(tmp_path / "none")
    with pytest.raises(HubError, match="holds no files to push; name another folder"):
        list_push(tmp_path)


def test_files_of_other_kinds(folder):
    (folder / "run.py").write_text("")
    (folder / "old.ckpt").write_text("")
    with pytest.raises(
        HubError, match=r"holds files of kinds that are not pushed: old.ckpt, run.py; move them elsewhere"
    ):
        list_push(folder)
    assert list_push(folder, files=["README.md"])
    assert list_push(folder, files=["run.py"], suffixes={".py"})


@pytest.mark.parametrize("path", ["../secret.json", "/etc/passwd.json", "unet/../../x.json"])
def test_files_outside(folder, path):
    with pytest.raises(HubError, match="rings lists .* which could lead out of the folder; nothing was moved"):
        list_push(folder, files=[path])


def test_files_that_are_not_there(folder):
    with pytest.raises(HubError, match="rings/none.json: no such file; name files of the folder"):
        list_push(folder, files=["none.json"])
    with pytest.raises(HubError, match="rings/unet: no such file"):
        list_push(folder, files=["unet"])


@pytest.mark.parametrize("files", [None, ["linked/x.json", "link.json"]])
def test_symbolic_links(folder, tmp_path, files):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.json").write_text("{}")
    (folder / "linked").symlink_to(tmp_path / "other")
    with pytest.raises(
        HubError, match="rings/linked is a symbolic link, which is not followed; put the file itself there"
    ):
        list_push(folder, files=None if files is None else files[:1])
    (folder / "linked").unlink()
    (folder / "link.json").symlink_to(tmp_path / "other" / "x.json")
    with pytest.raises(HubError, match="rings/link.json is a symbolic link"):
        list_push(folder, files=None if files is None else files[1:])


def test_a_folder_that_is_itself_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert len(list_push(tmp_path / "link")) == len(FILES)


# ---- refused by the Hub


def test_a_token_that_may_not_write(hub, folder):
    hub.add("team/rings")
    reader = next(iter(hub.accounts.keys() - hub.writers))
    with pytest.raises(
        HubError, match=r"token may not write to the model team/rings \(403\): make one with permission to"
    ):
        push_folder(folder, "team/rings", message="Rings", token=reader)
    with pytest.raises(HubError, match=r"token may not write to the model team/new \(403\)"):
        push_folder(folder, "team/new", message="Rings", token=reader)


def test_a_wrong_token(hub, folder):
    with pytest.raises(HubError, match=r"refuses the access token that was sent for the model team/rings \(401\)"):
        push_folder(folder, "team/rings", message="Rings", token="hf_" + "x" * 34)


def test_a_model_card_that_is_none(hub, folder, logged_in):
    (folder / "README.md").write_text("---\nlicence: [\n---\n")
    with pytest.raises(
        HubError, match=r"push to the model team/rings failed: Invalid metadata in README.md. - bad YAML"
    ):
        push_folder(folder, "team/rings", message="Rings")
    assert hub.files("team/rings") == {}


def test_files_that_the_repository_leaves_out(hub, folder, logged_in):
    hub.add("team/rings")
    hub.repositories["model", "team/rings"].ignored.add("model_index.json")
    with pytest.raises(
        HubError, match=r"team/rings at \w{40} lacks model_index.json, or has other content there: a .gitig"
    ):
        push_folder(folder, "team/rings", message="Rings")


def test_what_is_no_hub(hub, folder, logged_in):
    hub.answer(200, "POST .*/commit/", body=b'{"commitOid": "1", "commitUrl": "http://127.0.0.1/team/rings/commit/1"}')
    with pytest.raises(HubError, match=r"team/rings came to no commit; is HF_ENDPOINT the address of a Hub\?"):
        push_folder(folder, "team/rings", message="Rings")


# ---- busy, and lost connections

STEPS = ["POST /api/repos/create", "POST .*/preupload/", "POST .*/objects/batch", "PUT /storage/", "POST /verify"]
STEPS += ["POST .*/commit/", "GET .*/revision/", "POST /api/validate-yaml"]


@pytest.mark.parametrize("where", STEPS)
def test_busy_for_a_while(hub, folder, logged_in, where):
    hub.answer(503, where, times=2)
    push_folder(folder, "team/rings", message="Rings")
    assert hub.files("team/rings") == FILES
    assert len(hub.repositories["model", "team/rings"].commits) == 2  # the empty one and ours
    assert 1 <= len(hub.pauses) <= 2


@pytest.mark.parametrize("where", STEPS)
def test_an_answer_that_is_lost(hub, folder, logged_in, where):
    hub.lose(where, times=1)
    push_folder(folder, "team/rings", message="Rings")
    assert hub.files("team/rings") == FILES
    assert len(hub.repositories["model", "team/rings"].commits) == 2


def test_busy_for_ever(hub, folder, logged_in):
    hub.answer(503, "POST .*/commit/")
    with pytest.raises(
        HubUnreachableError, match=r"push to the model team/rings failed: the Hub answers with an error of"
    ):
        push_folder(folder, "team/rings", message="Rings")
    assert hub.files("team/rings") == {}
    hub.faults.clear()
    del hub.requests[:]
    push_folder(folder, "team/rings", message="Rings")
    assert hub.asked("^PUT ") == []  # the large files were there already


def test_storage_that_refuses(hub, folder, logged_in):
    hub.answer(400, "PUT /storage/", headers={"X-Error-Message": "bad checksum"})
    with pytest.raises(HubError, match=r"push to the model team/rings failed: bad checksum \(400\); see http"):
        push_folder(folder, "team/rings", message="Rings")
    assert commits(hub) == []


def test_silence_is_not_waited_for_for_ever(hub, folder, logged_in, monkeypatch):
    monkeypatch.setattr(patience, "_TIMEOUT", dict.fromkeys(patience._TIMEOUT, 0.05))
    hub.stall("POST /api/repos/create")
    with pytest.raises(
        HubUnreachableError, match=r"push to the model team/rings failed: the connection to .* \(timed out\)"
    ):
        push_folder(folder, "team/rings", message="Rings")
