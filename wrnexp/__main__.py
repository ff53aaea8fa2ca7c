"""`python -m wrnexp COMMAND`."""

import sys

from wrnexp.cli import main

sys.exit(main())
