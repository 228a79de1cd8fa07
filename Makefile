# "make check" is what CI runs, all of it: see .ci/run for the steps.
.PHONY: check test lint race soak fuzz bench benchmarks

FUZZTIME ?= 5m
SOAK ?= 20

check:
	.ci/run

test:
	.ci/run test

lint:
	.ci/run format vet lint

race:
	.ci/run race

# The same tests again and again, with the race detector, in another order each time.
soak:
	go test -race -count=$(SOAK) -shuffle=on -timeout=6h work
	.ci/run fidelity
	ATHENS_FULL=1 .ci/run gosuite
	ATHENS_SOAK=200 ATHENS_SEED=$$(date +%s) go test -run 'RandomRepositories|Memory' -timeout=2h ./fetcher
	ATHENS_SOAK=1 go test -run 'ManyVersions|EverySystemCall' -v -timeout=1h ./storage
	ATHENS_SOAK=1 go test -run 'EverySystemCall|Large' -v -timeout=1h ./ledger
	ATHENS_SOAK=1 go test -run 'ProcessesOneFolder|FollowChaos|FillsSurviveKills|HostilePacks|LargeRefLists|LargeMods|OrdinaryLargeModules' -v -timeout=3h ./internal/e2e
	ATHENS_SOAK=1 go test -run 'EveryFault' -v -timeout=1h ./internal/protocoltest
	ATHENS_SOAK=1 go test -run 'Killed' -v -timeout=1h ./fill
	ATHENS_SOAK=1 go test -run 'Chaos' -v -timeout=1h ./examples/cluster
	ATHENS_SOAK=1 go test -run 'StartAndStopUnderLoad' -v -timeout=1h ./examples/internal/server
	ATHENS_SOAK=1 GOWORK=off go -C tools/binaries test -count=1 -v -timeout=2h ./...

# Each fuzz target for FUZZTIME.
fuzz:
	FUZZTIME=$(FUZZTIME) .ci/run fuzz

# The servers as processes beside what they compete with, as a table of ratios with
# their targets: see docs/performance.md. BENCHFLAGS=-quick shows that it runs.
bench:
	go test ./bench -v -count=1 -timeout=1h -run='^TestTable$$' -table $(BENCHFLAGS)

# The benchmarks within the packages.
benchmarks:
	go test -run='^$$' -bench=. -benchmem work
