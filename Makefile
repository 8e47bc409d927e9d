# Verbs only; Meson knows the rest. Every verb installs what is missing first.
BUILD ?= build

.PHONY: all setup lab check check-unit check-asan sim fuzz lint format bench install clean

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

setup:
	tools/setup

$(BUILD)/build.ninja: | setup
	meson setup $(BUILD) $(MESON_ARGS)

lab: all
	tools/lab

check: all
	tools/check

check-unit: all
	meson test -C $(BUILD) --print-errorlogs

check-asan: setup
	tools/check-asan

# One world: make sim SEED=7. Without a seed, a bounded batch.
sim: all
	$(BUILD)/meridian sim $(if $(SEED),--seed $(SEED),--seed 1 --runs $(or $(RUNS),2000))

fuzz:
	tools/fuzz $(NAME) $(SECONDS)

lint: all
	tools/lint

format:
	tools/format

bench: all
	bench/run
	bench/apply/run
	bench/quorum/run

install: all
	meson install -C $(BUILD) --no-rebuild $(if $(DESTDIR),--destdir $(DESTDIR))

clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-fuzz
