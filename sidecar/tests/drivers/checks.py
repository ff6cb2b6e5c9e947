"""What the Python drivers' scripts share: named checks, and the policy that a check may change."""

import asyncio
import inspect
import os
import subprocess
import sys
import time

REFUSED = "SELECT name, ssn FROM customers /* refused */"
MISSING = "Select public.customers.ssn"
ENDLESS = "SELECT count(*) FROM orders a, orders b, orders c, orders d"
MANY = "SELECT n, repeat('x', 100) FROM generate_series(1, 1000000) n"

_checks = []


def check(function):
    """Marks a check; its name says what must hold."""
    _checks.append(function)
    return function


def policy(name):
    """Puts the rules `full` or `less` in force; live sessions decide by them when this returns."""
    subprocess.run([os.environ["CHAPERONE_POLICY"], name], check=True)


def names_what_is_missing(sqlstate, message, detail, hint):
    """Whether a refusal is one that somebody can act on."""
    assert sqlstate == "42501", f"SQLSTATE {sqlstate}: {message}"
    assert message == f"refused by policy: {MISSING}", message
    assert detail == f"no rule allows {MISSING}", detail
    assert f"add `{MISSING}` to an AccessPolicy for Connection `drivers/" in hint, hint


def main():
    """Runs every check; one that fails does not end the others."""
    failed = 0
    for function in _checks:
        begun = time.monotonic()
        try:
            result = function()
            if inspect.iscoroutine(result):
                asyncio.run(result)
            print(f"ok     {function.__name__} ({(time.monotonic() - begun) * 1000:.0f} ms)", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED {function.__name__}: {type(error).__name__}: {error}", flush=True)
    sys.exit(1 if failed else 0)
