"""The configurations of docs/operations, as they stand there: nginx with TLS before a running service."""

import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml
from benchmarks.serving.client import serving

from tests.conftest import ROOT
from tests.serving.small_service import BASE
from udml.cli import _parser as build_parser

OPERATIONS = ROOT / "docs" / "operations"
NAME = "pictures.example"
FILE = BASE[0][1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture
def behind_nginx(registry, tmp_path_factory):
    """Clients of a service behind nginx: what is configured is what docs/operations/nginx.conf says."""
    nginx, openssl = shutil.which("nginx"), shutil.which("openssl")
    if nginx is None or openssl is None:
        pytest.skip("no nginx or no openssl on this machine")
    place, port = tmp_path_factory.mktemp("nginx"), free_port()
    made = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}")
    files = ("-keyout", str(place / "key"), "-out", str(place / "pem"))
    named = ("-addext", f"subjectAltName=DNS:{NAME}")
    subprocess.run([openssl, *made, *named, *files], check=True, capture_output=True)
    options = (
        "--trusted-proxy",
        "127.0.0.1",
        "--allow-host",
        NAME,
        "--open-writes",
        "--deadline-seconds",
        "60",
    )
    with serving(registry, *options, "--requests-per-minute", "6") as served:
        site = (OPERATIONS / "nginx.conf").read_text()
        site = site.replace("127.0.0.1:8000", f"127.0.0.1:{served.port}").replace("443 ssl", f"{port} ssl")
        site = site.replace(f"/etc/ssl/{NAME}.pem", str(place / "pem"))
        site = site.replace(f"/etc/ssl/private/{NAME}.key", str(place / "key"))
        temporary = "".join(
            f"{kind}_temp_path {place}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (place / "nginx.conf").write_text(
            f"daemon off; pid {place}/pid; error_log {place}/errors; events {{}} "
            f"http {{ access_log off; {temporary}\n{site}\n}}"
        )
        process = subprocess.Popen([nginx, "-p", str(place), "-c", str(place / "nginx.conf")])
        try:
            trusted = ssl.create_default_context(cafile=place / "pem")
            yield served.port, port, trusted
        finally:
            process.terminate()
            process.wait(60)


def test_nginx_as_the_docs_have_it(behind_nginx):
    own_port, port, trusted = behind_nginx
    with httpx.Client(
        base_url=f"https://127.0.0.1:{port}", verify=trusted, headers={"Host": NAME}, timeout=60
    ) as http:
        as_named = {"extensions": {"sni_hostname": NAME}}
        deadline = time.monotonic() + 60
        while True:
            try:
                page = http.get("/", **as_named)
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert page.status_code == 200
        assert http.get("/metrics", **as_named).status_code == 404
        browser = {"Origin": f"https://{NAME}", "Sec-Fetch-Site": "same-origin"}
        assert http.post("/v1/search", content=FILE, headers=browser, **as_named).status_code == 200
        foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert http.post("/v1/search", content=FILE, headers=foreign, **as_named).status_code == 403
        codes = [
            http.get("/v1/version", headers={"X-Forwarded-For": f"1.1.1.{n}", "Forwarded": f"for=1.1.1.{n}"},
                     **as_named).status_code
            for n in range(9)
        ]  # fmt: skip
        assert 429 in codes  # whoever it says it is
    told = httpx.get(f"http://127.0.0.1:{own_port}/v1/version", headers={"Host": "evil.example"})
    assert told.status_code == 421


def test_what_the_units_start_is_a_command():
    unit = (OPERATIONS / "udml.service").read_text()
    started = re.search(r"^ExecStart=\S+/udml (.+)$", unit, re.MULTILINE)[1].split()
    deployment, service = yaml.safe_load_all((OPERATIONS / "kubernetes.yaml").read_text())
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    for arguments in (started, container["args"]):
        assert build_parser().parse_args(arguments).trusted_proxy is not None
    probes = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")]
    assert probes == ["/readyz", "/healthz", "/readyz"]
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert json.dumps(deployment).count("ALL") == 1


def test_every_option_in_the_docs_is_one():
    known = {option for action in _serve_actions() for option in action.option_strings}
    for path in (*OPERATIONS.iterdir(), ROOT / "SECURITY.md"):
        for option in re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", path.read_text()):
            assert option in known | {"--target", "--now", "--version"}, (Path(path).name, option)


def _serve_actions():
    parser = build_parser()
    return parser._subparsers._group_actions[0].choices["serve"]._actions
