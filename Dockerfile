FROM python:3.12-slim-bookworm AS build
WORKDIR /build
COPY requirements.txt .
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt

FROM python:3.12-slim-bookworm
# One image, many commands (docker-compose.yml): web, worker, beat, relay, flower, migrate.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HUB_NO_BOOTSTRAP=1 \
    HUB_VAR_DIR=/var/lib/hub
RUN groupadd --gid 10001 hub \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin hub \
    && install --directory --owner 10001 --group 10001 /var/lib/hub
WORKDIR /app
COPY --from=build /venv /venv
COPY . .
USER 10001:10001
# The key serves this one command; it is not kept in the image.
RUN HUB_SECRET_KEY=only-for-this-build python manage.py collectstatic --noinput --verbosity 0
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=6s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
CMD ["gunicorn", "hub.wsgi:application", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--workers", "2", "--threads", "8", "--worker-tmp-dir", "/tmp", "--no-control-socket"]
