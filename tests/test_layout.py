"""What the folders promise: imports go down only, and what travels together is an object."""

import ast
import pathlib
import subprocess
import sys

import needs
import pytest

ROOT = pathlib.Path(__file__).parent.parent
# What each folder may import of the others.
BELOW = {
    "textrecords": set(),
    "model": {"textrecords"},
    "pipelines": {"textrecords", "model"},
    "engines": {"textrecords"},
}
# In `textrecords/`, what is loaded when it's needed.
LOAD_TENSORFLOW = {
    *("input_pipeline.py", "layers.py", "record_io.py", "row_tables.py", "transform_graph.py"),
}


def sources(top):
    return [(path, ast.parse(path.read_text())) for path in (ROOT / top).rglob("*.py")]


def imported(nodes):
    """Yields the first part of the name of each module that is imported."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports name their module in full"
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("top", BELOW)
def test_imports_go_down_only(top):
    for path, tree in sources(top):
        others = set(imported(ast.walk(tree))) & (BELOW.keys() - {top})
        assert others <= BELOW[top], path


def test_what_all_build_on_loads_neither_tensorflow_nor_beam_at_the_top():
    heavy = {"tensorflow", "keras", "apache_beam", "tensorflow_transform"}
    loading = {path.name for path, tree in sources("textrecords") if heavy & {*imported(tree.body)}}
    assert loading == LOAD_TENSORFLOW


def test_training_and_serving_need_neither_beam_nor_tf_transform():
    for top in ("textrecords", "model"):
        for path, tree in sources(top):
            assert not {"apache_beam", "tensorflow_transform"} & {*imported(ast.walk(tree))}, path


def test_one_import_is_all_that_a_notebook_needs():
    heavy = "{'tensorflow', 'keras', 'apache_beam'}"
    code = f"import sys, textrecords; print(sorted({heavy} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize("top", BELOW)
def test_no_public_function_takes_more_than_five_parameters(top):
    for path, tree in sources(top):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                check_parameters(path, node, node.name)
            elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                        check_parameters(path, method, node.name)


def check_parameters(path, function, name):
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    names = [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]
    assert len(names) <= 5, f"{path}: {name}({', '.join(names)})"


@pytest.mark.parametrize("top", BELOW)
def test_every_module_and_public_function_has_a_docstring(top):
    for path, tree in sources(top):
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
                is_main = node.name == "main"
                assert is_main or ast.get_docstring(node), f"{path}: {node.name}"


def test_child_processes_run_this_checkout(tmp_path):
    code = "import textrecords, model, pipelines; print(textrecords.__file__, model.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    here = [str(ROOT / top / "__init__.py") for top in ("textrecords", "model")]
    assert done.stdout.split() == here


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_what_is_skipped_for_want_of_something_fails_in_ci(monkeypatch, ci, outcome):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="there is no browser: install one"):
        needs.skip_without("browser", "install one")


def test_nothing_else_skips_tests():
    for path, tree in sources("tests"):
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if path.name not in ("needs.py", "test_layout.py"):
            assert not names & {"skip", "skipif", "importorskip"}, path
