#!/usr/bin/env python3
"""Checks deploy/ with the linters of whoever reads it, and says what could not be checked here.

haproxy.cfg by HAProxy itself, compose.yaml against the compose specification, manifests against the schemas of two
releases of Kubernetes, and the settings in them by invigil, if its binary is named. Exit code 1: something is wrong.

    tests/cache/venv/bin/python scripts/check_deploy.py [--deploy FOLDER] [--invigil BINARY]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The oldest release that knows all that the manifests use (preStop.sleep), and the newest that the linter knows.
KUBERNETES_RELEASES = ["1.30", "1.37"]
# Sections of the settings that come with the nodes that share a database, and that a binary without them cannot check.
SEVERAL_NODES = ("database.", "redis.")
# How long a server takes to stop, s: STOP_LIMIT_MS in src/cli/serve.rs, and one more.
STOP_S = 10


class Report:
    def __init__(self):
        self.failed = False

    def ok(self, what):
        print(f"ok           {what}")

    def wrong(self, what, why):
        self.failed = True
        print(f"WRONG        {what}: {why}")

    def unchecked(self, what, why):
        print(f"not checked  {what}: {why}")


def run(*command, **environment):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def check_haproxy(deploy, secrets, report):
    what = "haproxy/haproxy.cfg"
    if shutil.which("haproxy") is None:
        return report.unchecked(what, "haproxy is not installed")
    code, said = run("haproxy", "-c", "-f", deploy / what, INVIGIL_CERTIFICATES=str(secrets / "certificates"))
    # That the nodes' names are not known on this machine is no fault of the file.
    faults = [line for line in said.splitlines() if "could not resolve address" not in line]
    faults = [line for line in faults if "[ALERT]" in line or "[WARNING]" in line]
    if code != 0 or faults:
        return report.wrong(what, said)
    return report.ok(f"{what} (haproxy {run('haproxy', '-v')[1].split()[2]})")


def check_compose(deploy, secrets, report):
    what = "compose/compose.yaml"
    try:
        import compose_spec
    except ImportError:
        return report.unchecked(what, "the Python package compose-spec is not installed")
    folder = deploy / "compose"
    try:
        compose = compose_spec.PyCompose.from_yaml((deploy / what).read_text())
        compose.validate()
    except Exception as error:  # The parser has no class of errors of its own.
        return report.wrong(what, error)
    faults = []
    as_dict = compose.to_dict()
    for name, secret in as_dict["secrets"].items():
        if not (secrets / Path(secret["file"]).name).is_file():
            faults.append(f"secrets.sh does not make {secret['file']} for the secret {name}")
    for name, service in as_dict["services"].items():
        for volume in service.get("volumes", []):
            source = volume.get("source", "") if isinstance(volume, dict) else volume.split(":")[0]
            mounted = source.startswith(".") and not source.startswith("./secrets")
            if mounted and not (folder / source).exists():
                faults.append(f"service {name} mounts {source}, which is not there")
    if faults:
        return report.wrong(what, "; ".join(faults))
    return report.ok(what)


def documents(deploy):
    import yaml

    for path in sorted((deploy / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield path.name, document


def check_kubernetes(deploy, report):
    what = "kubernetes/"
    try:
        import kubernetes_validate
    except ImportError:
        return report.unchecked(what, "the Python package kubernetes-validate is not installed")
    failed, count = False, 0
    for name, document in documents(deploy):
        count += 1
        place = f"{what}{name} {document.get('kind')} {document.get('metadata', {}).get('name')}"
        for release in KUBERNETES_RELEASES:
            try:
                kubernetes_validate.validate(document, release, strict=True)
            except kubernetes_validate.ValidationError as error:
                failed = True
                report.wrong(f"{place} (release {release})", f"{'.'.join(map(str, error.path))}: {error.message}")
        for fault in faults_of(document):
            failed = True
            report.wrong(place, fault)
    if not failed:
        report.ok(f"{what} ({count} objects, Kubernetes {' and '.join(KUBERNETES_RELEASES)})")


def faults_of(document):
    """What the schema allows and would not work."""
    if document["kind"] != "Deployment":
        return
    pod = document["spec"]["template"]
    if document["spec"]["selector"]["matchLabels"] != pod["metadata"]["labels"]:
        yield "its selector is not its pods' labels"
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    for container in pod["spec"]["containers"]:
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if container[probe]["httpGet"]["port"] not in ports:
                yield f"{probe} asks a port that the container does not have"
        for mount in container["volumeMounts"]:
            if mount["name"] not in volumes:
                yield f"there is no volume {mount['name']}"
        before_s = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        grace_s = pod["spec"]["terminationGracePeriodSeconds"]
        if grace_s < before_s + STOP_S:
            yield f"terminationGracePeriodSeconds is {grace_s}: less than preStop ({before_s}) and the stop ({STOP_S})"


def check_settings(deploy, secrets, invigil, report):
    if invigil is None:
        return report.unchecked("settings", "no --invigil BINARY was named")
    settings = {"compose/invigil.toml": (deploy / "compose/invigil.toml").read_text()}
    try:
        for name, document in documents(deploy):
            if document["kind"] == "ConfigMap":
                settings.update({f"kubernetes/{name} {key}": text for key, text in document["data"].items()})
    except ImportError:
        report.unchecked("kubernetes/ settings", "the Python package pyyaml is not installed")
    for what, text in settings.items():
        # The secrets of compose.yaml stand for those of Kubernetes, which nobody can have made yet.
        for folder in ("/run/secrets/invigil", "/run/secrets"):
            text = text.replace(f"{folder}/tls/", f"{secrets}/certificates/").replace(f"{folder}/", f"{secrets}/")
        path = secrets / "settings.toml"
        path.write_text(text)
        code, said = run(invigil, "config", "check", "--config", path)
        problems = said.splitlines() if code != 0 else []
        # A section that is not known at all is told with the names of all that are.
        unknown = [line for line in problems if line.startswith(SEVERAL_NODES) and "known here: listen" in line]
        rest = [line for line in problems if line not in unknown]
        if rest:
            report.wrong(what, "; ".join(rest))
        elif unknown:
            report.unchecked(f"{what}: database and redis", "this invigil does not know them")
        else:
            report.ok(f"{what} (invigil config check)")


def make_secrets(deploy, folder):
    code, said = run("bash", deploy / "compose/secrets.sh", folder)
    if code != 0:
        return said
    # As Kubernetes hands out what compose.yaml does not need.
    pem = (folder / "certificates/localhost.pem").read_text()
    certificate, end, key = pem.partition("-----END CERTIFICATE-----\n")
    (folder / "certificates/tls.crt").write_text(certificate + end)
    (folder / "certificates/tls.key").write_text(key)
    (folder / "redis.url").write_text("redis://redis:6379\n")
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--deploy", type=Path, default=ROOT / "deploy")
    parser.add_argument("--invigil", type=Path)
    arguments = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        secrets = Path(folder) / "secrets"
        failed = make_secrets(arguments.deploy, secrets)
        if failed:
            report.wrong("compose/secrets.sh", failed)
        else:
            report.ok("compose/secrets.sh")
        # HAProxy reads every file of its folder.
        haproxy_secrets = Path(folder) / "haproxy"
        (haproxy_secrets / "certificates").mkdir(parents=True)
        shutil.copy(secrets / "certificates/localhost.pem", haproxy_secrets / "certificates")
        check_haproxy(arguments.deploy, haproxy_secrets, report)
        check_compose(arguments.deploy, secrets, report)
        check_kubernetes(arguments.deploy, report)
        check_settings(arguments.deploy, secrets, arguments.invigil, report)
        report.unchecked("container/Dockerfile", "building an image takes a container engine, which is not asked for here")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
