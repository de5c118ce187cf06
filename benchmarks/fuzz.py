"""Asks a running server what its OpenAPI description allows, and what it does not, by schemathesis.

    youju serve --port 7860
    python benchmarks/fuzz.py --url http://127.0.0.1:7860 --examples 800

Fails on an answer 5xx, on one outside the description, and on an invalid request that is accepted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)


def main() -> int:
    """The exit code of schemathesis: 0 where nothing was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:7860", help="the server")
    parser.add_argument("--examples", type=int, default=800, help="requests for each operation")
    parser.add_argument("--seed", type=int, default=8, help="the same requests again")
    given = parser.parse_args()
    program = str(Path(sys.executable).with_name("schemathesis"))
    command = [
        program,
        "--config-file",
        str(Path(__file__).with_name("schemathesis.toml")),
        "run",
        f"{given.url}/openapi.json",
        f"--seed={given.seed}",
        f"--max-examples={given.examples}",
    ]
    command += [f"--checks={','.join(CHECKS)}", "--phases=examples,coverage,fuzzing", "--request-timeout=60"]
    command += ["--suppress-health-check=all", "--continue-on-failure", "--warnings=off", "--no-color"]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
