"""Mistakes in `avbench sample`: each is one sentence that says what to do, before anything is computed."""

from __future__ import annotations

import pytest

from avbench.errors import UserError
from avbench.runs import Run


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"scheduler": "euler"}, "scheduler = 'euler': Input should be 'dpm-solver++', 'ddpm', 'ddim' or 'unipc'"),
        ({"steps": 0}, "sample: steps = 0: Input should be greater than 0"),
        ({"condition": {"task": "v2a", "source": "x", "keep": "0-0.8"}}, "leave out keep, or use task inpaint"),
        ({"condition": {"task": "inpaint", "source": "x"}}, "needs the seconds that are given, such as keep 0-0.8"),
        ({"condition": {"task": "inpaint", "source": "x", "keep": "0.8"}}, "write seconds as START-END"),
        ({"condition": {"task": "inpaint", "source": "x", "keep": "a-b"}}, "condition.keep.0.0 = 'a'"),
        ({"condition": {"task": "inpaint", "source": "x", "keep": "0.8-0.2"}}, "its end must lie behind its start"),
        ({"condition": {"task": "continue", "source": "x", "keep": "0.2-0.8"}}, "one part from 0 on"),
        ({"condition": {"task": "v2a", "source": "x", "scale": 2.0}}, "use method guide or both, or leave it out"),
        ({"condition": {"task": "v2a", "source": "x", "method": "guide", "noise": "fixed"}}, "method replace or both"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_with_the_way_out(sampling: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as told:
        Run.open("mmdiffusion", "tiny", dataset=None, out=None, sampling=sampling)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--condition", "demo"], "--condition and its options need --task v2a, a2v, continue or inpaint"),
        (["--task", "v2a"], "--task v2a needs --condition FOLDER or DATASET"),
        (["--task", "v2a", "--condition", "none/such"], "holds no checkpoint; train it first"),
    ],
)
def test_options_that_need_another_are_told_so(
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from avbench.cli import main

    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setattr("sys.argv", ["avbench", "sample", "mmdiffusion", "--preset", "tiny", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert message in " ".join((captured.out + captured.err).split())
