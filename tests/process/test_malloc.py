import subprocess
import sys

import pytest

from wrnexp.process.malloc import keep_freed_memory

# Takes four blocks of 8 MiB and frees them, again and again; counts the pages that the system had to give anew for it.
CODE = """
import ctypes, resource, sys
from wrnexp.process.malloc import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    blocks = [library.malloc(ctypes.c_size_t(2**23)) for _ in range(4)]
    for block in blocks:
        ctypes.memset(block, 1, 2**23)
    for block in blocks:
        library.free(ctypes.c_void_p(block))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", CODE, mode], capture_output=True, text=True, check=True, timeout=240)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has the setting")
def test_freed_memory_is_used_again() -> None:
    if not keep_freed_memory():
        pytest.skip("another C library than glibc")
    assert faults("keep") < faults("default") / 2
