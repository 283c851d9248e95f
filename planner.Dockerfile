# The planning command: `docker build -f planner.Dockerfile -t shardpack .`
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY agent agent
COPY planner planner
RUN python -m venv --without-pip /opt/shardpack \
    && python -m pip --python /opt/shardpack/bin/python install --no-cache-dir --constraint constraints.txt '.[cluster,nvml,planner,report]'

FROM python:3.12-slim
COPY --from=build /opt/shardpack /opt/shardpack
# Machine code is kept in /tmp/.cache; where that is new for each run, or cannot be written, it is made anew.
ENV PATH=/opt/shardpack/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["shardpack"]
CMD ["--help"]
