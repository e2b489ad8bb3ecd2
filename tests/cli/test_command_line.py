"""The command line itself: help that teaches, exit status, errors that a person can act on."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from astro_galaxysd import read_table, write_table
from astro_galaxysd.errors import UnknownNameError


@pytest.fixture
def installed():
    """The console script beside this interpreter."""
    script = Path(sys.executable).parent / "galaxysd"
    if not script.exists():
        pytest.skip("the console script is not installed beside this interpreter")
    return script


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        ([], ["augment", "generate", "evaluate", "sweep", "plugins", "train"]),
        ([], ["exit status:", "130  interrupted", "--debug", "--version"]),
        (
            ["augment"],
            [
                "galaxysd augment example --target merger -n 8 -o mergers.parquet",
                '"in-between round galaxy, {dust lane:1.3}"',
                "TABLE is FITS, Parquet, a folder",
                "answer of the Galaxy Zoo 2 tree, a label, a boolean column, or a free prompt",
                "--plan",
                "never changes a pixel",
                '{"label": "prompt", ...}',
            ],
        ),
        (["generate"], ["galaxysd generate votes.parquet -o drawn.parquet", "--prompt", "{ring:1.2}", "--hdus"]),
        (["plugins"], ["galaxysd plugins --json", "what is broken, with the reason"]),
        (["train"], ["goes on from it", "Rows whose column 'split' names another split than 'train'"]),
        (["train", "autoencoder"], ["--data", "--run", "--preset", "--set NAME=VALUE", "--minutes", "goes on if the"]),
        (["train", "diffusion"], ["--autoencoder", "--start-from", "--validation", "--watch-every", "--promote"]),
        (["train", "finetune"], ["--base", "--preset", "--validation", "--watch-every"]),
        (["train"], ["galaxysd train refine --base", "--reader runs/teacher/reader.safetensors"]),
        (["train", "refine"], ["--base", "--reader", "--validation", "figures (default: 100)", "--promote"]),
        (["evaluate"], ["galaxysd evaluate test.parquet drawn.parquet --training train.parquet --blind -o report/"]),
        (["verdict"], ["galaxysd verdict survey.parquet --target merger --quick -o quick/", "--ratios", "--arms"]),
        (
            ["search"],
            ["galaxysd search survey.parquet --labelled known.parquet --target merger", "--after", "--budget"],
        ),
        (["sweep"], ["galaxysd sweep val.parquet --guidance 1 2 3 4 --steps 10 20 -o sweep.ecsv"]),
        (["train", "pack"], ["--data", "--out", "--weights", "--validation", "--overwrite"]),
    ],
)
def test_help_teaches(galaxysd, arguments, taught):
    done = galaxysd(*arguments, "--help")
    assert done.status == 0
    assert done.out.startswith("usage: galaxysd")
    for text in taught:
        assert text in done.out


def test_version(galaxysd):
    from astro_galaxysd import __version__

    assert galaxysd("--version").out == f"galaxysd {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["agument"], "invalid choice: 'agument'"),
        (["augment", "t.fits", "-n", "3"], "the following arguments are required: --target"),
        (["augment", "t.fits", "--target", "ring"], "one of the arguments -n --ratio is required"),
        (["augment", "t.fits", "--target", "ring", "-n", "3", "--ratio", "2"], "not allowed with argument"),
        (["augment", "t.fits", "--target", "ring", "-n", "many"], "invalid int value: 'many'"),
        (["train"], "the following arguments are required: PART"),
        (["train", "autoencoder", "--data", "t.fits"], "the following arguments are required: --run"),
        (
            ["train", "diffusion", "--data", "t.fits", "--run", "r"],
            "the following arguments are required: --autoencoder",
        ),
        (["train", "finetune", "--data", "t.fits", "--run", "r"], "the following arguments are required: --base"),
        (
            ["train", "refine", "--data", "t.fits", "--run", "r"],
            "the following arguments are required: --base, --reader",
        ),
    ],
)
def test_wrong_command_line(galaxysd, arguments, message):
    done = galaxysd(*arguments)
    assert (done.status, done.out) == (2, "")
    assert message in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "mergr"], "unknown target 'mergr': did you mean 'merger'"),
        (["-n", "0"], "n: 0 rows asked for; use a whole number of at least 1"),
        (["--candidates", "0"], "candidates: 0 rows asked for; use a whole number of at least 1"),
        (["--generator", "flwo"], "unknown generator 'flwo': did you mean 'flow'"),
        (["--weights", "mimi"], "unknown weights 'mimi': did you mean 'mini'"),
        (["--batch-size", "0"], "batch_size = 0: give a whole number of at least 1"),
        (["--threads", "0"], "--threads 0: give at least 1"),
        (["--seed", "-1"], "rng=-1 is negative"),
        (["--target", "ring, {dust lane:very}"], "weight"),
        (["--images", "imaeg"], "unknown image column 'imaeg': did you mean 'image'"),
        (["--schema", "kagle"], "unknown schema 'kagle': did you mean 'kaggle'"),
        (["--labels", "absent.json"], "--labels absent.json: can't be read (No such file or directory); check the"),
        (["-o", "absent/out.fits"], "its folder 'absent' doesn't exist; create it"),
        (["-o", "out.csv"], "can't tell a table format from 'out.csv'"),
        (["--hdus", "absent/h.fits"], "its folder 'absent' doesn't exist; create it"),
        (["--sheet", "out.parquet", "-o", "out.parquet"], "two outputs have one name"),
        (["--sheet", "h.fits", "--hdus", "h.fits"], "two outputs have one name"),
    ],
)
def test_errors(augment, flow, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = augment(*arguments)
    assert (done.status, done.out) == (1, "")
    (line,) = [line for line in done.err.splitlines() if line.startswith("galaxysd: error: ")]
    assert message in line
    assert "Traceback" not in done.err
    assert flow.calls == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "site") == ["survey.parquet"]


@pytest.mark.parametrize(("content", "message"), [("{", "is not JSON ("), ("[1]", "holds a list, not an object")])
def test_labels_file_that_is_none(augment, tmp_path, content, message):
    labels = tmp_path / "labels.json"
    labels.write_text(content)
    done = augment("--labels", labels, "--label-column", "id")
    assert done.status == 1
    assert f"galaxysd: error: --labels {labels}: {message}" in done.err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.fits", None, "there is no table at"),
        ("cut.parquet", b"PAR1 and no more", "the file is damaged or incomplete"),
        ("cut.fits", b"SIMPLE  =", "can't read"),
        ("table.csv", b"a,b", "can't tell a table format from"),
    ],
)
def test_table_that_can_not_be_read(augment, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = augment(table=tmp_path / name)
    assert done.status == 1
    assert f"{tmp_path}/{name}" in done.err
    assert message in done.err


@pytest.mark.parametrize(("option", "name"), [("-o", "a.parquet"), ("--sheet", "a.png"), ("--hdus", "a.fits")])
def test_existing_output(augment, flow, tmp_path, option, name):
    (tmp_path / name).write_text("mine")
    done = augment(option, tmp_path / name)
    assert done.status == 1
    assert f"{name} exists; give another name, or --overwrite to replace it" in done.err
    assert flow.calls == []
    assert (tmp_path / name).read_text() == "mine"
    assert augment(option, tmp_path / name, "--overwrite").status == 0
    assert (tmp_path / name).read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either TABLE or --prompt"),
        (["t.fits", "--prompt", "ring galaxy"], "give either TABLE or --prompt"),
        (["--prompt", "ring galaxy", "-n", "0"], "-n 0: it is the number of galaxies per --prompt; give at least 1"),
        (["t.fits", "-n", "3"], "-n 3: it is the number of galaxies per --prompt"),
        (["--prompt", "ring galaxy"], "no output named; give -o FILE"),
        (["--prompt", "{ring:x}", "-o", "out.fits"], "weight"),
    ],
)
def test_errors_of_generate(galaxysd, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = galaxysd("generate", *arguments)
    assert (done.status, done.out) == (1, "")
    assert message in done.err


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback(galaxysd, survey, place):
    command = ["augment", survey, "--target", "mergr", "-n", 3, "--plan"]
    arguments = ["--debug", *command] if place == "before" else [*command, "--debug"]
    with pytest.raises(UnknownNameError, match="did you mean 'merger'"):
        galaxysd(*arguments)
    logging.getLogger().setLevel(logging.WARNING)


def test_failing_plugin_is_named(augment, flow, monkeypatch):
    monkeypatch.setattr(flow, "generate", lambda self, conditions, batch_size: 1 / 0)
    done = augment()
    assert done.status == 1
    assert "galaxysd: error: plug-in 'galaxy-flow:flow' (galaxy-flow 1.2) failed at stage 'generate'" in done.err


def test_notes_are_shown(augment, flow, monkeypatch):
    from astro_galaxysd.errors import ConditionError

    def refuse(self, conditions, batch_size):
        raise ConditionError("only spirals")

    monkeypatch.setattr(flow, "generate", refuse)
    *_, error, note = augment().err.splitlines()
    assert error == "galaxysd: error: only spirals"
    assert "galaxy-flow 1.2" in note


def test_interrupt_while_reading(galaxysd, survey, monkeypatch):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("astro_galaxysd.cli.draw.read_named_table", interrupted)
    done = galaxysd("augment", survey, "--target", "merger", "-n", 1, "--plan")
    assert done.status == 130
    assert "interrupted" in done.err


def test_example_is_a_word_unless_a_file_is_called_so(galaxysd, survey, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(read_table(survey), tmp_path / "example")
    assert galaxysd("augment", "example", "--target", "merger", "-n", 1, "--plan").status == 0


def test_example_that_ships(galaxysd, tmp_path, monkeypatch):
    import astro_galaxysd

    shipped = Path(astro_galaxysd.__file__).parent / "data" / "example.parquet"
    if not shipped.exists():
        pytest.skip("the example table was not made yet (docs/make_example.py)")
    monkeypatch.chdir(tmp_path)
    done = galaxysd("augment", "example", "--target", "merger", "-n", 8, "--plan")
    assert done.status == 0
    assert "16 galaxies to draw" in done.out


def test_as_a_process(installed, tmp_path):
    done = subprocess.run([installed, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("usage: galaxysd")
    assert done.stderr == ""
    module = [sys.executable, "-m", "astro_galaxysd.cli"]
    command = [*module, "augment", "absent.fits", "--target", "ring", "-n", "1", "--plan"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "galaxysd: error: there is no table at 'absent.fits'; check the path\n"


def test_help_and_plugins_load_nothing_heavy(tmp_path):
    program = """
import sys
from astro_galaxysd.cli import main
main(["plugins"])
try:
    main(["augment", "--help"])
except SystemExit:
    pass
import json
print(json.dumps(sorted({"torch", "diffusers", "astropy", "numpy", "PIL"} & set(sys.modules))))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_at_the_end_no_garbage_is_looked_for(tmp_path):
    program = """
import atexit, gc
atexit.register(lambda: print("frozen:", gc.get_freeze_count() > 0))  # runs after what main() registers
from astro_galaxysd.cli import main
main(["plugins"])
print("frozen:", gc.get_freeze_count() > 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-2:] == ["frozen: False", "frozen: True"]
