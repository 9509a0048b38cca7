"""Settings as a later release might add them, written into a copy of the library."""

OF_EVERY_MODEL = """\
    momentum: Number = _setting("a later setting", default=0.0, neutral=0.0, ge=0)
    warm_up: Count = _setting("one that matters from the switch on", stage=Stage.SWITCH, default=7, neutral=7)
    num_probes: Count = _setting("one of the evaluation", stage=Stage.EVALUATION, default=3, neutral=3)
"""
OF_GPT = """\
    momentum_decay: Number = _setting("one with a default that was 0.5 once", default=0.9, neutral=0.5)
"""
OF_DAM = """\
    rank: Count | None = _setting("one that is derived if it is null: H", default=None, neutral=None)
"""
ADDED = {
    "    K: Count": OF_EVERY_MODEL,
    '    model: Literal["gpt"]': OF_GPT,
    '    model: Literal["dam"]': OF_DAM,
    '        settings["num_predictions"] = self.N\n': '        settings["rank"] = self.rank or self.H\n',
}


def add_later_settings(scripts):
    """Add the settings to the library in the folder ``scripts``."""
    path = scripts / "memorization" / "configuration" / "settings.py"
    text = path.read_text()
    for line, added in ADDED.items():
        assert text.count(line) == 1
        text = text.replace(line, added + line)
    path.write_text(text)
