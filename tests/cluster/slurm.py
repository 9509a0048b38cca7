"""A SLURM of two nodes on this machine, for the time of the tests."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

PROGRAMS = {"slurmctld": "slurm-wlm", "slurmdbd": "slurmdbd", "munged": "munge", "mariadbd": "mariadb-server"}
NODES = ("n1", "n2")
# Debian's programs that run in the background lie here, which is not in the path of everyone.
SEARCH_PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2
JobAcctGatherType=jobacct_gather/linux
# By the time SLURM looks at the memory of a job, a training has written a checkpoint.
JobAcctGatherFrequency=task=15
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={slurmdbd}
AccountingStoragePass={folder}/munge.socket
SlurmdParameters=config_overrides
KillWait=5
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=300
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1} CPUs=8 RealMemory=16000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2} CPUs=8 RealMemory=16000
PartitionName=main Nodes=n1,n2 Default=YES LLN=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=n2 MaxTime=INFINITE State=UP
"""
SLURMDBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={slurmdbd}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mariadbd}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""
# The database reads one statement a line.
GRANT = """CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm.* TO slurm@'127.0.0.1';
"""


def why_it_cannot_run() -> str | None:
    """Install what SLURM needs, and return the reason if there is none in the end."""
    missing = [program for program in PROGRAMS if not shutil.which(program, path=SEARCH_PATH)]
    if os.geteuid() != 0:
        return "a SLURM is started by root only, because its jobs change their user"
    if missing and not shutil.which("apt-get"):
        return f"{', '.join(missing)}: not installed, and there is no apt-get to install it with"
    if missing:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        packages = [*PROGRAMS.values()]
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            result = subprocess.run(
                ["apt-get", "--quiet=2", *command], env=environment, capture_output=True, text=True
            )
            if result.returncode:
                return f"apt-get {command[0]} failed: {result.stderr.strip() or result.stdout.strip()}"
    return None


def free_ports(names):
    """Return a port of this machine for each of ``names``."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name: server.getsockname()[1] for name, server in zip(names, listening, strict=True)}
    for server in listening:
        server.close()
    return ports


def wait_until(condition, seconds, of_what):
    """Wait until ``condition()`` is true, and return what it returned."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < end, f"{of_what}: not within {seconds} s"
        time.sleep(0.2)
    return answer


def die_with_parent():
    """Let this process be told to end when its parent is killed."""
    # 1 is PR_SET_PDEATHSIG.
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Cluster:
    """The daemons of the SLURM: call `start`, and `stop` in any case."""

    def __init__(self, folder: Path):
        self.folder = folder
        path = f"{folder / 'bin'}{os.pathsep}{SEARCH_PATH}"
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
        self.daemons: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        """Start all daemons and wait until both nodes are idle."""
        self._write_configuration()
        folder = self.folder
        self._start("munged", "--foreground", "--force", f"--key-file={folder}/munge.key",
                    f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid",
                    f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed")  # fmt: skip
        self._start_database()
        self._start("slurmdbd", "-D")
        self.wait_for_port("slurmdbd")
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        wait_until(lambda: self.states_of_nodes() == ["idle"] * len(NODES), 60, "idle nodes")

    def stop(self) -> None:
        """End all jobs and all daemons that were started, the last one first."""
        if "slurmctld" in self.daemons and self.daemons["slurmctld"].poll() is None:
            self.call("scancel", "--user=root", check=False)
        for process in self._processes_of_jobs():
            _kill(process)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process in self._processes_of_jobs():
            _kill(process)

    def start_controller(self) -> None:
        """Start slurmctld, which goes on from its saved state if there is one."""
        self._start("slurmctld", "-D")
        wait_until(lambda: self.call("scontrol", "ping", check=False).returncode == 0, 60, "slurmctld")

    def stop_controller(self) -> None:
        """Stop slurmctld as for a maintenance: jobs run on."""
        self.daemons["slurmctld"].terminate()
        self.daemons["slurmctld"].wait(30)

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._start("slurmd", "-D", "-N", node, name=node)

    def kill_node(self, node: str) -> None:
        """Kill a node's daemon with all its jobs, as a power cut would."""
        self.daemons[node].kill()
        self.daemons[node].wait()
        for process in self._processes_of_jobs(node):
            _kill(process)

    def call(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        """Call a program of SLURM."""
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    def states_of_nodes(self) -> list[str]:
        """Return the state of each node."""
        answer = self.call("sinfo", "--noheader", "--Node", "--partition=main", "--format=%T", check=False)
        return answer.stdout.split() if answer.returncode == 0 else []

    def _start(self, program, *arguments, name=None):
        with open(self.folder / f"{name or program}.printed", "ab") as printed:
            self.daemons[name or program] = subprocess.Popen(
                [program, *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def _write_configuration(self):
        ports = free_ports(["slurmctld", "slurmdbd", "mariadbd", *NODES])
        self.ports = ports
        values = {"folder": self.folder, "host": socket.gethostname(), **ports}
        for name, text in {"slurm.conf": SLURM_CONF, "slurmdbd.conf": SLURMDBD_CONF}.items():
            (self.folder / name).write_text(text.format(**values))
            (self.folder / name).chmod(0o600)
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o600)
        (self.folder / "state").mkdir()
        # Snakemake's plugin starts srun without the variable, as the file lies in /etc elsewhere.
        srun = self.folder / "bin" / "srun"
        srun.parent.mkdir()
        srun.write_text(
            f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun", path=SEARCH_PATH)} "$@"\n'
        )
        srun.chmod(0o755)
        for node in NODES:
            (self.folder / f"spool-{node}").mkdir()

    def _start_database(self):
        data = self.folder / "database"
        options = ["--no-defaults", f"--datadir={data}", "--user=root"]
        subprocess.run(
            ["mariadb-install-db", *options, "--auth-root-authentication-method=normal"],
            env=self.environment, check=True, capture_output=True,
        )  # fmt: skip
        (self.folder / "grant.sql").write_text(GRANT)
        self._start("mariadbd", *options, f"--socket={self.folder}/database.socket", "--bind-address=127.0.0.1",
                    "--skip-name-resolve", f"--port={self.ports['mariadbd']}",
                    f"--init-file={self.folder}/grant.sql", f"--pid-file={self.folder}/database.pid")  # fmt: skip
        self.wait_for_port("mariadbd")

    def wait_for_port(self, name):
        """Wait until a daemon listens."""

        def listens():
            assert self.daemons[name].poll() is None, (self.folder / f"{name}.printed").read_text()
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", self.ports[name])) == 0

        wait_until(listens, 60, name)

    def _processes_of_jobs(self, node=None):
        """Return the processes of all jobs or of one node, with slurmstepd around them."""
        found = []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
            except psutil.Error:
                continue
            ours = (
                environment.get("SLURM_CONF") == self.environment["SLURM_CONF"] and "SLURM_JOB_ID" in environment
            )
            if ours and node in (None, environment.get("SLURMD_NODENAME")):
                found += [process, *[p for p in process.parents() if p.name().startswith("slurmstepd")]]
        # Those around the jobs first, so that they do not report the end of a job.
        return sorted(set(found), key=lambda process: not _is_around_jobs(process))


def _is_around_jobs(process):
    try:
        return process.name().startswith("slurmstepd")
    except psutil.Error:
        return False


def _kill(process):
    with suppress(psutil.NoSuchProcess):
        process.kill()
