"""A defect of the scanner fails the test that meets it, though a scan only reports it."""

import pytest

from crenel.scan.context import Context, unexpected
from crenel.scan.source import Unreadable
from crenel.scan.verdict import Verdict


@pytest.fixture(autouse=True)
def _defects_end_the_test(request, monkeypatch):
    def failed(context, error):
        if not isinstance(error, Unreadable):
            raise error
        context.add(error.code, error.sentence, Verdict.UNREADABLE, error.offset)

    def not_expected(error):
        if not isinstance(error, OSError):
            raise error
        return unexpected(error)

    if request.module.__name__.rpartition(".")[2] != "test_failures":
        monkeypatch.setattr(Context, "failed", failed)
        monkeypatch.setattr("crenel.scan.scanner.unexpected", not_expected)
