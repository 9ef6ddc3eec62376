"""Import a handler and invoke it once, as a new container does: `first_invocation.py MODULE`. Linux only.

The process ends where Lambda would freeze it, and the interpreter is not taken down.
"""

import importlib
import os
import sys
from pathlib import Path

EVENT = {
    "version": "0",
    "id": "8d6c0c1e-5a1f-4a63-9a3f-0c7d5a1f0001",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2026-01-12T00:00:00Z",
    "region": "eu-west-1",
    "resources": [],
    "detail": {},
}


class Context:
    function_name = "benchmark"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:benchmark"
    aws_request_id = "8d6c0c1e-5a1f-4a63-9a3f-0c7d5a1f0002"

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


result = importlib.import_module(sys.argv[1]).handler(EVENT, Context())
assert result["status"] == "succeeded", result
# Not ru_maxrss: that is inherited from the process that starts this one.
[peak] = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print("peak", int(peak) * 1024, file=sys.stderr, flush=True)
sys.stdout.flush()
os._exit(0)
