"""The learning rate over a run: warm-up, and a decay that makes the number of steps a part of what defines the run."""

from __future__ import annotations

import pytest

from avbench.recipe_baseline import TrainRecipe

COSINE = TrainRecipe(steps=100, batch_size=1, learning_rate=2.0, warmup_steps=20, decay="cosine")
PLAIN = COSINE.model_copy(update={"decay": "none"})


def test_the_rate_rises_in_the_warm_up_and_falls_as_a_cosine_to_nothing() -> None:
    rates = [COSINE.rate(step) for step in range(100)]
    assert rates[:20] == pytest.approx([2.0 * (step + 1) / 20 for step in range(20)])
    assert rates[60] == pytest.approx(1.0)
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert 0 < rates[99] < 0.01


def test_without_decay_the_rate_stays() -> None:
    assert {PLAIN.rate(step) for step in range(20, 1000)} == {2.0}
    assert PLAIN.rate(0) == pytest.approx(0.1)


def test_steps_define_a_run_only_where_the_rate_depends_on_them() -> None:
    assert COSINE.defining()["steps"] == 100
    assert COSINE.defining()["decay"] == "cosine"
    assert not {"steps", "decay"} & PLAIN.defining().keys()
