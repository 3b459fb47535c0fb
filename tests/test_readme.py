"""The README's code runs as it stands, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gpudl

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


def test_twenty_lines_and_rungs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    exec(BLOCKS[0], space)
    accuracy = float(re.search(r"accuracy ([\d.]+)", capsys.readouterr().out)[1])
    assert accuracy >= 0.9
    try:
        exec(BLOCKS[1], space)
        assert gpudl.are_deterministic_algorithms_enabled()
    finally:
        gpudl.use_deterministic_algorithms(False)
    assert (tmp_path / "graph.svg").read_text().startswith("<svg") and "01_naive" in capsys.readouterr().out


@pytest.mark.emulator
def test_the_emulator_block_ends_in_the_report_that_it_promises() -> None:
    from gpudl import emulator

    with pytest.raises(emulator.SanitizerError) as caught:
        exec(BLOCKS[2], {})
    assert caught.value.reports[0].kind == "out_of_bounds" and caught.value.reports[0].line


def test_links_and_folders_exist() -> None:
    text = README.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (README.parent / target).exists(), target
    for folder in re.findall(r"^(\w+)/ ", text, re.M):
        assert (README.parent / folder).is_dir(), folder
    for script in re.findall(r"(\w+\.py)(?=[,:])", text.partition("examples/")[2].partition("\n")[0]):
        assert (README.parent / "examples" / script).exists(), script
