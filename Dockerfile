# syntax=docker/dockerfile:1
# The service as a container. CPU: docker build -t trireid .   NVIDIA GPUs: docker build --build-arg VARIANT=gpu -t trireid:gpu .
# How to run it, with tokens and galleries: docs/deploy.md.
# The base image by its digest, so that two builds are the same: --build-arg PYTHON=3.11-slim-bookworm@sha256:...; docs/security.md.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
# One of pyproject's extras: cpu or gpu. The packages for GPUs bring CUDA along; the host needs the driver and its container toolkit.
ARG VARIANT=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY demo demo
COPY evaluation evaluation
COPY export export
COPY gallery gallery
COPY inference inference
COPY locks locks
COPY models models
COPY samples samples
COPY serving serving
COPY training training
COPY trireid trireid
# Every package in the version and with the hashes of locks/, and without pip: what is copied from here can install nothing.
RUN python -m venv --without-pip /opt/trireid \
 && python -m pip --python /opt/trireid/bin/python install --require-hashes --requirement "locks/${VARIANT}.txt" \
 && python -m pip install --require-hashes --requirement locks/build.txt \
 && python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python -m pip --python /opt/trireid/bin/python install --no-deps --no-index /wheels/*.whl

FROM python:${PYTHON}
RUN python -m pip uninstall --yes --quiet setuptools wheel pip \
 && groupadd --system --gid 10001 trireid \
 && useradd --system --uid 10001 --gid trireid --home-dir /tmp --no-create-home --shell /usr/sbin/nologin trireid \
 && install --directory --owner=trireid --group=trireid --mode=0750 /galleries
COPY --from=build /opt/trireid /opt/trireid
# Everything that is written goes to /galleries and /tmp, so that the rest may be mounted read-only. BentoML and
# ONNX Runtime would both report usage, which two variables switch off. Tokens come as a secret; an empty TRIREID_TOKENS_FILE serves without.
ENV PATH=/opt/trireid/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    BENTOML_HOME=/tmp/bentoml \
    BENTOML_DO_NOT_TRACK=true \
    ORT_DISABLE_TELEMETRY=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    TRIREID_GALLERY_ROOT=/galleries \
    TRIREID_DEMO_FOLDER=/tmp/demo \
    TRIREID_TOKENS_FILE=/run/secrets/trireid-tokens
VOLUME ["/galleries"]
EXPOSE 3000
USER 10001:10001
WORKDIR /tmp
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/readyz', timeout=4)"]
ENTRYPOINT ["trireid"]
CMD ["serve", "--host", "0.0.0.0", "--port", "3000"]
