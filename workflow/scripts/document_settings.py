"""Write config/README.md and config/schema.json from the types of the settings: ``make docs``."""

import json
from pathlib import Path

from memorization.cache import atomic_write
from memorization.documentation import configuration_schema, settings_page

CONFIG = Path(__file__).resolve().parents[2] / "config"
FILES = {
    "README.md": settings_page(),
    "schema.json": json.dumps(configuration_schema(), indent=2, ensure_ascii=False) + "\n",
}
for name, text in FILES.items():
    with atomic_write(CONFIG / name) as file:
        file.write(text.encode())
