"""A small mock survey for all tests."""

import pytest

import maury


@pytest.fixture(scope="session")
def survey(tmp_path_factory):
    return maury.mock(stars=160, seed=5, cache=tmp_path_factory.mktemp("cache"), progress=False)


@pytest.fixture(scope="session")
def halves(survey):
    return survey.split(seed=2)
