"""nginx with `mirror`: a background subrequest per mirrored request."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from load.bench.processes import children_of
from load.bench.proxies.adapter import POOL, NotInstalled, Proxy

if TYPE_CHECKING:
    from load.bench.proxies.adapter import Setup

FORWARDED = """
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
"""

SHADOW_LOCATION = """
    location = /__shadow {{
      internal;
      proxy_pass http://shadow$request_uri;
      proxy_read_timeout {timeout_ms}ms;{forwarded}
      proxy_set_header Authorization "";
      proxy_set_header Cookie "";
    }}
"""

UPSTREAM = "  upstream {name} {{ server 127.0.0.1:{port}; keepalive {pool}; keepalive_requests 1000000000; }}\n"

TEMPORARY_PATHS = "".join(f"  {kind}_temp_path temp-{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))

CONFIG = """
worker_processes 1;
daemon off;
pid nginx.pid;
{user}
worker_rlimit_nofile {files};
error_log nginx-error.log error;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  client_max_body_size 0;
  client_body_buffer_size 128k;
  proxy_buffer_size 16k;
  proxy_buffers 16 16k;
{temporary}{upstreams}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://live;{forwarded}{mirror}
    }}{shadow_location}
  }}
}}
"""
"""Bodies of 64 KiB stay in memory, answers of 100 KiB in the proxy buffers: neither touches a file."""


def find_nginx() -> str:
    """Path of the program, also where Debian puts it for root only.

    Raises:
        NotInstalled: there is none.
    """
    path = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise NotInstalled("nginx is not installed (Debian package nginx-light or nginx)")
    return path


def user_directive() -> str:
    """Keep the worker on this account: nginx drops root to one that cannot read a temporary directory."""
    return "user root;" if os.geteuid() == 0 else ""


def render(setup: Setup, *, files: int) -> str:
    """The config text."""
    upstreams = UPSTREAM.format(name="live", port=setup.live, pool=POOL)
    shadow_location = ""
    if setup.shadow:
        upstreams += UPSTREAM.format(name="shadow", port=setup.shadow, pool=POOL)
        shadow_location = SHADOW_LOCATION.format(timeout_ms=int(setup.shadow_timeout_s * 1000), forwarded=FORWARDED)
    return CONFIG.format(
        user=user_directive(),
        files=files,
        connections=files - 64,
        temporary=TEMPORARY_PATHS,
        upstreams=upstreams,
        port=setup.port,
        forwarded=FORWARDED,
        mirror="      mirror /__shadow;\n      mirror_request_body on;" if setup.shadow else "",
        shadow_location=shadow_location,
    )


class Nginx(Proxy):
    """One worker process."""

    name = "nginx"

    def version(self) -> str:
        """What `nginx -v` says."""
        said = subprocess.run([find_nginx(), "-v"], capture_output=True, text=True, check=True).stderr
        return said.strip().rpartition("/")[2]

    def command(self, setup: Setup) -> list[str]:
        """Write nginx.conf."""
        files = os.sysconf("SC_OPEN_MAX")
        (setup.directory / "nginx.conf").write_text(render(setup, files=files))
        return [find_nginx(), "-p", str(setup.directory), "-c", "nginx.conf", "-e", "nginx-error.log"]

    def data_plane(self, pid: int) -> list[int]:
        """The worker; the master only waits."""
        return children_of(pid)
