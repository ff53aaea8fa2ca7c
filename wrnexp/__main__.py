"""`python -m wrnexp COMMAND`."""

import os
import sys

# With -m Python looks for modules in the working directory first: an argparse.py in a folder from someone else would
# run. The repository is left on the path where wrnexp itself comes from there.
if not sys.flags.safe_path and __file__ != f"{sys.path[0]}{os.sep}wrnexp{os.sep}__main__.py":
    del sys.path[0]

from wrnexp.cli import main

sys.exit(main())
