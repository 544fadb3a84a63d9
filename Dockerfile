# docker build -t daarion-appservice --build-arg BUILD_TAG="$(make -s build-tag)" .
# docker run -v daarion:/data -p 7001:7001 --read-only --tmpfs /tmp -e DAARION_MATRIX__INTERNAL_TOKEN=… daarion-appservice
# config.yaml and registration.yaml lie in /data: `docker run -v daarion:/data daarion-appservice config generate -c
# /data/config.yaml` makes the first. In a container the matrix listener is open to its network, so the internal token must be
# set, here or in config.yaml; do not publish port 7025. deploy/compose.yaml has the whole city with Synapse.

# The pages; of all that builds them nothing gets into the image. (This one has a Python, too.)
FROM node:24 AS pages
WORKDIR /build
COPY web/package.json web/package-lock.json web/.npmrc web/
COPY web_build.py ./
RUN python3 web_build.py ci-bundle
COPY web web
RUN python3 web_build.py bundle

FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /opt/daarion
COPY constraints.txt setup.cfg ./
# The libraries alone: this layer stays as it is while only the service's own code changes.
RUN python -c "import configparser; c = configparser.ConfigParser(); c.read('setup.cfg'); print(c['options']['install_requires'])" \
        > requirements.txt \
    && /opt/daarion/bin/pip install --no-cache-dir --quiet -r requirements.txt -c constraints.txt
COPY pyproject.toml README.md LICENSE ./
COPY alembic alembic
COPY daarion_appservice daarion_appservice
COPY --from=pages /build/daarion_appservice/web_dist daarion_appservice/web_dist
# +<number of commits>.g<commit>, in `daarion-appservice --version`
ARG BUILD_TAG=""
RUN printf '[egg_info]\ntag_build = %s\n' "$BUILD_TAG" > version.cfg \
    && DIST_EXTRA_CONFIG=/build/version.cfg /opt/daarion/bin/pip install --no-cache-dir --quiet --no-deps . \
    && /opt/daarion/bin/pip uninstall --quiet --yes pip

FROM python:3.13-slim
LABEL org.opencontainers.image.title="daarion-appservice" \
      org.opencontainers.image.description="A city of people and AI agents on Matrix: application service for Synapse, API and pages" \
      org.opencontainers.image.licenses="Apache-2.0"
# tini ends the service also while it starts, when the first process of a container ignores signals. The client programs of
# PostgreSQL are for `backup` and `restore`.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --create-home daarion
COPY --from=build /opt/daarion /opt/daarion
ENV PATH=/opt/daarion/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DAARION_CONFIG=/data/config.yaml \
    DAARION_API__HOST=0.0.0.0 \
    DAARION_MATRIX__HOST=0.0.0.0
USER daarion
WORKDIR /data
VOLUME /data
# 7001: the city, for everybody. 7025: Synapse and trusted services only; never publish it to the internet.
EXPOSE 7001 7025
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7025/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--", "daarion-appservice"]
CMD ["run"]
