# The two commands are `make preprocess` and `make train`. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3

# The real reviews if they are there, else the sample.
INPUT ?= $(if $(wildcard data/aclImdb/train),data/aclImdb,data/sample)
# What is typed stays text, dollars too.
TYPED := $(foreach name,INPUT RECORDS OUTPUT MODEL_DIR ARCHIVE TEXT,\
  $(if $(filter command environment,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(TYPED),$(eval override $(name) := $$(value $(name))))
# The folder's own name; make's functions take a space for the end of a name.
SPACE := $(subst ,, )
joined = $(subst $(SPACE),␣,$(1))
FULL := $(patsubst ~%,$(call joined,$(HOME))%,$(call joined,$(INPUT)))
FULL := $(if $(filter /%,$(FULL)),,$(call joined,$(CURDIR)/))$(FULL)
# Of a table, or a pattern of tables, without what a folder's name can't have, or needn't.
without = $(if $(1),$(call without,$(wordlist 2,9,$(1)),$(patsubst %$(firstword $(1)),%,$(2))),$(2))
NAME := $(call without,.gz .csv .tsv .json .jsonl .ndjson .parquet,$(notdir $(abspath $(FULL))))
NAME := $(or $(subst ␣,$(SPACE),$(subst *,,$(subst ?,,$(subst [,,$(subst ],,$(NAME)))))),tables)
RECORDS ?= out/$(NAME)/records
OUTPUT ?= $(RECORDS)
MODEL_DIR ?= out/$(NAME)/model
RUNNER ?= DirectRunner
COUNT ?= 3000
N ?= 3
ARGS ?=
PRESET ?=
ARCHIVE ?=
TEXT ?=
ENGINE ?= flink
TO ?= onnx
SEED ?=
# By the environment, so that quotes in them stay text.
export INPUT OUTPUT RECORDS MODEL_DIR PRESET ARCHIVE TEXT

VENV := .venv
RUN := $(VENV)/bin/python -m
STAMP := $(VENV)/installed

# A variable that no target reads is a mistake: EPOCHS=3 would train for ten.
KNOWN := PYTHON INPUT RECORDS OUTPUT MODEL_DIR RUNNER COUNT N ARGS PRESET ARCHIVE TEXT ENGINE TO SEED AUDIT
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(filter-out $(KNOWN) MAKE% -%,$(GIVEN)),$(error no target reads $(name): \
  variables are $(KNOWN), and flags of a command go into ARGS="--flag value"))

.DEFAULT_GOAL := help
.PHONY: help setup lock data sample preprocess train tune evaluate report convert score predict verify inspect bench engine test test-fast test-slow \
  tensorboard audit sbom dist soak mutants lint docs clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

setup:  ## Build .venv from the lock file; PYTHON=python3.12 chooses another interpreter.
	@$(if $(filter-out file,$(origin PYTHON)),rm -f $(STAMP),:)
	@$(MAKE) --no-print-directory $(STAMP)

# The stamp comes last: a set-up that was stopped starts anew. The lock names every package, so that
# pip isn't asked what they need: it takes `package[extra]` for a package that isn't locked.
$(STAMP): requirements.lock setup.py
	@echo "setting up $(VENV) with $(PYTHON): a minute or two, once"
	@command -v "$(PYTHON)" > /dev/null \
	  || { echo "error: $(PYTHON) can't be run: name an interpreter, PYTHON=python3.12 make setup" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "error: $(PYTHON) is not Python 3.11 to 3.13: PYTHON=python3.12 make setup" >&2; exit 2; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@echo "  downloading and installing $$(grep -c '^[a-z]' requirements.lock) packages, 3 GB"
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements.lock
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-compile --no-deps --no-build-isolation --editable .
	@$(VENV)/bin/pip check --quiet --disable-pip-version-check
# Here, on all cores, and not by pip: with PYTHONDONTWRITEBYTECODE every start would compile anew. A
# few packages hold templates that don't compile.
	@echo "  compiling them"
	@$(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

# All that `make setup` installs; CUDA is a user's own choice.
LOCKED := $(addprefix --extra ,convert dev gcp pandas preprocess report tune tuned)
COMPILE := $(VENV)/bin/uv pip compile --universal --generate-hashes --no-header --python-version 3.11 --quiet

lock: $(STAMP)  ## Remake the lock files from setup.py, with the newest versions it allows.
	$(COMPILE) --upgrade $(LOCKED) setup.py -o requirements.lock
	$(COMPILE) --constraint requirements.lock --extra gcp --extra preprocess setup.py -o requirements-worker.lock

data: $(STAMP)  ## Download the IMDb reviews to data/aclImdb; ARCHIVE=file takes a local tar or zip archive.
	@$(RUN) pipelines.download --output data/aclImdb $(if $(ARCHIVE),--archive="$$ARCHIVE") $(ARGS)

sample: $(STAMP)  ## Write COUNT made-up reviews to data/sample.
	@$(RUN) pipelines.sample --output data/sample --count $(COUNT) $(ARGS)

data/sample: | $(STAMP)
	@$(MAKE) --no-print-directory sample ARGS=

# The sample is made if it is what is asked for. Which input it is, is said.
.PHONY: input
input: $(STAMP) $(filter data/sample,$(INPUT))
ifeq ($(origin INPUT),file)
ifeq ($(INPUT),data/sample)
	@echo "input: the made-up reviews in data/sample (the real ones: make data; your own: INPUT=folder)"
else
	@echo "input: the IMDb reviews in data/aclImdb (the made-up ones: INPUT=data/sample)"
endif
endif

preprocess: input  ## INPUT -> records in OUTPUT; RUNNER= and ARGS= take Beam's flags.
	@$(RUN) pipelines.preprocess --input="$$INPUT" --output="$$OUTPUT" --runner "$(RUNNER)" $(ARGS)

# RECORDS named without INPUT are taken as they are: they may be of any folder.
RECORDS_ONLY := $(and $(filter-out file,$(origin RECORDS)),$(filter file,$(origin INPUT)))

.PHONY: records
ifeq ($(RECORDS_ONLY),)
records: input
	@$(RUN) pipelines.preprocess --if_needed --input="$$INPUT" --output="$$RECORDS" --runner "$(RUNNER)"
else
records: $(STAMP)
endif

train: records  ## RECORDS -> a model in MODEL_DIR, preprocessing first if need be; PRESET=tuned.
	@$(RUN) model.train $(if $(PRESET),--preset="$$PRESET") --records="$$RECORDS" --model_dir="$$MODEL_DIR" $(ARGS)

# Trials are judged on a validation split: unless RECORDS are named, they get records that have one.
TUNE := $(if $(filter file,$(origin OUTPUT)),out/$(NAME)/tune,$(OUTPUT))
TRIED := $(if $(filter file,$(origin RECORDS)),$(TUNE)/records,$(RECORDS))
export TUNE TRIED

tune: input  ## Search for the best settings; ARGS="--over lstm_units=32,64 dropout=0..0.5 --trials 20".
	@$(if $(filter file,$(origin RECORDS)),$(RUN) pipelines.preprocess --if_needed --validation 0.2 \
	  --input="$$INPUT" --output="$$TRIED" --runner "$(RUNNER)",:)
	@$(RUN) model.tune $(if $(PRESET),--preset="$$PRESET") --records="$$TRIED" --output="$$TUNE" $(ARGS)

evaluate: $(STAMP)  ## Evaluate MODEL_DIR on the test split of RECORDS.
	@$(RUN) model.evaluate --records="$$RECORDS" --model_dir="$$MODEL_DIR" $(ARGS)

# Texts are read where the records say that they lie, unless INPUT is named.
report: $(STAMP)  ## Write a page about MODEL_DIR: data, training, results, mistakes, words.
	@$(RUN) model.report --records="$$RECORDS" --model_dir="$$MODEL_DIR" \
	  $(if $(filter file,$(origin INPUT)),,--input="$$INPUT") \
	  $(if $(filter file,$(origin OUTPUT)),,--output="$$OUTPUT") $(ARGS)

convert: $(STAMP)  ## Write MODEL_DIR for programs without TensorFlow; TO=onnx or TO=tflite.
	@$(RUN) model.convert --model_dir="$$MODEL_DIR" --to "$(TO)" \
	  $(if $(filter file,$(origin OUTPUT)),,--output="$$OUTPUT") $(ARGS)

# OUTPUT is of scores here, if it's named. A pattern has no name for a folder.
IS_PATTERN := $(foreach sign,* ? [,$(findstring $(sign),$(INPUT)))
SCORES := $(if $(filter file,$(origin OUTPUT)),out/$(if $(strip $(IS_PATTERN)),,$(NAME)/)scores,$(OUTPUT))
export SCORES

score: $(STAMP)  ## Score the files of INPUT, a folder or a pattern, with MODEL_DIR into OUTPUT.
	@$(RUN) pipelines.score --input="$$INPUT" --output="$$SCORES" --model_dir="$$MODEL_DIR" --runner "$(RUNNER)" $(ARGS)

predict: $(STAMP)  ## Score TEXT="..." with MODEL_DIR, or the lines of standard input.
	@$(RUN) model.predict --model_dir="$$MODEL_DIR" $(ARGS) $(if $(TEXT),-- "$$TEXT")

tensorboard: $(STAMP)  ## Show the curves, the graph, the tokens and texts of MODEL_DIR in a browser.
	@$(RUN) model.tensorboard --model_dir="$$MODEL_DIR" $(ARGS)

# A model that isn't named is left out if it isn't there.
verify: input  ## Prove that Keras, RECORDS and MODEL_DIR agree on every token of INPUT.
	@$(if $(filter file,$(origin MODEL_DIR)),[ -e "$$MODEL_DIR" ] || \
	  { echo "no model in $$MODEL_DIR: comparing the records alone"; unset MODEL_DIR; };) \
	$(RUN) pipelines.verify --input="$$INPUT" --records="$$RECORDS" \
	  $${MODEL_DIR:+--model_dir="$$MODEL_DIR"} $(ARGS)

inspect: $(STAMP)  ## Print N records of RECORDS as text.
	@$(RUN) pipelines.inspect_records --records="$$RECORDS" --count $(N) $(ARGS)

# data/sample is too small to time: unless INPUT names a folder, a larger sample is made.
BENCH_INPUT := $(or $(filter-out file,$(origin INPUT)),$(filter data/aclImdb,$(INPUT)))

bench: $(STAMP)  ## Time INPUT, or a large sample, side by side with what one would otherwise run.
	@$(RUN) benchmarks.run $(if $(BENCH_INPUT),--input="$$INPUT") $(ARGS)

engine: $(STAMP)  ## Bring ENGINE up on this machine, flink, spark or prism, until Ctrl-C.
	@$(RUN) engines "$(ENGINE)" $(ARGS)

# A file's tests stay together: they share what takes long to make.
TEST := $(RUN) pytest --numprocesses auto --maxprocesses 8 --dist loadfile

test: $(STAMP)  ## Run the tests, on up to eight cores.
	@$(TEST) -m "not slow" $(ARGS)

test-fast: $(STAMP)  ## Run the tests that neither run whole commands nor train.
	@$(TEST) -m "not slow and not integration" $(ARGS)

test-slow: $(STAMP)  ## Run the tests that make test skips: engines, clouds, other tools, stops.
	@$(TEST) -m slow $(ARGS)

# A package that the service doesn't know is an error: nothing passes unlooked at.
AUDIT := $(VENV)/bin/uv tool run --quiet pip-audit@2.10.1 --requirement requirements.lock \
  --require-hashes --disable-pip --strict --progress-spinner off

audit: $(STAMP)  ## Look up known weaknesses of the locked packages; it needs the network.
	@report=$$($(AUDIT) 2>&1); code=$$?; case "$$report" in \
	  *"known vulnerabilit"*) echo "$$report"; exit $$code;; \
	  *) echo "error: the service gives no answer: $$(grep -im1 error <<< "$$report")" >&2; exit 1;; \
	esac

sbom: $(STAMP)  ## Write dist/sbom.json, what is installed, as CycloneDX.
	@mkdir -p dist
	@$(VENV)/bin/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py environment \
	  --output-reproducible --output-file dist/sbom.json $(VENV)/bin/python
	@echo "wrote dist/sbom.json"

dist: $(STAMP)  ## Build the sdist and the wheel in dist/: the same bytes each time.
	@$(VENV)/bin/python -c 'import setuptools_reproducible as build; build.build_sdist("dist"); \
	  build.build_wheel("dist")' > /dev/null
	@echo "wrote dist/"

soak: $(STAMP)  ## Stop and damage it, again and again; SEED=1 repeats, ARGS="--trials 200".
	@$(RUN) tests.soak $(if $(SEED),--seed "$(SEED)") $(ARGS)

mutants: $(STAMP)  ## Change the code in small ways and count what the tests notice; ARGS="--share 20".
	@$(RUN) tests.mutants $(ARGS)

lint: $(STAMP)  ## Check style.
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .

docs: $(STAMP)  ## Write docs/flags.md, the table of all flags, from the commands.
	@$(RUN) docs.flags

clean:  ## Remove what make setup and the tests made; datasets and models in out/ and data/ stay.
	rm -rf $(VENV) build dist mutants *.egg-info .pytest_cache .ruff_cache
