#!/usr/bin/env python3
"""Checks that every dependency's licence is on the list in deny.toml, where `cargo deny` is not installed.

Only what is linked into the binary or used to build it counts, on the machine's own platform. Advisories are not
looked up here: that takes `cargo deny check`.
"""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def permitted(expression: str, allowed: set[str]) -> bool:
    """Evaluates an SPDX expression; `A/B` is how old manifests write `A OR B`."""
    tokens = re.findall(r"\(|\)|[^\s()/]+|/", expression)

    def take(token: str) -> bool:
        if tokens and tokens[0] == token:
            tokens.pop(0)
            return True
        return False

    def either() -> bool:
        result = both()
        while take("OR") or take("/"):
            result = both() or result
        return result

    def both() -> bool:
        result = one()
        while take("AND"):
            result = one() and result
        return result

    def one() -> bool:
        if take("("):
            result = either()
            if not take(")"):
                raise ValueError(expression)
            return result
        name = tokens.pop(0)
        # An exception only grants more than the licence does.
        if take("WITH"):
            tokens.pop(0)
        return name in allowed

    result = either()
    if tokens:
        raise ValueError(expression)
    return result


def main() -> int:
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    allowed = set(rules["licenses"]["allow"])
    banned = {ban["crate"] for ban in rules["bans"]["deny"]}
    host = re.search(r"^host: (.+)$", run("rustc", "-vV"), re.MULTILINE).group(1)
    metadata = json.loads(run("cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host))
    # The filter leaves packages of other platforms in `packages`, but not in the resolved graph.
    resolved = {node["id"] for node in metadata["resolve"]["nodes"]}
    packages = [package for package in metadata["packages"] if package["id"] in resolved and package["source"]]
    wrong = [
        f"{package['name']} {package['version']}: {package['license'] or 'no licence named'}"
        for package in packages
        if not permitted(package["license"] or "none", allowed)
    ]
    wrong += [f"{package['name']}: banned in deny.toml" for package in packages if package["name"] in banned]
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"licences: {len(packages)} dependencies, {len(wrong)} not permitted")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
