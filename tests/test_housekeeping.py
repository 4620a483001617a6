"""The project's own files: workflows, citation, forms, pages, and whether what they name is there."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from ila_models.cli.main import COMMANDS
from ila_models.publishing.project import PROJECT_ADDRESS
from ila_models.version import __version__
from ila_models.weights.manifest import citation

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
WORKFLOWS = {path.stem: path for path in (ROOT / ".github" / "workflows").glob("*.yml")}
FORMS = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", ".github/pull_request_template.md")

each_workflow = pytest.mark.parametrize("name", sorted(WORKFLOWS))


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def workflow(name: str) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load(WORKFLOWS[name].read_text(encoding="utf-8"))
    return document


def steps(document: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    for job in document["jobs"].values():
        yield from job["steps"]


def commands(document: dict[Any, Any]) -> str:
    return "\n".join(step["run"] for step in steps(document) if "run" in step)


def python_versions() -> list[str]:
    """Those that pyproject.toml says are supported, the oldest first."""
    found = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each) for each in classifiers()]
    return sorted((match[1] for match in found if match), key=Version)


def classifiers() -> list[str]:
    listed: list[str] = PROJECT["project"]["classifiers"]
    return listed


# What is supported


def lower_bounds(extras: Sequence[str]) -> dict[str, Version]:
    """The oldest release of every package that the core and some extras take, by its name."""
    listed = [*PROJECT["project"]["dependencies"], *(each for name in extras for each in EXTRAS[name])]
    bounds: dict[str, Version] = {}
    for each in map(Requirement, listed):
        (lowest,) = [Version(part.version) for part in each.specifier if part.operator == ">="]
        assert bounds.setdefault(each.name, lowest) == lowest, f"{each.name} has two lower bounds"
    return bounds


def test_the_oldest_packages_are_those_that_pyproject_allows() -> None:
    lines = [line for line in text_of(".ci/oldest.txt").splitlines() if line and not line.startswith("#")]
    pinned = {each.name: each.specifier for each in map(Requirement, lines)}
    assert len(pinned) == len(lines)
    (extras,) = re.findall(r"-c \.ci/oldest\.txt -e '\.\[([\w,]+)\]'", commands(workflow("tests")))
    expected = lower_bounds(extras.split(","))
    assert pinned.keys() == expected.keys()
    for name, specifier in pinned.items():
        (pin,) = specifier
        assert (pin.operator, Version(pin.version)) == ("==", expected[name]), name


def test_workflows_run_the_oldest_and_the_newest_python() -> None:
    oldest, newest = python_versions()[0], python_versions()[-1]
    assert SpecifierSet(PROJECT["project"]["requires-python"]) == SpecifierSet(f">={oldest}")
    jobs = workflow("tests")["jobs"]
    assert jobs["tests"]["strategy"]["matrix"]["python"] == [oldest, newest]
    assert python_of(jobs["oldest"]) == oldest
    assert python_of(jobs["checks"]) == newest
    assert python_of(workflow("weekly")["jobs"]["newest"]) == newest


def python_of(job: dict[str, Any]) -> str:
    (version,) = [step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {})]
    assert isinstance(version, str), "3.10 without quotes is 3.1"
    return version


# Workflows


@each_workflow
def test_a_workflow_may_do_no_more_than_it_must(name: str) -> None:
    document = workflow(name)
    assert document["permissions"] == {"contents": "read"}
    assert document["concurrency"]["group"]
    granted = {job: settings["permissions"] for job, settings in document["jobs"].items() if "permissions" in settings}
    assert granted == ({"publish": {"id-token": "write"}} if name == "release" else {})
    assert "secrets." not in WORKFLOWS[name].read_text(encoding="utf-8")
    for job in document["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 60
    for step in steps(document):
        assert "run" in step or re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v1)", step["uses"])
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


@each_workflow
def test_what_a_workflow_names_is_there(name: str) -> None:
    said = commands(workflow(name))
    for extras in re.findall(r"\.\[([\w,]+)\]", said):
        assert set(extras.split(",")) <= EXTRAS.keys()
    paths = set(re.findall(r"(?<![\w/.])(?:\.ci|tests|benchmarks|examples|docs|ila_models)/[\w./-]+", said))
    paths |= {
        line for step in steps(workflow(name)) for line in step.get("with", {}).get("cache-dependency-path", "").split()
    }
    assert [path for path in paths if not (ROOT / path).exists()] == []


@each_workflow
def test_what_a_workflow_runs_is_installed(name: str) -> None:
    for job in workflow(name)["jobs"].values():
        said = " ".join(step["run"] for step in job["steps"] if "run" in step)
        wanted = set(re.findall(r"python -m (\w+)", said)) - {"pip", "venv"}
        installed = set(re.findall(r"[\w-]+", " ".join(re.findall(r"pip install ([^&|]*?)(?= python |$)", said))))
        for extras in re.findall(r"\.\[([\w,]+)\]", said):
            installed |= set().union(*map(names_of, extras.split(",")))
        assert wanted <= installed


def names_of(extra: str) -> set[str]:
    """The packages of an extra, and of those that it takes in."""
    found: set[str] = set()
    for each in map(Requirement, EXTRAS[extra]):
        found |= set().union(*map(names_of, each.extras)) if each.name == "ila-models" else {each.name}
    return found


def test_workflows_check_what_ci_checks() -> None:
    local = re.findall(r'^"\$python" (?:-m )?(.+?)$', text_of(".ci/run"), re.MULTILINE)
    said = commands(workflow("tests"))
    checks = [line for line in local if line.split()[0] in ("ruff", "mypy") or "--check" in line]
    assert len(checks) >= 5
    assert [line for line in checks if line not in said] == []
    assert "pytest -n auto --dist loadfile" in said


def test_a_release_is_made_by_a_tag_alone() -> None:
    document = workflow("release")
    assert document[True] == {"push": {"tags": ["v*"]}}  # YAML reads `on` as a boolean
    publish = document["jobs"]["publish"]
    assert publish["needs"] == "build"
    assert publish["environment"]["name"] == "pypi"
    assert [step["uses"].split("@")[0] for step in publish["steps"]] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]


# Citation


def test_the_citation_is_that_of_the_manifest_and_of_the_readme() -> None:
    cited = yaml.safe_load(text_of("CITATION.cff"))
    assert cited["cff-version"] == "1.2.0"
    assert cited.get("version", __version__) == __version__
    assert {"message", "title", "authors"} <= cited.keys()
    assert (cited["license"], cited["repository-code"]) == (PROJECT["project"]["license"], PROJECT_ADDRESS)
    paper, expected = cited["preferred-citation"], citation("ila")
    assert paper["title"] == expected.title
    assert [each["value"] for each in paper["identifiers"]] == [f"arXiv:{expected.arxiv}"]
    assert paper["url"].endswith(expected.arxiv)
    authors = " and ".join(f"{each['family-names']}, {each['given-names']}" for each in paper["authors"])
    for field in (authors, paper["title"], paper["collection-title"], str(paper["year"])):
        assert f"{{{field}}}" in expected.bibtex
    assert expected.bibtex in text_of("README.md")


# Forms and pages


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_asks_what_github_can_show(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form.keys() == {"name", "description", "labels", "body"}
    ids = [part["id"] for part in form["body"]]
    assert len(set(ids)) == len(ids)
    for part in form["body"]:
        assert part["type"] in ("input", "textarea", "dropdown", "checkboxes")
        assert part["attributes"]["label"]
        if part["type"] == "dropdown":
            assert part["attributes"]["options"]
    assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_a_bug_report_comes_with_what_the_machine_is() -> None:
    form = yaml.safe_load(text_of(".github/ISSUE_TEMPLATE/bug.yml"))
    (doctor,) = [part for part in form["body"] if part["id"] == "doctor"]
    assert "ila-models doctor" in doctor["attributes"]["label"]
    assert doctor["validations"]["required"]
    assert not yaml.safe_load(text_of(".github/ISSUE_TEMPLATE/config.yml")).keys() - {
        "blank_issues_enabled",
        "contact_links",
    }


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_names_is_there(name: str) -> None:
    page = text_of(name)
    links = [each for each in re.findall(r"\]\(([^)#]+)\)", page) if "://" not in each]
    fenced = re.findall(r"^```bash\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    marked = " ".join([*re.findall(r"`([^`\n]+)`", page), *fenced]).split()
    # A name in capitals stands for one that the reader chooses.
    paths = [each for each in marked if re.fullmatch(r"[\w.-]*/[\w./-]*|[\w-]+\.(?:md|json|toml)", each)]
    paths = [each for each in paths if each.endswith(".md") or not re.search("[A-Z]{3}|^[.]venv", each)]
    # A table of folders names what is in them without saying the folder again.
    anywhere = ("", "ila_models/", "ila_models/data/", "tests/", "benchmarks/")
    assert [each for each in (*links, *paths) if not any((ROOT / f"{at}{each}").exists() for at in anywhere)] == []
    said = set(re.findall(r"`ila-models (\w+)", page))
    assert said <= {command.__name__.rpartition(".")[2] for command in COMMANDS} | {"list", "info"}
    for address in re.findall(r"https://github\.com/[\w-]+/[\w-]+", page):
        assert address == PROJECT_ADDRESS


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("ila_models/configs.py", ["ARCHITECTURES", "AlignmentForm"]),
        ("ila_models/timm_bridge.py", ["@register_model", "__all__"]),
        ("ila_models/blocks/__init__.py", ["BLOCKS", "make_block"]),
        ("ila_models/blocks/frame.py", ["has_points", "needs_frame_positions", "silent_layers", "attend", "transform"]),
        ("ila_models/weights/manifest.py", ["preprocessing"]),
        ("ila_models/weights/cache.py", ["write_atomically"]),
        ("ila_models/extraction/formats/__init__.py", ["Format", "FORMATS", "_WRITERS", "SHARDED", "_PACKAGES"]),
        ("ila_models/extraction/formats/extracted.py", ["Writer"]),
        ("ila_models/extraction/formats/npy.py", ["npy_files"]),
        ("benchmarks/provenance.py", ["provenance", "write_result"]),
        ("benchmarks/tables.py", ["TABLES"]),
        ("benchmarks/pictures.py", ["DRAWINGS"]),
        ("tests/test_factory.py", ["test_lists"]),
        ("tests/zoo.py", ["ZOO"]),
        ("tests/test_baselines.py", ["BASELINES"]),
        ("tests/aligned_models.py", ["ARCHITECTURES"]),
        ("tests/test_extraction.py", ["read_back"]),
    ],
)
def test_the_steps_for_contributors_name_what_the_code_has(path: str, names: list[str]) -> None:
    page, code = text_of("CONTRIBUTING.md"), text_of(path)
    assert Path(path).name in page
    assert [name for name in names if name not in page or not re.search(rf"(?<!\w){name}\b", code)] == []


def test_every_folder_of_the_package_is_told_of() -> None:
    folders = {path.parent.name for path in (ROOT / "ila_models").glob("*/__init__.py")}
    page = text_of("CONTRIBUTING.md")
    assert [name for name in sorted(folders) if f"{name}/`" not in page] == []


# Hooks, the source distribution, promises


def test_hooks_are_pinned_or_those_of_the_environment() -> None:
    hooks = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    for repository in hooks:
        if repository["repo"] == "local":
            for hook in repository["hooks"]:
                module = re.match(r"python -m (\w+)", hook["entry"])
                assert module
                assert module[1] in names_of("dev")
                assert hook["language"] == "system"
        else:
            assert re.fullmatch(r"v?\d+\.\d+\.\d+", repository["rev"])


def test_the_source_distribution_holds_what_the_tests_read() -> None:
    included = set(PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    read = {".ci", ".github", ".pre-commit-config.yaml", "CITATION.cff", "README.md", *PAGES}
    read |= {"benchmarks", "docs", "examples", "hubconf.py", "ila_models", "tests", "weights_manifest.json"}
    assert {f"/{Path(name).parts[0]}" for name in read} <= included
    assert [name for name in included if not (ROOT / name[1:]).exists()] == []


def test_no_file_is_read_in_a_way_that_could_execute_it() -> None:
    """What SECURITY.md promises."""
    for path in (ROOT / "ila_models").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            assert called not in ("torch.jit.load", "pickle.load", "pickle.loads", "pickle.Unpickler"), path
            if called == "torch.load":
                arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert arguments.get("weights_only") == "True", path
