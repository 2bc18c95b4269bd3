"""Statistics of matrices against slow obvious code, on every architecture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_core import modeling
from asc_core.compress.calibration import RowNoise
from asc_core.compress.linear_statistics import linear_statistics
from asc_core.scores.sensitivity import random_projection
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import ARCHITECTURES

TASK = toy_task("text-classification", train=12, validation=8)


def names_of(encoder: object) -> dict[str, torch.nn.Module]:
    names = {id(module): name for name, module in encoder.model.named_modules()}  # type: ignore[attr-defined]
    rows = modeling.factorable(encoder.model)  # type: ignore[attr-defined]
    return {names[id(module)]: module for row in rows for module in row.values()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_moments_are_those_of_texts_one_by_one_without_their_padding(architecture: str) -> None:
    encoder = encoder_for(TASK, architecture)
    found = linear_statistics(encoder, TASK, names_of(encoder))
    of_positions = {name for name in names_of(encoder) if "pos_" in name and "proj" in name}
    assert set(found) == set(names_of(encoder)) - of_positions
    features = TASK.features(TASK.examples("train"), encoder)
    read: dict[str, list[torch.Tensor]] = {name: [] for name in found}
    pushed: dict[str, list[torch.Tensor]] = {name: [] for name in found}
    for row in range(len(features)):
        batch = TASK.batch(features, np.array([row]), encoder)  # alone, a text has no padding
        hooks: list[torch.utils.hooks.RemovableHandle] = []
        outputs: list[tuple[str, torch.Tensor]] = []
        for name in found:

            def see(
                _: object,
                inputs: tuple[torch.Tensor],
                output: torch.Tensor,
                name: str = name,
                outputs: list[tuple[str, torch.Tensor]] = outputs,
                tokens: torch.Size = batch.mask.shape,
            ) -> None:
                if inputs[0].shape[:-1] != tokens:
                    return  # positions
                read[name].append(inputs[0].detach().flatten(0, -2))
                output.retain_grad()
                outputs.append((name, output))

            hooks.append(encoder.model.get_submodule(name).register_forward_hook(see))
        with torch.enable_grad():
            encoder.model.requires_grad_(True)
            random_projection(
                encoder.model(**batch.inputs), batch.mask, RowNoise(0, [row], batch.rows_per_feature)
            ).backward()
        for name, output in outputs:
            assert output.grad is not None
            pushed[name].append(output.grad.flatten(0, -2))
        for hook in hooks:
            hook.remove()
    for name, one in found.items():
        x, g = torch.cat(read[name]), torch.cat(pushed[name])
        assert one.calls == len(x)
        torch.testing.assert_close(one.mean, x.mean(0), atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(one.inputs, x.T @ x / len(x), atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(one.gradients, g.T @ g / len(g), atol=1e-5, rtol=1e-2)


def test_matrices_that_read_the_same_share_their_moments() -> None:
    encoder = encoder_for(TASK)
    found = linear_statistics(encoder, TASK, names_of(encoder))
    by_end = {name.rsplit("layer.", 1)[1]: one for name, one in found.items()}
    query, key = by_end["0.attention.self.query"], by_end["0.attention.self.key"]
    assert query.inputs is key.inputs
    assert query.gradients is not key.gradients


def test_the_encoder_stays_as_it_was_and_no_more_tokens_are_read_than_asked_for() -> None:
    encoder = encoder_for(TASK)
    before = [parameter.requires_grad for parameter in encoder.model.parameters()]
    hooks = [len(module._forward_hooks) for module in encoder.model.modules()]
    few = linear_statistics(encoder, TASK, names_of(encoder), tokens=30)
    assert 1 <= next(iter(few.values())).calls <= 30
    assert [parameter.requires_grad for parameter in encoder.model.parameters()] == before
    assert [len(module._forward_hooks) for module in encoder.model.modules()] == hooks
