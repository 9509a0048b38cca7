"""A model and a table are added in two places each, in a copy of the repository, and everything knows them."""

import re
import subprocess
import sys

import pytest
from conftest import REPOSITORY, copy_repository, snakemake

pytestmark = pytest.mark.slow

MODEL_FILE = '''
"""Attention and a head, without an MLP."""

from types import SimpleNamespace

import torch
from torch import nn

from .learners import initial_generator
from .transformer import TransformerLearner, causal_attention_weights, initialise, split_heads


class AttentionOnly(nn.Module):
    """One attention layer that is read by a linear head."""

    parts = {"attention": ("c_attn",), "readout": ("lm_head",), "embeddings": ("wte", "wpe")}

    def __init__(self, settings: SimpleNamespace, generator: torch.Generator):
        super().__init__()
        C, self.num_heads = settings.num_heads * settings.num_hidden_features, settings.num_heads
        self.wte, self.wpe = nn.Embedding(2, C), nn.Embedding(settings.len_context, C)
        self.c_attn, self.lm_head = nn.Linear(C, 3 * C), nn.Linear(C, 2)
        initialise(self, generator)

    def attend(self, tokens):
        q, k, v = split_heads(self.c_attn(self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]), self.num_heads)
        weights = causal_attention_weights(q, k)
        return weights, weights @ v

    def forward(self, tokens):
        return self.lm_head(self.attend(tokens)[1].transpose(1, 2).flatten(2))

    def attention_weights(self, tokens):
        return [self.attend(tokens)[0]]


def build(settings, sequence_sets):
    return TransformerLearner(AttentionOnly(settings, initial_generator(settings)), settings)
'''
SETTINGS_CLASS = '''

class AttentionOnlySettings(TransformerSettings):
    """The settings of the attention-only model."""

    model: Literal["attention_only"] = _setting("the model")
    freeze: Literal["none", "attention", "readout"] = _setting(
        "the part that gets no update after the first switch", stage=Stage.SWITCH, default="none"
    )
'''
CONFIGURATION = """
experiments:
  new:
    conditions:
      - {model: attention_only, freeze: readout}
    len_context: 10
    num_heads: 2
    num_hidden_features: 4
    K: 20
    batch_size: 8
    num_iters_per_set: 40
    num_iters_per_epoch: 4
    num_held_out: 30
    seeds: 1
    figures: [by_weights]
"""
# Every figure is drawn of the new model: with another one if it needs that, or with a sweep.
DRAW_EVERY_FIGURE = """
import sys
import matplotlib, pytest
sys.path[:0] = ["tests", "workflow/scripts"]
import test_figures as figures

figures.OF_MODEL["attention_only"] = figures.TRANSFORMER
experiments = {
    "with the DAM": [("attention_only", {}), ("attention_only", {"freeze": "readout"}), ("dam", {})],
    "a sweep of K": [("attention_only", {"K": 10}), ("attention_only", {"K": 20})],
    # The figure that needs it shows the DAM alone.
    "a sweep of M": [("dam", {"M": 30}), ("dam", {"M": 60})],
    "a sweep of H": [("attention_only", {}), ("dam", {"H": 2}), ("dam", {"H": 5})],
    "weights on the way": [("attention_only", {"saved_iters": [2, 10]}), ("dam", {"saved_iters": [2, 10]})],
    "rates": [
        ("attention_only", {"lr_after_switch": lr, "batch_size_after_switch": batch, "num_iters_of_last_set": 30})
        for lr, batch in ((0.01, 4), (0.01, 8), (0.1, 4))
    ],
}
tables = {name: figures.Group(found) for name, found in experiments.items()}
for figure in figures.FIGURES:
    needs = figures.needs_of_figure(figures.SCRIPTS / f"plot_{figure}.py")
    chosen = [name for name, found in experiments.items() if all(figures.has(need, found) for need in needs)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        drawing = figures.drawn(figure, chosen[0], tables, monkeypatch)
    texts = {text.get_text() for text in drawing.findobj(matplotlib.text.Text)}
    if figure in ("by_weights", "swap_by_size"):
        assert "at the end, readout swapped back" in texts, figure
    print(figure)
"""


def run_python(folder, code):
    """The lines that Python code prints in ``folder``."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def append(path, text):
    path.write_text(path.read_text() + text)


def test_a_model_is_added_in_two_places_and_every_figure_is_drawn_with_it(tmp_path):
    folder = copy_repository(tmp_path)
    library = folder / "workflow" / "scripts" / "memorization"
    (library / "models" / "attention_only.py").write_text(MODEL_FILE)
    append(library / "configuration" / "settings.py", SETTINGS_CLASS)
    drawn = run_python(folder, DRAW_EVERY_FIGURE)
    assert drawn == sorted(path.stem.removeprefix("plot_") for path in (library.parent).glob("plot_*.py"))
    (folder / "new.yaml").write_text(CONFIGURATION)
    snakemake(folder, "--cores", "2", "results/new/by_weights.png", "--configfile", "new.yaml")
    assert (folder / "results" / "new" / "by_weights.png").exists()


def test_a_table_is_added_in_two_places(tmp_path):
    page = (REPOSITORY / "docs" / "add-an-experiment.md").read_text().split("## 4.")[1]
    entry, function = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (name,) = re.findall(r'^    "(\w+)": Table', entry)
    folder = copy_repository(tmp_path)
    tables = folder / "workflow" / "scripts" / "memorization" / "tables"
    registry = (tables / "registry.py").read_text()
    (tables / "registry.py").write_text(registry.replace("TABLES = {\n", f"TABLES = {{\n{entry}", 1))
    append(tables / "aggregation.py", f"\n\n{function}")
    (folder / "workflow" / "scripts" / "plot_new.py").write_text(f"snakemake.input.{name}\n")
    (folder / "new.yaml").write_text(CONFIGURATION.replace("attention_only", "one_layer_attention").replace(
        "readout", "mlp").replace("[by_weights]", "[new]"))  # fmt: skip
    snakemake(folder, "--cores", "2", f"results/new/{name}.parquet", "--configfile", "new.yaml")
    read = (
        "import sys; sys.path.insert(0, 'workflow/scripts')\n"
        "from memorization.tables.registry import read_table_of_group\n"
        f"print(*read_table_of_group('results/new/{name}.parquet'))"
    )
    columns = run_python(folder, read)
    assert columns[:3] == ["model", "weights", "sequence_set"]
    assert columns[-3:] == ["lowest_mean", "lowest_low", "lowest_high"]
