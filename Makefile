# The one entry point. Each target does its own set-up; run again, it is quick.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test stack-test bench lint docs compile clean

REBAR := rebar3
EBIN := _build/default/lib/erlmcp_instrumentation/ebin
PEERS := .tools/peers

help: ## what there is
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: ## install everything: Erlang, rebar3, Prometheus, Python packages, linters
	@scripts/setup.sh build test bench lint

compile: ## build the native library and the Erlang application
	@scripts/setup.sh build
	@echo "compile: native library and Erlang application (the first time takes about three minutes on two cores)"
	@$(REBAR) compile

demo: compile ## a simulated MCP server under load, measured by its own scrape
	@examples/demo/run.sh

test: ## every test: Rust, Erlang, the example projects, a real Prometheus
	@scripts/setup.sh build test
	@scripts/run-tests.sh

stack-test: compile ## the monitoring stack, by the programs that run it (the first time builds some of them)
	@scripts/setup.sh stack
	@monitoring/tests/run.sh

bench: compile ## the figures to reach, each against its rival in the same run (ROWS="inc name")
	@scripts/setup.sh bench
	@mkdir -p _build/bench
	@erlc -o _build/bench benches/erlang/*.erl test/erlmcp_ct_{collector,load,oracle,program}.erl
	@erl -noshell -pa $(EBIN) -pa $(PEERS)/*/ebin -pa _build/bench \
	  -eval 'erlmcp_bench:main(string:lexemes("$(ROWS)", " "))'

lint: ## formatters and linters of every language
	@scripts/setup.sh build lint
	@scripts/lint.sh

docs: compile ## the generated reference pages, and edoc into doc/
	@scripts/generate-docs.sh
	@$(REBAR) edoc

clean: ## remove what was built
	rm -rf _build target priv/*.so examples/demo/ebin examples/elixir_app/{_build,deps} logs
