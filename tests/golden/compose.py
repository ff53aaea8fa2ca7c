"""Write the composed config of every preset beside this file: `make golden`."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

HERE = Path(__file__).parent
CONF = HERE.parents[1] / "conf"
PRESETS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def composed(*overrides: str) -> str:
    """Return a composed config as YAML, resolved, keys in the order of conf/."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_yaml(compose("config", overrides=list(overrides)), resolve=True)


if __name__ == "__main__":
    for preset in PRESETS:
        (HERE / f"{preset}.yaml").write_text(composed(f"experiment={preset}"))
        print(f"tests/golden/{preset}.yaml")
