# Thin aliases: the commands themselves are the interface.
.PHONY: up test demo lint ci

up:
	python3 manage.py up

test:
	python3 manage.py test

demo:
	python3 manage.py demo

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy hub registry_app sagas
	.venv/bin/lint-imports

ci:
	.ci/run
