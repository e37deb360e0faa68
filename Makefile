# Only forwards: the CMake presets build, ctest tests.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
JOBS ?= $(shell nproc)
# What differs from the branch point with origin/main; on main itself, what the last commit and the working tree changed.
CHANGED = $$(base=$$(git merge-base HEAD origin/main 2>/dev/null || true); \
  if [ -z "$$base" ] || [ "$$base" = "$$(git rev-parse HEAD)" ]; then \
    base=$$(git rev-parse -q --verify HEAD~1 || git hash-object -t tree /dev/null); fi; \
  git diff --name-only --diff-filter=AMR $$base -- 'src/*.cpp')

.PHONY: deps build test soak demo image run bench lint format asan tsan fuzz clean

# Quiet, and without a look at the network, when nothing is missing.
deps:
	@missing=$$(for p in $$(grep -v '^#' packages.txt); do \
	    dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done; \
	  command -v kubectl >/dev/null || echo kubernetes-client); \
	[ -z "$$missing" ] || { $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; }

build: deps
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS)

test: build
	@cmake --build --preset release -j $(JOBS) --target tests
	@cd build && ctest --output-on-failure -j $(JOBS)

# Ten minutes of issuing and verifying, a rotation every 20 s, three relying parties with caches: nobody may be refused.
soak: build
	@PODPASS=$(CURDIR)/build/podpass PODPASS_SOAK_SECONDS=$${PODPASS_SOAK_SECONDS:-600} PYTHONDONTWRITEBYTECODE=1 \
	  /usr/bin/python3 -m pytest -q -rs -s -p no:cacheprovider test/e2e/test_keys.py -k under_load

demo: build
	@test/demo/demo.sh

# A container image of podpass as an archive: deploy/image.py says for whom.
image: build
	@deploy/image.py build/podpass build/podpass-image.tar

run: build
	build/podpass up --data-dir $${PODPASS_DATA_DIR:-$$HOME/.local/share/podpass}

# Whole paths first, as a table; then the hot code beside which each *_bench.cpp stands.
bench: build
	@cmake --build --preset release -j $(JOBS) --target benches
	@PODPASS=$(CURDIR)/build/podpass PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 test/bench/bench.py
	@set -e; for bench in build/src/*/*_bench; do $$bench --benchmark_min_time=0.2; done

# The unit tests under a sanitizer, in a build directory of its own.
asan tsan: deps
	@cmake --preset $@ >/dev/null
	@cmake --build --preset $@ -j $(JOBS) --target all tests
	@cd build-$@ && ctest --output-on-failure -LE e2e

# Each parser of outside input, for so many seconds each, from its seeds; a finding ends it, and its input is kept in build-fuzz.
fuzz: deps
	@cmake --preset fuzz >/dev/null
	@cmake --build --preset fuzz -j $(JOBS) --target fuzzers
	@set -e; cd build-fuzz; for target in src/*/*_fuzz; do echo "$$target"; name=$$(basename $$target); mkdir -p corpus/$$name; \
	  $$target -max_total_time=$${PODPASS_FUZZ_SECONDS:-20} -max_len=65536 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
	    corpus/$$name $$(ls -d ../$$(dirname $$target)/testdata/$$name 2>/dev/null || true) 2>fuzz.log || { tail -n 40 fuzz.log; exit 1; }; \
	  grep -E 'number_of_executed_units|peak_rss_mb' fuzz.log; done

lint: build
	@git ls-files '*.cpp' '*.h' | xargs -r clang-format --dry-run -Werror
	@mkdir -p build/lint  # clang cannot read g++'s precompiled header: it gets the source of it
	@sed 's#-include [^ ]*/cmake_pch.hxx#-include $(CURDIR)/cmake/pch.h#; s#-Winvalid-pch##; s#-Werror ##' build/compile_commands.json >build/lint/compile_commands.json
	@echo $(CHANGED) | xargs -r -n 1 -P $(JOBS) clang-tidy -p build/lint --quiet --extra-arg=-Wno-unknown-warning-option

format:
	@git ls-files '*.cpp' '*.h' | xargs -r clang-format -i

clean:
	rm -rf build build-dev build-asan build-tsan build-fuzz
