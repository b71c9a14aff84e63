# Any image with Python 3.11 or later, pip and venv; the same one for both stages.
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml hatch_build.py requirements-extras.txt README.md LICENSE ./
COPY authserver authserver
COPY migrations migrations
RUN python3 -m venv /opt/authserver \
    && /opt/authserver/bin/pip install --no-cache-dir --upgrade 'pip>=25.1' \
    && /opt/authserver/bin/pip uninstall -qq --yes setuptools \
    && /opt/authserver/bin/pip install --no-cache-dir '.[postgresql]'

FROM ${BASE}
COPY --from=build /opt/authserver /opt/authserver
# A directory below the volume: whoever owns the volume's root, this one is ours.
ENV PATH=/opt/authserver/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    AUTHSERVER_DATA_DIR=/var/lib/authserver/data \
    AUTHSERVER_HOST=0.0.0.0 \
    AUTHSERVER_LOG_FORMAT=json
# The bundle, which the registry may read, has a volume apart from the store, which it may not.
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/authserver \
    && install -d -o 10001 -g 10001 -m 0755 /var/lib/authserver-bundle
USER 10001:10001
VOLUME /var/lib/authserver
EXPOSE 5001
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s CMD ["authserver", "health"]
ENTRYPOINT ["authserver"]
CMD ["serve", "--init", "--upgrade"]
