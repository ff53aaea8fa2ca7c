"""Data sets by name: from the config's `data.root` to the images that a run is trained on."""

from pathlib import Path

from wrnexp.data import store
from wrnexp.data.content import SIDE, Content
from wrnexp.data.images import Dataset, ImageSet
from wrnexp.data.sources.archive import PackedArchive
from wrnexp.data.sources.cifar import CIFARS, Cifar
from wrnexp.data.sources.detect import Source, find_cifar, find_folder
from wrnexp.data.sources.download import download
from wrnexp.data.sources.shapes import Shapes
from wrnexp.data.splits import stratified
from wrnexp.data.store import Stored
from wrnexp.errors import UserError
from wrnexp.runs.cache import cache_folder

NAMES = (*CIFARS, "shapes", "folder")


def load(
    name: str, root: str | None, val_size: int, train_limit: int | None, test_limit: int | None, resize: bool
) -> Dataset:
    """Return a data set, split and limited as configured.

    The first call for a source reads, checks and stores it; later calls map the stored arrays.

    Args:
        name: `cifar100`, `cifar10`, `shapes` or `folder`.
        root: location of the files. None: the cache folder; CIFAR is downloaded if it is not there.
        val_size: training images to hold out, stratified, the same for every seed.
        train_limit: training images to use of the others, stratified; None is all.
        test_limit: test images to use, stratified; None is all.
        resize: for `folder`, resize images of other sizes to 32x32.

    Raises:
        UserError: `root` does not contain the data set, or a size is out of range.
    """
    stored = obtain(name, root, resize=resize)
    val, train = _hold_out(stored.images("train"), val_size)
    red, green, blue = (deviation or 1.0 for deviation in stored.std)  # a constant channel normalises to 0
    return Dataset(
        name=name,
        classes=stored.classes,
        superclasses=CIFARS[name].superclasses if name in CIFARS else None,
        train=_limit(train, train_limit, "data.train_limit"),
        val=val,
        test=_limit(stored.images("test"), test_limit, "data.test_limit"),
        digest={str(split): digest for split, digest in stored.digest.items()},
        mean=stored.mean,
        std=(red, green, blue),
        image_size=SIDE,
    )


def obtain(name: str, root: str | None, *, resize: bool = False, online: bool = True) -> Stored:
    """Return a whole data set in the store; arguments as for `load`.

    Raises:
        UserError: `root` does not contain the data set, or `online` is False and CIFAR would have to be downloaded.
    """
    source = find_source(name, root, resize=resize)
    if source is None:
        return _without_source(CIFARS[name], root, online=online)
    return store.obtain(name, source, CIFARS[name].check if name in CIFARS else _unchecked)


def find_source(name: str, root: str | None, *, resize: bool = False) -> Source | None:
    """Return the source of a data set; None for CIFAR if `root` is None or an empty folder.

    Raises:
        UserError: `root` does not contain the data set.
    """
    if name in CIFARS:
        return find_cifar(CIFARS[name], root) if root is not None else None
    if name == "shapes":
        return Shapes()
    if name == "folder":
        return find_folder(root, resize=resize)
    raise UserError(f"data.name={name} is unknown: allowed are {', '.join(NAMES)}")


def _without_source(cifar: Cifar, root: str | None, *, online: bool) -> Stored:
    """Return CIFAR from the store or, if it is not there, by download."""
    if stored := store.find(cifar.name, cifar.classes, cifar.digest):
        return stored
    if not online:
        raise UserError(f"{cifar.title} is not in the cache; `wrnexp data import PATH --name {cifar.name}` imports it")
    with store.lock(f"download-{cifar.name}"):
        return store.find(cifar.name, cifar.classes, cifar.digest) or _download(cifar, root)


def _download(cifar: Cifar, root: str | None) -> Stored:
    """Download the official archive to `root`, or to the cache, where it is deleted after its images are stored."""
    folder = Path(root).expanduser() if root is not None else cache_folder() / "downloads"
    packed = PackedArchive(folder / cifar.layout.file, cifar.layout, cifar.classes)
    by_hand = (
        f"Without a network: fetch {cifar.layout.file} elsewhere, then `wrnexp data import PATH --name {cifar.name}` "
        "or data.root=PATH"
    )
    download(cifar.url, packed.path, cifar.sha256, by_hand)
    stored = store.obtain(cifar.name, packed, cifar.check)
    if root is None:
        packed.path.unlink(missing_ok=True)
    return stored


def _unchecked(content: Content, digest: store.Digest, where: str) -> None:
    """Only CIFAR has published digests."""


def _hold_out(images: ImageSet, size: int) -> tuple[ImageSet | None, ImageSet]:
    """Return the validation set (None for size 0) and the training set."""
    _check_size("data.val_size", size, 0, len(images) - 1)
    held_out, remaining = stratified(images.labels, size)
    return (images.subset(held_out) if size else None), images.subset(remaining)


def _limit(images: ImageSet, limit: int | None, key: str) -> ImageSet:
    if limit is None:
        return images
    _check_size(key, limit, 1, len(images))
    return images.subset(stratified(images.labels, limit)[0])


def _check_size(key: str, size: int, low: int, high: int) -> None:
    if not low <= size <= high:
        raise UserError(f"{key}={size} is out of range: allowed are {low} to {high}")
