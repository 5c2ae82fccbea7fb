# The real work is in Python: tools/course.py sets up and runs, on Windows too.
PYTHON ?= python3
COURSE = $(PYTHON) tools/course.py
# A command with what the tests and the instructors' tools need.
RUN = $(COURSE) run python

.PHONY: help setup lab models test test-fast test-rounding notebooks exercises new-task try-task release grade gradescope site bench clean

help:
	@echo "make lab         set up if needed, open the course in JupyterLab   (ARGS=... for jupyter)"
	@echo "make models      fetch the real models of lecture 08, 84 MB       (not needed for make lab)"
	@echo "make test        set up if needed, run everything that CI runs     (K=word narrows)"
	@echo "make test-fast   the quick tests of the library alone, in two to three minutes"
	@echo "make test-rounding   notebooks and parity tests, computed as another processor would"
	@echo "make notebooks   run the notebooks again and save their outputs    (ONLY=01_language_models)"
	@echo "make exercises   write exercises/ from solutions/"
	@echo "make new-task    start a task of an exercise        (EXERCISE=09_beam_search NAME=my-task)"
	@echo "make try-task    try one in a few seconds: solution, stub, each misconception"
	@echo "make release     write what students get into dist/: a folder and a zip"
	@echo "make grade       grade a folder of submissions      (SUBMISSIONS=folder OUT=results)"
	@echo "make gradescope  write autograders for Gradescope into dist/   (ONLY=01_language_models)"
	@echo "make site        build the static site of the lectures into build/site"
	@echo "make bench       measure speed, write benchmarks/RESULTS.md (ARGS=--quick: a look)"
	@echo "make clean       remove .venv and caches"

setup:
	@$(COURSE) setup

lab:
	@$(COURSE) lab $(ARGS)

models:
	@$(COURSE) models

test:
	@$(COURSE) test $(if $(K),-k "$(K)")

test-fast:
	@$(COURSE) test fast

test-rounding:
	@$(COURSE) test rounding

notebooks:
	@$(RUN) tools/notebooks.py execute $(ONLY)

exercises:
	@$(RUN) -m grader build

new-task try-task:
	@$(RUN) tools/exercise_task.py $(@:-task=) $(EXERCISE) $(NAME)

release:
	@$(RUN) tools/release.py $(ARGS)

grade:
	@$(RUN) -m grader grade $(SUBMISSIONS) --out $(or $(OUT),results) $(ARGS)

gradescope:
	@$(RUN) tools/gradescope.py $(ONLY) $(ARGS)

site:
	@$(COURSE) site $(ARGS)

bench:
	@$(RUN) benchmarks/bench.py $(ONLY) $(ARGS)

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache
