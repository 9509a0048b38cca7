"""Write config/README.md and config/schema.json from the types of the settings: ``make docs``."""

import json
from pathlib import Path

from memorization.documentation import configuration_schema, settings_page

CONFIG = Path(__file__).resolve().parents[2] / "config"
CONFIG.joinpath("README.md").write_text(settings_page(), encoding="utf-8")
CONFIG.joinpath("schema.json").write_text(
    json.dumps(configuration_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
)
