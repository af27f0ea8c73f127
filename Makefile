# The menu of a fresh clone: each recipe sets up what it needs. `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SANITIZED := .venv-sanitize
SHARED ?= ../shared
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help demo test lint types format lab lab-quick lab-traffic lab-traffic-quick lab-services lab-services-quick lab-hidden lab-hidden-quick bench agreement replies fuzz sanitize clean
.PHONY: lab-kernel lab-shaping lab-shaping-quick

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# The environment is made anew when what it is made of changes.
$(VENV)/.ready: pyproject.toml setup.py $(wildcard src/flowsonar/_native/*.c src/flowsonar/_native/*.h)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[demo,dev]'
	$(BIN)/python -m compileall -q src/flowsonar # pip does so for wheels only, and some environments write none at run time
	@touch $@

demo: $(VENV)/.ready ## real services in a private network namespace, labelled live; needs no root
	$(BIN)/flowsonar demo

test: $(VENV)/.ready ## all tests; what needs root or a missing program is skipped and says so
	$(BIN)/python -m pytest

lint: $(VENV)/.ready ## style and documentation rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready ## static types, strict
	$(BIN)/mypy

format: $(VENV)/.ready ## rewrite in house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lab: $(VENV)/.ready ## accuracy: real programs in namespaces with known truth (root; installs what is missing)
	$(BIN)/python -m lab

lab-quick: $(VENV)/.ready ## the lab in a few minutes, as CI runs it
	$(BIN)/python -m lab --quick

lab-services: $(VENV)/.ready ## every program of the catalogue, beside nmap -sV and ndpiReader (root; installs what is missing)
	$(BIN)/python -m lab.catalogue

lab-services-quick: $(VENV)/.ready ## a dozen of them without nmap, as CI runs it
	$(BIN)/python -m lab.catalogue --quick

lab-hidden: $(VENV)/.ready ## encrypted BitTorrent of real clients, beside ndpiReader, NFStream and tshark (root; installs what is missing)
	$(BIN)/python -m lab.hidden

lab-hidden-quick: $(VENV)/.ready ## a few of its pairs, as CI runs it
	$(BIN)/python -m lab.hidden --quick

lab-traffic: $(VENV)/.ready ## calls, media, games and VPNs of real programs as flows, beside the same three (root; installs what is missing)
	$(BIN)/python -m lab.traffic

lab-traffic-quick: $(VENV)/.ready ## a few of its modes, as CI runs it
	$(BIN)/python -m lab.traffic --quick

lab-lookalikes: $(VENV)/.ready ## real servers and a thousand babblers, asked with every question: none may be called a peer, Skype or media
	$(BIN)/python -m lab.lookalikes

lab-kernel: $(VENV)/.ready ## CAKE, ctinfo and fq_codel on Debian's own kernel in an emulator (root; installs what is missing)
	$(BIN)/python -m lab.kernel

lab-shaping: $(VENV)/.ready ## a call beside BitTorrent and a download on a slow line, with flowsonar and without (root; likewise)
	$(BIN)/python -m lab.shaping.behind_nat
	$(BIN)/python -m lab.shaping

lab-shaping-quick: $(VENV)/.ready ## the same in a minute and a half: only what no busy machine changes (root; likewise)
	$(BIN)/python -m lab.shaping --quick

bench: $(VENV)/.ready ## speed and memory beside ndpiReader, NFStream and nmap (installs what is missing)
	$(BIN)/python -m bench --shared $(SHARED)

agreement: $(VENV)/.ready ## passive labels beside nDPI's own for its captures, protocol by protocol
	$(BIN)/python -m bench.agreement --shared $(SHARED)

replies: $(VENV)/.ready ## first server replies of nDPI's captures: nothing `confirmed` as another protocol (lists the exceptions)
	$(BIN)/python -m bench.replies --shared $(SHARED) --all

fuzz: $(VENV)/.ready ## the C core under libFuzzer with sanitizers, for FUZZ_SECONDS (needs clang)
	sh fuzz/run.sh $(FUZZ_SECONDS)

sanitize: ## the tests of the packet path on a build with address and undefined-behaviour sanitizers
	test -d $(SANITIZED) || $(PYTHON) -m venv $(SANITIZED)
	FLOWSONAR_NATIVE=require FLOWSONAR_SANITIZE=1 $(SANITIZED)/bin/pip install --quiet '.[dev]'
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 \
	$(SANITIZED)/bin/python -m pytest tests/native tests/flows tests/app/test_livelanes.py \
	  tests/app/test_lanes_made.py tests/app/test_lanes_late.py tests/app/test_lanes_tunnels.py -p no:cacheprovider

clean: ## remove what the recipes made
	rm -rf $(VENV) $(SANITIZED) build dist src/*.egg-info src/flowsonar/_native/*.so bench/out lab/out fuzz/out
