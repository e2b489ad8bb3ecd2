"""The server of these tests speaks as a Hub does, also where the package does not ask it yet."""

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError


def test_who_asks(hub):
    token = next(iter(hub.accounts))
    assert huggingface_hub.HfApi(token=token).whoami()["name"] == "reader"
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        huggingface_hub.HfApi(token="hf_other").whoami()
    assert [one.authorised for one in hub.requests] == [True, True]


def test_lists_come_in_pages(hub, rings):
    hub.page_size = 4
    listed = {
        file.path: file for file in huggingface_hub.HfApi(token=False).list_repo_tree("team/rings", recursive=True)
    }
    assert listed.keys() == hub.files("team/rings").keys()
    assert len(hub.asked("/tree/main")) == 3
    assert listed["old.ckpt"].lfs.size == len(hub.files("team/rings")["old.ckpt"])


def test_branches_and_tags(hub, rings):
    refs = huggingface_hub.HfApi(token=False).list_repo_refs("team/rings")
    assert [(one.name, one.target_commit) for one in (*refs.branches, *refs.tags)] == [("main", rings), ("v1", rings)]


def test_files_can_be_deleted(hub, rings):
    huggingface_hub.HfApi(token=next(iter(hub.writers))).delete_file("README.md", "team/rings")
    assert "README.md" not in hub.files("team/rings")


def test_a_switch_for_some_requests_and_some_times(hub, rings):
    hub.answer(500, "GET /api/models/team/rings$", times=1)
    api = huggingface_hub.HfApi(token=False)
    assert api.repo_info("team/rings", revision="v1").sha == rings
    with pytest.raises(HfHubHTTPError, match="500"):
        api.repo_info("team/rings")
    assert api.repo_info("team/rings").sha == rings
