"""A SLURM cluster of one node, of this machine, for as long as a test lasts."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
CryptoType=crypto/munge
CredType=cred/munge
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why there can be no cluster here, or nothing."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=_path())]
    if absent:
        return f"needs {', '.join(absent)} (apt install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "starting SLURM's daemons needs root"


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def cluster(place: Path, cpus: int) -> Iterator[dict[str, str]]:
    """The environment in which ``sbatch`` speaks to the cluster; all daemons are ended in the end."""
    for folder in ("state", "spool"):
        (place / folder).mkdir(parents=True)
    place.chmod(0o755)  # munged wants that nobody else may write there
    key = place / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 9 // 10
    ports = [_free_port(), _free_port()]
    (place / "slurm.conf").write_text(CONF.format(host=host, place=place, cpus=cpus, memory=memory, ports=ports))
    environment = {**os.environ, "PATH": _path(), "SLURM_CONF": str(place / "slurm.conf"), "LOGNAME": "root"}
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={place}/munge.socket"]
    munge += [f"--pid-file={place}/munged.pid", f"--log-file={place}/munged.log", f"--seed-file={place}/munged.seed"]
    daemons: list[subprocess.Popen] = []
    try:
        for command in (munge, ["slurmctld", "-D", "-i"], ["slurmd", "-D", "-N", host]):
            with (place / f"{command[0]}.out").open("w") as log:
                daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            time.sleep(0.5)
        _wait_until_idle(environment)
        yield environment
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()


def _wait_until_idle(environment: dict[str, str]) -> None:
    for _ in range(60):
        said = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False)
        if said.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    raise TimeoutError(f"SLURM's node is not idle: {said.stdout}{said.stderr}")


def wait_for_jobs(environment: dict[str, str], seconds: float) -> None:
    """Nothing, once the queue is empty."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        said = subprocess.run(["squeue", "-h"], env=environment, capture_output=True, text=True, check=True)
        if not said.stdout.strip():
            return
        time.sleep(0.5)
    raise TimeoutError(f"jobs are still there after {seconds} s:\n{said.stdout}")
