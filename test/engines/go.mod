// The tests with real engines are a module of their own: make test-engines builds the engines first.
module ebpf-upgrader/test/engines

go 1.26.0

require ebpf-upgrader v0.0.0

require golang.org/x/sys v0.49.0 // indirect

replace ebpf-upgrader => ../..
