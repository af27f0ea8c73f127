"""Every test of the flow table runs on both implementations."""

from collections.abc import Callable

import pytest

from flowsonar.config import FlowSettings
from flowsonar.flows.table import FlowTable, make_table
from tests.needs import needs_native

Make = Callable[..., FlowTable]


@pytest.fixture(params=[pytest.param(False, id="reference"), pytest.param(True, id="native", marks=needs_native())])
def make(request: pytest.FixtureRequest) -> Make:
    native: bool = request.param

    def build(
        *, capacity: int = 64, idle_s: float = 120.0, active_s: float = 1800.0, follow: tuple[bytes, ...] = ()
    ) -> FlowTable:
        settings = FlowSettings(capacity=capacity, idle_timeout_s=idle_s, active_timeout_s=active_s)
        return make_table(settings, follow=follow, native=native, seed=bytes(16))

    return build
