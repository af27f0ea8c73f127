"""Both event loops that users may have."""

from __future__ import annotations

import asyncio
import gc

import pytest
import uvloop


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    def runner(coroutine):
        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as inside:
            complaints = []
            inside.get_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
            result = inside.run(coroutine)
        gc.collect()
        assert complaints == []
        return result

    return runner
