"""TARGET and --input: what is found, what is refused, and in whose words."""

from __future__ import annotations

import sys

import pytest

from vbl.cli import given, targets
from vbl.errors import NotFound, UsageError, VblError


class Flow:
    """Stands for a workflow: the loader is told what one is."""

    def __init__(self, name: str) -> None:
        self.name = name


FLOW = "class Flow:\n    def __init__(self, name): self.name = name\n"


def as_flow(value):
    return value if type(value).__name__ == "Flow" else None


def load(target):
    return [flow.name for flow in targets.workflows(str(target), as_flow)]


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write


def test_a_file_and_a_name_give_one_workflow(write):
    file = write("flows_a.py", FLOW + "a = Flow('a'); b = Flow('b')")
    assert load(f"{file}:b") == ["b"]


def test_a_file_alone_gives_all_of_its_workflows_once(write):
    file = write("flows_b.py", FLOW + "a = Flow('a'); b = Flow('b'); also_a = a")
    assert load(file) == ["a", "b"]


def test_a_file_can_import_its_neighbours(write):
    write("neighbour_of_flows.py", "NAME = 'n'")
    assert load(write("flows_c.py", "import neighbour_of_flows\n" + FLOW + "a = Flow(neighbour_of_flows.NAME)")) == [
        "n"
    ]


def test_a_file_in_a_package_may_import_relatively(write):
    write("parcel/__init__.py", "")
    write("parcel/inner/__init__.py", "")
    write("parcel/names.py", "NAME = 'deep'")
    file = write("parcel/inner/flows.py", "from ..names import NAME\n" + FLOW + "a = Flow(NAME)")
    assert load(f"{file}:a") == ["deep"]


def test_a_module_is_found_from_the_current_folder(write, tmp_path, monkeypatch):
    write("parcel2/__init__.py", "")
    write("parcel2/flows.py", FLOW + "a = Flow('a')")
    monkeypatch.chdir(tmp_path)
    assert load("parcel2.flows:a") == ["a"]


def test_a_file_named_like_a_known_module_does_not_take_its_place(write):
    import json

    assert load(write("json.py", FLOW + "a = Flow('mine')")) == ["mine"]
    assert sys.modules["json"] is json


@pytest.mark.parametrize("target", ["", ":", "flow", "a b:c", "file.py:", "pkg.mod:not-a-name", "1:2:3"])
def test_what_is_no_target_is_a_usage_error_or_not_found(target):
    with pytest.raises((UsageError, NotFound)):
        load(target)


def test_an_unknown_workflow_lists_those_that_exist(write):
    file = write("flows_d.py", FLOW + "a = Flow('a'); b = Flow('b'); c = 3")
    with pytest.raises(NotFound, match="no workflow 'x'; it has: a, b") as caught:
        load(f"{file}:x")
    assert caught.value.hint == f"For example {file}:a"
    with pytest.raises(NotFound, match=r"put @vbl\.workflow over it"):
        load(f"{file}:c")


def test_a_file_without_a_workflow_says_so(write):
    with pytest.raises(NotFound, match="has no workflow"):
        load(write("flows_e.py", "x = 1"))


def test_a_missing_file_names_those_beside_it(write):
    file = write("right.py", "")
    with pytest.raises(NotFound, match="there is no file") as caught:
        load(file.with_name("wrong.py"))
    assert "right.py" in caught.value.hint


def test_a_missing_module_is_not_found_and_a_missing_import_in_it_is_its_failure(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="there is no module 'no_such_parcel'"):
        load("no_such_parcel.flows:a")
    write("broken_flows.py", "import no_such_parcel_either")
    with pytest.raises(VblError, match="No module named 'no_such_parcel_either'") as caught:
        load("broken_flows:a")
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f():\n    return 1 / 0\nf()", ["in f\n", "ZeroDivisionError: division by zero"]),
        ("def broken(:\n", ["SyntaxError", "def broken(:"]),
        ("import sys; sys.exit(3)", ["SystemExit: 3"]),
    ],
)
def test_a_target_that_fails_to_import_shows_its_own_traceback_and_none_of_ours(write, text, words):
    file = write("flows_f.py", text)
    with pytest.raises(VblError) as caught:
        load(f"{file}:a")
    assert caught.value.code == "target_failed"
    assert all(word in caught.value.message for word in words)
    assert "targets.py" not in caught.value.message
    assert "importlib" not in caught.value.message
    assert "flows_f" not in sys.modules


@pytest.mark.parametrize(
    ("text", "value"),
    [(None, {}), ('{"a": 1}', {"a": 1}), ('"text"', "text"), ("[1, 2]", [1, 2]), ("null", None), ('"\\u00e9"', "é")],
)
def test_input_is_json(text, value):
    assert given.value(text) == value


def test_input_comes_from_a_file_or_from_stdin(write, monkeypatch):
    import io

    file = write("input.json", '{"a": [1]}')
    assert given.value(f"@{file}") == {"a": [1]}
    monkeypatch.setattr(sys, "stdin", io.StringIO("[2]"))
    assert given.value("-") == [2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{bad", "Expecting property name"),
        ("", "Expecting value"),
        ("text", "near 'text'"),
        ("[NaN]", "NaN is not JSON"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ("@/no/such/file", "cannot be read: No such file"),
    ],
)
def test_input_that_is_no_json_is_refused_in_words(text, words):
    with pytest.raises(UsageError, match=words) as caught:
        given.value(text)
    assert caught.value.code == "invalid_json"
    assert caught.value.hint
