"""``python -m bids_lfenhance`` is the console script."""

import sys

from .cli.run import main

sys.exit(main())
