# Every command sets up what it needs. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
DEVICE ?= cpu
COURSE ?= course
RUN := $(VENV)/bin/python -m
# One thread a process: on few cores, processes that share them are slower with more.
export OMP_NUM_THREADS ?= 1

.PHONY: help book read pdf epub lab test bench coverage mutants notebooks assignments grade clean
.DEFAULT_GOAL := help

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*##/ { printf "make %-12s %s\n", $$1, $$2 }' Makefile

$(VENV)/.ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("The book needs Python 3.11 or newer; %s is %d.%d. Name another one: make PYTHON=python3.12 ..." % (sys.executable, v[0], v[1]))'
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.PHONY: downloads
downloads: $(VENV)/.ready
	@$(RUN) embeddings_lib.downloads

book: downloads  ## build the site into _build/html
	$(VENV)/bin/jupyter-book build . --all -W -n --keep-going -q --path-output _build/next
	@$(RUN) book._ext.publish _build/next/_build/html _build/html
	@echo "The book is in _build/html/index.html. To read it: make read"

read: book  ## build the site, serve it and open it
	$(RUN) webbrowser http://localhost:8000 & $(RUN) http.server --bind localhost --directory _build/html 8000

pdf: book  ## print the book into _build/book.pdf
	@$(RUN) book._ext.pdf _build/html _build/book.pdf
	@echo "The book is in _build/book.pdf."

epub: downloads  ## build the book as ePub into _build/book.epub
	$(VENV)/bin/jupyter-book build . --all -W -n --keep-going -q --builder custom --custom-builder epub --path-output _build/next-epub
	@mv _build/next-epub/_build/epub/*.epub _build/book.epub
	@echo "The book is in _build/book.epub."

lab: downloads  ## open the chapters in JupyterLab
	$(RUN) jupyterlab --notebook-dir=. chapters/01_text_to_tokens.ipynb

test: downloads  ## check style, library, notebooks and site
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) codespell_lib
	$(RUN) pytest -n 2 --dist loadfile

bench: downloads  ## measure speed and precision beside other libraries (DEVICE=cuda: on a GPU)
	$(RUN) pip install --quiet --disable-pip-version-check -r tests/benchmarks/requirements.txt
	$(RUN) tests.benchmarks --device $(DEVICE)

coverage: downloads  ## say which lines and branches of the library no test runs
	$(RUN) pytest -n 2 --dist loadfile tests embeddings_lib --cov

mutants: downloads  ## make small changes to the library, and list those that no test notices
	$(RUN) pip install --quiet --disable-pip-version-check -r tests/benchmarks/requirements.txt
	$(RUN) tests.benchmarks.mutation

notebooks: downloads  ## run every chapter and store its outputs
	$(RUN) tests.notebooks --run

assignments: $(VENV)/.ready  ## write the notebooks for students and for instructors into COURSE=course
	@$(RUN) chapters.assignments.grader release --course "$(COURSE)"

grade: $(VENV)/.ready  ## grade a folder with a folder per student; SUBMISSIONS=... COURSE=course
	@$(RUN) chapters.assignments.grader grade "$(SUBMISSIONS)" --course "$(COURSE)"

clean:  ## remove what these commands made in this folder
	rm -rf $(VENV) _build .pytest_cache .ruff_cache .hypothesis
