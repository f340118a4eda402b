# One image for every part: `deepvis api`, `deepvis worker`, `deepvis db upgrade`. It computes on GPUs where the container
# has them, as far as its torch can. By default that is the build on the Python package index, on Linux one for CUDA:
#   docker build -t deepvis:0.1.0 .
# An image for CPUs alone is smaller by gigabytes. Name PyTorch's package index of CPU builds for it:
#   docker build --build-arg TORCH_INDEX=ADDRESS -t deepvis:0.1.0-cpu .
# Every package is checked against the hashes in requirements/, torch's build too (CONTRIBUTING.md, "Dependencies").
ARG PYTHON=3.11.14-slim-bookworm

# The packages, in a layer that changes with their versions only.
FROM python:${PYTHON} AS packages
ARG TORCH_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/packages
WORKDIR /src
COPY requirements requirements
COPY scripts/install.sh scripts/
RUN sh scripts/install.sh /opt/packages/bin/python \
    && /opt/packages/bin/python -m pip check \
    && /opt/packages/bin/python -m pip uninstall --quiet --yes pip \
    && echo /opt/deepvis > "$(/opt/packages/bin/python -c 'import site; print(site.getsitepackages()[0])')/deepvis.pth"

# deepvis itself, a small layer.
FROM packages AS application
COPY . .
RUN pip --python /opt/packages/bin/python install --no-deps --no-build-isolation --target /opt/deepvis .

FROM python:${PYTHON} AS image
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="deepvis" \
      org.opencontainers.image.description="A browsable atlas of every layer and every unit of an image network" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --uid 1000 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin deepvis \
    && install --directory --owner=deepvis --group=deepvis /data \
    && python -m pip uninstall --quiet --yes --root-user-action=ignore setuptools wheel pip
COPY --from=packages /opt/packages /opt/packages
COPY --from=application /opt/deepvis /opt/deepvis
# All that is written goes to /data and /tmp: the root file system may be read-only. The NVIDIA container toolkit gives
# GPUs only to containers that ask for them; what it gives then is named here (utility: memory and load for the metrics).
ENV PATH=/opt/deepvis/bin:/opt/packages/bin:$PATH \
    DEEPVIS_HOME=/data TORCH_HOME=/data/torch \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# A number, so that Kubernetes sees that it is not root.
USER 1000:1000
WORKDIR /data
VOLUME /data
EXPOSE 8357
# Which part runs is known to whoever runs it: health checks are in docker-compose.yml and deploy/kubernetes.
ENTRYPOINT ["deepvis"]
CMD ["--help"]
