"""Everything that can go wrong on the way: each has its words, and leaves a cache that the next call can use."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from astro_galaxysd.errors import HubError, HubUnreachableError, HubWarning
from astro_galaxysd.hub import download, patience
from astro_galaxysd.hub.download import fetch_folder
from astro_galaxysd.hub.faults import Errand, hub_error

LARGE = "unet/diffusion_pytorch_model.safetensors"


def incomplete(hub):
    """Files under a final name in the cache whose content is not what the server has."""
    from huggingface_hub import constants

    found = Path(constants.HF_HUB_CACHE).glob("*/snapshots/**/*")
    known = list(hub.files("team/rings").values())
    return [path for path in found if path.is_file() and path.read_bytes() not in known]


# ---- refusals


def test_a_wrong_token(hub, rings):
    with pytest.raises(
        HubError, match=r"refuses the access token that was sent for the model team/rings \(401\): it is"
    ):
        fetch_folder("team/rings", token="hf_" + "x" * 34)
    assert hub.pauses == []


def test_no_token_for_a_private_repository(hub):
    hub.add("team/secret", private=True)
    with pytest.raises(
        HubError, match=r"shows no model team/secret \(401\): check the name; if it is private, log in wi"
    ):
        fetch_folder("team/secret")


def test_401_without_saying_why(hub, rings):
    hub.answer(401)
    with pytest.raises(
        HubError, match=r"the Hub asks who wants the model team/rings \(401\): check the name; if it is p"
    ):
        fetch_folder("team/rings")


def test_no_such_repository(hub):
    with pytest.raises(
        HubError, match=r"the Hub shows no dataset team/none \(404\): check the name; if it is private, lo"
    ):
        fetch_folder("team/none", kind="dataset", token=next(iter(hub.accounts)))


def test_no_such_revision(hub, rings):
    with pytest.raises(HubError, match="the model team/rings: unknown revision 'v2': did you mean 'v1'?"):
        fetch_folder("team/rings@v2")
    with pytest.raises(HubError, match="unknown revision '(0{40})': known are main, v1"):
        fetch_folder("team/rings", "0" * 40)


def test_no_such_revision_and_no_list_of_them(hub, rings):
    hub.answer(404, "refs", headers={"X-Error-Code": "RevisionNotFound"})
    with pytest.raises(HubError, match="the model team/rings has no revision 'v2'; see its branches and tags at http"):
        fetch_folder("team/rings@v2")


@pytest.mark.parametrize(("logged_in", "status"), [(False, 401), (True, 403)])
def test_a_gated_repository(hub, logged_in, status):
    hub.add("team/gated", {"a.json": b"{}"}, gated=True)
    token = next(iter(hub.accounts))
    with pytest.raises(
        HubError, match=rf"model team/gated is gated \({status}\): accept its licence at {hub.url}/team/ga"
    ):
        fetch_folder("team/gated", token=token if logged_in else None)
    hub.members.add(token)
    assert fetch_folder("team/gated", token=token).files == ("a.json",)


def test_403(hub, rings):
    hub.answer(403)
    with pytest.raises(
        HubError, match=r"your account may not read the model team/rings \(403\): ask for access at http"
    ):
        fetch_folder("team/rings")


def test_a_file_that_is_listed_and_not_there(hub, rings):
    hub.answer(404, "HEAD .*model_index.json", headers={"X-Error-Code": "EntryNotFound", "X-Error-Message": "gone"})
    with pytest.raises(
        HubError, match=r"team/rings at main could not be fetched: gone \(404\); see http.*or try again"
    ):
        fetch_folder("team/rings")


def test_another_answer(hub, rings):
    hub.answer(418, body=b'{"error": "a teapot\\n%s"}' % (b"x" * 400))
    with pytest.raises(HubError, match=r"could not be fetched: a teapot x{291}\.\.\. \(418\); see") as info:
        fetch_folder("team/rings")
    assert "\n" not in str(info.value)


def test_an_error_of_no_known_kind():
    error = hub_error(KeyError("strange"), Errand("team/rings"))
    assert str(error) == "the model team/rings at main could not be fetched: 'strange'"
    assert not isinstance(error, HubUnreachableError)


# ---- busy


@pytest.mark.parametrize("where", ["GET /api/", "HEAD .*/resolve/", "GET .*/resolve/", "GET /storage/"])
@pytest.mark.parametrize("status", [500, 503])
def test_busy_for_a_while(hub, rings, whole, where, status):
    hub.answer(status, where, times=2)
    assert whole(fetch_folder("team/rings"))
    assert hub.pauses == [1.0, 2.0]


def test_busy_for_ever(hub, rings, whole):
    hub.answer(503, "GET /storage/")
    with pytest.raises(
        HubUnreachableError, match=r"could not be fetched: the Hub answers with an error of its own \(503"
    ):
        fetch_folder("team/rings")
    assert hub.pauses == list(patience.WAITS)
    assert incomplete(hub) == []
    hub.faults.clear()
    assert whole(fetch_folder("team/rings"))


def soon(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": lambda: soon(30)}, 30.0),
        ({"Retry-After": lambda: soon(-30)}, 1.0),
        ({"Retry-After": "never"}, 1.0),
        ({"RateLimit": '"api";r=0;t=55'}, 55.0),
        ({"RateLimit": '"api";r=10;t=55'}, 1.0),
        ({}, 1.0),
    ],
)
def test_too_many_requests(hub, rings, headers, pause):
    headers = {key: value() if callable(value) else value for key, value in headers.items()}
    hub.answer(429, "GET /api/", times=1, headers=headers)
    assert fetch_folder("team/rings").revision == rings
    assert hub.pauses == pytest.approx([pause], abs=5)


def test_too_many_requests_for_too_long(hub, rings):
    hub.answer(429, headers={"Retry-After": "3600"})
    with pytest.raises(
        HubUnreachableError, match=r"too many requests from here \(429\) and asks to wait 3600 s; try aga"
    ):
        fetch_folder("team/rings")
    assert hub.pauses == []


def test_too_many_requests_for_ever(hub, rings):
    hub.answer(429, "HEAD", headers={"Retry-After": "9"})
    with pytest.raises(
        HubUnreachableError, match="asks to wait 9 s; try again after that. Who is logged in may ask more"
    ):
        fetch_folder("team/rings")
    assert hub.pauses == [9.0] * len(patience.WAITS)


def test_waiting_is_told(hub, rings, caplog):
    hub.answer(502, "GET /api/", times=1)
    fetch_folder("team/rings")
    assert "the model team/rings: the Hub is busy, or the connection was lost; again in 1 s" in caplog.text


# ---- lost connections


def test_a_lost_connection_goes_on_where_it_was(hub, rings, whole, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)
    hub.drop(times=1)
    assert whole(fetch_folder("team/rings"))
    assert [one.headers["range"] for one in hub.asked("^GET /storage/") if "range" in one.headers] == ["bytes=1600-"]


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_is_lost_once(hub, rings, whole, reset):
    hub.drop(times=1, reset=reset)
    assert whole(fetch_folder("team/rings"))


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_is_lost_always(hub, rings, whole, reset):
    hub.drop(reset=reset)
    with pytest.raises(
        HubUnreachableError, match=r"could not be fetched: the connection to http\S+ fails \(.+\); check t"
    ):
        fetch_folder("team/rings")
    assert incomplete(hub) == []
    hub.faults.clear()
    del hub.requests[:]
    assert whole(fetch_folder("team/rings"))
    # what had come is not asked for again
    assert not [one for one in hub.bodies() if one.path.endswith("README.md")]


def test_no_answer_at_all(hub, rings):
    hub.lose("GET /api/", times=2)
    assert fetch_folder("team/rings").revision == rings
    assert hub.pauses == [1.0, 2.0]


def test_no_server(hub, rings, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(
        HubUnreachableError, match="the connection to http://127.0.0.1:1 fails .*Set HF_HUB_OFFLINE=1 to"
    ):
        fetch_folder("team/rings")


def test_silence_while_a_file_comes(hub, rings, whole, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    hub.stall(times=1)
    assert whole(fetch_folder("team/rings"))


def test_silence_instead_of_the_list(hub, rings, monkeypatch):
    monkeypatch.setattr(download, "_LIST_TIMEOUT", 0.1)
    hub.stall("GET /api/")
    with pytest.raises(HubUnreachableError, match=r"fails \(timed out\)"):
        fetch_folder("team/rings")


# ---- damage


@pytest.mark.parametrize("where", ["GET /storage/", r"GET .*/resolve/.*\.json"])
def test_damage_once(hub, rings, whole, where):
    hub.corrupt(where, times=1)
    assert whole(fetch_folder("team/rings"))


def test_damage_always(hub, rings, whole):
    hub.corrupt()
    with pytest.raises(
        HubError, match=rf"model team/rings: '{LARGE}' came damaged twice \(its content has the hash \w+"
    ):
        fetch_folder("team/rings")
    assert len(hub.asked("GET /storage/")) == 2
    assert incomplete(hub) == []
    hub.faults.clear()
    assert whole(fetch_folder("team/rings"))


def test_damage_of_what_was_there_does_not_count(hub, rings, whole):
    fetched = fetch_folder("team/rings")
    (fetched.path / LARGE).resolve().write_bytes(b"short")
    hub.corrupt(times=1)
    assert whole(fetch_folder("team/rings"))


def test_a_body_that_is_too_short_once(hub, rings, whole):
    hub.truncate(times=1)
    assert whole(fetch_folder("team/rings"))


def test_a_body_that_is_too_short_always(hub, rings, whole):
    hub.truncate()
    with pytest.raises(
        HubError, match="could not be fetched: a file came with another size than the Hub says, again and"
    ):
        fetch_folder("team/rings")
    assert incomplete(hub) == []
    hub.faults.clear()
    assert whole(fetch_folder("team/rings"))


def test_an_interrupt(hub, rings, whole, monkeypatch):
    import huggingface_hub.file_download

    whole_get = huggingface_hub.file_download.http_get

    def interrupted(url, temp_file, **options):
        if "/storage/" in url:
            temp_file.write(b"half")
            raise KeyboardInterrupt
        whole_get(url, temp_file, **options)

    def in_between(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub.file_download, "http_get", interrupted)
        patch.setattr(huggingface_hub.file_download, "_chmod_and_move", in_between)
        with pytest.raises(KeyboardInterrupt):
            fetch_folder("team/rings")
        assert incomplete(hub) == []
    assert whole(fetch_folder("team/rings"))


def test_a_process_that_is_killed(hub, rings, monkeypatch):
    from huggingface_hub import constants

    hub.stall(seconds=60)
    program = "from astro_galaxysd.hub.download import fetch_folder; fetch_folder('team/rings')"
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": constants.HF_HOME, "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=Path(constants.HF_HOME).parent)
    waiting = threading.Event()
    while not hub.asked("^GET /storage/") and process.poll() is None:
        waiting.wait(0.02)
    process.kill()
    process.wait()
    assert incomplete(hub) == []
    hub.faults.clear()
    fetched = fetch_folder("team/rings")
    assert incomplete(hub) == []
    assert (fetched.path / LARGE).read_bytes() == hub.files("team/rings")[LARGE]


# ---- the disk


def full(number):
    def write_half(url, temp_file, **_):
        temp_file.write(b"half")
        raise OSError(number, os.strerror(number))

    return write_half


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_disk_gets_full(hub, rings, whole, monkeypatch, number):
    import huggingface_hub.file_download

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub.file_download, "http_get", full(number))
        with pytest.raises(HubError, match=r"no room for 4869 bytes in \S+/hf-home/hub; make room, or set H"):
            fetch_folder("team/rings")
    assert incomplete(hub) == []
    assert whole(fetch_folder("team/rings"))


def test_too_little_room_is_seen_before(hub, rings, monkeypatch):
    usage = shutil.disk_usage(".")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=4868))
        with pytest.raises(HubError, match="no room for 4869 bytes"):
            fetch_folder("team/rings")
    assert hub.bodies() == []


def test_a_cache_that_may_not_be_written(hub, rings, monkeypatch):
    import huggingface_hub.file_download

    monkeypatch.setattr(huggingface_hub.file_download, "http_get", full(errno.EROFS))
    with pytest.raises(
        HubError, match=r"hf-home/hub Read-only file system; set HF_HOME to a folder that you may write t"
    ):
        fetch_folder("team/rings")


def test_a_file_where_the_cache_should_be(hub, rings, tmp_path, monkeypatch):
    from huggingface_hub import constants

    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with pytest.raises(HubError, match="could not be fetched: .*Not a directory"):
        fetch_folder("team/rings")


# ---- without a network


def test_a_branch_and_a_commit_offline(hub, rings, offline):
    fetched = fetch_folder("team/rings")
    offline()
    del hub.requests[:]
    assert fetch_folder("team/rings") == fetch_folder("team/rings", rings) == fetched
    assert hub.requests == []


def test_what_another_program_fetched_offline(hub, rings, offline, whole, monkeypatch):
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    huggingface_hub.snapshot_download("team/rings")
    offline()
    assert whole(fetch_folder("team/rings"))


def test_nothing_is_there_offline(hub, rings, offline):
    offline()
    message = r"team/rings at main could not be fetched: HF_HUB_OFFLINE is set and it is not all in \S+hub; unset it"
    with pytest.raises(HubError, match=message):
        fetch_folder("team/rings")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        fetch_folder("team/rings", rings)
    assert hub.requests == []


def test_a_part_is_there_offline(hub, rings, offline):
    fetched = fetch_folder("team/rings", patterns=["*.json"])
    offline()
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set and it is not all in"):
        fetch_folder("team/rings")
    assert fetch_folder("team/rings", patterns=["*.json"]) == fetched


def test_damage_offline(hub, rings, offline):
    fetched = fetch_folder("team/rings")
    (fetched.path / LARGE).resolve().write_bytes(b"short")
    offline()
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set and it is not all in"):
        fetch_folder("team/rings")


@pytest.mark.parametrize("fault", ["away", "busy"])
def test_a_hub_that_is_away_is_hardly_waited_for_when_it_is_all_there(hub, rings, fault):
    fetched = fetch_folder("team/rings")
    hub.lose(".") if fault == "away" else hub.answer(503)
    with pytest.warns(HubWarning, match=f"could not be fetched: .*Now used: commit {rings}"):
        assert fetch_folder("team/rings") == fetched
    assert hub.pauses == [1.0]


def test_a_hub_that_is_away_when_a_part_is_there(hub, rings):
    fetch_folder("team/rings", patterns=["*.json"])
    hub.answer(503)
    with pytest.warns(HubWarning, match="Now used"), pytest.raises(HubUnreachableError, match="an error of its own"):
        fetch_folder("team/rings")


def test_a_failed_fetch_of_a_newer_commit_leaves_the_older_one(hub, rings, offline):
    fetched = fetch_folder("team/rings")
    hub.add("team/rings", {LARGE: b"newer"})
    hub.corrupt()
    with pytest.raises(HubError, match="came damaged twice"):
        fetch_folder("team/rings")
    offline()
    assert fetch_folder("team/rings") == fetched
