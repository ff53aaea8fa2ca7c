from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from wrnexp.augment import Augment, Jitter
from wrnexp.data import Dataset, EvalBatches, ResidentLoader


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("batch_size", [1, 20, 45, 100])
def test_evaluation_sees_all_images_in_order(numbered: Dataset, batch_size: int, resident: bool) -> None:
    batches = EvalBatches(numbered.train, numbered, resident=resident, batch_size=batch_size)
    expected = (numbered.train.gather(np.arange(45)) / 255 - np.array(numbered.mean)) / np.array(numbered.std)
    for _ in range(2):
        pixels, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        assert labels.tolist() == list(range(45))
        assert (pixels.dtype, labels.dtype) == (torch.float32, torch.int64)
        np.testing.assert_allclose(pixels.numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)
        assert all(len(part) <= batch_size for _, part in batches)


def test_evaluation_and_training_normalise_as_torchvision(numbered: Dataset, recipe: Augment) -> None:
    plain = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(numbered.mean, numbered.std)])
    expected = torch.stack([plain(Image.fromarray(numbered.train[index])) for index in range(45)])
    ((pixels, _),) = EvalBatches(numbered.train, numbered, batch_size=45)
    torch.testing.assert_close(pixels, expected, rtol=1e-6, atol=1e-6)
    jitter = Jitter(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
    plainest = replace(recipe, padding=0, flip=0.0, policy="none", jitter=jitter, erasing=0.0)
    loader = ResidentLoader(numbered, plainest, device="cpu", accumulate=1, seed=0, batch_size=45, drop_last=False)
    ((trained, labels),) = loader.epoch(0)
    torch.testing.assert_close(trained, expected[labels], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("batch_size", "ranks"), [(10, 2), (10, 3), (20, 4), (45, 2)])
def test_batches_are_dealt_out_in_turn(numbered: Dataset, batch_size: int, ranks: int) -> None:
    whole = list(EvalBatches(numbered.train, numbered, batch_size=batch_size))
    for rank in range(ranks):
        dealt = list(EvalBatches(numbered.train, numbered, batch_size=batch_size, rank=rank, ranks=ranks))
        assert [labels.tolist() for _, labels in dealt] == [labels.tolist() for _, labels in whole[rank::ranks]]
        pairs = zip(dealt, whole[rank::ranks], strict=True)
        assert all(torch.equal(images, expected) for (images, _), (expected, _) in pairs)
