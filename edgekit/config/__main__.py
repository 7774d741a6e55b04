"""``python -m edgekit.config`` writes the JSON Schemas for editors anew, after a change to the settings."""

from edgekit.config.schema import files

for path, text in files().items():
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
