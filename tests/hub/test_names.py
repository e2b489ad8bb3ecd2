"""Names of the Hub, and what is none."""

import pytest

from astro_galaxysd.errors import HubError, HubNameError
from astro_galaxysd.hub.names import check_kind, is_commit, parse_name

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("team/rings", "team/rings", None),
        ("Team-1/r.i_n-g.s", "Team-1/r.i_n-g.s", None),
        ("team/rings@v1.0", "team/rings", "v1.0"),
        ("team/rings@refs/pr/1", "team/rings", "refs/pr/1"),
        (f"team/rings@{COMMIT}", "team/rings", COMMIT),
    ],
)
def test_a_name_and_its_revision(text, name, revision):
    found = parse_name(text)
    assert (found.name, found.revision) == (name, revision)
    assert str(found) == text


def test_a_revision_beside_the_name():
    assert parse_name("team/rings", "v1").revision == "v1"
    assert parse_name("team/rings@v1", "v1").revision == "v1"
    with pytest.raises(HubNameError, match=r"'team/rings@v1' names a revision, and 'v2' is another; name one"):
        parse_name("team/rings@v1", "v2")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rings",
        "team/rings/old",
        "/rings",
        "team/",
        "../rings",
        "team/..",
        "team/.rings",
        "team/rings-",
        "team--b/rings",
        "team/ri..ngs",
        "team/rings.git",
        "team\\rings",
        "team/ri ngs",
        "team/rings\n",
        "änna/rings",
        "https://huggingface.co/team/rings",
        f"team/{'r' * 96}",
    ],
)
def test_no_name(text):
    with pytest.raises(HubNameError, match="is no name on the Hub; give organisation/name or organisation/name@revis"):
        parse_name(text)


UNLIKE_GIT = ["", "..", "a/../b", "/main", "main/", "a//b", "a\\b", "-x", ".x", "x.lock", "x.", "a b", "a~1", "a:b"]


@pytest.mark.parametrize("revision", [*UNLIKE_GIT, "a@{1}", "x" * 201])
def test_no_revision(revision):
    with pytest.raises(HubNameError, match="is no revision; give a branch, a tag or a commit of 40 hexadecimal digits"):
        parse_name("team/rings", revision)


def test_only_a_whole_commit_is_one():
    assert is_commit(COMMIT)
    assert not any(map(is_commit, [None, "main", COMMIT[:12], COMMIT.upper(), COMMIT + "0", COMMIT + "\n"]))


def test_a_bad_name_is_a_value_error_and_a_hub_error():
    with pytest.raises(
        HubNameError, match="'space' is no kind of repository; choose one of 'model', 'dataset'"
    ) as info:
        check_kind("space")
    assert isinstance(info.value, ValueError)
    assert isinstance(info.value, HubError)
    check_kind("dataset")
