# The agent beside a model server: `docker build -f agent.Dockerfile -t shardpack-agent .`
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY planner/__init__.py planner/
COPY agent agent
RUN python -m venv --without-pip /opt/shardpack \
    && python -m pip --python /opt/shardpack/bin/python install --no-cache-dir --constraint constraints.txt '.[grpc,nvml,storage]'

FROM python:3.12-slim
# The proxy, where it is asked for. Debian keeps only the last version of a release.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends nginx && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/shardpack /opt/shardpack
# Without the bound glibc gives threads heaps of their own, which takes a tenth more memory at 10,000 models.
ENV PATH=/opt/shardpack/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2
USER 1000:1000
ENTRYPOINT ["shardpack-agent"]
