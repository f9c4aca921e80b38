from __future__ import annotations

import pytest

from tests.integration.scale.nodes import started_cluster


@pytest.fixture(scope="session")
def cluster():
    """Three nodes of this machine, of one processor each; ``more`` are those that a test may stop."""
    pytest.importorskip(
        "ray", reason="needs the extra ray: pip install 'langchain-vpp[ray]'; `make scale` does"
    )
    with started_cluster() as started:
        yield started
