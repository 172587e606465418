# Two images from the same locked requirements.
#   docker build --target serve -t udml .          serves and searches; no torch, no DVC, runs as nobody
#   docker build --target train -t udml:train .    runs the pipeline and the flows
#
#   docker run --rm --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 -v "$PWD:/workspace:ro" udml
#   docker run --rm -v "$PWD:/workspace" udml:train
#
# tests/project/test_dockerfile.py runs the steps of this file, as they stand here, into an empty environment.

FROM python:3.11-slim AS sources
RUN pip install 'uv>=0.8' && uv venv /opt/udml
# Compiled once, here: a container that may not write would compile all it imports at every start.
ENV VIRTUAL_ENV=/opt/udml UV_COMPILE_BYTECODE=1
WORKDIR /build
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY src src

FROM sources AS serve-environment
# The lock file pins what serving needs; the pipeline's packages are not asked for.
RUN uv pip install --constraint requirements.lock '.[serve]'

FROM sources AS train-environment
RUN uv pip install --require-hashes -r requirements.lock
RUN uv pip install --no-deps .

FROM python:3.11-slim AS runtime
ENV PATH=/opt/udml/bin:$PATH PYTHONUNBUFFERED=1 \
    DVC_NO_ANALYTICS=1 DO_NOT_TRACK=1 ORT_DISABLE_TELEMETRY=1 PREFECT_SERVER_ANALYTICS_ENABLED=false
WORKDIR /workspace

FROM runtime AS train
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
# The workspace is mounted and belongs to someone else; git refuses such a one unless told.
RUN git config --system --add safe.directory /workspace
COPY --from=train-environment /opt/udml /opt/udml
CMD ["dvc", "repro"]

FROM runtime AS serve
COPY --from=serve-environment /opt/udml /opt/udml
USER 65534:65534
EXPOSE 8000
HEALTHCHECK --start-period=30s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
ENTRYPOINT ["udml"]
# All interfaces of the container; -p decides who reaches it from outside.
CMD ["serve", "--host", "0.0.0.0"]
