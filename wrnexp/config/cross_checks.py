"""Checks across keys: values that are each allowed and do not fit together."""

from collections.abc import Callable, Iterator


def _nesterov(nesterov: bool, momentum: float) -> Iterator[str]:
    if nesterov and momentum == 0:
        yield "optim.nesterov=true needs optim.momentum above 0"


def _root(name: str | None, root: str | None) -> Iterator[str]:
    if name == "folder" and root is None:
        yield "data=folder needs data.root, a folder that holds {train,test}/<class>/<images>"


def _resize(name: str | None, resize: bool | None) -> Iterator[str]:
    if resize and name != "folder":
        yield f"data.resize=true is for data=folder; the images of {name} are 32x32 already"


def _oracle(backend: str | None, cutout: int, mixup: float, cutmix: float) -> Iterator[str]:
    for name, value in (("cutout", cutout), ("mixup", mixup), ("cutmix", cutmix)):
        if backend == "torchvision" and value:
            yield f"augment.{name}={value} needs loader.backend=batched; torchvision has no such change to one image"


def _backend(target: str | None, backend: str | None) -> Iterator[str]:
    if backend == "torchvision" and str(target).endswith("ResidentLoader"):
        yield "loader.backend=torchvision needs worker processes (loader=base or loader=light), not loader=resident"


def _graphs(cuda_graphs: bool | None, compile: bool | None) -> Iterator[str]:
    if cuda_graphs and compile is False:
        yield "trainer.cuda_graphs=true needs trainer.compile, which is false: set it to null or true"


def _devices(devices: int | str | None, device: str | None, cuda_graphs: bool | None) -> Iterator[str]:
    if devices in (None, 1):
        return
    if device == "mps" or ":" in str(device):
        yield f"trainer.device={device} is one device; with trainer.devices={devices} it is cuda, cpu or auto"
    if cuda_graphs:
        yield f"trainer.cuda_graphs=true is for one device, not for trainer.devices={devices}; set it to null or false"


# Each check with the keys that it takes; it is asked only where each of them is right on its own.
CROSS_CHECKS: list[tuple[tuple[str, ...], Callable[..., Iterator[str]]]] = [
    (("optim.nesterov", "optim.momentum"), _nesterov),
    (("data.name", "data.root"), _root),
    (("data.name", "data.resize"), _resize),
    (("loader._target_", "loader.backend"), _backend),
    (("loader.backend", "augment.cutout", "augment.mixup", "augment.cutmix"), _oracle),
    (("trainer.cuda_graphs", "trainer.compile"), _graphs),
    (("trainer.devices", "trainer.device", "trainer.cuda_graphs"), _devices),
]
