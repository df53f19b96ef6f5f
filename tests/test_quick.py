"""The quick form of the tests: what it keeps."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from tests.quick import BASES, chosen, times
from tests.test_inputs import cases as bad_inputs

ROOT = Path(__file__).parent.parent


class Collected:
    """A plugin that keeps what is collected."""

    items: list[pytest.Item]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.items = list(items)


@pytest.fixture(scope="module")
def forms() -> tuple[list[str], list[str]]:
    """The whole and the quick form, of the laws and of the bad inputs."""
    found = Collected()
    files = [str(ROOT / "tests" / name) for name in ("test_laws.py", "test_inputs.py")]
    code = pytest.main(["--collect-only", "-p", "no:cacheprovider", *files], plugins=[found])
    assert code == pytest.ExitCode.OK
    whole, quick = ([item.nodeid for item in some] for some in (found.items, chosen(found.items, times())))
    return whole, quick


def laws(names: list[str]) -> dict[str, set[str]]:
    """The laws that each class is held to."""
    found = defaultdict(set)
    for name in names:
        _, _, rest = name.partition("tests/test_laws.py::")
        if rest.startswith("Test"):
            class_, law = rest.split("::")
            found[class_].add(law)
    return found


def test_every_class_and_every_law_comes(forms: tuple[list[str], list[str]]) -> None:
    whole, quick = map(laws, forms)
    assert quick.keys() == whole.keys()
    assert set().union(*quick.values()) == set().union(*whole.values())
    assert sum(quick[name] == whole[name] for name in whole) == len(BASES)


def test_every_bad_input_and_every_family_comes(forms: tuple[list[str], list[str]]) -> None:
    """The cases of `test_bad_data_are_refused` are NAME-FAMILY-HOOK."""

    def cases(names: list[str]) -> list[tuple[str, str, str]]:
        ids = {f"{name}-{family}-{hook}": (name, family, hook) for name, family, hook in bad_inputs()}
        prefix = "test_bad_data_are_refused["
        return [ids[name.split(prefix)[1][:-1]] for name in names if prefix in name]

    whole, quick = map(cases, forms)
    assert len(quick) < len(whole) / 2
    for part in range(3):
        assert {case[part] for case in quick} == {case[part] for case in whole}


def test_every_test_function_comes_at_least_once(forms: tuple[list[str], list[str]]) -> None:
    whole, quick = ({name.split("[")[0] for name in form if "test_inputs" in name} for form in forms)
    assert quick == whole


def test_times_are_of_tests_that_are_there() -> None:
    """Most of them: a test may be renamed before the times are written anew."""
    assert times(), "make times writes them"
    files = {node.split("::")[0] for node in times()}
    assert all((ROOT / file).exists() for file in files)
