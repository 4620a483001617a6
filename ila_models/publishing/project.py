"""Where this project is found: the one place for its address, which model cards and pyproject.toml name."""

from __future__ import annotations

PROJECT_ADDRESS = "https://github.com/ila-models/ila_models"
