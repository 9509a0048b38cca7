"""Write config/README.md and config/schema.json from the types of the settings.

``make docs`` runs it.
"""

import json
from pathlib import Path

from memorization.configuration.documentation import configuration_schema, settings_page
from memorization.storage.cache import atomic_write

CONFIG = Path(__file__).resolve().parents[2] / "config"
FILES = {
    "README.md": settings_page(),
    "schema.json": json.dumps(configuration_schema(), indent=2, ensure_ascii=False) + "\n",
}
for name, text in FILES.items():
    with atomic_write(CONFIG / name) as file:
        file.write(text.encode())
