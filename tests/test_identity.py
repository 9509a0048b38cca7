"""What identifies a run: all of its settings, but for those that came later and are at their neutral value."""

import json
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY
from later_settings import add_later_settings

from memorization.configuration.experiments import Run
from memorization.configuration.identity import FIRST_SETTINGS, identity
from memorization.configuration.settings import (
    SETTINGS_OF_MODEL,
    DamSettings,
    GptSettings,
    OneLayerAttentionSettings,
    Stage,
    settings_from,
    settings_until,
)
from memorization.configuration.trunks import shared_training, trunk_name, trunks_of

SMALL = {"K": 30, "batch_size": 16, "num_iters_per_set": 20, "num_iters_per_epoch": 10, "seed": 3}
SHAPES = {
    "one_layer_attention": {"len_context": 12, "num_heads": 2},
    "gpt": {"len_context": 12, "num_heads": 2, "num_layers": 2},
    "dam": {"N": 12, "H": 4, "M": 60},
}
TYPES = {"one_layer_attention": OneLayerAttentionSettings, "gpt": GptSettings, "dam": DamSettings}


def resolved(model, **changed):
    return TYPES[model](model=model, **SMALL | SHAPES[model] | changed).resolved()


def run_of(name, **changed):
    return Run("group", name, resolved("one_layer_attention", **changed), {})


@pytest.mark.parametrize("model", TYPES)
def test_every_setting_of_the_first_release_identifies_a_run(model):
    settings = resolved(model)
    assert FIRST_SETTINGS[model] <= SETTINGS_OF_MODEL[model].model_fields.keys()
    assert {key: value for key, value in settings.items() if key in FIRST_SETTINGS[model]}.items() <= (
        identity(settings).items()
    )


@pytest.mark.parametrize("model", TYPES)
def test_a_trunk_depends_on_nothing_that_matters_after_the_switch(model):
    later = {
        "num_switches": 3,
        "freeze": {"dam": "A"}.get(model, "mlp"),
        "reset_optimizer_at_switch": True,
        "lr_after_switch": 0.5,
        "batch_size_after_switch": 7,
        "test_iters_after_switch": [1, 4],
    }
    assert trunk_name(resolved(model)) == trunk_name(resolved(model, num_held_out=5, **later))
    assert trunk_name(resolved(model)) != trunk_name(resolved(model, lr=0.5))
    assert trunk_name(resolved(model)) != trunk_name(resolved(model, seed=4))


def test_tests_after_a_switch_are_log_spaced_below_an_epoch_and_none_without_a_switch():
    assert resolved("dam", num_iters_per_epoch=20)["test_iters_after_switch"] == [1, 2, 3, 5, 8, 12, 18]
    assert resolved("dam", num_iters_per_epoch=1)["test_iters_after_switch"] == []
    assert resolved("dam", test_iters_after_switch=[4, 20])["test_iters_after_switch"] == [4, 20]
    alone = resolved("dam", num_switches=0)
    assert alone["test_iters_after_switch"] == [] and "test_iters_after_switch" not in identity(alone)


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("model", TYPES)
def test_each_setting_matters_from_one_stage_on(model, stage):
    settings = resolved(model)
    until, after = settings_until(stage, settings), settings_from(stage, settings)
    assert until | after == settings
    assert not until.keys() & after.keys()
    assert settings_from(Stage.EVALUATION, settings) == {"num_held_out": settings["num_held_out"]}


def test_the_iterations_that_trunks_save_are_counted():
    runs = [
        run_of("a"),
        run_of("b", freeze="mlp"),
        run_of("c", freeze="mlp", num_switches=2),
        run_of("d", seed=4),
        run_of("e", num_switches=0),
    ]
    assert [len(trunks_of(runs[:number])) for number in (1, 2, 3, 4, 5)] == [1, 1, 1, 2, 2]
    said = "4 runs share 2 trunks: 160 iterations of training in place of 200, 20% saved"
    assert shared_training(runs) == said
    assert shared_training([runs[0], runs[3], runs[4]]) == ""


IN_A_COPY = """
import json, sys
from memorization.configuration.identity import identity
from memorization.configuration.settings import SETTINGS_OF_MODEL, Stage, settings_from
from memorization.configuration.trunks import trunk_name
answers = []
for settings in json.load(sys.stdin):
    settings = SETTINGS_OF_MODEL[settings["model"]](**settings).resolved()
    answers.append(
        {
            "settings": settings,
            "identity": identity(settings),
            "trunk": trunk_name(settings),
            "of_evaluation": settings_from(Stage.EVALUATION, identity(settings)),
        }
    )
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def in_a_copy(tmp_path_factory):
    """What a copy of the library to which settings were added says of some settings."""
    scripts = tmp_path_factory.mktemp("later") / "scripts"
    shutil.copytree(REPOSITORY / "workflow" / "scripts", scripts)
    add_later_settings(scripts)

    def answers(*settings):
        call = [sys.executable, "-c", IN_A_COPY]
        asked = json.dumps(settings)
        done = subprocess.run(call, cwd=scripts, input=asked, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return answers


def given(model, **changed):
    return {"model": model} | SMALL | SHAPES[model] | changed


@pytest.fixture(scope="module")
def at_neutral(in_a_copy):
    return dict(zip(TYPES, in_a_copy(*map(given, TYPES)), strict=True))


@pytest.mark.parametrize("model", ["one_layer_attention", "dam"])
def test_a_later_setting_at_its_neutral_value_changes_no_identity_and_no_trunk(model, at_neutral):
    assert at_neutral[model]["identity"] == identity(resolved(model))
    assert at_neutral[model]["trunk"] == trunk_name(resolved(model))
    assert at_neutral[model]["of_evaluation"] == {"num_held_out": 1000}


def test_a_job_gets_the_later_settings_all_the_same(at_neutral):
    added = {"momentum": 0.0, "warm_up": 7, "num_probes": 3, "rank": 4}
    assert at_neutral["dam"]["settings"] == resolved("dam") | added
    assert "rank" not in at_neutral["gpt"]["settings"]


def test_a_later_setting_at_another_value_is_another_run(in_a_copy, at_neutral):
    momentum, warm_up, probes, rank, as_resolved = in_a_copy(
        given("dam", momentum=0.5),
        given("dam", warm_up=8),
        given("dam", num_probes=4),
        given("dam", rank=2),
        given("dam", rank=4),
    )
    before = at_neutral["dam"]
    assert momentum["identity"] == before["identity"] | {"momentum": 0.5}
    assert momentum["trunk"] != before["trunk"]
    # It matters from the switch on.
    assert warm_up["identity"] == before["identity"] | {"warm_up": 8}
    assert warm_up["trunk"] == before["trunk"]
    assert probes["of_evaluation"] == before["of_evaluation"] | {"num_probes": 4}
    assert rank["identity"] == before["identity"] | {"rank": 2}
    # It is what null stands for.
    assert as_resolved["identity"] == before["identity"]


def test_a_setting_whose_default_was_changed_keeps_its_neutral_value(in_a_copy):
    by_default, as_before = in_a_copy(given("gpt"), given("gpt", momentum_decay=0.5))
    assert by_default["settings"]["momentum_decay"] == 0.9
    assert by_default["identity"] == identity(resolved("gpt")) | {"momentum_decay": 0.9}
    assert as_before["identity"] == identity(resolved("gpt"))


def test_a_later_setting_that_does_not_say_its_neutral_value_ends_the_plan_in_one_line(tmp_path):
    """Its default may change later, and the runs with the old one would be taken for runs with the new one."""
    scripts = tmp_path / "scripts"
    shutil.copytree(REPOSITORY / "workflow" / "scripts", scripts)
    path = scripts / "memorization" / "configuration" / "settings.py"
    added = '    momentum: Number = _setting("a later setting", default=0.5)\n'
    path.write_text(path.read_text().replace('    model: Literal["gpt"]', f'{added}    model: Literal["gpt"]', 1))
    call = [
        sys.executable,
        "-c",
        "from memorization.configuration.experiments import *; read_configuration({}, {})",
    ]
    done = subprocess.run(call, cwd=scripts, capture_output=True, text=True)
    assert "momentum of gpt is newer than the first release: give neutral" in done.stderr.splitlines()[-1]
