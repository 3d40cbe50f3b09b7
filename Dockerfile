# The service and what it needs to run, for any container engine: docs/containers.md.
#
# The base is pinned by its exact version. A digest pins its bytes as well; look it up where the
# registry can be reached, and hand it in:
#   docker buildx imagetools inspect python:3.13.14-slim-bookworm --format '{{.Manifest.Digest}}'
#   docker build --build-arg PYTHON=python:3.13.14-slim-bookworm@sha256:… .
# docs/containers.md says how the two are kept up to date.
ARG PYTHON=python:3.13.14-slim-bookworm

# hadolint ignore=DL3006
FROM ${PYTHON} AS build
# A mirror of PyPI, where one is used; whatever it serves has to match the lock's hashes.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INPUT=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY deploy/image deploy/image
# First what seldom changes, so that an engine keeps it from one build to the next.
COPY requirements/run.txt requirements/run.txt
RUN sh deploy/image/build.sh dependencies requirements/run.txt /opt/sketchd
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY sketch_core sketch_core
COPY service service
RUN sh deploy/image/build.sh service /source /opt/sketchd && mkdir /data

# hadolint ignore=DL3006
FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sketchd" \
      org.opencontainers.image.description="Draw samples from vectors too large to store: turnstile sketches behind a small network service" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/sketchd /opt/sketchd
COPY --from=build --chown=10001:10001 /data /data
# Nothing is written but the store, so that the root may be read-only; bytecode is there already.
ENV PATH=/opt/sketchd/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPYCACHEPREFIX=/opt/sketchd/bytecode \
    SKETCHD_HOST=0.0.0.0 \
    SKETCHD_LOG_FORMAT=json \
    SKETCHD_STORE=sqlite:////data/sketchd.db
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8080 50051
# By number, so that an engine can tell that it is not root.
USER 10001:10001
# Alive, and not ready: to restart it would not bring its store back.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["sketchd", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["sketchd"]
CMD ["serve"]
