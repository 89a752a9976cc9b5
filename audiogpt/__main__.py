"""`python -m audiogpt`: see `audiogpt.cli`."""

from audiogpt.cli import main

raise SystemExit(main())
