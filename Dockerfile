# docker build -t daarion-appservice .
# docker run -v daarion:/data -p 7001:7001 -e DAARION_MATRIX__INTERNAL_TOKEN=… daarion-appservice
# config.yaml and registration.yaml lie in /data. In a container the matrix listener is open to its network, so the internal
# token must be set, here or in config.yaml; do not publish port 7025.

# The pages; of all that builds them nothing gets into the image. (This one has a Python, too.)
FROM node:24 AS pages
WORKDIR /build
COPY web_build.py ./
COPY web web
RUN python3 web_build.py ci build

FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml setup.cfg constraints.txt README.md LICENSE ./
COPY alembic alembic
COPY daarion_appservice daarion_appservice
COPY --from=pages /build/daarion_appservice/web_dist daarion_appservice/web_dist
RUN python -m venv /opt/daarion \
    && /opt/daarion/bin/pip install --no-cache-dir . -c constraints.txt

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /data --create-home daarion
COPY --from=build /opt/daarion /opt/daarion
ENV PATH=/opt/daarion/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DAARION_API__HOST=0.0.0.0 \
    DAARION_MATRIX__HOST=0.0.0.0
USER daarion
WORKDIR /data
VOLUME /data
# 7001: the city, for everybody. 7025: Synapse and trusted services only; never publish it to the internet.
EXPOSE 7001 7025
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7025/healthz', timeout=4)"]
ENTRYPOINT ["daarion-appservice"]
CMD ["run", "-c", "/data/config.yaml"]
