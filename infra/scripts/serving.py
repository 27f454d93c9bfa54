"""Reads a service, as Cloud Run's API (v2) has it, from standard input; prints its address, or says what is wrong."""

from __future__ import annotations

import json
import sys

service = json.load(sys.stdin)
condition = service["terminalCondition"]
if condition["state"] != "CONDITION_SUCCEEDED":
    sys.exit(f"The new revision does not serve: {condition.get('message', condition)}")
print(service["uri"])
