"""A cluster of Ray with three nodes of this machine."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_AGENTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)


def _node() -> dict[str, int]:
    """A node of one processor. Ray waits for its agents for 15 seconds, unless it is told their ports."""
    return {"num_cpus": 1, "object_store_memory": 80 * 2**20} | {name: _free_port() for name in _AGENTS}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def started_cluster() -> Iterator[Any]:
    """Start three nodes; ``more`` are those that may be stopped."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={**_node(), "include_dashboard": False})
    try:
        ray.init(address=started.address, log_to_driver=False, logging_level="ERROR")
        started.more = [started.add_node(**_node()) for _ in range(2)]
        started.wait_for_nodes()
        yield started
    finally:
        ray.shutdown()
        started.shutdown()
