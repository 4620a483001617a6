"""``python -m ila_models`` is ``ila-models``."""

from .cli.main import main

raise SystemExit(main())
