# Two images from the same locked requirements.
#   docker build --target serve -t udml .          searches; no torch, no DVC, runs as nobody
#   docker build --target train -t udml:train .    runs the pipeline
#
#   docker run --rm --read-only -v "$PWD:/workspace:ro" udml search query.jpg

FROM python:3.11-slim AS base
RUN pip install --no-cache-dir 'uv>=0.8'
ENV UV_SYSTEM_PYTHON=1 UV_NO_CACHE=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    DVC_NO_ANALYTICS=1 DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false
WORKDIR /udml

FROM base AS train
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY requirements.lock ./
RUN uv pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN uv pip install --no-deps .
WORKDIR /workspace
CMD ["dvc", "repro"]

FROM base AS serve
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY src src
# The lock file pins what the core needs; the pipeline's packages are not asked for.
RUN uv pip install --constraint requirements.lock .
USER 65534:65534
WORKDIR /workspace
HEALTHCHECK CMD ["python", "-c", "import udml.serving.engine"]
ENTRYPOINT ["udml"]
CMD ["--help"]
