"""CIFAR-10 and CIFAR-100: names, published digests, archives."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wrnexp.data.content import SPLITS, Content, SplitName
from wrnexp.data.images import Superclasses
from wrnexp.data.sources.archive import Layout
from wrnexp.errors import UserError


@dataclass(frozen=True)
class Cifar:
    """A CIFAR data set.

    Attributes:
        classes: in the order of the labels, which is alphabetical.
        per_class: images of every class in each split.
        digest: the content digest of each split.
        label_column: of parquet files.
        url: of the official archive.
        sha256: of the official archive.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    superclasses: Superclasses | None
    per_class: Mapping[SplitName, int]
    digest: Mapping[SplitName, str]
    layout: Layout
    label_column: str
    url: str
    sha256: str

    def check(self, content: Content, digest: Mapping[SplitName, str], where: str) -> None:
        """Raise UserError if content read from `where` differs from the published class counts or digests."""
        for split in SPLITS:
            self._check_counts(content.split(split).labels, split, where)
            if digest[split] != self.digest[split]:
                raise UserError(
                    f"{where}: the {split} images or labels are not those of {self.title}: their content digest is "
                    f"{digest[split]}, published is {self.digest[split]}"
                )

    def _check_counts(self, labels: NDArray[np.int64], split: SplitName, where: str) -> None:
        counts = np.bincount(labels, minlength=len(self.classes)).tolist()
        each = self.per_class[split]
        deviations = [
            f"{name!r} has {count} of {each}" for name, count in zip(self.classes, counts, strict=True) if count != each
        ]
        if deviations:
            more = f" (and {len(deviations) - 1} more classes)" if len(deviations) > 1 else ""
            raise UserError(
                f"{where}: {split} has {len(labels)} images, {self.title} has {each * len(self.classes)}: class "
                f"{deviations[0]}{more}"
            )


CIFAR10 = Cifar(
    name="cifar10",
    title="CIFAR-10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    superclasses=None,
    per_class={"train": 5000, "test": 1000},
    digest={
        "train": "d59acf989e068e709ce686cda292672c7b212c08d29d3d3e6d8c3aa99eba6a85",
        "test": "899683d46c3a8c66fd56e1af12202e69fe5a4517be10b0f68e04c78fe585c57c",
    },
    layout=Layout(
        file="cifar-10-python.tar.gz",
        folder="cifar-10-batches-py",
        batches={"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)},
        label_key="labels",
    ),
    label_column="label",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
)

_SUPERCLASSES = """
aquatic_mammals: beaver dolphin otter seal whale
fish: aquarium_fish flatfish ray shark trout
flowers: orchid poppy rose sunflower tulip
food_containers: bottle bowl can cup plate
fruit_and_vegetables: apple mushroom orange pear sweet_pepper
household_electrical_devices: clock keyboard lamp telephone television
household_furniture: bed chair couch table wardrobe
insects: bee beetle butterfly caterpillar cockroach
large_carnivores: bear leopard lion tiger wolf
large_man-made_outdoor_things: bridge castle house road skyscraper
large_natural_outdoor_scenes: cloud forest mountain plain sea
large_omnivores_and_herbivores: camel cattle chimpanzee elephant kangaroo
medium_mammals: fox porcupine possum raccoon skunk
non-insect_invertebrates: crab lobster snail spider worm
people: baby boy girl man woman
reptiles: crocodile dinosaur lizard snake turtle
small_mammals: hamster mouse rabbit shrew squirrel
trees: maple_tree oak_tree palm_tree pine_tree willow_tree
vehicles_1: bicycle bus motorcycle pickup_truck train
vehicles_2: lawn_mower rocket streetcar tank tractor
"""


def _superclasses(text: str) -> tuple[tuple[str, ...], Superclasses]:
    """Return the class names, sorted, and their superclasses, from lines `superclass: class class ...`."""
    lines = [line.split(": ") for line in text.split("\n") if line]
    coarse_label = {name: number for number, (_, names) in enumerate(lines) for name in names.split()}
    classes = tuple(sorted(coarse_label))
    return classes, Superclasses(tuple(coarse_label[name] for name in classes), tuple(name for name, _ in lines))


_CLASSES, _COARSE = _superclasses(_SUPERCLASSES)

CIFAR100 = Cifar(
    name="cifar100",
    title="CIFAR-100",
    classes=_CLASSES,
    superclasses=_COARSE,
    per_class={"train": 500, "test": 100},
    digest={
        "train": "36ce7a701fbea47796e570c34382aad50f2539687cfcbc6ae96e2f56530d29b6",
        "test": "d3cd5d87a1b9317a0982c8ef5535fe3b86da8da90b13ce5e9b23ea06400dd5eb",
    },
    layout=Layout(
        file="cifar-100-python.tar.gz",
        folder="cifar-100-python",
        batches={"train": ("train",), "test": ("test",)},
        label_key="fine_labels",
    ),
    label_column="fine_label",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
)

CIFARS = {cifar.name: cifar for cifar in (CIFAR10, CIFAR100)}
