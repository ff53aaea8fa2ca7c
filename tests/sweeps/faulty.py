"""A net that goes wrong as it is told; where COUNT names a folder, each making of one leaves a line there."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from torch import nn

from wrnexp.models import WideResNet


def net(num_classes: int, how: str, **settings: Any) -> nn.Module:
    if folder := os.environ.get("COUNT"):
        with (Path(folder) / f"{how} {settings['dropout']}").open("a") as file:
            file.write(f"{os.getpid()}\n")
    if edited := os.environ.get("EDIT"):  # somebody edits the config while the sweep runs
        Path(edited).write_text(Path(edited).read_text().replace("epochs: 1", "epochs: 2"))
    if not os.environ.get("MENDED"):
        if how == "raise":
            raise RuntimeError("an injected error")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "slow":
            time.sleep(1.5)
    return WideResNet(num_classes=num_classes, **settings)
