# One image for web, worker and relay; compose.yaml shows how they are run.
FROM node:24-slim AS browser
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts

FROM python:3.13-slim AS build
RUN pip install --no-cache-dir uv
WORKDIR /app
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml uv.lock .python-version ./
RUN uv sync --locked --no-dev
COPY . .
COPY --from=browser /app/node_modules node_modules
# Collecting needs settings that are valid, not ones that are used.
RUN BASE_URL=https://build.invalid SECRET_KEY=build DATABASE_URL=postgres://build.invalid/build STATE=/tmp/state \
    .venv/bin/python manage.py collectstatic --no-input && rm -rf node_modules

FROM python:3.13-slim
RUN apt-get update && apt-get install -y --no-install-recommends git openssh-client && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 courier && install -d -o courier -g courier /state
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 STATE=/state
USER courier
VOLUME /state
EXPOSE 8000
CMD ["python", "-m", "daphne", "-v", "0", "-b", "0.0.0.0", "-p", "8000", "codecourier.asgi:application"]
