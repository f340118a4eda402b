"""The benches run to their end; what they measure is for people to judge."""

import re

import pytest

from bench import service

pytestmark = pytest.mark.integration


def test_end_to_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(service, "STEPS", 2)
    for name in [n for n in service.os.environ if n.startswith("DEEPVIS_")]:
        monkeypatch.delenv(name)

    service.run("demo", ("conv1",))

    assert re.search(r"planning [\d.]+ s; 80 unit-images\nservice \d+ .* ratio \d", capsys.readouterr().out)
