"""Names of the Hub, and what is none."""

import pytest

from astro_galaxysd.errors import HubError, HubNameError
from astro_galaxysd.hub.names import check_kind, is_commit, parse_name

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("anna/rings", "anna/rings", None),
        ("Anna-1/r.i_n-g.s", "Anna-1/r.i_n-g.s", None),
        ("anna/rings@v1.0", "anna/rings", "v1.0"),
        ("anna/rings@refs/pr/1", "anna/rings", "refs/pr/1"),
        (f"anna/rings@{COMMIT}", "anna/rings", COMMIT),
    ],
)
def test_a_name_and_its_revision(text, name, revision):
    found = parse_name(text)
    assert (found.name, found.revision) == (name, revision)
    assert str(found) == text


def test_a_revision_beside_the_name():
    assert parse_name("anna/rings", "v1").revision == "v1"
    assert parse_name("anna/rings@v1", "v1").revision == "v1"
    with pytest.raises(HubNameError, match=r"'anna/rings@v1' names a revision, and 'v2' is another; name one"):
        parse_name("anna/rings@v1", "v2")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rings",
        "anna/rings/old",
        "/rings",
        "anna/",
        "../rings",
        "anna/..",
        "anna/.rings",
        "anna/rings-",
        "anna--b/rings",
        "anna/ri..ngs",
        "anna/rings.git",
        "anna\\rings",
        "anna/ri ngs",
        "anna/rings\n",
        "änna/rings",
        "https://huggingface.co/anna/rings",
        f"anna/{'r' * 96}",
    ],
)
def test_no_name(text):
    with pytest.raises(HubNameError, match="is no name on the Hub; give organisation/name or organisation/name@revis"):
        parse_name(text)


UNLIKE_GIT = ["", "..", "a/../b", "/main", "main/", "a//b", "a\\b", "-x", ".x", "x.lock", "x.", "a b", "a~1", "a:b"]


@pytest.mark.parametrize("revision", [*UNLIKE_GIT, "a@{1}", "x" * 201])
def test_no_revision(revision):
    with pytest.raises(HubNameError, match="is no revision; give a branch, a tag or a commit of 40 hexadecimal digits"):
        parse_name("anna/rings", revision)


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
