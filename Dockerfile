# One image for every part: `deepvis api`, `deepvis worker`, `deepvis db upgrade`. It runs on GPUs where the container
# has them and on CPUs elsewhere, as far as its torch can: by default the build that pip finds for this platform.
# For another one (a CPU build is smaller by gigabytes) name its package index:
#   docker build --build-arg TORCH_INDEX=<PyTorch's index for the build you want> -t deepvis .
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
ARG TORCH_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/deepvis
WORKDIR /src
# torch first, in a layer that changes with its version only.
COPY requirements.lock ./
RUN /opt/deepvis/bin/pip install --constraint requirements.lock setuptools \
    && /opt/deepvis/bin/pip install --constraint requirements.lock ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY . .
RUN /opt/deepvis/bin/pip install --constraint requirements.lock --no-build-isolation .

FROM python:${PYTHON}-slim-bookworm
RUN useradd --uid 1000 --create-home deepvis && install -d -o deepvis -g deepvis /data
COPY --from=build /opt/deepvis /opt/deepvis
ENV PATH=/opt/deepvis/bin:$PATH DEEPVIS_HOME=/data TORCH_HOME=/data/torch PYTHONUNBUFFERED=1
USER deepvis
WORKDIR /data
VOLUME /data
EXPOSE 8357
ENTRYPOINT ["deepvis"]
CMD ["--help"]
