"""The command that makes a damaged file again is one that works as the call did that met the file."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import REPOSITORY
from snakemake.settings.types import ConfigSettings, DeploymentMethod, DeploymentSettings

from memorization.storage.making_again import VARIABLE, how_to_make_again, tell_jobs_the_options

CONDA = {DeploymentMethod.CONDA}
PAPER = [Path("config/paper.yaml")]
CALLS = {
    "": (DeploymentSettings(), ConfigSettings()),
    "--use-conda": (DeploymentSettings(deployment_method=CONDA), ConfigSettings()),
    "--use-conda --conda-prefix /a/folder --configfile config/paper.yaml": (
        DeploymentSettings(deployment_method=CONDA, conda_prefix=Path("/a/folder")),
        ConfigSettings(configfiles=PAPER),
    ),
    "--config first_seed=100 'cache_dir=a b'": (
        DeploymentSettings(),
        ConfigSettings(config_args=["first_seed=100", "cache_dir=a b"]),
    ),
}


@pytest.mark.parametrize("options", CALLS)
def test_the_command_has_the_options_of_the_call(options, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv(VARIABLE, "those of an earlier call")
    deployment, configuration = CALLS[options]
    tell_jobs_the_options(SimpleNamespace(deployment_settings=deployment, config_settings=configuration))
    command = " ".join(["snakemake --cores 2", *filter(None, [options]), "--force cache/run.pkl"])
    assert how_to_make_again("cache/run.pkl") == f"make it again: {command}"
