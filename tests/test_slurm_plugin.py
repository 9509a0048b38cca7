"""What is added to Snakemake's plugin for SLURM; tests/cluster has the same on a real SLURM."""

import asyncio
import logging
import os
import sys
from types import SimpleNamespace

import pytest
from snakemake_executor_plugin_slurm import Executor, query_job_status
from snakemake_interface_common.exceptions import WorkflowError

from memorization import slurm_plugin
from memorization.slurm_plugin import prepare_call_on_slurm

NAME = "0af473f8-4c66-58e0-a807-16459740509c"


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A program `squeue` that shows these lines once, and then no more. If asked to, it fails at first."""
    monkeypatch.setattr(slurm_plugin, "_SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.chdir(tmp_path)

    def shows(*lines, fails_first=False):
        (tmp_path / "queue").write_text("".join(f"{line}\n" for line in lines))
        if fails_first:
            (tmp_path / "away").touch()
        program = tmp_path / "squeue"
        program.write_text(
            "#!/bin/sh\n"
            f"rm {tmp_path}/away 2>/dev/null && echo away >&2 && exit 1\n"
            f"cat {tmp_path}/queue 2>/dev/null\nrm -f {tmp_path}/queue\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return shows


def test_a_call_waits_for_jobs_of_its_folder_that_snakemake_has_submitted(queue, tmp_path, capsys):
    queue(
        f"12 {NAME} {tmp_path}", f"9 mine_{NAME} {tmp_path}", f"10 {NAME} /elsewhere", f"11 my-analysis {tmp_path}"
    )
    prepare_call_on_slurm(SimpleNamespace(name="slurm"))
    assert not (tmp_path / "queue").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jobs of an earlier call in this folder are still in SLURM's queue: 9 12. To end them")
    assert "scancel 9 12" in line


def test_a_call_waits_until_slurm_says_which_jobs_it_has(queue, tmp_path, capsys):
    queue(fails_first=True)
    prepare_call_on_slurm(SimpleNamespace(name="slurm"))
    assert not (tmp_path / "queue").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("SLURM does not say whether jobs of an earlier call are in its queue: away.")


def test_with_another_version_of_the_plugin_a_call_on_slurm_ends_and_others_go_on(queue, tmp_path, monkeypatch):
    queue(f"12 {NAME} {tmp_path}")
    metadata = tmp_path / f"{slurm_plugin.PLUGIN}-2.0.3.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Name: snakemake-executor-plugin-slurm\nVersion: 2.0.3\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit, match=r"plugin-slurm 2\.8\.0, this is 2\.0\.3: README"):
        prepare_call_on_slurm(SimpleNamespace(name="slurm"))
    assert (tmp_path / "queue").exists()
    # It lacks everything that would be mended.
    monkeypatch.setitem(sys.modules, slurm_plugin.PLUGIN, SimpleNamespace())
    slurm_plugin.mend_slurm_plugin()


@pytest.mark.parametrize("executor", [None, SimpleNamespace(name="local")])
def test_a_call_without_slurm_asks_no_queue(executor, queue, tmp_path, capsys):
    queue(f"12 {NAME} {tmp_path}")
    prepare_call_on_slurm(executor)
    assert (tmp_path / "queue").exists()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "answer, states",
    [
        ("echo '8|CANCELLED by 1000\n9|RUNNING'", {"8": "CANCELLED", "9": "RUNNING"}),
        ("exit 1", {}),
    ],
)
def test_the_plugin_gets_states_that_it_knows_and_an_answer_in_any_case(answer, states):
    query = slurm_plugin._with_known_states(query_job_status)
    found, seconds = asyncio.run(query(f'sh -c "{answer}"', logging.getLogger()))
    assert found == states
    assert seconds >= 0


def test_a_submission_of_several_jobs_that_fails_is_reported(tmp_path):
    def no_account(job):
        raise WorkflowError("no account 'mine'")

    said = []
    executor = SimpleNamespace(
        slurm_logdir=tmp_path,
        run_uuid=NAME,
        get_account_arg=no_account,
        logger=logging.getLogger(),
        _report_job_error_threadsafe=lambda info, message: said.append((info.job, message)),
    )
    group = SimpleNamespace(name="run", is_group=lambda: True, resources={}, jobs=[])
    slurm_plugin._with_failed_submissions_of_groups(Executor.run_job)(executor, group)
    assert said == [(group, "not submitted to SLURM: no account 'mine'")]


def test_only_names_of_nodes_are_excluded():
    nodes = slurm_plugin._NamesOfNodes({"n1"})
    nodes.add("None assigned")
    nodes.add("n2")
    assert nodes == {"n1", "n2"}
