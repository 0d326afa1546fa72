"""The command line itself; what each command does is tested in tests/cli and with its package."""

import json
import subprocess
import sys

import click
import pytest

from edgepart.cli.main import COMMANDS, edgepart, main
from edgepart.cli.output import parse_pairs, print_json, print_table
from edgepart.errors import EdgepartError, SearchInterrupted, TrainingInterrupted


def every_command():
    """(words, command) of every command and subcommand."""
    for name in COMMANDS:
        command = edgepart.get_command(click.Context(edgepart), name)
        if isinstance(command, click.Group):
            yield from (((name, sub), command.commands[sub]) for sub in command.commands)
        else:
            yield (name,), command


def test_every_command_has_help_and_json():
    for words, command in every_command():
        name = " ".join(words)
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--json" in options, name
        assert command.help, name
        undescribed = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
        assert not undescribed, (name, undescribed)


def test_help_lists_the_commands_in_order_of_use(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    places = [printed.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profil"], "unknown command 'profil'; did you mean profile, prices?"),
        (["profile"], "MODEL"),
        (["devices", "list", "--color"], "--color"),
        (["partition", "nowhere.json"], "nowhere.json"),
    ],
)
def test_a_users_mistake_is_code_2_on_stderr_without_a_traceback(arguments, message, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def failing(error):
    @click.command()
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (EdgepartError("the plan does not fit"), 2, "edgepart: the plan does not fit\n"),
        (TrainingInterrupted("stopped; saved"), 130, "edgepart: stopped; saved\n"),
        (SearchInterrupted("stopped; kept"), 130, "edgepart: stopped; kept\n"),
        (OSError(28, "No space left on device"), 2, "edgepart: cannot write what is printed: no space is left there\n"),
        (KeyboardInterrupt(), 130, "edgepart: interrupted\n"),
        (click.UsageError("no such thing"), 2, "no such thing"),
    ],
)
def test_errors_become_exit_codes(error, code, printed, monkeypatch, capsys):
    monkeypatch.setattr(type(edgepart), "get_command", lambda *_: failing(error))
    assert main(["demo"]) == code
    assert printed in capsys.readouterr().err


def test_debug_shows_the_traceback_wherever_it_stands(monkeypatch):
    monkeypatch.setattr(type(edgepart), "get_command", lambda *_: failing(EdgepartError("x")))
    for arguments in (["--debug", "demo"], ["demo", "--debug"]):
        with pytest.raises(EdgepartError):
            main(arguments)


def test_a_defect_is_not_disguised_as_a_users_mistake(monkeypatch):
    monkeypatch.setattr(type(edgepart), "get_command", lambda *_: failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["demo"])


def test_an_error_of_the_system_is_not_disguised_as_a_full_disk(monkeypatch):
    monkeypatch.setattr(type(edgepart), "get_command", lambda *_: failing(PermissionError(13, "Permission denied")))
    with pytest.raises(PermissionError):
        main(["demo"])


def test_python_dash_m_is_the_command_line():
    done = subprocess.run([sys.executable, "-m", "edgepart", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("edgepart, version ")


def test_a_table_looks_the_same_everywhere(capsys):
    print_table(["exit", "accuracy"], [["exit1", "91.0 %"], ["final", "100 %"]], title="Exits")
    assert capsys.readouterr().out == (
        "Exits\n"  #
        "  exit   accuracy\n"
        "  -----  --------\n"
        "  exit1    91.0 %\n"
        "  final     100 %\n"
    )
    print_table(["a"], [])
    assert capsys.readouterr().out == "  a\n  -\n"


def test_json_is_one_document(capsys):
    print_json({"ü": [1, None]})
    assert json.loads(capsys.readouterr().out) == {"ü": [1, None]}


def test_pairs_keep_their_order():
    assert parse_pairs("--tier", ["b = x", "a=y=z"]) == {"b": "x", "a": "y=z"}
    assert list(parse_pairs("--tier", ["b=x", "a=y"])) == ["b", "a"]


@pytest.mark.parametrize("values", [["a"], ["=x"], ["a="], ["a=x", "a=y"]])
def test_a_wrong_pair_names_the_option(values):
    with pytest.raises(EdgepartError, match=r"^--tier "):
        parse_pairs("--tier", values)
