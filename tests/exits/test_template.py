"""Headers of templates: what is read from them, and one sentence for each thing that can be wrong."""

import pytest
from template_samples import HEAD, header

from edgepart.errors import TemplateError, UnknownName
from edgepart.exits.template import Parameter, load_template, templates


@pytest.fixture
def write(tmp_path):
    def _write(text, name="mine"):
        path = tmp_path / f"{name}.py.j2"
        path.write_text(text)
        return path

    return _write


def test_header_is_read(write):
    template = load_template(write(header() + HEAD), "torch")
    assert template.name == "mine"
    assert template.header.input_ranks == (1,)
    assert template.header.parameters["width"] == Parameter(type="int", default=4, minimum=1, help="Width.")
    assert template.variables == {"channels", "classes"}
    assert template.resolve({}) == {"width": 4}
    assert template.resolve({"width": 9}) == {"width": 9}


def test_own_folder_comes_first(write, tmp_path, monkeypatch):
    folder = tmp_path / "templates" / "exits" / "torch"
    folder.mkdir(parents=True)
    (folder / "linear.py.j2").write_text(header(name="linear") + HEAD)
    monkeypatch.setenv("EDGEPART_HOME", str(tmp_path))
    assert load_template("linear", "torch").header.summary == "A test."
    assert templates("torch")["linear"] == folder / "linear.py.j2"


def test_windows_line_ends(write, tmp_path):
    path = tmp_path / "mine.py.j2"
    path.write_bytes((header() + HEAD).replace("\n", "\r\n").encode())
    assert load_template(path, "torch").name == "mine"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD, "does not start with a header"),
        ("\n" + header() + HEAD, "does not start with a header"),
        ("{# edgepart\nname: [\n#}\n", "is not valid YAML (line 3)"),
        ("{# edgepart\nname: a\nsummary: b\nname: c\n#}\n", "line 4: 'name' is given twice"),
        ("{# edgepart\n- a\n#}\n", "holds no fields"),
        (header(summary=None), "field 'summary'"),
        (header(input_ranks="[4]"), "field 'input_ranks.0'"),
        (header(input_ranks="[]"), "field 'input_ranks'"),
        (header(surprise="1"), "field 'surprise'"),
        (header(name="other"), "calls itself 'other'"),
        (header(framework="keras"), "is for keras, not for torch"),
        (header(parameters="{a b: {type: int, default: 1, help: x}}"), "not a plain name"),
        (header(parameters="{classes: {type: int, default: 1, help: x}}"), "'classes' hides"),
        (header(parameters="{a: {type: int, default: x, help: x}}"), "int is expected"),
        (header(parameters="{a: {type: int, default: true, help: x}}"), "int is expected"),
        (header(parameters="{a: {type: str, default: x, choices: [y], help: x}}"), "the choices are y"),
        (header(parameters="{a: {type: float, default: 2, maximum: 1, help: x}}"), "at most 1"),
        (header() + "\n\n{% if %}\n", "line 10"),
        (header() + HEAD + "{{ widht }}", "uses the variable 'widht', which its header does not declare"),
        (header() + HEAD + "{% if fancy %}1{% endif %}", "'fancy'"),
    ],
)
def test_one_sentence_for_a_bad_template(write, text, expected):
    with pytest.raises(TemplateError) as raised:
        load_template(write(text), "torch")
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_undeclared_variable_says_what_can_be_used(write):
    with pytest.raises(TemplateError, match=r"'mine'.*classes, shape, channels.*its own parameters \(width\)"):
        load_template(write(header() + "{{ missing }}"), "torch")


def test_variables_of_jinja_and_its_own_are_no_surprise(write):
    text = (
        header() + "{% set a = 1 %}{% for i in range(a) %}{{ i }}{% endfor %}{{ namespace(x=1).x }}{{ width | repr }}"
    )
    assert load_template(write(text), "torch").variables == {"width"}


def test_unknown_template_names_the_nearest():
    with pytest.raises(UnknownName, match="did you mean linear"):
        load_template("lineer", "torch")
    with pytest.raises(UnknownName):
        load_template("no/such/file.py.j2", "torch")


def test_parameters_are_checked():
    template = load_template("mlp", "torch")
    with pytest.raises(UnknownName, match="'hiden'; did you mean hidden"):
        template.resolve({"hiden": 3})
    for name, value in [("hidden", 0), ("hidden", 1.5), ("hidden", True), ("norm", "group"), ("dropout", "x")]:
        with pytest.raises(TemplateError, match=f"'mlp' was given {name}="):
            template.resolve({name: value})
    assert template.resolve({"dropout": 0})["dropout"] == 0


def test_parameters_that_were_typed():
    assert load_template("mlp", "torch").parse({"hidden": "7", "dropout": "0.25", "norm": "batch"}) == {
        "hidden": 7,
        "dropout": 0.25,
        "norm": "batch",
    }
    with pytest.raises(TemplateError, match="int is expected"):
        load_template("mlp", "torch").parse({"hidden": "wide"})
    with pytest.raises(UnknownName):
        load_template("mlp", "torch").parse({"x": "1"})
    flag = Parameter(type="bool", default=True, help="x")
    assert [flag.parse(text) for text in ("true", "No", "1", "maybe")] == [True, False, True, "maybe"]
    assert flag.wrong("maybe") == "bool is expected"
