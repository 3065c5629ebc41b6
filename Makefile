# The project's commands. `make` alone lists them; a fresh clone needs only cargo, and says so when it has none.
#
# Build results go to CARGO_TARGET_DIR; in CI, where every clone is fresh, to the cache folder, which outlives it.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ciphermill
ifeq ($(CI),true)
CARGO_TARGET_DIR ?= $(CACHE)/target
endif
TARGET := $(or $(CARGO_TARGET_DIR),target)
ifdef CARGO_TARGET_DIR
export CARGO_TARGET_DIR
endif

# rustup puts cargo here; a shell opened before that does not know it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

SETUP := tests/support/setup.sh
PARTS := tests/support/parts.sh
# How long each step of this run took.
MINUTES = $(TARGET)/minutes.tsv
# $(call timed,WHAT,COMMAND): says what is going on, and afterwards how long it took.
timed = @printf '==> %s\n' '$(1)'; begun=$$SECONDS; $(2); took=$$((SECONDS - begun)); \
  printf '    %s: %d s\n' '$(1)' $$took; mkdir -p "$(TARGET)"; printf '%s\t%d\n' '$(1)' $$took >>"$(MINUTES)"

.PHONY: help demo test suites minutes sim accept bench bench-e2e sanitize fuzz coverage lint lint-deploy clean cargo

# Sanitizers are no stable part of the compiler yet; this lets the stable one run them.
SANITIZED := RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
FUZZ_SECONDS ?= 60
# `pipeline` needs a broker and a store: `make bench-e2e`.
BENCHES := --bench cipher --bench ratios --bench engine
FUZZ_TARGETS ?= parts cobblestone captions_srt captions_vtt captions_ttml captions_scc captions_samples \
  captions_stability captions_merge

help: ## list these targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

demo: cargo ## build it and watch it work on this machine, without broker, store or cloud
	$(call timed,what the demo needs,$(SETUP) demo)
	$(call timed,release build,cargo build --release --locked)
	@"$(TARGET)/release/ciphermill" demo --dir demo-out

test: cargo ## everything CI checks: format, lints, all tests against a real broker and real stores
	@rm -f "$(MINUTES)"
	$(call timed,what the tests need,$(SETUP) test)
	$(call timed,format,cargo fmt --check)
	$(call timed,clippy,cargo clippy --locked --workspace --all-targets -- -D warnings)
	$(call timed,clippy without a GPU engine,cargo clippy --locked --no-default-features -- -D warnings)
	$(call timed,test build,cargo test --locked --workspace --no-run)
	$(call timed,tests,$(PARTS) run -- $(MAKE) --no-print-directory suites)
	$(call timed,faults that the simulation finds,tests/mutants/run.py)
	@$(MAKE) --no-print-directory lint-deploy
	@tests/support/minutes.py suites "$(TARGET)/suites.log" >>"$(MINUTES)"
	@tests/support/minutes.py report "$(MINUTES)"

# Every test program, against the parts that parts.sh has started.
suites:
	@cargo test --locked --workspace --no-fail-fast 2>&1 | tee "$(TARGET)/suites.log"

minutes: ## write what the last `make test` took into docs/contributing.md
	@tests/support/minutes.py keep "$(MINUTES)"

sim: cargo ## whole workers in simulation, by seed: CIPHERMILL_SIM_FROM and _COUNT choose the seeds
	@cargo test --locked --test sim -- --nocapture

accept: cargo ## the acceptance run: large objects, restarts and outages under load
	$(call timed,what the tests need,$(SETUP) test)
	$(call timed,release build,cargo build --release --locked --bins --examples)
	$(call timed,acceptance run,\
	  CIPHERMILL_TEST_BIN="$(abspath $(TARGET))/release/ciphermill" \
	  CIPHERMILL_TEST_FAULT_PROXY="$(abspath $(TARGET))/release/examples/fault-proxy" \
	  $(PARTS) run -- tests/accept/run.sh)

bench: cargo ## measure the ciphers beside other libraries, and the engine; about ten minutes
	$(call timed,what the benchmarks need,$(SETUP) bench)
	$(call timed,the peers,benches/peers/build.sh "$(abspath $(TARGET))/peers.so")
	$(call timed,build,cargo bench --locked --no-run $(BENCHES))
	$(call timed,benchmarks,CIPHERMILL_BENCH_PEERS="$(abspath $(TARGET))/peers.so" cargo bench --locked $(BENCHES))

bench-e2e: cargo ## measure the whole way, S3 to S3, beside rclone and the AWS CLI; an hour, BENCH_QUICK=1 two minutes
	$(call timed,what the benchmark needs,$(SETUP) bench-e2e)
	$(call timed,build,cargo bench --locked --no-run --bench pipeline)
	$(call timed,benchmark,CIPHERMILL_BENCH_TOOLS="$(CACHE)/tools/peers/bin" $(PARTS) run -- benches/pipeline/run.sh)

sanitize: cargo ## the cipher suite under AddressSanitizer, VAES kernels included
	$(call timed,cipher suite under AddressSanitizer,\
	  $(SANITIZED) cargo test --locked --package ciphermill-cipher --target $(HOST) --target-dir "$(TARGET)/sanitized" \
	    --test cipher)

fuzz: cargo ## fuzz split and merge, cobblestone, and every caption parser; FUZZ_SECONDS (60) for each
	$(call timed,what fuzzing needs,$(SETUP) fuzz)
	$(call timed,fuzzing,for target in $(FUZZ_TARGETS); do \
	  dict=fuzz/dict/$$target; RUSTC_BOOTSTRAP=1 "$(CACHE)/tools/bin/cargo-fuzz" fuzz run \
	  --target-dir "$(abspath $(TARGET))/fuzz" $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 \
	  $$([ -e "$$dict" ] && echo "-dict=$$dict"); done)

coverage: cargo ## how many lines of a job's rules the tests without servers reach, by module
	$(call timed,coverage,tests/support/coverage.sh)

lint: cargo ## format, clippy and the files under deploy/, without running anything
	$(call timed,what the linters need,$(SETUP) lint)
	$(call timed,format,cargo fmt --check)
	$(call timed,clippy,cargo clippy --locked --workspace --all-targets -- -D warnings)
	@$(MAKE) --no-print-directory lint-deploy

lint-deploy:
	$(call timed,deploy files,\
	  if [ -e deploy/Dockerfile ]; then "$(CACHE)/tools/python/bin/hadolint" deploy/Dockerfile; fi; \
	  if [ -e deploy/compose.yaml ]; then "$(CACHE)/tools/python/bin/yamllint" --strict deploy/compose.yaml; fi)

clean: ## remove build results and demo-out; the cache folder stays
	cargo clean
	rm -rf demo-out

cargo:
	@command -v cargo >/dev/null || { \
	  echo 'error: cargo is not installed' >&2; \
	  echo 'help: install Rust 1.95 or newer with rustup (https://rustup.rs), open a new shell, and try again' >&2; \
	  exit 1; }
