#!/usr/bin/python3
"""Line coverage of one target, from the JSON that `swift test --enable-code-coverage` leaves.

Prints a line for each file and fails if the target as a whole is below the limit.
"""

import argparse
import json
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", required=True)
    parser.add_argument("--at-least", type=float, required=True, metavar="PERCENT")
    parser.add_argument("report", type=Path)
    arguments = parser.parse_args()
    report = json.loads(arguments.report.read_text())
    covered = total = 0
    for file in report["data"][0]["files"]:
        if f"/Sources/{arguments.target}/" not in file["filename"]:
            continue
        lines = file["summary"]["lines"]
        covered += lines["covered"]
        total += lines["count"]
        print(f"{lines['percent']:6.1f} %  {Path(file['filename']).name}")
    if total == 0:
        print(f"coverage: no file of {arguments.target} in the report", file=sys.stderr)
        return 1
    percent = 100 * covered / total
    print(f"{percent:6.1f} %  {arguments.target}: {covered} of {total} lines")
    if percent < arguments.at_least:
        print(f"coverage: below {arguments.at_least} %", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
