"""The rules of the house, as tests: style, types, floors, and what no file may hold."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "spared_benchmark"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Each floor imports from the floors below it only; packages of one floor do not know each other.
FLOORS = (
    {
        "errors",
        "registry",
        "settings_model",
        "atomic",
        "model",
        "study",
        "cohort_settings",
        "compat",
    },
    {"evaluation", "training"},
    {"slides", "reporting"},
    {"tissue", "simulation"},
    {"expression", "published", "completion", "prediction"},
)
# Parity is kept apart from what it stands in for, and both are one unit: processing calls it, and
# it fills in processing's types.
UNIT = {"expression", "published"}
DOMAIN = set().union(*FLOORS)
FRAMEWORKS = {"kedro", "kedro_datasets", "kedro_viz", "mlflow", "distributed", "dask"}
# Loaded when they are used, so that `import spared_benchmark` and every command stay quick.
HEAVY = {"torch", "scanpy", "mlflow", "timm", "torchvision", "anndata", "sklearn", "matplotlib"}


def floor_of(package):
    return next((height for height, floor in enumerate(FLOORS) if package in floor), None)


def package_of(path):
    """Return the name of the package, or module, directly below ``spared_benchmark``."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path):
    """Return the dotted names that a file imports, wherever in the file."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide what is imported"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def own_imports(path):
    """Return the packages below ``spared_benchmark`` that a file imports."""
    parts = [name.split(".") for name in imports(path)]
    return {part[1] for part in parts if part[0] == "spared_benchmark" and len(part) > 1}


def tracked():
    """Return the files that git keeps; what a user has put beside them is not ours."""
    command = ["git", "ls-files", "--cached"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.splitlines()]
    return [path for path in files if path.is_file()]


def text_of(path):
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@pytest.mark.parametrize(
    "tool", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]], ids=" ".join
)
def test_tools_find_nothing(tool):
    pytest.importorskip(tool[0])
    done = subprocess.run(
        [sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards(path):
    package = package_of(path)
    found = own_imports(path) - {package}
    if package != "catalog":
        assert "catalog" not in found, "only the catalog's YAML reaches the catalog's datasets"
    if package in DOMAIN:
        height = floor_of(package)
        lower = set().union(*FLOORS[:height]) if height else FLOORS[0]
        lower |= UNIT if package in UNIT else set()
        assert found <= lower, f"{package} may import {sorted(lower)}"


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if package_of(path) in DOMAIN],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_domain_modules_know_no_framework(path):
    assert not FRAMEWORKS & {name.split(".")[0] for name in imports(path)}


def test_every_package_has_its_floor():
    above = {
        "__init__", "catalog", "cohort_selection", "configuration", "hooks", "library",
        "pipeline_registry", "pipelines", "predictor_checks", "problems", "provenance",
        "refusal", "runners", "settings", "study_loader", "tracking", "variant_checks",
    }  # fmt: skip
    assert {package_of(path) for path in SOURCES} <= DOMAIN | above


def test_importing_the_package_loads_nothing_heavy():
    modules = ["spared_benchmark", "spared_benchmark.study", "spared_benchmark.settings"]
    packages = [f"spared_benchmark.{path.parent.name}" for path in PACKAGE.glob("*/__init__.py")]
    code = (
        f"import importlib, sys\n"
        f"for name in {[*modules, *packages]!r}: importlib.import_module(name)\n"
        f"print('heavy:', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "heavy: []"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_names_have_docstrings(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.name != "__init__.py" or tree.body:
        assert ast.get_docstring(tree), "the module says nothing of itself"
    scopes = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    silent = [
        node.name
        for scope in scopes
        if not getattr(scope, "name", "").startswith("_")
        for node in scope.body
        if isinstance(node, kinds) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert silent == []


def calls(path):
    """Yield the dotted name and the keywords of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            keywords = {
                word.arg: getattr(word.value, "value", None) for word in node.keywords if word.arg
            }
            yield ast.unparse(node.func), keywords


def unsafe_loads(path):
    """Return the calls of a file that could run code from the file they load."""
    pickles = ("pickle.load", "pickle.loads", "joblib.load", "dill.load", "pd.read_pickle")
    unsafe = []
    for name, keywords in calls(path):
        if name in pickles or name.endswith(".read_pickle"):
            unsafe.append(name)
        if name == "torch.load" and keywords.get("weights_only") is not True:
            unsafe.append(name)
        if keywords.get("allow_pickle") is True:
            unsafe.append(name)
    return unsafe


def test_no_file_loads_a_pickle():
    python = [path for path in tracked() if path.suffix == ".py"]
    assert {str(path): unsafe_loads(path) for path in python if unsafe_loads(path)} == {}


def test_the_search_for_pickles_finds_them(tmp_path):
    example = tmp_path / "example.py"
    example.write_text(
        "torch.load(p)\ntorch.load(p, weights_only=True)\nnp.load(p, allow_pickle=True)"
    )
    assert unsafe_loads(example) == ["torch.load", "np.load"]


def test_no_file_names_a_path_of_one_machine():
    homes = ("ho" + "me", "Us" + "ers", "wo" + "rk", "t" + "mp", "ro" + "ot", "m" + "nt")
    absolute = re.compile(rf"(?<![\w.:/~$}})\]-])/(?:{'|'.join(homes)})/\w")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked()
        for match in absolute.finditer(text_of(path))
    ]
    assert found == []


def test_no_large_file_is_kept():
    large = [str(path) for path in tracked() if path.stat().st_size > 1_000_000]
    assert large == []


def test_notebooks_are_kept_without_outputs():
    notebooks = [path for path in tracked() if path.suffix == ".ipynb"]
    assert notebooks
    for path in notebooks:
        content = json.loads(path.read_text(encoding="utf-8"))
        assert content["nbformat"] == 4
        for cell in content["cells"]:
            assert cell["cell_type"] in ("markdown", "code")
            if cell["cell_type"] == "code":
                assert cell["outputs"] == []
                assert cell["execution_count"] is None
                ast.parse("".join(cell["source"]))


def test_every_folder_of_data_says_what_lies_there():
    layers = sorted(path for path in (ROOT / "data").iterdir() if re.match(r"0\d_", path.name))
    assert [path.name[:2] for path in layers] == [f"0{number}" for number in range(1, 9)]
    for folder in (ROOT / "data", *layers):
        text = (folder / "README.md").read_text(encoding="utf-8")
        assert "delete" in text.lower(), f"{folder}: say whether it may be deleted"
