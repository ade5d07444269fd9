# The image of the worker, of `creditflow serve` and of every other command.
#     docker build --tag creditflow .
#     docker run --rm --volume creditflow:/data creditflow demo

# ── Packages ──
FROM python:3.11.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
RUN python -m venv /app/.venv
COPY requirements.lock ./
# Some indexes serve Linux the build of torch for graphics cards, of gigabytes: name one that serves the build for
# processors with --build-arg TORCH_INDEX_URL=…. The version is the lock's either way.
ARG TORCH_INDEX_URL=""
RUN grep '^torch==' requirements.lock > torch.txt \
    && .venv/bin/python -m pip install --no-deps ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} -r torch.txt \
    && .venv/bin/python -m pip install -r requirements.lock \
    && rm torch.txt
COPY pyproject.toml README.md LICENSE prefect.yaml ./
COPY creditflow creditflow
COPY expectations expectations
COPY flows flows
COPY models models
COPY sql sql
COPY tasks tasks
RUN .venv/bin/python -m pip install --no-deps --no-build-isolation --editable . \
    && .venv/bin/python -m pip uninstall --yes setuptools pip

# ── What runs ──
FROM python:3.11.13-slim-bookworm
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=1 \
    GX_ANALYTICS_ENABLED=false \
    OMP_WAIT_POLICY=PASSIVE \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_HOME=/data/prefect \
    MPLCONFIGDIR=/tmp/matplotlib \
    CREDITFLOW_HOME=/data
RUN groupadd --gid 10001 creditflow \
    && useradd --uid 10001 --gid creditflow --home-dir /data --shell /usr/sbin/nologin creditflow \
    && install --directory --owner creditflow --group creditflow --mode 0700 /data
COPY --from=build /app /app
WORKDIR /app
USER 10001:10001
VOLUME /data
# Whether the program starts and the home can be read; a worker's own check is in compose.yaml.
HEALTHCHECK --interval=60s --timeout=30s --start-period=30s --retries=3 CMD ["creditflow", "status"]
ENTRYPOINT ["creditflow"]
CMD ["serve"]
